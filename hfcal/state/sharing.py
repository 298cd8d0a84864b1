"""Sharing a state with a group: its directory and the locks beside it.

Whoever is in the group could put other files in the place of what is in that directory, so one that
others own, or that holds more than a state, such as HOME, /tmp or /etc, is not shared.
"""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path

from hfcal.errors import StateError
from hfcal.system.owners import group_name, join_command, user_name
from hfcal.system.sharing import group_number, share, shared_group
from hfcal.text import one_line


def share_state(path: Path, locks: Path, group: str) -> None:
    """Give the directories of the state at `path` to a group.

    Raises:
        StateError: They are not ours alone, or we are not in the group.
        OSError: They can't be shared.
    """
    number = group_number(group)
    # The outer one last: it lets nobody in before all is ready.
    for directory, pattern in ((locks, "*.lock"), (path.parent, glob.escape(path.name))):
        if shared_group(directory) == number or _is_for_owner(directory):
            continue
        _require_own(directory, number)
        if directory == path.parent:
            _require_nothing_else(path, number)
        try:
            share(directory, number, pattern)
        except PermissionError as error:
            name = group_name(number)
            raise StateError(
                f"cannot share {directory} with group {name}: {user_name(os.geteuid())} is not in "
                f"it. {join_command(name)} adds it, from the next log-in on; or take group out of "
                "the config"
            ) from error


def _is_for_owner(directory: Path) -> bool:
    """Whether we are root, and it is another user's, who shares it at a tick of its own."""
    return os.geteuid() == 0 and directory.stat().st_uid != 0


def _require_own(directory: Path, group: int) -> None:
    owner, name = directory.stat().st_uid, group_name(group)
    if owner != os.geteuid():
        raise StateError(
            f"cannot share {directory} with group {name}: it belongs to {user_name(owner)}. "
            f"sudo chgrp {name} {directory} && sudo chmod 2770 {directory} does it"
        )


def _require_nothing_else(path: Path, group: int) -> None:
    directory = path.parent
    ours = (path.name, f".{path.name}", "log")
    others = (f.name for f in directory.iterdir() if not f.name.startswith(ours))
    sticky = directory.stat().st_mode & stat.S_ISVTX
    other = next(others, "what others put there" if sticky else "")
    if other:
        raise StateError(
            f"cannot share {directory} with group {group_name(group)}: it holds "
            f"{one_line(other, 100)}, which the group could then replace. Give the state a "
            f"directory of its own, such as --state {directory / 'hfcal' / path.name}"
        )
