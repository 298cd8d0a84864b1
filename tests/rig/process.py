"""Processes that begin from nothing, as cron's and an agent's do."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.rig.result import Result
from tests.rig.waiting import DEADLINE

HFCAL = (sys.executable, "-m", "hfcal")


def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    *,
    output: int = subprocess.PIPE,
    errors: str = "strict",
) -> subprocess.Popen[str]:
    """Start a command with this environment alone, and nothing to read.

    Args:
        command: A program and its arguments.
        env: All its variables.
        folder: Where it is started.
        output: Where both its streams go.
        errors: What becomes of bytes that are no UTF-8, such as of a character that a kill cut.
    """
    return subprocess.Popen(
        command,
        env=env,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        encoding="utf-8",
        errors=errors,
    )


class Running:
    """A command that runs, with what it prints."""

    def __init__(self, words: tuple[str, ...], process: subprocess.Popen[str]) -> None:
        self.words = words
        self.process = process
        self._began = time.monotonic()
        self._unread = b""

    def line(self, seconds: float = DEADLINE) -> str:
        """The next line of stdout, without its end."""
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        while b"\n" not in self._unread:
            ready = select.select([source], [], [], seconds)[0]
            assert ready, f"{self.words} printed no line within {seconds:g} s"
            more = os.read(source, 65536)
            assert more, f"{self.words} ended"
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = DEADLINE) -> Result:
        """Wait for its end; `stdout` is what `line` has not read."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        spent = time.monotonic() - self._began
        stdout = self._unread.decode() + stdout
        return Result(self.words, self.process.returncode, stdout, stderr, spent)

    def close(self) -> None:
        """End it however it is."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and that nobody has waited for does not."""
    shown = subprocess.run(
        ["/bin/sh", "-c", f"ps -o stat= -p {pid}"], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1] not in {"", "Z"}
