"""Settings: option, environment, config file, default become one frozen `Settings`.

Each key is declared once, in `KEYS`; docs/configuration.md tells them to people.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfcal.errors import ConfigError, HfcalError, UsageError
from hfcal.ids import JsonObject, valid_agent_id

SYSTEM_CONFIG = Path("/etc/hfcal/config.toml")
SYSTEM_STATE = Path("/var/lib/hfcal/state.json")

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+|\d+(?:\.\d+)?"
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)"


@dataclass(frozen=True, eq=False, repr=False)
class Options:
    """What the command line said that settings depend on; None for what it didn't."""

    config: Path | None = None
    state: Path | None = None
    backend_url: str | None = None
    claw: str | None = None
    agents: tuple[str, ...] = ()
    concurrency: str | None = None
    interval: str | None = None
    log_format: str | None = None


@dataclass(frozen=True, eq=False)
class Settings:
    """All settings of one run. Durations are in seconds.

    Attributes:
        config_file: The config file in use, None without one.
        sources: Where each key's value came from: `option`, `environment`, `file` or `default`.
        wake: The `[wake]` table, None without one.
        agent_wakes: The `[agent.<id>.wake]` tables, by agent id.
    """

    config_file: Path | None
    state_file: Path
    backend_url: str = ""
    claw_identifier: str = ""
    agents: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)
    api_key_file: Path | None = None
    heartbeat_interval: float = 30.0
    request_timeout: float = 10.0
    concurrency: int = 64
    history_cap: int = 32
    abandon_after: float = 4 * 3600.0
    due_check: bool = False
    calendar_timezone: str = "UTC"
    report_agent_status: bool = True
    group: str = ""
    log_level: str = "warning"
    log_format: str = "text"
    log_file: Path | None = None
    wake: JsonObject | None = None
    agent_wakes: Mapping[str, JsonObject] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def require_backend(self) -> None:
        """Raise `ConfigError` unless there is a backend to speak to."""
        if not self.backend_url:
            raise ConfigError(
                "backend_url is not set: set it in "
                f"{self.config_file or 'the config file'}, HFCAL_BACKEND_URL or --backend-url"
            )

    def require_agents(self) -> None:
        """Raise `ConfigError` unless there are agents to keep."""
        if not self.agents:
            raise ConfigError(
                f"no agents are set: list them as agents in {self.config_file or 'the config file'}"
                ", in HFCAL_AGENTS (comma-separated) or with --agent"
            )


class _BadValueError(ValueError):
    """A value isn't allowed; the message says what is."""


@dataclass(eq=False, repr=False)
class _Key:
    """One setting: how its text or TOML value is read, and what it is called elsewhere."""

    read: Callable[[Any], Any]
    environment: str | None = None
    option: str | None = None


def duration(value: object, *, least: float = 0.0, most: float = 366 * 86_400.0) -> float:
    """Seconds from a number or text like `90s`, `30m`, `1h30m`.

    Raises:
        ValueError: It is no duration, or out of range; the message says what is allowed.
    """
    allowed = f"allowed: seconds or text like 90s, 30m, 4h, from {least:g} s to {most:g} s"
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e15 else -1.0
    elif isinstance(value, str) and re.fullmatch(_DURATION, value.strip()):
        parts = re.findall(_DURATION_PART, value.strip())
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts if number)
    if not least <= seconds <= most:
        raise _BadValueError(allowed)
    return seconds


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    return lambda value: duration(value, least=least, most=most)


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            value = int(value.strip()[:12])
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _BadValueError(f"allowed: a whole number from {least} to {most}")
        return value

    return read


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise _BadValueError("allowed: true or false")


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        raise _BadValueError(f"allowed: {', '.join(words)}")

    return read


def _url(value: object) -> str:
    allowed = "allowed: a URL like http://127.0.0.1:8000 or https://host/prefix"
    if not isinstance(value, str):
        raise _BadValueError(allowed)
    url = value.strip().rstrip("/")
    scheme, found, rest = url.partition("://")
    if not found or scheme.lower() not in {"http", "https"} or not rest.split("/")[0]:
        raise _BadValueError(allowed)
    if not url.isascii() or not url.isprintable() or " " in url or "?" in url or "#" in url:
        raise _BadValueError(allowed)
    if "@" in rest.split("/")[0]:
        raise _BadValueError(f"{allowed}, without user or password: use api_key")
    return url


def _claw(value: object) -> str:
    if valid_agent_id(value):
        return str(value)
    raise _BadValueError("allowed: 1 to 128 printable ASCII characters without space")


def _agents(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise _BadValueError("allowed: a list of agent ids")
    for agent_id in value:
        if not valid_agent_id(agent_id):
            raise _BadValueError(
                f"{agent_id!r:.140} is no agent id; "
                "allowed: 1 to 128 printable ASCII characters without space"
            )
    return tuple(dict.fromkeys(value))


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise _BadValueError("allowed: a path")
    path = os.path.expanduser(value)  # noqa: PTH111  # Path raises without a home
    if path.startswith("~"):
        raise _BadValueError("allowed: an absolute path, as there is no such home directory")
    return Path(path)


def _secret(value: object) -> str:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isprintable():
        return value.strip()
    raise _BadValueError("allowed: printable ASCII characters")


def _zone(value: object) -> str:
    if isinstance(value, str):
        if value == "UTC":
            return value
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return value
    raise _BadValueError("allowed: a time zone's name like UTC or Europe/Berlin")


def _group(value: object) -> str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        from hfcal.files import group_number

        try:
            group_number(str(value))
        except (KeyError, ValueError):
            pass
        else:
            return str(value)
    raise _BadValueError("allowed: the name or number of a group of this host")


KEYS: Mapping[str, _Key] = {
    "backend_url": _Key(_url, "HFCAL_BACKEND_URL", "backend_url"),
    "claw_identifier": _Key(_claw, "HFCAL_CLAW_IDENTIFIER", "claw"),
    "agents": _Key(_agents, "HFCAL_AGENTS", "agents"),
    "state_file": _Key(_path, "HFCAL_STATE", "state"),
    "api_key": _Key(_secret, "HFCAL_API_KEY"),
    "api_key_file": _Key(_path),
    "heartbeat_interval": _Key(_seconds(0.1, 7 * 86_400), "HFCAL_HEARTBEAT_INTERVAL", "interval"),
    "request_timeout": _Key(_seconds(0.1, 300), "HFCAL_REQUEST_TIMEOUT"),
    "concurrency": _Key(_whole(1, 512), "HFCAL_CONCURRENCY", "concurrency"),
    "history_cap": _Key(_whole(0, 10_000)),
    "abandon_after": _Key(_seconds(0, 366 * 86_400.0)),
    "due_check": _Key(_boolean, "HFCAL_DUE_CHECK"),
    "calendar_timezone": _Key(_zone),
    "report_agent_status": _Key(_boolean),
    "group": _Key(_group),
    "log_level": _Key(_one_of("debug", "info", "warning", "error"), "HFCAL_LOG_LEVEL"),
    "log_format": _Key(_one_of("text", "json"), "HFCAL_LOG_FORMAT", "log_format"),
    "log_file": _Key(_path, "HFCAL_LOG_FILE"),
}
_TABLES = ("wake", "agent")


def load(options: Options, environment: Mapping[str, str], *, lenient: bool = False) -> Settings:
    """Settle all settings.

    Args:
        options: What the command line said.
        environment: Usually `os.environ`; an empty variable counts as unset.
        lenient: Take what can be read and pass over the rest, for commands that an agent calls.

    Raises:
        ConfigError: A value isn't allowed, a key is unknown, or a file can't be read.
        UsageError: An option, or an agent id in the environment, isn't allowed.
    """
    try:
        config_file, document = _read_config(options, environment)
    except ConfigError:
        if not lenient:
            raise
        config_file, document = None, {}
        if config_path(options, environment) == SYSTEM_CONFIG:
            config_file = SYSTEM_CONFIG  # what it says can't be read; whose it is counts
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, key in KEYS.items():
        try:
            found = _find(name, key, options, environment, document, config_file)
        except HfcalError:
            if not lenient:
                raise
            continue
        if found is not None:
            values[name], sources[name] = found
    if values.get("api_key_file") and sources.get("api_key") != "environment":
        try:
            values["api_key"] = _read_key_file(values["api_key_file"])
        except ConfigError:
            if not lenient:
                raise
    values.setdefault("claw_identifier", os.uname().nodename)
    if "state_file" not in values:
        values["state_file"] = _default_state(config_file)
    values["state_file"] = Path(os.path.abspath(values["state_file"]))  # noqa: PTH100
    wakes = {
        agent_id: table["wake"]
        for agent_id, table in document.get("agent", {}).items()
        if "wake" in table
    }
    return Settings(
        config_file=config_file,
        wake=document.get("wake"),
        agent_wakes=wakes,
        sources=sources,
        **values,
    )


def config_path(options: Options, environment: Mapping[str, str]) -> Path:
    """The config file in use; when there is none, where the user's would be.

    Raises:
        ConfigError: The user has no home directory and nothing else says where.
    """
    if options.config is not None:
        return _absolute(options.config)
    if environment.get("HFCAL_CONFIG"):
        return _absolute(Path(environment["HFCAL_CONFIG"]))
    users = _user_directory("config")
    if users is None:
        return SYSTEM_CONFIG
    mine = users / "config.toml"
    return SYSTEM_CONFIG if not _exists(mine) and _exists(SYSTEM_CONFIG) else mine


def closest(word: str, known: list[str]) -> str:
    """A hint at the known word that is closest, or at all of them."""
    import difflib

    near = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111


def _read_config(
    options: Options, environment: Mapping[str, str]
) -> tuple[Path | None, JsonObject]:
    path = config_path(options, environment)
    named = options.config is not None or bool(environment.get("HFCAL_CONFIG"))
    import tomllib

    try:
        with path.open("rb") as stream:
            document = tomllib.load(stream)
    except FileNotFoundError:
        if named:
            raise ConfigError(
                f"{path} does not exist; write it, or name another with --config"
            ) from None
        return None, {}
    except OSError as error:
        if error.errno == 20:  # a part of the path is a file
            return None, {}
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}") from error
    _check_names(path, document)
    return path, document


def _check_names(path: Path, document: JsonObject) -> None:
    known = [*KEYS, *_TABLES]
    for name in document:
        if name not in known:
            raise ConfigError(f"{path}: unknown key {name!r:.60}; {closest(name, known)}")
    if not isinstance(document.get("wake", {}), dict):
        raise ConfigError(f"{path}: wake must be a table, [wake]")
    agents = document.get("agent", {})
    if not isinstance(agents, dict):
        raise ConfigError(f"{path}: agent must hold tables like [agent.developer.wake]")
    for agent_id, table in agents.items():
        if not valid_agent_id(agent_id):
            raise ConfigError(
                f"{path}: [agent.{agent_id!r:.140}] is no agent id; "
                "allowed: 1 to 128 printable ASCII characters without space"
            )
        if not isinstance(table, dict) or not isinstance(table.get("wake", {}), dict):
            raise ConfigError(f"{path}: agent.{agent_id} must hold a table [agent.{agent_id}.wake]")
        for name in table:
            if name != "wake":
                raise ConfigError(
                    f"{path}: unknown key agent.{agent_id}.{name}; did you mean wake?"
                )


def _find(
    name: str,
    key: _Key,
    options: Options,
    environment: Mapping[str, str],
    document: JsonObject,
    config_file: Path | None,
) -> tuple[Any, str] | None:
    """The value of one key and where it came from, or None when only the default is left."""
    given = getattr(options, key.option) if key.option else None
    if given:
        where = "--agent" if name == "agents" else f"--{key.option}".replace("_", "-")
        return _read(name, key, given, where), "option"
    text = environment.get(key.environment, "") if key.environment else ""
    if text:
        return _read(name, key, text, str(key.environment)), "environment"
    if name in document:
        return _read(name, key, document[name], f"{config_file}: {name}"), "file"
    return None


def _read(name: str, key: _Key, value: object, where: str) -> object:
    try:
        return key.read(value)
    except _BadValueError as error:
        secret = name == "api_key" or (name == "backend_url" and "@" in str(value))
        shown = "(secret)" if secret else f"{value!r:.140}"
        message = f"{where} = {shown}: {error}"
        if name == "state_file":
            message += "; HFCAL_STATE and --state say it as well"
        if where.startswith("--") or where == "HFCAL_AGENTS":
            raise UsageError(message) from None
        raise ConfigError(message) from None


def _read_key_file(path: Path) -> str:
    try:
        text = path.read_bytes()[:10_000].decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"api_key_file {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable():
        raise ConfigError(f"api_key_file {path} must hold one line of printable ASCII")
    return text


def _default_state(config_file: Path | None) -> Path:
    if config_file == SYSTEM_CONFIG:
        return SYSTEM_STATE
    directory = _user_directory("state")
    if directory is None:
        raise ConfigError(
            "there is no home directory to keep the state in (no HOME, and no entry in the "
            "password file): set HFCAL_STATE to an absolute path"
        )
    return directory / "state.json"


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
