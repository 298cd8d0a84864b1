"""The user's config file: written anew, or one key of it changed; never replaced by a bad one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcal.errors import ConfigError
from hfcal.files import make_private, replace_file
from hfcal.settings import Options, load
from hfcal.wake.wakers import Wakers

if TYPE_CHECKING:
    from hfcal.ids import JsonObject

_OPTIONAL = """
# What can be set besides, with what holds otherwise; docs/configuration.md tells more.
# heartbeat_interval = "30s"    # of watch; for status also how often cron ticks
# request_timeout = "10s"       # for a whole answer of the backend
# concurrency = 64              # requests at once
# due_check = false             # wait for a slot's own time, in place of the backend's word
# calendar_timezone = "UTC"     # of those times
# abandon_after = "4h"          # after which an agent that says nothing has lost its slot
# report_agent_status = true
# history_cap = 32
# state_file = "/an/absolute/path"
# group = "agents"              # who shares the state
# log_file = "/an/absolute/path"
# log_level = "warning"         # debug, info, warning or error
"""


def new_text(values: JsonObject) -> str:
    """A whole config file with these values."""
    import tomli_w

    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    plain = {key: value for key, value in values.items() if key not in tables}
    head = "# hfcal's settings; hfcal config show tells all that are in use.\n\n"
    return head + tomli_w.dumps(plain) + _OPTIONAL + "\n" + tomli_w.dumps(tables)


def changed_text(text: str, key: str, value: object) -> str:
    """The file's text with one key set; comments and order stay as they are.

    Args:
        text: The file's present text.
        key: Such as `agents` or `wake.command`.
        value: As TOML holds it.

    Raises:
        ConfigError: The text is no TOML, or the key leads through what is no table.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"it is no valid TOML: {error}") from error
    place: Any = document
    *tables, last = key.split(".")
    for name in tables:
        if name not in place:
            place[name] = tomlkit.table()
        place = place[name]
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {name} is no table")
    place[last] = value
    return tomlkit.dumps(document)


def value_of(text: str) -> object:
    """What a word on the command line means: a TOML value if it is one, else text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def save(path: Path, text: str, *, keep_mode: bool) -> None:
    """Put `text` in the place of the config file, if hfcal can run by it.

    A link is followed.

    Args:
        path: The config file.
        text: What it is to hold.
        keep_mode: Whether a file that is there keeps its mode; else it gets 0600, as a new one.

    Raises:
        ConfigError: It holds what isn't allowed, or can't be written; the file is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode & 0o777 if keep_mode and target.exists() else 0o600
        make_private(target.parent)
        trial = target.with_name(f".{target.name}.{os.getpid()}.trial")
        replace_file(trial, text.encode(), 0o600)
        try:
            _check(trial, path)
        finally:
            trial.unlink()
        replace_file(target, text.encode(), mode)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error


def _check(trial: Path, path: Path) -> None:
    try:
        settings = load(Options(config=trial), {})
        if settings.wake is not None:
            Wakers(settings, answer_on_stdout=False)
    except ConfigError as error:
        message = error.message.replace(str(trial), str(path))
        raise ConfigError(f"{message}; {path} was not changed") from error
