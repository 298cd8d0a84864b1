"""Whose a file is, and what another user can do about it."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import stat
from pathlib import Path

from hfcal.system.files import nearest
from hfcal.system.sharing import shared_group


def owner_of(path: Path) -> str | None:
    """The user that `path`, or the nearest directory above it, belongs to; None if it is us."""
    owner = nearest(path)[1].st_uid
    return None if owner == os.geteuid() else user_name(owner)


def error_hint(error: OSError, path: Path) -> str:
    """What to do about an error with a file of the state; empty where there is nothing to say."""
    if error.errno == errno.EROFS:
        return "; choose another place with --state or HFCAL_STATE"
    owner = owner_of(path) if error.errno in {errno.EACCES, errno.EPERM} else None
    if owner is None:
        return ""
    closed = closed_to_group(path)
    if closed is not None:
        why, fix = closed
        return f"; it belongs to {owner} and {why}: {fix}"
    return (
        f"; it belongs to {owner}: run hfcal as that user, {as_user(owner)}, "
        "or share it by the setting group (docs/configuration.md)"
    )


def closed_to_group(path: Path) -> tuple[str, str] | None:
    """Why something of another user is closed though a group shares it.

    Args:
        path: A shared directory, or a file in one; where this user can't look, the nearest
            directory above it counts.

    Returns:
        What may follow "it belongs to …", and the command that fixes it. None when no group shares
        it, or it is open.
    """
    place, facts = nearest(path)
    is_directory = stat.S_ISDIR(facts.st_mode)
    group = shared_group(place if is_directory else place.parent)
    if group is None:
        return None
    name = group_name(group)
    if not _is_member(group):
        owner, user = user_name(facts.st_uid), user_name(os.geteuid())
        why = f"is for group {name}, which {user} is not in, or only from the next log-in on"
        return f"{why}; run hfcal by {as_user(owner)}, or join the group", join_command(name)
    if is_directory or (facts.st_gid == group and facts.st_mode & 0o060 == 0o060):
        return None
    file = shlex.quote(str(place))
    return (
        f"is not open to group {name}, which uses its directory",
        f"sudo chgrp {name} {file} && sudo chmod 660 {file}",
    )


def as_user(user: str) -> str:
    """What to put before a command so that it runs as another user."""
    return shlex.join(["sudo", "-u", user])


def join_command(group: str) -> str:
    """The command that puts this user into a group, from the next log-in on."""
    return shlex.join(["sudo", "usermod", "-aG", group, user_name(os.geteuid())])


def user_name(user: int) -> str:
    """A user's name, or `#` and the number, as sudo takes it."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"


def group_name(group: int) -> str:
    """A group's name, or its number, as chgrp takes it."""
    import grp

    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def _is_member(group: int) -> bool:
    return os.geteuid() == 0 or group in {os.getegid(), *os.getgroups()}
