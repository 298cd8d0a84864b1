"""Settings: option, environment, config file, default become one frozen `Settings`.

Each key is declared once, in `KEYS`; docs/configuration.md tells them to people.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfcal.config import values as readers
from hfcal.core.ids import AGENT_IDS, JsonObject, valid_agent_id
from hfcal.errors import ConfigError, HfcalError, UnreadableConfigError, UsageError
from hfcal.system.files import read_regular

SYSTEM_CONFIG = Path("/etc/hfcal/config.toml")
SYSTEM_STATE = Path("/var/lib/hfcal/state.json")


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

    @property
    def _where(self) -> str:
        return str(self.config_file or "a config file (hfcal config init writes one)")

    def require_backend(self) -> None:
        """Raise `ConfigError` unless there is a backend to speak to."""
        if not self.backend_url:
            raise ConfigError(
                "backend_url is not set: set it in "
                f"{self._where}, HFCAL_BACKEND_URL or --backend-url"
            )

    def require_agents(self) -> None:
        """Raise `ConfigError` unless there are agents to keep."""
        if not self.agents:
            raise ConfigError(
                f"no agents are set: list them as agents in {self._where}"
                ", in HFCAL_AGENTS (comma-separated) or with --agent"
            )


@dataclass(eq=False, repr=False)
class _Key:
    """One setting: how its text or TOML value is read, and what it is called elsewhere."""

    read: Callable[[Any], Any]
    environment: str | None = None
    option: str | None = None

    @property
    def flag(self) -> str:
        """The option as people type it; empty without one."""
        if self.option == "agents":
            return "--agent"
        return f"--{self.option}".replace("_", "-") if self.option else ""


KEYS: Mapping[str, _Key] = {
    "backend_url": _Key(readers.url, "HFCAL_BACKEND_URL", "backend_url"),
    "claw_identifier": _Key(readers.claw, "HFCAL_CLAW_IDENTIFIER", "claw"),
    "agents": _Key(readers.agents, "HFCAL_AGENTS", "agents"),
    "state_file": _Key(readers.path, "HFCAL_STATE", "state"),
    "api_key": _Key(readers.secret, "HFCAL_API_KEY"),
    "api_key_file": _Key(readers.path),
    "heartbeat_interval": _Key(
        readers.within(0.1, 7 * 86_400), "HFCAL_HEARTBEAT_INTERVAL", "interval"
    ),
    "request_timeout": _Key(readers.within(0.1, 300), "HFCAL_REQUEST_TIMEOUT"),
    "concurrency": _Key(readers.whole(1, 512), "HFCAL_CONCURRENCY", "concurrency"),
    "history_cap": _Key(readers.whole(0, 10_000)),
    "abandon_after": _Key(readers.within(0, 366 * 86_400)),
    "due_check": _Key(readers.boolean, "HFCAL_DUE_CHECK"),
    "calendar_timezone": _Key(readers.zone),
    "report_agent_status": _Key(readers.boolean),
    "group": _Key(readers.group),
    "log_level": _Key(readers.one_of(*readers.LEVELS), "HFCAL_LOG_LEVEL"),
    "log_format": _Key(readers.one_of("text", "json"), "HFCAL_LOG_FORMAT", "log_format"),
    "log_file": _Key(readers.path, "HFCAL_LOG_FILE"),
}
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

    document: JsonObject = {}
    try:
        config_file, document = _read_config(options, environment, text)
    except ConfigError as error:
        wrong(error)
        # What it says can't be read; whose it is counts.
        system = config_path(options, environment) == SYSTEM_CONFIG
        config_file = SYSTEM_CONFIG if system else None
    if config_file is not None:
        for problem in _check_names(document):
            wrong(ConfigError(f"{config_file}: {problem}"))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, key in KEYS.items():
        try:
            found = _find(name, key, options, environment, document, config_file)
        except HfcalError as error:
            if key.option and getattr(options, key.option):
                raise  # whoever types an option is there to type it better
            wrong(error)
            continue
        if found is not None:
            values[name], sources[name] = found
    if values.get("api_key_file") and sources.get("api_key") != "environment":
        try:
            values["api_key"] = read_key_file(values["api_key_file"])
        except ConfigError as error:
            wrong(error)
    values.setdefault("claw_identifier", os.uname().nodename)
    if "state_file" not in values:
        values["state_file"] = _default_state(config_file)
    values["state_file"] = absolute(values["state_file"])
    wake, agents = document.get("wake"), document.get("agent")
    tables = agents.items() if isinstance(agents, dict) else ()
    return Settings(
        config_file=config_file,
        wake=wake if isinstance(wake, dict) else None,
        agent_wakes={
            agent_id: table["wake"]
            for agent_id, table in tables
            if isinstance(table, dict) and isinstance(table.get("wake"), dict)
        },
        sources=sources,
        **values,
    )


def with_present_key(settings: Settings) -> Settings:
    """The same settings, or others if the key file holds another key by now."""
    if settings.api_key_file is None or settings.sources.get("api_key") == "environment":
        return settings
    try:
        key = read_key_file(settings.api_key_file)
    except ConfigError:  # about to be written, perhaps
        return settings
    return settings if key == settings.api_key else replace(settings, api_key=key)


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
        raise UnreadableConfigError(
            f"{path} is no valid TOML: {readers.toml_fault(error)}"
        ) from error
    return path, document


def _check_names(document: JsonObject) -> Iterator[str]:
    """What is wrong with the names and tables of a config file."""
    known = [*KEYS, *_TABLES]
    for name in document:
        if name not in known:
            yield f"unknown key {name!r:.60}; {readers.closest(name, known)}"
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
        return _read(name, key, given, key.flag), "option"
    text = environment.get(key.environment, "") if key.environment else ""
    if text:
        return _read(name, key, text, str(key.environment)), "environment"
    if name in document and config_file is not None:
        value = _read(name, key, document[name], f"{config_file}: {name}")
        if isinstance(value, Path) and value != readers.STDERR:
            # One file, from whatever folder hfcal is called: cron's is not the agents'.
            value = absolute(config_file.parent / value)
        return value, "file"
    return None


def from_option(name: str, value: object) -> Any:
    """What is meant by the option that sets this key.

    Raises:
        UsageError: It isn't allowed.
    """
    return _read(name, KEYS[name], value, KEYS[name].flag)


def _read(name: str, key: _Key, value: object, where: str) -> object:
    try:
        return key.read(value)
    except readers.BadValueError as error:
        secret = name == "api_key" or (name == "backend_url" and "@" in str(value))
        shown = "(secret)" if secret else readers.shown(value)
        message = f"{where} = {shown}: {error}"
        if name == "state_file":
            message += "; HFCAL_STATE and --state say it as well"
        usage = where.startswith("--") or where == "HFCAL_AGENTS"
        wrong: HfcalError = UsageError(message) if usage else ConfigError(message)
        wrong.setting = name
        wrong.variable = where if where == key.environment else ""
        raise wrong from None


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
