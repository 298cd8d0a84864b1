"""Files and directories: private ones, whole ones, and what root makes for their owner."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file in the place of `path`; a reader sees the old one or the new one.

    Raises:
        OSError: It can't be written; what was there is still there.
    """
    with contextlib.suppress(FileNotFoundError):
        mode_there = path.stat().st_mode
        if not stat.S_ISREG(mode_there) and not stat.S_ISDIR(mode_there):
            raise OSError(errno.EINVAL, "it is no regular file, and would be one then")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(temporary, flags, 0o600)
        try:
            give_to_owner(descriptor, path)
            os.fchmod(descriptor, mode)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def give_to_owner(descriptor: int, path: Path) -> None:
    """Give a new file, if root makes it, to whom the file at `path` belongs, or its directory.

    Else one command by root would lock the state's own user out.

    Raises:
        OSError: It can't be given away.
    """
    if os.geteuid() == 0:
        try:
            facts = path.lstat()
        except FileNotFoundError:
            facts = path.parent.stat()
        os.fchown(descriptor, facts.st_uid, facts.st_gid)


def open_or_make(path: Path, flags: int) -> int:
    """Open a file, or make it, 0600; what root makes belongs to whom its directory does.

    Raises:
        OSError: Neither can be done.
    """
    flags |= os.O_CREAT
    if os.geteuid() == 0:
        with contextlib.suppress(FileExistsError):  # only what is new is given away
            descriptor = os.open(path, flags | os.O_EXCL, 0o600)
            give_to_directory(descriptor, path.parent)
            return descriptor
    return os.open(path, flags, 0o600)


def give_to_directory(descriptor: int, directory: Path) -> None:
    """Give a new file, if root makes it, to whom its directory belongs.

    Raises:
        OSError: It can't be given away.
    """
    if os.geteuid() == 0:
        facts = directory.stat()
        os.fchown(descriptor, facts.st_uid, facts.st_gid)


def _make_directory(place: Path) -> None:
    """Make a directory, 0700; what root makes belongs to whom the one above it does."""
    place.mkdir(mode=0o700)
    place.chmod(0o700)  # the umask may have taken bits away
    if os.geteuid() == 0:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            above = os.stat("..", dir_fd=descriptor)
            os.fchown(descriptor, above.st_uid, above.st_gid)
        finally:
            os.close(descriptor)


def read_regular(path: Path) -> bytes:
    """All of a regular file; a pipe or a device, which may never end, is refused.

    Raises:
        OSError: It can't be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            return stream.read()
    finally:
        os.close(descriptor)


def make_private(directory: Path) -> None:
    """Make `directory` and what is missing above it, each 0700 whatever the umask is.

    Raises:
        OSError: It can't be made, or a link on the way belongs to another user, who could lead us
            anywhere.
    """
    for place in reversed((directory, *directory.parents)):
        try:
            facts = place.lstat()
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                _make_directory(place)
            facts = place.lstat()
        if stat.S_ISLNK(facts.st_mode) and facts.st_uid not in {0, os.geteuid()}:
            raise PermissionError(errno.EPERM, "a link of another user leads there", str(place))
