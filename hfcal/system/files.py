"""What hfcal needs of file systems: private directories, and whether one is a network's."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

_NETWORK = r"(nfs|cifs|smb|9p|afs|ceph|lustre|beegfs|gfs|davfs|fuse\.(sshfs|glusterfs|s3fs|rclone))"

_SHARED, _SHARED_FILE = 0o2770, 0o660


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
            _give_to_directory(descriptor, path.parent)
            return descriptor
    return os.open(path, flags, 0o600)


def _give_to_directory(descriptor: int, directory: Path) -> None:
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


def group_number(group: str) -> int:
    """The number of a group by its name or number.

    Raises:
        KeyError: There is no such group.
        ValueError: It can't be a group's name.
    """
    if group.isascii() and group.isdigit() and len(group) < 10:
        return int(group)
    import grp

    return grp.getgrnam(group).gr_gid


def share(directory: Path, group: int, pattern: str) -> None:
    """Let a group use `directory`, and whatever is made in it belong to that group: 02770.

    What is in it already comes first: after a kill in between all is done again.

    Args:
        directory: One of ours; when it is shared with the group already, that is all.
        group: The group's number.
        pattern: Which of our files in it are for the group as well.

    Raises:
        PermissionError: We are not in that group; the directory is as it was.
        OSError: It can't be shared.
    """
    facts = directory.stat()
    before = stat.S_IMODE(facts.st_mode)
    if (facts.st_gid, before) == (group, _SHARED):
        return
    for file in directory.glob(pattern):
        _share_older(file, group)
    os.chown(directory, -1, group)
    directory.chmod(_SHARED)
    if not is_shared(directory):  # outside of the group, the kernel just drops setgid
        directory.chmod(before)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(directory))


def share_file(descriptor: int, group: int) -> None:
    """Let a group use an open file, if it is ours: 0660.

    If we have left the group meanwhile, the file still does for us.
    """
    facts = os.fstat(descriptor)
    if facts.st_uid != os.geteuid():
        return
    with contextlib.suppress(PermissionError):
        if facts.st_gid != group:
            os.fchown(descriptor, -1, group)
        if stat.S_IMODE(facts.st_mode) != _SHARED_FILE:
            os.fchmod(descriptor, _SHARED_FILE)


def _share_older(file: Path, group: int) -> None:
    """Let a group use a file that may be another user's, or gone."""
    # For writing: so no link, directory or other user's file is taken for one of ours.
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            share_file(descriptor, group)
        finally:
            os.close(descriptor)


def make_shared_file(path: Path, group: int) -> None:
    """Put an empty file at `path`, 0660 from its first instant, unless something is there.

    What root makes belongs to whom its directory does.

    Raises:
        OSError: It can't be made like that; some file systems have no hard links.
    """
    temporary = path.with_name(f".{os.urandom(8).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        share_file(descriptor, group)
        _give_to_directory(descriptor, path.parent)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.close(descriptor)
        temporary.unlink()


def shared_group(directory: Path) -> int | None:
    """The number of the group that uses `directory`, as `share` made it; None if none does.

    The files in it are for that group.
    """
    try:
        facts = directory.stat()
    except OSError:
        return None
    return facts.st_gid if facts.st_mode & _SHARED == _SHARED else None


def is_shared(directory: Path) -> bool:
    """Whether a group uses `directory`, as `share` made it."""
    return shared_group(directory) is not None


def network_file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the network file system that `path` is on; None for a local one.

    Args:
        path: Absolute.
        mounts: What is mounted, as Linux tells it; where it doesn't, nothing is found.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        path = path.resolve()
    except (OSError, RuntimeError):
        return None
    found: tuple[int, str] = (-1, "")
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 6 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # Of several on one point, the last one mounted is what is seen.
        if path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), after.split(" ")[0])
    return found[1] if re.match(_NETWORK, found[1]) else None
