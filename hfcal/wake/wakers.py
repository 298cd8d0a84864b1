"""The adapters of one host, by the `[wake]` tables; a new adapter gets its line here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hfcal.config.settings import Settings
from hfcal.config.table import ADAPTERS, WakeTable
from hfcal.config.values import shown
from hfcal.core.ids import JsonObject
from hfcal.errors import ConfigError
from hfcal.wake.adapter import Adapter, HasRetention, ServiceRequirements

DEFAULT_PARALLEL = 8


class Wakers:
    """The adapters of one host: the `[wake]` table's, and those of single agents.

    Args:
        settings: With the tables.
        answer_on_stdout: Whether stdout holds the command's own JSON, so `print` uses stderr.

    Raises:
        ConfigError: A table is missing or holds something that isn't allowed.
    """

    def __init__(self, settings: Settings, *, answer_on_stdout: bool) -> None:
        if settings.wake is None and any(a not in settings.agent_wakes for a in settings.agents):
            raise ConfigError(
                "no [wake] table says how agents are woken: add one to "
                f"{settings.config_file or 'a config file'}, for example:  "
                '[wake]  adapter = "command"  command = ["my-agent", "--message", "{message}"]'
            )
        common = settings.wake or {}
        place = settings.state_file
        try:
            self.parallel = _parallel(common)
            self._default = (
                _adapter(common, "wake", place, answer_on_stdout) if settings.wake else None
            )
            self._own = {
                agent_id: _adapter(table, f"agent.{agent_id}.wake", place, answer_on_stdout)
                for agent_id, table in settings.agent_wakes.items()
            }
        except ConfigError as error:
            raise ConfigError(f"{settings.config_file}: {error.message}") from error

    @property
    def adapters(self) -> dict[str, Adapter]:
        """All adapters, by the names of their tables."""
        own = {f"agent.{agent_id}.wake": adapter for agent_id, adapter in self._own.items()}
        return own if self._default is None else {"wake": self._default, **own}

    @property
    def needs(self) -> ServiceRequirements:
        """What the wakes of all tables together ask of the service that hfcal runs as."""
        each = [adapter.needs() for adapter in self.adapters.values()]
        return ServiceRequirements(
            seconds=max((needs.seconds for needs in each), default=0.0),
            programs=any(needs.programs for needs in each),
            reads=tuple(path for needs in each for path in needs.reads),
            writes=tuple(path for needs in each for path in needs.writes),
            variables=tuple(dict.fromkeys(name for needs in each for name in needs.variables)),
        )

    def of(self, agent_id: str) -> Adapter:
        """The adapter that wakes this agent.

        Raises:
            ConfigError: No table says how.
        """
        adapter = self._own.get(agent_id, self._default)
        if adapter is None:
            raise ConfigError(f"neither [wake] nor [agent.{agent_id}.wake] says how to wake it")
        return adapter

    def tidy(self, agent_ids: Iterable[str]) -> None:
        """Bound what these agents' adapters keep."""
        for agent_id in agent_ids:
            adapter: object = self._own.get(agent_id, self._default)
            if isinstance(adapter, HasRetention):
                adapter.tidy(agent_id)


def check_wakes(settings: Settings) -> None:
    """Raise `ConfigError` if the settings have wake tables that no adapter can use."""
    if settings.wake is not None:
        Wakers(settings, answer_on_stdout=False)


def _adapter(
    table: JsonObject,
    where: str,
    state_file: Path,
    answer_on_stdout: bool,  # noqa: FBT001
) -> Adapter:
    reader = WakeTable(table, where)
    if where == "wake":
        reader.take("parallel")
    adapter = _made(reader, state_file, answer_on_stdout)
    reader.end()
    return adapter


def _made(reader: WakeTable, state_file: Path, answer_on_stdout: bool) -> Adapter:  # noqa: FBT001
    """The adapter that a table names; only its own module is imported."""
    match reader.one_of("adapter", ADAPTERS):
        case "command":
            from hfcal.wake.command import CommandAdapter

            return CommandAdapter.from_table(reader, state_file.parent / "log")
        case "webhook":
            from hfcal.wake.webhook import WebhookAdapter

            return WebhookAdapter.from_table(reader)
        case "openclaw":
            from hfcal.wake.openclaw import OpenClawAdapter

            return OpenClawAdapter.from_table(reader)
        case "spool":
            from hfcal.wake.spool import SpoolAdapter

            return SpoolAdapter.from_table(reader)
        case _:
            from hfcal.wake.printing import PrintAdapter

            return PrintAdapter(to_stderr=answer_on_stdout)


def _parallel(table: JsonObject) -> int:
    value = table.get("parallel", DEFAULT_PARALLEL)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 64:
        raise ConfigError(f"wake.parallel = {shown(value)}: allowed: a whole number from 1 to 64")
    return value
