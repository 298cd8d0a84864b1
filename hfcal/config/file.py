"""The user's config file: written whole, or one key of it changed; never replaced by a bad one."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hfcal.config import values as readers
from hfcal.config.load import load
from hfcal.config.paths import absolute
from hfcal.config.settings import KEYS, Options, Settings
from hfcal.config.table import ADAPTERS
from hfcal.config.toml_edit import Names, changed, dotted, quoted, written
from hfcal.errors import ConfigError, UsageError
from hfcal.system.files import make_private, read_regular, replace_file
from hfcal.system.locks import locked_directory

if TYPE_CHECKING:
    from hfcal.core.ids import JsonObject

CheckWakes = Callable[[Settings], None]

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


def change(path: Path, names: Names, word: str, check_wakes: CheckWakes) -> object:
    """Set one key of a config file to what a word on the command line means; returns that.

    Args:
        path: The config file.
        names: The key, split at its dots.
        word: The value, as it was typed.
        check_wakes: As of `check`.

    Raises:
        UsageError: The file would hold what isn't allowed, and does not now.
        ConfigError: The file can't be read or written, or is wrong as it is.
    """
    value = value_of(names, word)
    target = Path(os.path.realpath(path))
    try:
        make_private(target.parent)
        # Or of two at once the later would undo what the first was told is done.
        with locked_directory(target.parent):
            before = read_text(path)
            try:
                after = changed(before, names, value)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error.message}; it was not changed") from error
            try:
                check(path, after, check_wakes)
            except ConfigError as error:
                if not is_right(path, check_wakes):
                    raise
                raise UsageError(error.message + _hint(names, word)) from error
            save(path, after, keep_mode=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return value


def _hint(names: Names, word: str) -> str:
    """What a person most likely wants who sets an adapter that its table's keys don't fit."""
    if names[-2:] != ("wake", "adapter") or word not in ADAPTERS:
        return ""
    table, value = quoted(names[:-1]), written({"adapter": word})
    return f"; to replace the whole table: {shlex.join(['hfcal', 'config', 'set', table, value])}"


def read_text(path: Path) -> str:
    """The file's text as it stands, line ends and all; empty without a file.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        return read_regular(path).decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def names_in(key: str) -> Names:
    """The names in a dotted key, split and unquoted as TOML has it.

    Raises:
        UsageError: It is no key, or an agent's id in it has dots and no quotes.
    """
    names = dotted(key)
    if names is None:
        raise UsageError(f"{key!r:.140} is no key; such as request_timeout or wake.timeout")
    if names[0] == "agent" and (len(names) < 3 or names[2] != "wake"):
        raise UsageError(
            f"{key!r:.140} is no key; of one agent there is agent.ID.wake.KEY, and an id with dots "
            'stands in quotes: agent."my.agent".wake.adapter'
        )
    return names


def value_of(names: Names, word: str) -> object:
    """What a word on the command line means for a key: a TOML value if it may be one, else text.

    Raises:
        UsageError: The key is `agents`, and the word no list of them.
    """
    meant = _toml_value(word)
    key = KEYS.get(names[0]) if len(names) == 1 else None
    if key is None:
        return meant
    if key.read is readers.agents:
        return _agents(word, meant)
    try:
        key.read(meant)
    except readers.BadValueError:
        meant = word
    if key.read is readers.path and isinstance(meant, str) and Path(meant) != readers.STDERR:
        # As of any command's words: from this folder, whatever folder the file is in.
        return str(absolute(Path(meant)))
    return meant


def _toml_value(word: str) -> object:
    """The one TOML value that a word is; else the word itself."""
    try:
        found = tomllib.loads(f"value = [{word}, 0]")
        values = found.pop("value")
        if found or len(values) != 2:
            return word
        written(values[0])
    except (ValueError, RecursionError):
        return word
    else:
        value: object = values[0]
        return value


def _agents(word: str, meant: object) -> list[str]:
    given = meant if isinstance(meant, list | str) else word
    how = 'a list of texts like ["developer", "operator"], or ids with commas between them'
    # A list with an error in it is no id, though it could be one.
    found: tuple[str, ...] = ()
    if not (isinstance(given, str) and given.lstrip().startswith("[")):
        try:
            found = readers.agents(given)
        except readers.BadValueError as error:
            raise UsageError(f"agents = {readers.shown(word)}: {error}, in {how}") from error
    if not found and given != []:
        raise UsageError(f"agents = {readers.shown(word)}: allowed: {how}")
    return list(found)


def check(path: Path, text: str, check_wakes: CheckWakes) -> None:
    """Raise `ConfigError` unless hfcal can run by a config file at `path` that holds `text`.

    Args:
        path: Where the file is, or will be.
        text: What it holds, or is about to hold.
        check_wakes: Raises `ConfigError` for wake tables that no adapter can use; the adapters
            stand above this package, so they are handed in.
    """
    try:
        settings = load(Options(config=path), {}, text=text)
        check_wakes(settings)
    except ConfigError as error:
        raise ConfigError(f"{error.message}; nothing was written") from error


def is_right(path: Path, check_wakes: CheckWakes) -> bool:
    """Whether hfcal can run by the config file that is there, if one is."""
    try:
        check(path, read_text(path), check_wakes)
    except ConfigError:
        return False
    return True


def save(path: Path, text: str, *, keep_mode: bool) -> None:
    """Put `text` in the place of the config file; a link is followed.

    Args:
        path: The config file.
        text: What it is to hold.
        keep_mode: Whether a file that is there keeps its mode; else it gets 0600, as a new one.

    Raises:
        ConfigError: It can't be written; the file is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode & 0o777 if keep_mode and target.exists() else 0o600
        make_private(target.parent)
        replace_file(target, text.encode(), mode)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
