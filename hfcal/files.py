"""What hfcal needs of file systems: private directories, and whether one is a network's."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

_NETWORK = r"(nfs|cifs|smb|9p|afs|ceph|lustre|beegfs|gfs|davfs|fuse\.(sshfs|glusterfs|s3fs|rclone))"


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
