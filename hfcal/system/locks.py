"""Kernel locks: dropped by the kernel when a process dies, so there is never one to break.

The lock files are never deleted: two processes could then hold "the" lock at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hfcal.errors import LockedError, StateError
from hfcal.system.files import open_or_make, opened_directory
from hfcal.system.owners import error_hint
from hfcal.system.sharing import make_shared_file, share_file, shared_group
from hfcal.text import one_line

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_LOOK = 0.25  # seconds between two looks whether to wait on


class LockFile:
    """One lock file; at most one holder, in this process or any other.

    Args:
        path: The lock file, made when it is first taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def try_take(self) -> bool:
        """Take the lock if it is free.

        Raises:
            StateError: The file can't be opened or locked.
        """
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        self._own(descriptor)
        return True

    def take(self, seconds: float, until: Callable[[], float] = lambda: math.inf) -> None:
        """Wait for the lock, in the kernel.

        Args:
            seconds: How long to wait at most.
            until: When to give up all the same, by the monotonic clock; asked again and again,
                since a signal may make that sooner.

        Raises:
            LockedError: It was held by others for `seconds`.
            StateError: The file can't be opened or locked.
        """
        if self.try_take():
            return
        started = time.monotonic()
        waiting = _Waiting(self._open())
        try:
            descriptor = waiting.result(lambda: min(started + seconds, until()))
        except OSError as error:
            raise self._unusable(error) from error
        if descriptor is None:
            waited = time.monotonic() - started
            raise LockedError(
                f"{self.path} was held for {min(seconds, waited):.3g} s by {self.holder()}; "
                "try again, or wait longer with --lock-timeout"
            )
        self._own(descriptor)

    def release(self) -> None:
        """Let go; a child between fork and exec keeps no hold on it."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def holder(self) -> str:
        """Who holds it, by what they noted inside."""
        try:
            noted = self.path.read_bytes()[:300].decode("utf-8", "replace")
        except OSError:
            noted = ""
        return one_line(noted, 120) or "another process"

    def _open(self) -> int:
        group = shared_group(self.path.parent)
        if group is not None and not os.path.lexists(self.path):
            # Another user may come before a chmod. What fails here fails below as well, and says
            # why; or there are no hard links, and it is shared a little later.
            with contextlib.suppress(OSError):
                make_shared_file(self.path, group)
        try:
            descriptor = open_or_make(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._unusable(error) from error
        if group is not None:
            share_file(descriptor, group)  # it may be older than the sharing
        return descriptor

    def _own(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # The note is a courtesy to whoever waits; a full disk doesn't weaken the lock.
        with contextlib.suppress(OSError):
            note = f"pid {os.getpid()}: {' '.join(sys.argv[1:3])}\n".encode("utf-8", "replace")
            os.pwrite(descriptor, note, 0)
            os.ftruncate(descriptor, len(note))

    def _unusable(self, error: OSError) -> StateError:
        if error.errno in _NO_LOCKS:
            return StateError(
                f"{self.path.parent} is on a file system without locks ({error.strerror}); "
                "put the state on a local disk with --state or HFCAL_STATE"
            )
        hint = error_hint(error, self.path)
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:  # a link, a directory, a socket
            place = shlex.quote(str(self.path))
            hint = f"; hfcal made no such thing. Move it away: mv {place} {place}.old"
        return StateError(f"cannot lock {self.path}: {error.strerror}{hint}")


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory itself, which leaves no file behind.

    Raises:
        OSError: It can't be opened or locked.
    """
    with opened_directory(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


class _Waiting:
    """A thread that waits for a lock, so that the waiting can have an end without polling."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._settled = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._error: OSError | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def result(self, until: Callable[[], float]) -> int | None:
        """The locked descriptor, or None when the time is over."""
        while (left := until() - time.monotonic()) > 0 and not self._done.wait(min(left, _LOOK)):
            pass
        with self._settled:
            if not self._done.is_set():
                self._abandoned = True
                return None
        if self._error is not None:
            raise self._error
        return self._descriptor

    def _wait(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._settled:
            if self._abandoned or self._error is not None:
                os.close(self._descriptor)
            self._done.set()
