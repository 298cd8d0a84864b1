"""The records in the state file, as plain dataclasses; docs/state.md describes each field.

Times are seconds since 1970 (wall), starts are moments by both clocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hfcal.clock import Moment
from hfcal.core.ids import JsonObject, SlotRef

SCHEMA = 1
KEY = "key"  # in a field's metadata: its name in the file, if older releases gave it another


class Record:
    """What all records have in common; equal when their fields are.

    Every start pays for the methods that a dataclass has compiled: 0.6 ms for each class, and
    0.3 ms without these two.
    """

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal."""
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __repr__(self) -> str:
        """All fields, as a dataclass shows them."""
        fields = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({fields})"

    __hash__ = None  # type: ignore[assignment]


class ActiveState(StrEnum):
    """Where an active slot stands."""

    WAKING = "waking"
    ONGOING = "ongoing"
    PAUSED = "paused"


class Outcome(StrEnum):
    """What became of the update that reports an end to the backend."""

    DELIVERED = "delivered"
    QUEUED = "queued"
    REFUSED = "refused"
    LOCAL = "local"


@dataclass(eq=False, repr=False)
class Wake(Record):
    """One whole wake, kept as it is until a try of it has succeeded.

    Attributes:
        key: The idempotency key, the same for all tries.
        slot: The ident that the agent is told.
        source: `calendar:IDENT`.
        message: What the agent gets to read.
        details: The slot's facts for the agent, as in the message's JSON.
    """

    key: str
    slot: str
    source: str
    message: str
    details: JsonObject


@dataclass(eq=False, repr=False)
class Active(Record):
    """The slot that an agent is at.

    Attributes:
        ref: Its ids.
        state: Waking until the wake is noted, or the agent has spoken.
        start: When it began, by both clocks.
        key: The idempotency key of its wake; empty when adopted.
        wake: The whole wake while it isn't noted, else None.
        announced: Its first `ongoing` was queued, or the backend has it as running.
        paused: When it was paused, if it is.
        reason: Why it was paused, as the agent said; empty if it isn't, or said nothing.
        abandon_suspected_at: When it first looked abandoned by the wall clock alone.
        slot: The slot as it was listed.
    """

    ref: SlotRef
    state: ActiveState
    start: Moment
    key: str = ""
    wake: Wake | None = None
    announced: bool = False
    paused: Moment | None = None
    reason: str = ""
    abandon_suspected_at: Moment | None = field(default=None, metadata={KEY: "doomed"})
    slot: JsonObject = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class Update(Record):
    """One update that waits to be sent.

    Attributes:
        number: Its place in the order of acceptance, unique in the file.
        ref: The slot's ids.
        status: `ongoing`, `paused`, `finished` or `aborted`.
        since: When it was accepted.
        started_at: UTC `HH:MM:SS`, sent with `ongoing`.
        actual_duration: Whole minutes, sent with `finished`.
        attempts: Tries begun.
        may_have_applied: An earlier try may have taken effect without an answer.
        error: Why the last try failed; empty if none did.
        not_before: The earliest next try of a tick; None for at once.
        pauses: Growing pauses taken so far.
        failing_since: Since when 408, 425, 429 or 5xx are answered.
    """

    number: int
    ref: SlotRef
    status: str
    since: float
    started_at: str | None = None
    actual_duration: int | None = None
    attempts: int = 0
    may_have_applied: bool = field(default=False, metadata={KEY: "doubtful"})
    error: str = ""
    not_before: float | None = None
    pauses: int = 0
    failing_since: float | None = None

    @property
    def end(self) -> bool:
        """Whether it ends its slot."""
        return self.status in {"finished", "aborted"}

    def body(self) -> dict[str, object]:
        """The request's body."""
        body: dict[str, object] = {"status": self.status}
        if self.status == "ongoing" and self.started_at is not None:
            body["started_at"] = self.started_at
        if self.actual_duration is not None:
            body["actual_duration"] = self.actual_duration
        return body


@dataclass(eq=False, repr=False)
class Refusal(Record):
    """An update that the backend refused for good, kept until somebody drops it.

    Attributes:
        update: The update as it was queued.
        at: When it was refused last.
        error: What the backend said.
        count: How often.
    """

    update: Update
    at: float
    error: str
    count: int = 1


@dataclass(eq=False, repr=False)
class Ended(Record):
    """A slot that ended here, so that a late listing can't start it again.

    Attributes:
        ref: Its ids.
        status: How it ended.
        at: When.
        listed: When the backend listed it last, at or after its end.
        accepted: When the backend accepted the end, by both clocks; None until then.
        duration: The `actual_duration` reported, if it was finished.
        uncertain: It was given up, as no one knows whether the agent was woken; it may still say.
    """

    ref: SlotRef
    status: str
    at: float
    listed: float
    accepted: Moment | None = None
    duration: int | None = None
    uncertain: bool = False


@dataclass(eq=False, repr=False)
class FailedWake(Record):
    """A slot whose wake failed, waiting to be tried again.

    Attributes:
        ref: Its ids.
        wake: The whole wake: the next try is the same, byte for byte.
        count: Failures in a row.
        not_before: The earliest next try.
        listed: When the backend listed the slot last.
    """

    ref: SlotRef
    wake: Wake
    count: int
    not_before: float
    listed: float


@dataclass(eq=False, repr=False)
class Hold(Record):
    """Nothing is dispatched to the agent."""

    until: float | None = None
    reason: str = ""


@dataclass(eq=False, repr=False)
class NextSlot(Record):
    """The best slot that is listed and not dispatched yet."""

    ident: str
    due_at: float | None = None


@dataclass(eq=False, repr=False)
class Trouble(Record):
    """A fault that lasts, so that it is said once and then once an hour."""

    kind: str
    message: str
    since: float
    last_notified: float = field(metadata={KEY: "said"})


@dataclass(eq=False, repr=False)
class AgentState(Record):
    """All that is remembered of one agent.

    Attributes:
        active: The slot it is at.
        queue: Updates that wait, in the order of acceptance.
        refused: Updates that were refused for good.
        ended_slots: The ended list.
        failed_wakes: Slots whose wake failed.
        hold: Set while nothing may be dispatched.
        next: What comes next, by the last heartbeat.
        heartbeat: When the last heartbeat was tried.
        good_heartbeat: When one was last answered well.
        error: Why the last heartbeat failed; empty if it didn't.
        error_kind: Its kind.
        unsent_agent_status: The agent status that has yet to be reported to the backend.
        troubles: Faults that last, by what they are about.
    """

    active: Active | None = None
    queue: list[Update] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    ended_slots: list[Ended] = field(default_factory=list, metadata={KEY: "ended"})
    failed_wakes: list[FailedWake] = field(default_factory=list, metadata={KEY: "failed"})
    hold: Hold | None = None
    next: NextSlot | None = None
    heartbeat: float | None = None
    good_heartbeat: float | None = None
    error: str = ""
    error_kind: str = ""
    unsent_agent_status: str | None = field(default=None, metadata={KEY: "status_owed"})
    troubles: dict[str, Trouble] = field(default_factory=dict)


@dataclass(eq=False, repr=False)
class HistoryEntry(Record):
    """One thing that happened to a slot.

    Attributes:
        agent_id: Whose slot.
        ident: Its ident then.
        status: `finished`, `aborted`, or the status that was refused.
        at: When.
        reason: Why, for people.
        summary: What the agent said of its work.
        outcome: What became of the update.
        update: The number of that update, None if the backend isn't told.
        count: How often the same happened in a row.
    """

    agent_id: str
    ident: str
    status: str
    at: float
    reason: str = ""
    summary: str = ""
    outcome: Outcome = Outcome.LOCAL
    update: int | None = None
    count: int = 1


@dataclass(eq=False, repr=False)
class SyncNote(Record):
    """What is known of `GET /calendar/sync`.

    Attributes:
        needed: The state is new or rebuilt, so what runs has yet to be adopted.
        asked: When it was last answered.
        absent_until: Until when the backend is taken to have none.
        failed: When it failed last for another reason.
    """

    needed: bool = True
    asked: float | None = None
    absent_until: float | None = None
    failed: float | None = None


@dataclass(eq=False, repr=False)
class State(Record):
    """All of the state file.

    Attributes:
        created: When this state was begun, new or rebuilt.
        backend_url: The backend that the last tick spoke to.
        claw_identifier: As which claw.
        heartbeat_every: Seconds between heartbeats, by the settings of the last tick.
        version: Which hfcal made the last tick.
        report_agent_status: Whether its settings have agents' statuses reported.
        configured: The agents of the last tick.
        agents: What is remembered, by agent id.
        history: What happened, the oldest first.
        sync: What is known of `GET /calendar/sync`.
        troubles: Faults that last and are about no single agent.
        next_number: The number of the next update.
        ticks: How many ticks have begun.
        tick_seconds: From the beginning of the last tick to its last heartbeat's answer.
        wakes_made: How many wakes were made.
        wakes_failed: How many failed.
        faults: How many heartbeats failed, by kind.
    """

    created: float
    backend_url: str = ""
    claw_identifier: str = ""
    heartbeat_every: float = 30.0
    version: str = ""
    report_agent_status: bool = True
    configured: list[str] = field(default_factory=list)
    agents: dict[str, AgentState] = field(default_factory=dict)
    history: list[HistoryEntry] = field(default_factory=list)
    sync: SyncNote = field(default_factory=SyncNote)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    next_number: int = 1
    ticks: int = 0
    tick_seconds: float = 0.0
    wakes_made: int = field(default=0, metadata={KEY: "wakes"})
    wakes_failed: int = field(default=0, metadata={KEY: "failed_wakes"})
    faults: dict[str, int] = field(default_factory=dict)

    def agent(self, agent_id: str) -> AgentState:
        """The agent's record, made if there is none."""
        return self.agents.setdefault(agent_id, AgentState())

    def take_number(self) -> int:
        """A number for a new update."""
        self.next_number += 1
        return self.next_number - 1
