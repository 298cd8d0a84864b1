"""Files that are replaced whole, private directories, and what root makes for their owner."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file in the place of `path`; a reader sees the old one or the new one.

    Raises:
        OSError: It can't be written; what was there is still there.
    """
    with contextlib.suppress(FileNotFoundError):
        mode_there = path.stat().st_mode
        if not stat.S_ISREG(mode_there) and not stat.S_ISDIR(mode_there):
            raise OSError(errno.EINVAL, "it is no regular file, and would be one then")

    def prepare(descriptor: int) -> None:
        give_to_owner(descriptor, path)
        os.fchmod(descriptor, mode)

    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    os.close(put_file(str(path), str(temporary), content, prepare))


def put_file(
    name: str,
    temporary: str,
    content: bytes,
    prepare: Callable[[int], None],
    folder: int | None = None,
) -> int:
    """Write a whole new file, and only then put it in the place of `name`.

    Args:
        name: The file, by its path, or by its name in `folder`.
        temporary: What the new file is called until then, in the same directory; no such file is
            there yet.
        content: All that it is to hold.
        prepare: Gives the new file, which is open, empty and 0600, its owner, group and mode.
        folder: The directory, open: when all is done, not even a power cut brings the old file
            back.

    Returns:
        The new file, open.

    Raises:
        OSError: It can't be written; what was there is still there, if it is not the last step
            that failed, which is to have `folder` on the disk.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        prepare(descriptor)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        _fsync(descriptor)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        if folder is not None:
            _fsync(folder)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise
    return descriptor


def _fsync(descriptor: int) -> None:
    """Onto the disk; a file system without fsync is as good as it gets."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


@contextmanager
def opened_directory(directory: Path, flags: int = 0) -> Iterator[int]:
    """A directory, open; with `os.O_NOFOLLOW` no link to one.

    Raises:
        OSError: It can't be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def nearest(path: Path) -> tuple[Path, os.stat_result]:
    """`path`, or the nearest directory above it that can be looked at, and what it is.

    Args:
        path: Absolute. A link in the last place is not followed.
    """
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return place, place.lstat()
    raise AssertionError(f"{path} is not absolute")


def closed_place(path: Path) -> Path | None:
    """Where this user can't make `path`: the nearest thing that is there; None where they can."""
    place = nearest(Path(os.path.realpath(path)))[0]
    return None if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else place


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
        with opened_directory(place, os.O_NOFOLLOW) as descriptor:
            above = os.stat("..", dir_fd=descriptor)
            os.fchown(descriptor, above.st_uid, above.st_gid)


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
