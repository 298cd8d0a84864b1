"""Commands on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.rig.waiting import wait_until

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# Makes its own terminal the controlling one, as a shell's is, so that Ctrl-C is a signal.
_ON_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(
        self, words: list[str], env: Mapping[str, str], columns: int, folder: Path | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _ON_TERMINAL, *words],
            env=env,
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""

    @property
    def text(self) -> str:
        """All that it has shown, control sequences and all."""
        return self._seen.decode()

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size, and forget what it has shown."""
        self._seen = b""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, *texts: str) -> None:
        """Wait until it has shown each of these."""
        wait_until(lambda: self._read() and all(t in self.text for t in texts), what=self.text)

    def end_of_screen(self) -> None:
        """Wait until it has been drawn once more."""
        seen = len(self._seen)
        wait_until(lambda: self._read() and self._seen.count(b"\x1b[H", seen) >= 2, what=self.text)

    def screen(self) -> list[str]:
        """The lines as they were drawn last, without control sequences."""
        drawn = self.text[: self.text.rfind("\x1b[H")].rpartition("\x1b[H")[2]
        return [line.rstrip() for line in ESCAPE.sub("", drawn).splitlines() if line.strip()]

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def type(self, keys: bytes) -> None:
        """Type keys, such as Ctrl-C's."""
        os.write(self._master, keys)

    def end(self) -> int:
        """Wait for its end; its exit code."""
        wait_until(lambda: self._read() and self._process.poll() is not None, what=self.text)
        self._read()
        return self._process.returncode

    def close(self) -> None:
        """End it however it is."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        # A terminal that its last user has left reads as an error on Linux, as an end elsewhere.
        with contextlib.suppress(OSError):
            while select.select([self._master], [], [], 0)[0]:
                more = os.read(self._master, 65536)
                if not more:
                    break
                self._seen += more
        return True
