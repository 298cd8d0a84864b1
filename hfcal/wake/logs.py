"""Logs of detached commands: private, and bounded in size and number.

The command writes on after hfcal has gone, so its log is bounded from outside: by the next wake,
and by each tick while the agent is at work.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO

from hfcal.system.files import make_private, open_or_make

LOG_BYTES = 1024 * 1024  # a larger log is cut to its last half
LOG_FILES = 20  # for each agent


def open_log(directory: Path, name: str) -> IO[bytes]:
    """A new log, 0600, to append to; older ones make room.

    Raises:
        OSError: It can't be opened, or a link stands in its place.
    """
    make_private(directory)
    bound_logs(directory, LOG_FILES - 1)
    flags = os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = open_or_make(directory / name, flags)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w+b")


def bound_logs(directory: Path, most: int = LOG_FILES) -> None:
    """Delete the oldest logs beyond `most`, and cut what has grown too large."""
    with contextlib.suppress(OSError):
        found = []
        for entry in os.scandir(directory):
            facts = entry.stat(follow_symlinks=False)
            if entry.name.endswith(".log") and stat.S_ISREG(facts.st_mode):
                found.append((facts.st_mtime, entry.path, facts.st_size))
        found.sort(reverse=True)
        for _, path, _ in found[most:]:
            Path(path).unlink()
        for _, path, size in found[:most]:
            if size > LOG_BYTES:
                _cut(path)


def _cut(path: str) -> None:
    """Keep the end of a log; who writes to it appends, so it goes on behind that."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "r+b") as log:
        log.seek(-LOG_BYTES // 2, os.SEEK_END)
        end = log.read(LOG_BYTES // 2)
        log.seek(0)
        log.truncate()
        log.write(b"[hfcal cut the beginning off]\n" + end)
