"""What is kept of slots, for how long, and what a listing adds to it; pure.

What changes a slot's state is in `core.transitions`. Each function is called inside a transaction.
Rules: docs/contract.md, Scheduling.
"""

from __future__ import annotations

from collections.abc import Iterable

from hfcal.clock import Moment, utc_time
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import learn, two_days_past, waiting_for
from hfcal.core.protocol import Slot
from hfcal.core.records import (
    AgentState,
    Ended,
    FailedWake,
    Outcome,
    State,
    Update,
)

DAY = 86_400.0


def note_listed(state: State, agent_id: str, slots: Iterable[Slot], now: Moment) -> None:
    """Take over what a heartbeat says of remembered slots: their ids, and that they are listed."""
    agent = state.agent(agent_id)
    for slot in slots:
        learn_listed(state, agent_id, slot, now)
        for ended in agent.ended_slots:
            if ended.ref.same(slot.ref):
                ended.listed = now.wall
        for failed in agent.failed_wakes:
            if failed.ref.same(slot.ref):
                failed.listed = now.wall


def learn_listed(state: State, agent_id: str, slot: Slot, now: Moment) -> None:
    """Take over the ids of a listed slot.

    One whose real id was missing and that is pending gets `ongoing` before what waits for it.
    """
    agent = state.agent(agent_id)
    waiting = waiting_for(agent, slot.ref)
    found = bool(slot.ref.real) and any(u.ref.unresolved for u in waiting)
    learn(agent, slot.ref)
    if not found or slot.status is None or not slot.status.pending:
        return
    first = waiting[0]
    if first.status != "ongoing":
        again = Update(
            number=state.take_number(),
            ref=first.ref.copy(),
            status="ongoing",
            since=now.wall,
            started_at=first.started_at or utc_time(first.since),
        )
        agent.queue.insert(agent.queue.index(first), again)


def trim_history(state: State, cap: int) -> None:
    """Keep the newest `cap` entries; what is about a waiting update stays as well."""
    excess = len(state.history) - cap
    if excess > 0:
        older, newer = state.history[:excess], state.history[excess:]
        state.history = [e for e in older if e.outcome is Outcome.QUEUED] + newer


def forget_old(agent: AgentState, now: Moment) -> None:
    """Drop what the backend can't list any more from the ended list and the failed wakes."""
    agent.ended_slots = [
        e
        for e in agent.ended_slots
        if waiting_for(agent, e.ref)
        or not (now.wall - e.listed > DAY or two_days_past(e.ref.date or "", now.wall))
    ]
    agent.failed_wakes = [f for f in agent.failed_wakes if now.wall - f.listed <= DAY]


def ended_before(agent: AgentState, ref: SlotRef) -> Ended | None:
    """The entry of the ended list for this slot, if there is one."""
    return next((e for e in agent.ended_slots if e.ref.same(ref)), None)


def failed_wake(agent: AgentState, ref: SlotRef) -> FailedWake | None:
    """The failed wake of this slot, if there is one."""
    return next((f for f in agent.failed_wakes if f.ref.same(ref)), None)
