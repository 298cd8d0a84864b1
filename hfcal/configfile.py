"""The user's config file: written anew, or one key of it changed; never replaced by a bad one."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcal import readers
from hfcal.errors import ConfigError
from hfcal.files import make_private, replace_file
from hfcal.settings import KEYS, Options, load
from hfcal.state.locks import locked_directory
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


def change(path: Path, key: str, word: str) -> object:
    """Set one key of a config file to what a word on the command line means; returns that.

    Raises:
        ConfigError: The file can't be read or written, or would hold what isn't allowed.
    """
    target = Path(os.path.realpath(path))
    try:
        make_private(target.parent)
        # Or of two at once the later would undo what the first was told is done.
        with locked_directory(target.parent):
            value = value_of(key, word)
            try:
                changed = changed_text(read_text(path), key, value)
            except ConfigError as error:
                raise ConfigError(f"{path}: {error.message}; it was not changed") from error
            save(path, changed, keep_mode=True)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    except ConfigError as error:
        if not key.endswith("wake.adapter"):
            raise
        table = key.removesuffix(".adapter")
        example = f"hfcal config set {table} '{{adapter = \"{word}\"}}'"
        raise ConfigError(f"{error.message}; to replace the whole table: {example}") from error
    return value


def read_text(path: Path) -> str:
    """The file's text as it stands, line ends and all; empty without a file.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error


def names_in(key: str) -> list[str]:
    """The names in a dotted key, split and unquoted as TOML has it.

    Raises:
        ConfigError: It is no key, or an agent's id in it has dots and no quotes.
    """
    try:
        inner: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        inner = None
    names: list[str] = []
    while isinstance(inner, dict) and len(inner) == 1:
        ((name, inner),) = inner.items()
        names.append(name)
    if inner != 0:
        raise ConfigError(f"{key!r:.140} is no key; such as request_timeout or wake.timeout")
    if names[0] == "agent" and (len(names) < 3 or names[2] != "wake"):
        raise ConfigError(
            f"{key!r:.140} is no key; of one agent there is agent.ID.wake.KEY, and an id with dots "
            'stands in quotes: agent."my.agent".wake.adapter'
        )
    return names


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

    names = names_in(key)
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"it is no valid TOML: {error}") from error
    *tables, last = names
    place: Any = document
    for name in tables:
        if name not in place:
            inline = isinstance(place, tomlkit.items.InlineTable)
            place[name] = tomlkit.inline_table() if inline else tomlkit.table()
        place = place[name]
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {name} is no table")
    if isinstance(value, dict) and place is document:
        table = tomlkit.table()
        table.update(value)
        value = table
    is_new = last not in place
    place[last] = value
    changed: str = tomlkit.dumps(document)
    return (_inserted(text, tables, last, changed) or changed) if is_new else changed


def _inserted(text: str, tables: list[str], name: str, changed: str) -> str | None:
    """The text with a new key behind the last one of its table; None where that can't be seen.

    tomlkit would put it below the comments that belong to what follows. Whether it went where it
    should is told by what the whole text means then.
    """
    import tomlkit

    wanted = tomllib.loads(changed)
    lines = text.splitlines(keepends=True)
    heads = [at for at, line in enumerate(lines) if line.lstrip().startswith("[")]
    begin = 0
    if tables:
        own = f"[{'.'.join(tomlkit.key(table).as_string() for table in tables)}]"
        places = [at for at in heads if lines[at].split("#")[0].strip() == own]
        if not places:
            return None
        begin = places[0] + 1
    end = next((at for at in heads if at >= begin), len(lines))
    keys = [at for at in range(begin, end) if lines[at].strip() and lines[at].lstrip()[0] != "#"]
    if not keys and not tables:
        return None
    at = keys[-1] + 1 if keys else begin
    value: Any = wanted
    for table in [*tables, name]:
        value = value[table]
    line_end = "\r\n" if "\r\n" in text else "\n"
    if lines and not lines[at - 1].endswith("\n"):
        lines[at - 1] += line_end
    new = f"{tomlkit.key(name).as_string()} = {tomlkit.item(value).as_string()}{line_end}"
    result = "".join([*lines[:at], new, *lines[at:]])
    try:
        return result if tomllib.loads(result) == wanted else None
    except tomllib.TOMLDecodeError:
        return None


def value_of(key: str, word: str) -> object:
    """What a word on the command line means for a key: a TOML value if it may be one, else text."""
    try:
        meant: object = tomllib.loads(f"value = {word}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        meant = word
    if key in KEYS and meant is not word:
        try:
            KEYS[key].read(meant)
        except readers.BadValueError:
            meant = word
    if key == "agents" and isinstance(meant, str):
        return [part.strip() for part in meant.split(",")]
    return meant


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
        raise ConfigError(f"{message}; nothing was written") from error
