"""The steps by which a process changes something outside of itself, counted, one of them fatal.

A step is a system call that writes, or makes the other side do something: creating, writing,
syncing and renaming files, connecting, sending, reading an answer, starting a wake. The notes that
holders leave inside of lock files are no steps.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FILE_STEPS = ("open", "write", "fchmod", "fsync", "replace", "link", "mkdir")


@dataclass(frozen=True)
class Fate:
    """What happens at which step.

    Attributes:
        at: The step, from 1; 0 for none.
        how: `kill` before it; `half` a write or send and then be killed, where only these count; or
            the name of an errno that it fails with, where only steps on files count.
        on: Whether all later steps fail as well.
    """

    at: int = 0
    how: str = "kill"
    on: bool = False


UNHARMED = Fate()


class Steps:
    """Counts, reports and at one step ends it all.

    Args:
        fate: When and how.
        report: A descriptor that gets a line for each step, so that a kill loses none.
    """

    def __init__(self, fate: Fate, report: int) -> None:
        self._fate = fate
        self._report = report
        self._count = 0
        self._guard = threading.Lock()
        self._write = os.write

    def install(self) -> None:
        """Watch this process from here on."""
        self._patch(os, "open", names_file=True)
        self._patch(os, "write", content=1)
        for name in ("fchmod", "fsync", "replace", "link", "mkdir"):
            self._patch(os, name)
        for name in ("connect", "recv"):
            self._patch(socket.socket, name)
        self._patch(socket.socket, "send", content=1)
        self._patch(subprocess.Popen, "_execute_child")

    def _patch(
        self, where: Any, name: str, *, names_file: bool = False, content: int | None = None
    ) -> None:
        original: Callable[..., Any] = getattr(where, name)

        def stepping(*args: Any, **options: Any) -> Any:
            creates = not names_file or (len(args) > 1 and args[1] & os.O_CREAT)
            if creates and not (content is not None and args[0] == self._report):
                self._step(name, original, args, content)
            return original(*args, **options)

        setattr(where, name, stepping)

    def _step(
        self, name: str, original: Callable[..., Any], args: tuple[Any, ...], content: int | None
    ) -> None:
        fails = self._fate.how.startswith("E")
        if (fails and name not in FILE_STEPS) or (self._fate.how == "half" and content is None):
            return
        with self._guard:
            self._count += 1
            count = self._count
            self._write(self._report, f"{name}\n".encode())
        if (
            count < self._fate.at
            or not self._fate.at
            or (count > self._fate.at and not self._fate.on)
        ):
            return
        if fails:
            number = getattr(errno, self._fate.how)
            raise OSError(number, os.strerror(number))
        if content is not None and self._fate.how == "half":
            half = bytes(args[content])[: len(args[content]) // 2]
            original(*args[:content], half, *args[content + 1 :])
        os.kill(os.getpid(), signal.SIGKILL)
