"""Decisions, pure: what is remembered and what the backend says, to what to do. No I/O, no clock.

Rules: docs/contract.md, Scheduling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from datetime import time as time_of_day
from enum import StrEnum

from hfcal.clock import FARTHEST, Moment, rfc3339
from hfcal.core.health import hold_in_force
from hfcal.core.memory import ended_before, failed_wake
from hfcal.core.outbox import waiting_for
from hfcal.core.protocol import AgentStatus, Heartbeat, Slot
from hfcal.core.records import Active, AgentState, NextSlot
from hfcal.core.transitions import LONGEST_WAKE_PAUSE

SLACK = 60.0  # seconds that a slot may be dispatched before its time


class Action(StrEnum):
    """What one pass does about an agent, as `action` in JSON."""

    IDLE = "idle"
    WAITING = "waiting"
    DISPATCHED = "dispatched"
    BUSY = "busy"
    ADOPTED = "adopted"
    RESOLVED = "resolved"
    WAKE_FAILED = "wake_failed"
    SKIPPED = "skipped"
    WOULD_DISPATCH = "would_dispatch"
    ERROR = "error"


@dataclass(frozen=True)
class Policy:
    """The settings that decisions need.

    Attributes:
        due_check: Whether a slot waits for its `date` and `scheduled_at`.
        zone: The time zone of `scheduled_at`.
        no_wake: Why no wake may be started now; empty when one may.
    """

    due_check: bool = False
    zone: tzinfo = UTC
    no_wake: str = ""


@dataclass(frozen=True)
class Warn:
    """Something odd about a slot that stops nothing.

    Attributes:
        slot: Its ident, if it has one.
        message: What is odd.
        known: It lasts, and was reported before.
    """

    slot: str | None
    message: str
    known: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do about one agent.

    Attributes:
        action: `DISPATCHED` means: remember `slot` and wake the agent.
        slot: The slot it is about.
        reason: Why, for `skipped` and `resolved`.
        due_at: When the next slot is due (wall), for `waiting`.
        again: For `dispatched`: wake again what a process that died had remembered. For `busy`:
            the backend took the active slot back to pending, so report it again.
        woken: For `busy`: the wake wasn't noted, and the backend lists the slot as running.
        lost: The remembered slot's wake is uncertain and the slot isn't listed any more.
        next: What comes after what is done now.
        warnings: What was odd.
    """

    action: Action
    slot: Slot | None = None
    reason: str = ""
    due_at: float | None = None
    again: bool = False
    woken: bool = False
    lost: bool = False
    next: NextSlot | None = None
    warnings: tuple[Warn, ...] = ()


@dataclass
class _Sorted:
    """The listed slots that are pending and not active, by what keeps them."""

    ready: list[Slot] = field(default_factory=list)
    ended: list[Slot] = field(default_factory=list)
    pausing: list[Slot] = field(default_factory=list)
    early: list[tuple[float, Slot]] = field(default_factory=list)


def decide(
    agent: AgentState, heartbeat: Heartbeat, asked: Moment, now: Moment, policy: Policy
) -> Decision:
    """Decide what to do about one agent, whose lock is held.

    Args:
        agent: What is remembered of it.
        heartbeat: What the backend says.
        asked: When the backend was asked.
        now: The present moment.
        policy: The settings that count here.
    """
    sorted_slots = _sort(agent, heartbeat.slots, asked, now, policy)
    waiting_next = _next(sorted_slots, now, policy)
    keeps = _keeps(agent, heartbeat, now)
    if agent.active is not None:
        keeps = keeps or policy.no_wake
        return _about_active(agent, agent.active, heartbeat, keeps, waiting_next)
    running = [
        s
        for s in heartbeat.slots
        if s.status is not None
        and s.status.running
        and ended_before(agent, s.ref) is None
        and not waiting_for(agent, s.ref)
    ]
    if running:
        best = max(running, key=lambda s: s.priority)
        others = tuple(
            Warn(s.ident, f"runs as well, says the backend; only {best.ident} is taken over")
            for s in running
            if s is not best
        )
        return Decision(Action.ADOPTED, best, next=waiting_next, warnings=others)
    if keeps:
        return Decision(Action.SKIPPED, reason=keeps, next=waiting_next)
    if sorted_slots.ready:
        return _dispatch(sorted_slots, now, policy)
    if sorted_slots.early:
        due_at, slot = min(sorted_slots.early, key=lambda pair: pair[0])
        return Decision(Action.WAITING, slot, due_at=due_at, next=waiting_next)
    if sorted_slots.pausing:
        slot = sorted_slots.pausing[0]
        return Decision(Action.SKIPPED, slot, "pausing after failed wakes", next=waiting_next)
    if sorted_slots.ended:
        return Decision(Action.SKIPPED, sorted_slots.ended[0], "ended here")
    return Decision(Action.IDLE)


def due_at(slot: Slot, zone: tzinfo, now: Moment) -> float | None:
    """When a slot is due (wall), or None when that can't be read."""
    try:
        at = time_of_day.fromisoformat(slot.scheduled_at or "")
        day = (
            date.fromisoformat(slot.ref.date)
            if slot.ref.date
            else datetime.fromtimestamp(now.wall, zone).date()
        )
        moment = datetime.combine(day, at)
        wall = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        return None
    return wall if 0 <= wall <= FARTHEST else None


def _about_active(
    agent: AgentState,
    active: Active,
    heartbeat: Heartbeat,
    keeps: str,
    waiting_next: NextSlot | None,
) -> Decision:
    listed = next((s for s in heartbeat.slots if s.ref.same(active.ref)), None)
    status = None if listed is None else listed.status
    noted = active.wake is None
    if listed is not None and status is not None:
        if status.terminal:
            return Decision(Action.RESOLVED, listed, f"the backend says {status}")
        if status.pending and noted:
            again = not waiting_for(agent, active.ref)
            return Decision(Action.BUSY, listed, again=again, next=waiting_next)
        if status.pending:
            if keeps:
                return Decision(Action.SKIPPED, listed, keeps, next=waiting_next)
            return Decision(Action.DISPATCHED, listed, again=True, next=waiting_next)
        if not noted:
            return Decision(Action.BUSY, listed, woken=True, next=waiting_next)
    if not noted and listed is None:
        return Decision(Action.RESOLVED, reason="wake uncertain", lost=True)
    return Decision(Action.BUSY, next=waiting_next)


def _sort(
    agent: AgentState, slots: Sequence[Slot], asked: Moment, now: Moment, policy: Policy
) -> _Sorted:
    found = _Sorted()
    for slot in slots:
        if slot.status is None or not slot.status.pending:
            continue
        if agent.active is not None and slot.ref.same(agent.active.ref):
            continue
        ended = ended_before(agent, slot.ref)
        failed = failed_wake(agent, slot.ref)
        due = due_at(slot, policy.zone, now) if policy.due_check else None
        reopened = ended and ended.accepted and ended.accepted.seconds_until(asked) > 0
        if waiting_for(agent, slot.ref) or (ended and not reopened):
            found.ended.append(slot)
        elif failed and 0 < failed.not_before - now.wall <= LONGEST_WAKE_PAUSE:
            found.pausing.append(slot)
        elif due is not None and due - now.wall > SLACK:
            found.early.append((due, slot))
        else:
            found.ready.append(slot)
    # max() and sort() keep the backend's order among equals.
    found.ready.sort(key=lambda s: -s.priority)
    return found


def _dispatch(found: _Sorted, now: Moment, policy: Policy) -> Decision:
    best, rest = found.ready[0], _Sorted(found.ready[1:], [], [], found.early)
    if policy.no_wake:
        return Decision(Action.SKIPPED, best, policy.no_wake, next=_next(found, now, policy))
    return Decision(
        Action.DISPATCHED,
        best,
        next=_next(rest, now, policy),
        warnings=_early_warning(best, now, policy),
    )


def _early_warning(slot: Slot, now: Moment, policy: Policy) -> tuple[Warn, ...]:
    due = due_at(slot, policy.zone, now)
    if due is None or due - now.wall <= SLACK:
        return ()
    message = (
        f"dispatched before its time, {rfc3339(due)}: the backend lists it as due; "
        "set due_check = true to wait for scheduled_at"
    )
    return (Warn(slot.ident, message),)


def _keeps(agent: AgentState, heartbeat: Heartbeat, now: Moment) -> str:
    """What keeps the agent from being woken, or nothing."""
    if hold_in_force(agent, now) is not None:
        return "hold"
    return "exhausted" if heartbeat.agent_status is AgentStatus.EXHAUSTED else ""


def _next(found: _Sorted, now: Moment, policy: Policy) -> NextSlot | None:
    if found.ready:
        slot = found.ready[0]
        return NextSlot(slot.ident, due_at(slot, policy.zone, now))
    if found.early:
        due, slot = min(found.early, key=lambda pair: pair[0])
        return NextSlot(slot.ident, due)
    return None


WAKES_UNTIL = 50.0  # seconds after its start that a tick starts wakes
