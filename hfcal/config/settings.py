"""What settings there are: one frozen `Settings`, and how each value is read.

Each key is declared once, in `KEYS`; docs/configuration.md tells them to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfcal.config import values
from hfcal.core.ids import JsonObject
from hfcal.errors import ConfigError, HfcalError, UsageError


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
class Key:
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


KEYS: Mapping[str, Key] = {
    "backend_url": Key(values.url, "HFCAL_BACKEND_URL", "backend_url"),
    "claw_identifier": Key(values.claw, "HFCAL_CLAW_IDENTIFIER", "claw"),
    "agents": Key(values.agents, "HFCAL_AGENTS", "agents"),
    "state_file": Key(values.path, "HFCAL_STATE", "state"),
    "api_key": Key(values.secret, "HFCAL_API_KEY"),
    "api_key_file": Key(values.path),
    "heartbeat_interval": Key(
        values.within(0.1, 7 * 86_400), "HFCAL_HEARTBEAT_INTERVAL", "interval"
    ),
    "request_timeout": Key(values.within(0.1, 300), "HFCAL_REQUEST_TIMEOUT"),
    "concurrency": Key(values.whole(1, 512), "HFCAL_CONCURRENCY", "concurrency"),
    "history_cap": Key(values.whole(0, 10_000)),
    "abandon_after": Key(values.within(0, 366 * 86_400)),
    "due_check": Key(values.boolean, "HFCAL_DUE_CHECK"),
    "calendar_timezone": Key(values.zone),
    "report_agent_status": Key(values.boolean),
    "group": Key(values.group),
    "log_level": Key(values.one_of(*values.LEVELS), "HFCAL_LOG_LEVEL"),
    "log_format": Key(values.one_of("text", "json"), "HFCAL_LOG_FORMAT", "log_format"),
    "log_file": Key(values.path, "HFCAL_LOG_FILE"),
}


def from_option(name: str, value: object) -> Any:
    """What is meant by the option that sets this key.

    Raises:
        UsageError: It isn't allowed.
    """
    return read_value(name, value, KEYS[name].flag)


def read_value(name: str, value: object, where: str) -> Any:
    """What is meant by a value of the key `name`.

    Args:
        name: The key.
        value: A text, or what the config file holds.
        where: What it came from, for messages: an option, a variable, or file and key.

    Raises:
        UsageError: It isn't allowed, and was typed.
        ConfigError: It isn't allowed.
    """
    key = KEYS[name]
    try:
        return key.read(value)
    except values.BadValueError as error:
        secret = name == "api_key" or (name == "backend_url" and "@" in str(value))
        shown = "(secret)" if secret else values.shown(value)
        message = f"{where} = {shown}: {error}"
        if name == "state_file":
            message += "; HFCAL_STATE and --state say it as well"
        usage = where.startswith("--") or where == "HFCAL_AGENTS"
        wrong: HfcalError = UsageError(message) if usage else ConfigError(message)
        wrong.setting = name
        wrong.variable = where if where == key.environment else ""
        raise wrong from None
