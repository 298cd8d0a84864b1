"""What hfcal needs of file systems: private directories, and whether one is a network's."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

_NETWORK = r"(nfs|cifs|smb|9p|afs|ceph|lustre|beegfs|gfs|davfs|fuse\.(sshfs|glusterfs|s3fs|rclone))"

_SHARED = 0o2770


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file in the place of `path`; a reader sees the old one or the new one.

    Raises:
        OSError: It can't be written; what was there is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(temporary, flags, 0o600)
        try:
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
                place.mkdir(mode=0o700)
                place.chmod(0o700)  # the umask may have taken bits away
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


def share(directory: Path, group: int) -> None:
    """Let a group use `directory`, and whatever is made in it belong to that group: 02770.

    Raises:
        OSError: It isn't ours, or we are not in that group.
    """
    facts = directory.stat()
    if facts.st_gid != group:
        os.chown(directory, -1, group)
    if stat.S_IMODE(facts.st_mode) != _SHARED:
        directory.chmod(_SHARED)


def is_shared(directory: Path) -> bool:
    """Whether a group uses `directory`, as `share` made it; then its files are for that group."""
    try:
        return directory.stat().st_mode & _SHARED == _SHARED
    except OSError:
        return False


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
