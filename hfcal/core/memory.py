"""What happens to a slot here: remembered, woken, adopted, resolved, abandoned, forgotten.

What its agent does at it is in `hfcal.core.transitions`.

Pure: records in, records changed, no I/O. Each function is one step of docs/contract.md,
Scheduling, and is called inside one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable

from hfcal.clock import Moment, age, utc_date, utc_time
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import enqueue, learn, refused_before, two_days_past, waiting_for
from hfcal.core.protocol import Slot, SlotStatus
from hfcal.core.records import (
    Active,
    ActiveState,
    AgentState,
    Ended,
    FailedWake,
    HistoryEntry,
    Outcome,
    Refusal,
    State,
    Update,
    Wake,
)
from hfcal.core.transitions import Ending, Word, end_active, hear_from

DAY = 86_400.0
HOUR = 3600.0
FIRST_WAKE_PAUSE = 5.0
LONGEST_WAKE_PAUSE = 600.0
UNCERTAIN = "wake uncertain: the backend no longer lists it"
PAUSED_PATIENCE = 6  # a paused slot is abandoned after six times as long as a running one


def remember(agent: AgentState, slot: Slot, wake: Wake, now: Moment) -> Active:
    """Make `slot` the agent's active one, before it is woken."""
    ref = slot.ref.copy()
    for known in [e.ref for e in agent.ended] + [f.ref for f in agent.failed]:
        if known.same(slot.ref):
            ref = known.copy()
            ref.learn(slot.ref)
    agent.ended = [e for e in agent.ended if not e.ref.same(ref)]
    agent.active = Active(
        ref=ref,
        state=ActiveState.WAKING,
        start=now,
        key=wake.key,
        wake=wake,
        slot=slot.raw,
    )
    return agent.active


def note_woken(state: State, agent_id: str, key: str, now: Moment) -> bool:
    """Note that the wake with `key` was made, and queue the slot's first update.

    Returns:
        Whether the slot was still waiting for it; the agent's own word counts as well.
    """
    active = state.agent(agent_id).active
    if active is None or active.key != key or active.wake is None:
        return False
    hear_from(state, agent_id, active, now)
    return True


def note_wake_failed(
    state: State,
    agent_id: str,
    key: str,
    reason: str,
    now: Moment,
    retry_after: float | None = None,
) -> FailedWake | None:
    """End the slot here, as its wake failed; the backend is not told, so it comes back.

    Args:
        state: Changed in place.
        agent_id: Whose slot.
        key: The wake's idempotency key.
        reason: Why it failed.
        now: The present moment.
        retry_after: Seconds that the receiver asked to wait; kept to up to 10 minutes.

    Returns:
        What is kept for the next try, or None if the agent has spoken meanwhile.
    """
    agent = state.agent(agent_id)
    active = agent.active
    if active is None or active.key != key or active.wake is None:
        return None
    agent.active = None
    failed = failed_wake(agent, active.ref)
    if failed is None:
        failed = FailedWake(active.ref, active.wake, 0, now.wall, now.wall)
        agent.failed.append(failed)
    failed.count += 1
    pause = min(FIRST_WAKE_PAUSE * 2 ** min(failed.count - 1, 10), LONGEST_WAKE_PAUSE)
    failed.not_before = now.wall + min(max(pause, retry_after or 0.0), LONGEST_WAKE_PAUSE)
    reason = f"wake failed: {reason}"
    ident = active.ref.ident
    for entry in reversed(state.history):
        if entry.agent_id == agent_id and active.ref.named(entry.ident):
            if entry.reason.startswith("wake failed: ") and entry.outcome is Outcome.LOCAL:
                state.history.remove(entry)
            break
    state.history.append(
        HistoryEntry(agent_id, ident, "aborted", now.wall, reason, count=failed.count)
    )
    return failed


def note_taken_for_woken(active: Active, status: SlotStatus, now: Moment) -> None:
    """The backend lists a slot as running whose wake wasn't noted: it was woken."""
    active.wake = None
    active.announced = True
    active.state = ActiveState(status.value)
    active.paused = now if status is SlotStatus.PAUSED else None


def give_up_uncertain(state: State, agent_id: str, now: Moment) -> None:
    """End a slot here whose wake is uncertain and that the backend doesn't list any more."""
    agent = state.agent(agent_id)
    assert agent.active is not None
    ref, agent.active = agent.active.ref, None
    agent.ended.append(Ended(ref, "aborted", now.wall, now.wall, uncertain=True))
    state.history.append(HistoryEntry(agent_id, ref.ident, "aborted", now.wall, UNCERTAIN))


def adopt(state: State, agent_id: str, slot: Slot, now: Moment) -> Active:
    """Make a slot that the backend says is running the agent's active one."""
    assert slot.status is not None
    agent = state.agent(agent_id)
    began = _started(slot, now)
    agent.active = Active(
        ref=slot.ref.copy(),
        state=ActiveState(slot.status.value),
        start=began,
        announced=True,
        paused=now if slot.status is SlotStatus.PAUSED else None,
        slot=slot.raw,
    )
    return agent.active


def resolve(state: State, agent_id: str, status: SlotStatus, now: Moment) -> str:
    """The backend says that the active slot is over; returns its ident."""
    agent = state.agent(agent_id)
    assert agent.active is not None
    ref, agent.active = agent.active.ref, None
    agent.ended.append(Ended(ref, status.value, now.wall, now.wall, accepted=now))
    agent.status_owed = "idle"
    reason = "the backend says so"
    for update in waiting_for(agent, ref):
        if not update.end:  # sent now it would open the slot again
            agent.queue.remove(update)
            why = f"not sent: the backend says that the slot is {status.value}"
            agent.refused.append(Refusal(update, now.wall, why))
    state.history.append(HistoryEntry(agent_id, ref.ident, status.value, now.wall, reason))
    return ref.ident


def mark_again(state: State, agent_id: str, now: Moment) -> Update | None:
    """Queue the active slot's own state again, as the backend took it back to pending.

    Returns:
        The update, or None when one of the slot waits already or was refused for good.
    """
    agent = state.agent(agent_id)
    active = agent.active
    assert active is not None
    status = "paused" if active.state is ActiveState.PAUSED else "ongoing"
    if waiting_for(agent, active.ref) or refused_before(agent, active.ref, status):
        return None
    active.announced = True
    started_at = utc_time(active.start.wall)
    again = enqueue(state, agent_id, active.ref, status, now, started_at=started_at)
    again.doubtful = True  # it was accepted before, so a 409 means that it still holds
    return again


def abandon_if_overdue(state: State, agent_id: str, after: float, now: Moment) -> Ending | None:
    """Abort an active slot that nobody ended for `after` seconds; 0 turns it off.

    The boot clock decides. After a reboot there is only the wall clock, which may have jumped,
    so two looks an hour apart must agree.
    """
    active = state.agent(agent_id).active
    if active is None or after <= 0:
        return None
    since = active.paused or active.start
    limit = after * PAUSED_PATIENCE if active.paused else after
    if since.seconds_until(now) < limit:
        active.doomed = None
        return None
    if not since.same_boot(now):
        if active.doomed is None or active.doomed.boot_id != now.boot_id:
            active.doomed = now
        if active.doomed.seconds_until(now) < HOUR:
            return None
    what = "paused" if active.paused else "running"
    allowed = f"{PAUSED_PATIENCE} times abandon_after" if active.paused else "abandon_after"
    reason = (
        f"abandoned: {what} for {age(since.seconds_until(now))} without a word from the agent, "
        f"{allowed} is {age(limit)}"
    )
    return end_active(state, agent_id, Word("aborted", reason=reason), now)


def note_listed(state: State, agent_id: str, slots: Iterable[Slot], now: Moment) -> None:
    """Take over what a heartbeat tells of remembered slots: their ids, and that they are listed."""
    agent = state.agent(agent_id)
    for slot in slots:
        learn_listed(state, agent_id, slot, now)
        for ended in agent.ended:
            if ended.ref.same(slot.ref):
                ended.listed = now.wall
        for failed in agent.failed:
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
    """Keep the newest `cap` entries; what tells of a waiting update stays as well."""
    excess = len(state.history) - cap
    if excess > 0:
        older, newer = state.history[:excess], state.history[excess:]
        state.history = [e for e in older if e.outcome is Outcome.QUEUED] + newer


def forget_old(agent: AgentState, now: Moment) -> None:
    """Drop what the backend can't list any more from the ended list and the failed wakes."""
    agent.ended = [
        e
        for e in agent.ended
        if waiting_for(agent, e.ref)
        or not (now.wall - e.listed > DAY or two_days_past(e.ref.date or "", now.wall))
    ]
    agent.failed = [f for f in agent.failed if now.wall - f.listed <= DAY]


def ended_before(agent: AgentState, ref: SlotRef) -> Ended | None:
    """The entry of the ended list for this slot, if there is one."""
    return next((e for e in agent.ended if e.ref.same(ref)), None)


def failed_wake(agent: AgentState, ref: SlotRef) -> FailedWake | None:
    """The failed wake of this slot, if there is one."""
    return next((f for f in agent.failed if f.ref.same(ref)), None)


def _started(slot: Slot, now: Moment) -> Moment:
    """When a listed slot began: its `started_at` if that can be today, else now."""
    parts = (slot.started_at or "").split(":")
    if len(parts) in {2, 3} and all(p.isascii() and p.isdigit() and len(p) == 2 for p in parts):
        seconds = sum(int(p) * u for p, u in zip(parts, (3600, 60, 1), strict=False))
        midnight = now.wall - now.wall % DAY
        ago = now.wall - (midnight + seconds)
        if ago >= 0 and slot.ref.date in {None, utc_date(now.wall)}:
            return Moment(now.wall - ago, now.boot_id, now.boot - ago)
    return now
