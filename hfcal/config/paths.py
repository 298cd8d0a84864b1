"""Where the config file and the state file are, unless somebody says otherwise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hfcal.config.settings import Options
from hfcal.errors import ConfigError

SYSTEM_CONFIG = Path("/etc/hfcal/config.toml")
SYSTEM_STATE = Path("/var/lib/hfcal/state.json")


def config_path(options: Options, environment: Mapping[str, str]) -> Path:
    """The config file in use; when there is none, where the user's would be.

    Raises:
        ConfigError: The user has no home directory and nothing else says where.
    """
    if options.config is not None:
        return absolute(options.config)
    if environment.get("HFCAL_CONFIG"):
        return absolute(Path(environment["HFCAL_CONFIG"]))
    users = _user_directory("config")
    if users is None:
        return SYSTEM_CONFIG
    mine = users / "config.toml"
    return SYSTEM_CONFIG if not exists(mine) and exists(SYSTEM_CONFIG) else mine


def default_state(config_file: Path | None) -> Path:
    """Where the state is when nothing says so.

    Args:
        config_file: The config file in use; the system's has its state in the system's place.

    Raises:
        ConfigError: The user has no home directory.
    """
    if config_file == SYSTEM_CONFIG:
        return SYSTEM_STATE
    directory = _user_directory("state")
    if directory is None:
        raise ConfigError(
            "there is no home directory to keep the state in (no HOME, and no entry in the "
            "password file): set HFCAL_STATE to an absolute path"
        )
    return directory / "state.json"


def exists(path: Path) -> bool:
    """Whether there is such a file, as far as this user may know."""
    try:
        return path.exists()
    except OSError:
        return False


def absolute(path: Path) -> Path:
    """The path from the folder that hfcal was started in; `~` is the home directory.

    Raises:
        ConfigError: That folder is gone.
    """
    try:
        return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111
    except FileNotFoundError as error:
        raise ConfigError(f"{path} is below this folder, which is gone; go elsewhere") from error


def _user_directory(kind: str) -> Path | None:
    """The user's directory for hfcal's config or state; None without a home directory."""
    import platformdirs

    if not os.environ.get("HOME", "/").startswith("/"):
        del os.environ["HOME"]  # as if unset: the password file knows better
    places = {"config": platformdirs.user_config_path, "state": platformdirs.user_state_path}
    try:
        found = places[kind]("hfcal")
    except RuntimeError:  # newer releases say so, older ones return a relative path
        return None
    return found if found.is_absolute() else None
