"""What one tick came to, as values; views turn them into text and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from hfcal.core.notices import Notice
from hfcal.core.outbox import Delivery
from hfcal.core.protocol import Heartbeat
from hfcal.core.records import AgentState
from hfcal.core.scheduler import Action, Decision, Warn
from hfcal.errors import Fault


@dataclass(frozen=True)
class Progress:
    """How far a tick is: agents that it asks, and of those it is done with, what came of them."""

    agents: int
    done: int
    failing: int
    dispatched: int


@dataclass
class AgentReport:
    """What a tick did about one agent.

    Attributes:
        agent_id: The agent.
        action: What was done.
        asked: Whether the backend was asked, or would have been had it been reachable.
        agent_status: What the backend says that the agent is doing.
        slots: How many slots are listed.
        slot: The ident of the slot that it is about.
        due_at: When that slot is due (wall), while waiting.
        reason: Why, for `skipped` and `resolved`.
        error: What failed.
        known: The error lasts, and was reported before.
        warnings: What was odd.
    """

    agent_id: str
    action: Action = Action.SKIPPED
    asked: bool = False
    agent_status: str | None = None
    slots: int = 0
    slot: str | None = None
    due_at: float | None = None
    reason: str = ""
    error: Fault | None = None
    known: bool = False
    warnings: list[Warn] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.error is None

    def decided(self, decision: Decision, heartbeat: Heartbeat, agent: AgentState) -> None:
        """Take over what was decided, and on what grounds."""
        self.action, self.reason, self.due_at = decision.action, decision.reason, decision.due_at
        self.agent_status = heartbeat.agent_status.value if heartbeat.agent_status else None
        self.slots = len(heartbeat.slots)
        self.slot = None if decision.slot is None else decision.slot.ident
        if agent.active is not None:
            self.slot = agent.active.ref.ident
        self.warnings += [w for w in decision.warnings if w not in self.warnings]


@dataclass
class TickReport:
    """What one tick did.

    Attributes:
        started: When it began (wall).
        claw_identifier: As which claw.
        dry_run: Whether nothing was changed.
        seconds: How long it took.
        agents: In the order of the settings.
        deliveries: What was sent, or tried.
        queued: Updates that still wait, of all agents.
        at_fault: Those among them whose last try failed.
        news: What is news.
        interrupted: The signal that ended it early, if one did.
    """

    started: float
    claw_identifier: str
    dry_run: bool = False
    seconds: float = 0.0
    agents: list[AgentReport] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    queued: int = 0
    at_fault: int = 0
    news: list[Notice] = field(default_factory=list)
    interrupted: int | None = None

    def count(self, action: Action) -> int:
        """How many agents got this action."""
        return sum(1 for agent in self.agents if agent.action is action)

    @property
    def dispatched(self) -> int:
        """How many agents were woken."""
        return self.count(Action.DISPATCHED)

    @property
    def delivered(self) -> int:
        """How many updates the backend took."""
        return sum(1 for delivery in self.deliveries if delivery.delivered)

    @property
    def failed(self) -> int:
        """How many agents failed."""
        return sum(1 for agent in self.agents if not agent.ok)

    @property
    def all_away(self) -> bool:
        """Whether the backend was asked and never answered."""
        asked = [agent for agent in self.agents if agent.asked]
        away = {"unreachable", "timeout"}
        return bool(asked) and all(a.error is not None and a.error.kind in away for a in asked)

    @property
    def all_well(self) -> bool:
        """Whether no agent failed, nothing was refused, and no update waits after a fault."""
        delivered = all(delivery.delivered for delivery in self.deliveries)
        return self.failed == 0 and delivered and self.at_fault == 0
