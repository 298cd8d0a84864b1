"""Directories and files that a group uses: 02770 and 0660."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from hfcal.system.files import give_to_directory

_SHARED, _SHARED_FILE = 0o2770, 0o660


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
        give_to_directory(descriptor, path.parent)
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
