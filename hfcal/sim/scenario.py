"""A scenario: what the simulated backend holds when it starts. See docs/simulator.md, Scenario."""

import json
import tomllib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from hfcal.sim.faults import PlannedFault, parse_fault
from hfcal.sim.reading import ScenarioError, ScenarioTable, as_json
from hfcal.sim.switches import Switches, parse_switches
from hfcal.sim.tricks import EACH, NO_TRICKS, Tricks
from hfcal.sim.words import AGENT_STATUSES, EVENT_TYPES, SLOT_STATUSES, SLOT_TYPES

__all__ = [
    "AgentSpec",
    "Scenario",
    "ScenarioError",
    "SlotSpec",
    "load_scenario",
    "parse_agents",
    "parse_scenario",
    "parse_slot",
]

LARGEST_ID = 2**63 - 1
KEYS = (
    "claw_identifier",
    "agents",
    "slots",
    "api_key",
    "message",
    "now",
    "seed",
    "switches",
    "faults",
)
AGENT_KEYS = ("id", "bound", "status")
SLOT_KEYS = (
    "agent",
    "id",
    "plan_id",
    "virtual",
    "admin_made",
    "user_id",
    "special_slot_id",
    "date",
    "slot_type",
    "estimated_duration",
    "scheduled_at",
    "started_at",
    "attended",
    "actual_duration",
    "event_type",
    "event_data",
    "priority",
    "status",
    "is_admin_locked",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """An agent: `bound` false answers 404, as for an agent that nobody has bound to the claw.

    A `status` of None is idle for a new agent and no change for one that is there.
    """

    agent_id: str
    bound: bool = True
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSpec:
    """A slot's values; docs/protocol.md, Slot, says what each field means.

    Attributes:
        day: its `date`; None for the day (UTC, by the simulator's clock) on which it is added.
        virtual: it has no id until its first update.
        admin_made: it appears only after /calendar/sync was asked on its date.
        estimated_duration: minutes, 1 to 50.
        actual_duration: minutes, 1 to 1440.
        scheduled_at: `HH:MM:SS`, as `started_at`.
        extra: fields that the protocol doesn't know, passed on as they are.
    """

    agent: str
    id: int | None = None
    plan_id: int | None = None
    virtual: bool = False
    admin_made: bool = False
    user_id: int | None = None
    special_slot_id: int | None = None
    day: date | None = None
    slot_type: str = "work"
    estimated_duration: int = 30
    scheduled_at: str = "00:00:00"
    started_at: str | None = None
    attended: bool = False
    actual_duration: int | None = None
    event_type: str | None = None
    event_data: dict[str, object] | None = None
    priority: int = 50
    status: str = "not_started"
    is_admin_locked: bool = False
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What the simulated backend holds when it starts.

    Attributes:
        claw_identifier: the only claw that the backend knows.
        api_key: what requests must carry (docs/protocol.md, Endpoints); None for no check.
        message: the heartbeat's `message`; None leaves it out.
        now: what the simulator's clock shows at its start; None for the present.
        seed: of the faults' probabilities.
        faults: those that are armed at its start; `hostile = true`, where tricks are plugged in,
            adds one, behind them, that never ends and plays every trick in turn.
        tricks: those that faults may name, by their names.
    """

    claw_identifier: str = "sim"
    agents: tuple[AgentSpec, ...] = ()
    slots: tuple[SlotSpec, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    message: str | None = None
    now: datetime | None = None
    seed: int = 0
    switches: Switches = field(default_factory=Switches)
    faults: tuple[PlannedFault, ...] = ()
    tricks: Tricks = field(default_factory=dict, repr=False)


def load_scenario(path: Path, tricks: Tricks = NO_TRICKS) -> Scenario:
    """Read a scenario file, TOML or JSON by its suffix, with these tricks plugged in.

    Raises:
        ScenarioError: when it can't be read or holds what is not allowed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".json"):
        raise ScenarioError(f"{path}: the name of a scenario must end in .toml or .json")
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text) if suffix == ".toml" else json.loads(text)
        return parse_scenario(raw, tricks)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except RecursionError as error:
        raise ScenarioError(f"{path}: nested too deeply") from error
    except ValueError as error:  # ScenarioError, or text that is not UTF-8, TOML or JSON
        raise ScenarioError(f"{path}: {error}") from error


def parse_scenario(raw: object, tricks: Tricks = NO_TRICKS) -> Scenario:
    """Read a scenario from the tables of a TOML or JSON document, with these tricks plugged in.

    Raises:
        ScenarioError: for a key or value that is not allowed.
    """
    table = ScenarioTable("", raw, (*KEYS, "hostile") if tricks else KEYS)
    agents = parse_agents(table.items("agents"))
    names = Counter(agent.agent_id for agent in agents)
    for name, times in names.items():
        if times > 1:
            raise ScenarioError(f"agents: {name} is listed {times} times")
    hostile = (PlannedFault(trick=EACH, count=0),) if table.flag("hostile", default=False) else ()
    return Scenario(
        claw_identifier=table.visible("claw_identifier", "sim"),
        agents=agents,
        slots=tuple(
            parse_slot(item, f"slots[{number}]", names)
            for number, item in enumerate(table.items("slots"))
        ),
        api_key=_api_key(table),
        message=table.text("message", None),
        now=table.moment("now"),
        seed=table.integer("seed", 0, 0, LARGEST_ID),
        switches=parse_switches(table.value("switches") or {}, Switches()),
        faults=tuple(
            parse_fault(item, f"faults[{number}]", tricks)
            for number, item in enumerate(table.items("faults"))
        )
        + hostile,
        tricks=tricks,
    )


def _api_key(table: ScenarioTable) -> str | None:
    key = table.text("api_key", None, longest=8192)
    if key is not None and not all("!" <= character <= "~" for character in key):
        raise ScenarioError("api_key: must be printable ASCII without space (not shown)")
    return key


def parse_agents(items: Sequence[object]) -> tuple[AgentSpec, ...]:
    """Read agents, each an id or a table with `id`, `bound` and `status`.

    Raises:
        ScenarioError: for a key or value that is not allowed.
    """
    agents = []
    for number, item in enumerate(items):
        raw = {"id": item} if isinstance(item, str) else item
        table = ScenarioTable(f"agents[{number}]", raw, AGENT_KEYS)
        table.need("id")
        agents.append(
            AgentSpec(
                agent_id=table.visible("id", ""),
                bound=table.flag("bound", default=True),
                status=table.word("status", None, AGENT_STATUSES),
            )
        )
    return tuple(agents)


def parse_slot(raw: object, where: str, agents: Collection[str]) -> SlotSpec:
    """Read one slot of one of the agents.

    With `plan_id` and no `id` it is virtual, unless `virtual = false`; with neither it is a real
    slot whose id is given out by the calendar.

    Raises:
        ScenarioError: for a key or value that is not allowed.
    """
    table = ScenarioTable(where, raw, SLOT_KEYS, extra=True)
    if "virtual_id" in table.unknown:
        raise ScenarioError(
            f"{table.name('virtual_id')}: is made by the simulator; give plan_id and date"
        )
    table.need("agent")
    spec = SlotSpec(
        agent=table.word("agent", "", agents),
        id=table.integer("id", None, 1, LARGEST_ID),
        plan_id=table.integer("plan_id", None, 1, LARGEST_ID),
        virtual=table.flag(
            "virtual", default=table.value("plan_id") is not None and table.value("id") is None
        ),
        admin_made=table.flag("admin_made", default=False),
        user_id=table.integer("user_id", None, 1, LARGEST_ID),
        special_slot_id=table.integer("special_slot_id", None, 1, LARGEST_ID),
        day=table.day("date", None),
        slot_type=table.word("slot_type", "work", SLOT_TYPES),
        estimated_duration=table.integer("estimated_duration", 30, 1, 50),
        scheduled_at=table.time_of_day("scheduled_at", "00:00:00"),
        started_at=table.time_of_day("started_at", None),
        attended=table.flag("attended", default=False),
        actual_duration=table.integer("actual_duration", None, 1, 1440),
        event_type=table.word("event_type", None, EVENT_TYPES),
        event_data=table.json_object("event_data"),
        priority=table.integer("priority", 50, 0, 99),
        status=table.word("status", "not_started", SLOT_STATUSES),
        is_admin_locked=table.flag("is_admin_locked", default=False),
        extra={key: as_json(table.value(key), table.name(key)) for key in table.unknown},
    )
    if spec.virtual and (spec.id is not None or spec.plan_id is None):
        raise table.refuse("virtual", "false for a slot with an id or without a plan_id")
    if spec.virtual and spec.status != "not_started":
        raise table.refuse("status", "not_started for a virtual slot: an update makes it real")
    return spec
