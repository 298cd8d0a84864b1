"""All settings from their sources: option, environment, config file, default."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfcal.config import paths
from hfcal.config.paths import absolute, config_path, default_state
from hfcal.config.settings import KEYS, Key, Options, Settings, read_value
from hfcal.config.values import STDERR, closest, toml_fault
from hfcal.core.ids import AGENT_IDS, JsonObject, valid_agent_id
from hfcal.errors import ConfigError, HfcalError, UnreadableConfigError
from hfcal.system.files import read_regular

_TABLES = ("wake", "agent")


def load(
    options: Options,
    environment: Mapping[str, str],
    *,
    pass_over: Callable[[HfcalError], None] | None = None,
    text: str | None = None,
) -> Settings:
    """Settle all settings.

    Args:
        options: What the command line said.
        environment: Usually `os.environ`; an empty variable counts as unset.
        pass_over: Called with what is wrong, for commands that go on with the rest; without it
            that is raised.
        text: What the config file is about to hold, in place of what it holds.

    Raises:
        ConfigError: A value isn't allowed, a key is unknown, or a file can't be read.
        UsageError: An option, or an agent id in the environment, isn't allowed.
    """

    def wrong(error: HfcalError) -> None:
        if pass_over is None:
            raise error
        pass_over(error)

    file = _read_file(options, environment, text, wrong)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, key in KEYS.items():
        # Not passed over: whoever types an option is there to type it better.
        found = _from_option(name, key, options)
        try:
            found = found or _from_environment(name, key, environment) or _from_file(name, file)
        except HfcalError as error:
            wrong(error)
            continue
        if found is not None:
            values[name], sources[name] = found
    if values.get("api_key_file") and sources.get("api_key") != "environment":
        try:
            values["api_key"] = read_key_file(values["api_key_file"])
        except ConfigError as error:
            wrong(error)
    values = _defaults(values, file) | values
    values["state_file"] = absolute(values["state_file"])
    return Settings(config_file=file.path, sources=sources, **values, **_wake_tables(file))


@dataclass(frozen=True, eq=False, repr=False)
class _File:
    """What the config file says.

    Attributes:
        path: Where it is; None without one.
        document: What it holds; empty if that can't be read.
    """

    path: Path | None
    document: JsonObject


_Found = tuple[Any, str] | None  # a value and the name of its source


def _from_option(name: str, key: Key, options: Options) -> _Found:
    given = getattr(options, key.option) if key.option else None
    return (read_value(name, given, key.flag), "option") if given else None


def _from_environment(name: str, key: Key, environment: Mapping[str, str]) -> _Found:
    text = environment.get(key.environment, "") if key.environment else ""
    return (read_value(name, text, str(key.environment)), "environment") if text else None


def _from_file(name: str, file: _File) -> _Found:
    if file.path is None or name not in file.document:
        return None
    value = read_value(name, file.document[name], f"{file.path}: {name}")
    if isinstance(value, Path) and value != STDERR:
        # One file, from whatever folder hfcal is called: cron's is not the agents'.
        value = absolute(file.path.parent / value)
    return value, "file"


def _defaults(given: Mapping[str, Any], file: _File) -> JsonObject:
    """What `Settings` itself can't know."""
    found: JsonObject = {"claw_identifier": os.uname().nodename}
    if "state_file" not in given:  # without a home directory it can't be asked for
        found["state_file"] = default_state(file.path)
    return found


def _wake_tables(file: _File) -> JsonObject:
    wake, agents = file.document.get("wake"), file.document.get("agent")
    tables = agents.items() if isinstance(agents, dict) else ()
    return {
        "wake": wake if isinstance(wake, dict) else None,
        "agent_wakes": {
            agent_id: table["wake"]
            for agent_id, table in tables
            if isinstance(table, dict) and isinstance(table.get("wake"), dict)
        },
    }


def _read_file(
    options: Options,
    environment: Mapping[str, str],
    text: str | None,
    wrong: Callable[[HfcalError], None],
) -> _File:
    try:
        file = _File(*_read_config(options, environment, text))
    except ConfigError as error:
        wrong(error)
        # What it says can't be read; whose it is counts.
        system = config_path(options, environment) == paths.SYSTEM_CONFIG
        return _File(paths.SYSTEM_CONFIG if system else None, {})
    if file.path is not None:
        for problem in _check_names(file.document):
            wrong(ConfigError(f"{file.path}: {problem}"))
    return file


def with_present_key(settings: Settings) -> Settings:
    """The same settings, or others if the key file holds another key by now."""
    if settings.api_key_file is None or settings.sources.get("api_key") == "environment":
        return settings
    try:
        key = read_key_file(settings.api_key_file)
    except ConfigError:  # about to be written, perhaps
        return settings
    return settings if key == settings.api_key else replace(settings, api_key=key)


def read_key_file(path: Path) -> str:
    """The key in a file.

    Raises:
        ConfigError: It can't be read, or holds no key.
    """
    try:
        text = read_regular(path)[:10_000].decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"api_key_file {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise ConfigError(f"api_key_file {path} must hold one line of printable ASCII")
    return text


def _read_config(
    options: Options, environment: Mapping[str, str], text: str | None
) -> tuple[Path | None, JsonObject]:
    path = config_path(options, environment)
    named = options.config is not None or bool(environment.get("HFCAL_CONFIG"))
    import tomllib

    try:
        content = read_regular(path) if text is None else text.encode()
        document = tomllib.loads(content.decode())
    except FileNotFoundError:
        if named:
            raise UnreadableConfigError(
                f"{path} does not exist; write it, or name another with --config"
            ) from None
        return None, {}
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            return None, {}
        raise UnreadableConfigError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableConfigError(f"{path} is no valid TOML: {toml_fault(error)}") from error
    return path, document


def _check_names(document: JsonObject) -> Iterator[str]:
    """What is wrong with the names and tables of a config file."""
    known = [*KEYS, *_TABLES]
    for name in document:
        if name not in known:
            yield f"unknown key {name!r:.60}; {closest(name, known)}"
    if not isinstance(document.get("wake", {}), dict):
        yield "wake must be a table, [wake]"
    agents = document.get("agent", {})
    if not isinstance(agents, dict):
        yield "agent must hold tables like [agent.developer.wake]"
        return
    for agent_id, table in agents.items():
        if not valid_agent_id(agent_id):
            yield f"[agent.{agent_id!r:.140}] is no agent id; {AGENT_IDS}"
        if not isinstance(table, dict) or not isinstance(table.get("wake", {}), dict):
            yield f"agent.{agent_id} must hold a table [agent.{agent_id}.wake]"
            continue
        for name in table:
            if name != "wake":
                yield f"unknown key agent.{agent_id}.{name}; did you mean wake?"
