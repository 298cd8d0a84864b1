"""Faults on demand: what goes wrong between a client and the calendar, and when.

docs/simulator.md, Faults, is the reference. A fault is tried against each request under
`/calendar`, before anything else looks at it, as a network or a proxy would act. A new kind of
harm is a new key here and a new case in hfcal/sim/exchange.py; an answer of any other kind is a
trick that is plugged in (hfcal/sim/tricks.py).
"""

import random
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace

from hfcal.sim.reading import ScenarioError, ScenarioTable
from hfcal.sim.tricks import EACH, NO_TRICKS, Tricks

KINDS = ("heartbeat", "update", "status", "sync", "any")
ACTIONS = ("latency", "drop_before", "drop_after", "hang", "status", "body", "duplicate")
KEYS = (
    "path",
    "agent",
    "slot",
    "count",
    "after",
    "probability",
    *ACTIONS,
    "effect",
    "retry_after",
    "content_type",
)
TRICK_KEYS = ("trick", "to")
"""Where tricks are plugged in, these as well."""
_LONGEST_WAIT = 3600.0
_MOST = 1_000_000_000
_NOWHERE = "http://hfcal.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """Which requests go wrong, and how.

    Attributes:
        path: the kind of request, one of KINDS.
        agent: only requests whose X-Agent-ID is this; None for every agent.
        slot: only updates whose path names this id or virtual id; None for all.
        count: how many requests it spoils, 0 for ever.
        after: how many matching requests pass first.
        probability: the chance of each matching request after those, 0 to 1.
        latency: seconds to wait before the request takes effect.
        drop_before: close the connection, without effect.
        drop_after: let it take effect, then close the connection without an answer.
        hang: seconds without an answer; then the connection is closed.
        status: the HTTP status to answer instead of the calendar's.
        body: the body to answer instead of the calendar's.
        duplicate: apply the request twice and answer as the second time.
        trick: the name of the trick that answers, or EACH for all in turn.
        effect: whether a request that hangs, or is answered otherwise, takes effect.
        retry_after: the Retry-After header of such an answer: seconds, or an HTTP date.
        content_type: the Content-Type of `body`.
        to: the URL of another host, where a trick wants to lead the client.
    """

    path: str = "any"
    agent: str | None = None
    slot: str | None = None
    count: int = 1
    after: int = 0
    probability: float = 1.0
    latency: float | None = None
    drop_before: bool = False
    drop_after: bool = False
    hang: float | None = None
    status: int | None = None
    body: str | None = None
    duplicate: bool = False
    trick: str | None = None
    effect: bool = False
    retry_after: int | str | None = None
    content_type: str = "application/json"
    to: str = _NOWHERE

    @property
    def action(self) -> str:
        """The key that says what it does; `status` where a body goes with it."""
        return self.actions[0]

    @property
    def actions(self) -> list[str]:
        """All keys of ACTIONS, and `trick`, that it has."""
        # By identity, since a wait of 0 seconds equals False.
        return [key for key in (*ACTIONS, "trick") if not _is_absent(getattr(self, key))]


def parse_fault(raw: object, where: str, tricks: Tricks = NO_TRICKS) -> PlannedFault:
    """Read one fault.

    Args:
        raw: its table.
        where: what an error calls it.
        tricks: those that it may name.

    Raises:
        ScenarioError: for a bad key or value, no action, or two that exclude each other.
    """
    table = ScenarioTable(where, raw, (*KEYS, *TRICK_KEYS) if tricks else KEYS)
    slot = table.value("slot")
    fault = PlannedFault(
        path=table.word("path", "any", KINDS),
        agent=table.visible("agent", None),
        slot=str(slot) if isinstance(slot, int) else table.text("slot", None),
        count=table.integer("count", 1, 0, _MOST),
        after=table.integer("after", 0, 0, _MOST),
        probability=table.number("probability", 1.0, 0.0, 1.0),
        latency=table.number("latency", None, 0.0, _LONGEST_WAIT),
        drop_before=table.flag("drop_before", default=False),
        drop_after=table.flag("drop_after", default=False),
        hang=table.number("hang", None, 0.0, _LONGEST_WAIT),
        status=table.integer("status", None, 200, 599),
        body=_body(table),
        duplicate=table.flag("duplicate", default=False),
        trick=table.word("trick", None, (EACH, *tricks)),
        effect=table.flag("effect", default=False),
        retry_after=_retry_after(table),
        content_type=_header_text(table, "content_type") or "application/json",
        to=_header_text(table, "to") or _NOWHERE,
    )
    given = fault.actions
    if len(given) != 1 and given != ["status", "body"]:
        allowed = (*ACTIONS, "trick") if tricks else ACTIONS
        raise ScenarioError(
            f"{where}: does {', '.join(given) or 'nothing'}; must do one of "
            f"{', '.join(allowed)} (status and body may go together)"
        )
    return fault


def _is_absent(value: object) -> bool:
    return value is None or value is False


def _body(table: ScenarioTable) -> str | None:
    # An empty body is one that a client must survive, so text()'s lower bound doesn't hold here.
    return "" if table.value("body") == "" else table.text("body", None, longest=1 << 24)


def _retry_after(table: ScenarioTable) -> int | str | None:
    if isinstance(table.value("retry_after"), str):
        return _header_text(table, "retry_after")
    return table.integer("retry_after", None, 0, _MOST)


def _header_text(table: ScenarioTable, key: str) -> str | None:
    text = table.text(key, None, longest=128)
    if text is not None and not all(" " <= character <= "~" for character in text):
        raise table.refuse(key, "printable ASCII")
    return text


@dataclass(slots=True)
class _Armed:
    fault: PlannedFault
    passed: int = 0
    done: int = 0

    def spent(self) -> bool:
        return 0 < self.fault.count <= self.done


@dataclass(frozen=True, slots=True)
class Chosen:
    """What goes wrong with one request: the latencies' sum in seconds, then one other fault."""

    latency: float = 0.0
    fault: PlannedFault | None = None

    @property
    def name(self) -> str | None:
        """The actions for the journal, such as `latency+drop_after`; None for no fault."""
        parts = ["latency"] if self.latency else []
        if self.fault:
            trick = self.fault.trick
            parts.append(f"trick:{trick}" if trick else self.fault.action)
        return "+".join(parts) or None


@dataclass(slots=True)
class FaultBox:
    """The faults that are armed. Safe to use from any thread.

    All latencies that match a request add up; of the others the first one that matches acts, and
    the later ones don't count the request.
    """

    seed: int
    tricks: Tricks = field(default_factory=dict)
    _armed: list[_Armed] = field(default_factory=list)
    _played: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        # Chance that a failing run can replay, not a secret.
        self._random = random.Random(self.seed)  # noqa: S311

    def add(self, faults: Iterable[PlannedFault]) -> None:
        """Arm more faults, after those that are there."""
        with self._lock:
            self._armed.extend(_Armed(fault) for fault in faults)

    def clear(self) -> int:
        """Disarm all and return how many there were."""
        with self._lock:
            number = len(self._armed)
            self._armed.clear()
            return number

    def choose(self, kind: str, agent: str, slot: str | None) -> Chosen:
        """Say what goes wrong with a request, and count it."""
        latency, chosen = 0.0, None
        with self._lock:
            for armed in self._armed:
                fault = armed.fault
                if chosen and fault.latency is None:
                    continue
                if not _matches(fault, kind, agent, slot) or not self._hits(armed):
                    continue
                if fault.latency is None:
                    chosen = self._in_turn(fault, kind)
                else:
                    latency += fault.latency
            self._armed = [armed for armed in self._armed if not armed.spent()]
        return Chosen(latency, chosen)

    def left(self) -> list[dict[str, object]]:
        """Return the armed faults for the state page; `left` is None for one that lasts."""
        usual = asdict(PlannedFault())
        with self._lock:
            return [
                {
                    **{
                        key: value
                        for key, value in asdict(armed.fault).items()
                        if value != usual[key]
                    },
                    "left": armed.fault.count - armed.done if armed.fault.count else None,
                }
                for armed in self._armed
            ]

    def _in_turn(self, fault: PlannedFault, kind: str) -> PlannedFault:
        """With EACH, the trick whose turn it is among requests of this kind."""
        if fault.trick != EACH:
            return fault
        names = list(self.tricks)
        name = names[self._played[kind] % len(names)]
        self._played[kind] += 1
        return replace(fault, trick=name)

    def _hits(self, armed: _Armed) -> bool:
        if armed.passed < armed.fault.after:
            armed.passed += 1
            return False
        if self._random.random() >= armed.fault.probability:
            return False
        armed.done += 1
        return True


def _matches(fault: PlannedFault, kind: str, agent: str, slot: str | None) -> bool:
    return (
        fault.path in ("any", kind) and fault.agent in (None, agent) and fault.slot in (None, slot)
    )
