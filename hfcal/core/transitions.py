"""Every edge of a slot's life here; pure: records in, records changed.

                               adopt (the backend says that it runs)
                             ┌────────────────────────────┐
                             │                            ▼
    listed ── remember ──▶ waking ── confirm_woken ──▶ ongoing ◀── resume ── paused
       ▲                     │       mark_woken_by_backend │ ── pause ──────▶  │
       │  note_wake_failed   │                             │ requeue_state     │
       └──── (failed wake) ◀─┤                             │ (taken back to    │
                             │ abort_uncertain             │  pending there)   │
                             ▼                             ▼                   ▼
                           ended ◀── end_active, abandon_if_overdue, resolve ──┘
                             ▲
                             └── end_inactive (an agent ends what isn't its active slot)

`waking`, `ongoing` and `paused` are states of the agent's active slot (`records.ActiveState`); a
failed wake is kept in `failed_wakes`, an ended slot in `ended_slots`, both until `core.memory`
forgets them. Edges that the backend has to hear of queue an update in the same change.

Each function is called inside one transaction. Rules: docs/contract.md, Scheduling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfcal.clock import Moment, age, utc_date, utc_time
from hfcal.core.ids import SlotRef
from hfcal.core.memory import DAY, failed_wake
from hfcal.core.outbox import enqueue, refused_before, waiting_for
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

MAX_DURATION_MINUTES = 1440
FIRST_WAKE_PAUSE = 5.0  # seconds
LONGEST_WAKE_PAUSE = 600.0  # seconds
UNCERTAIN = "wake uncertain: the backend no longer lists it"
PAUSED_PATIENCE = 6  # a paused slot is abandoned after six times as long as a running one
_RECHECK = 3600.0  # seconds between two looks by a wall clock that may have jumped


@dataclass(frozen=True)
class SlotEnd:
    """What an agent, or hfcal in its place, says of a slot's end.

    Attributes:
        status: `finished` or `aborted`.
        minutes: How long it took, 1 to 1440; measured when None.
        reason: Why, for the history.
        summary: What the agent says of its work.
    """

    status: str
    minutes: int | None = None
    reason: str = ""
    summary: str = ""


@dataclass(frozen=True)
class AcceptedEnd:
    """An end that was accepted.

    Attributes:
        ident: The slot's present ident.
        status: How it ended.
        update: The number of the update that tells the backend.
        duration: The `actual_duration` reported, in minutes, if it was finished.
    """

    ident: str
    status: str
    update: int
    duration: int | None = None


def remember(agent: AgentState, slot: Slot, wake: Wake, now: Moment) -> Active:
    """Make `slot` the agent's active one, before it is woken."""
    ref = slot.ref.copy()
    for known in [e.ref for e in agent.ended_slots] + [f.ref for f in agent.failed_wakes]:
        if known.same(slot.ref):
            ref = known.copy()
            ref.learn(slot.ref)
    agent.ended_slots = [e for e in agent.ended_slots if not e.ref.same(ref)]
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
    confirm_woken(state, agent_id, active, now)
    return True


def mark_woken_by_backend(active: Active, status: SlotStatus, now: Moment) -> None:
    """The backend lists a slot as running whose wake wasn't noted: it was woken."""
    active.wake = None
    active.announced = True
    active.state = ActiveState(status.value)
    active.paused = now if status is SlotStatus.PAUSED else None


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
        agent.failed_wakes.append(failed)
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


def abort_uncertain(state: State, agent_id: str, now: Moment) -> None:
    """End a slot here whose wake is uncertain and that the backend doesn't list any more."""
    agent = state.agent(agent_id)
    assert agent.active is not None
    ref, agent.active = agent.active.ref, None
    agent.ended_slots.append(Ended(ref, "aborted", now.wall, now.wall, uncertain=True))
    state.history.append(HistoryEntry(agent_id, ref.ident, "aborted", now.wall, UNCERTAIN))


def confirm_woken(state: State, agent_id: str, active: Active, now: Moment) -> Update | None:
    """The wake was made, by its adapter's word or the agent's; returns the update for it."""
    if active.state is ActiveState.WAKING:
        active.state = ActiveState.ONGOING
    active.wake = None
    agent = state.agent(agent_id)
    agent.failed_wakes = [f for f in agent.failed_wakes if not f.ref.same(active.ref)]
    return None if active.announced else _announce(state, agent_id, active, now)


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


def pause(state: State, agent_id: str, now: Moment, reason: str = "") -> Update | None:
    """The agent paused its active slot; None if that was reported, or refused for good, before."""
    active = state.agent(agent_id).active
    assert active is not None
    if active.state is ActiveState.PAUSED:
        return None
    confirm_woken(state, agent_id, active, now)
    active.state, active.paused, active.abandon_suspected_at = ActiveState.PAUSED, now, None
    active.reason = reason
    return _tell(state, agent_id, active, reason, now)


def resume(state: State, agent_id: str, now: Moment, reason: str = "") -> Update | None:
    """The agent is at its active slot again; None as of `pause`."""
    active = state.agent(agent_id).active
    assert active is not None
    if active.state is ActiveState.WAKING:
        return confirm_woken(state, agent_id, active, now)
    if active.state is not ActiveState.PAUSED:
        return None
    active.state, active.paused, active.abandon_suspected_at = ActiveState.ONGOING, None, None
    active.reason = ""
    return _tell(state, agent_id, active, reason, now)


def requeue_state(state: State, agent_id: str, now: Moment) -> Update | None:
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
    again.may_have_applied = True  # it was accepted before, so a 409 means that it still holds
    return again


def end_active(state: State, agent_id: str, word: SlotEnd, now: Moment) -> AcceptedEnd:
    """The agent's active slot is over: the agent is free, and the end is queued."""
    agent = state.agent(agent_id)
    active = agent.active
    assert active is not None
    if not active.announced:
        _announce(state, agent_id, active, now)
    agent.active = None
    measured = whole_minutes(active.start, now)
    if word.status == "finished" and word.minutes is None:
        word = replace(word, reason=_with_clamping(word.reason, active.start, now))
    return _end(state, agent_id, active.ref, word, now, measured)


def end_inactive(
    state: State, agent_id: str, ref: SlotRef, word: SlotEnd, now: Moment, *, announce: bool
) -> AcceptedEnd:
    """A slot that isn't active is over by the agent's word, which is true even when unexpected.

    Args:
        state: Changed in place.
        agent_id: Whose slot.
        ref: The slot; it leaves the failed wakes.
        word: What the agent says.
        now: The present moment.
        announce: Whether `ongoing` comes first: not for a slot that a lost state may have reported
            already, since that might reopen it.
    """
    if announce:
        enqueue(state, agent_id, ref, "ongoing", now, started_at=utc_time(now.wall))
    return _end(state, agent_id, ref, word, now, measured=1)


def abandon_if_overdue(
    state: State, agent_id: str, after: float, now: Moment
) -> AcceptedEnd | None:
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
        active.abandon_suspected_at = None
        return None
    if not since.same_boot(now):
        if (
            active.abandon_suspected_at is None
            or active.abandon_suspected_at.boot_id != now.boot_id
        ):
            active.abandon_suspected_at = now
        if active.abandon_suspected_at.seconds_until(now) < _RECHECK:
            return None
    what = "paused" if active.paused else "running"
    allowed = f"{PAUSED_PATIENCE} times abandon_after" if active.paused else "abandon_after"
    reason = (
        f"abandoned: {what} for {age(since.seconds_until(now))} without a word from the agent, "
        f"{allowed} is {age(limit)}"
    )
    return end_active(state, agent_id, SlotEnd("aborted", reason=reason), now)


def resolve(state: State, agent_id: str, status: SlotStatus, now: Moment) -> str:
    """The backend says that the active slot is over; returns its ident."""
    agent = state.agent(agent_id)
    assert agent.active is not None
    ref, agent.active = agent.active.ref, None
    agent.ended_slots.append(Ended(ref, status.value, now.wall, now.wall, accepted=now))
    agent.unsent_agent_status = "idle"
    reason = "the backend says so"
    for update in waiting_for(agent, ref):
        if not update.end:  # sent now it would open the slot again
            agent.queue.remove(update)
            why = f"not sent: the backend says that the slot is {status.value}"
            agent.refused.append(Refusal(update, now.wall, why))
    state.history.append(HistoryEntry(agent_id, ref.ident, status.value, now.wall, reason))
    return ref.ident


def whole_minutes(start: Moment, now: Moment) -> int:
    """Whole minutes from start to now, within 1 to 1440 whatever the clocks did."""
    return max(1, min(MAX_DURATION_MINUTES, int(start.seconds_until(now) // 60)))


def _announce(state: State, agent_id: str, active: Active, now: Moment) -> Update | None:
    active.announced = True
    if refused_before(state.agent(agent_id), active.ref, "ongoing") is not None:
        return None
    started_at = utc_time(active.start.wall)
    return enqueue(state, agent_id, active.ref, "ongoing", now, started_at=started_at)


def _tell(state: State, agent_id: str, active: Active, reason: str, now: Moment) -> Update | None:
    """Queue what the active slot is now; a reason goes into the history."""
    status = active.state.value
    if refused_before(state.agent(agent_id), active.ref, status) is not None:
        return None
    started_at = utc_time(active.start.wall) if active.state is ActiveState.ONGOING else None
    update = enqueue(state, agent_id, active.ref, status, now, started_at=started_at)
    if reason:
        ident, outcome = active.ref.ident, Outcome.QUEUED
        state.history.append(
            HistoryEntry(
                agent_id, ident, status, now.wall, reason, outcome=outcome, update=update.number
            )
        )
    return update


def _end(
    state: State, agent_id: str, ref: SlotRef, word: SlotEnd, now: Moment, measured: int
) -> AcceptedEnd:
    agent = state.agent(agent_id)
    duration = (word.minutes or measured) if word.status == "finished" else None
    update = enqueue(state, agent_id, ref, word.status, now, actual_duration=duration)
    agent.failed_wakes = [f for f in agent.failed_wakes if not f.ref.same(ref)]
    agent.ended_slots = [e for e in agent.ended_slots if not e.ref.same(ref)]
    agent.ended_slots.append(Ended(ref.copy(), word.status, now.wall, now.wall, duration=duration))
    agent.unsent_agent_status = "idle"
    state.history.append(
        HistoryEntry(
            agent_id=agent_id,
            ident=ref.ident,
            status=word.status,
            at=now.wall,
            reason=word.reason,
            summary=word.summary,
            outcome=Outcome.QUEUED,
            update=update.number,
        )
    )
    return AcceptedEnd(ref.ident, word.status, update.number, duration)


def _with_clamping(reason: str, start: Moment, now: Moment) -> str:
    """The reason, with a note when the clocks say what no `actual_duration` can."""
    seconds = start.seconds_until(now)
    if seconds < 0:
        note = f"began {age(-seconds)} from now by the clock, reported as 1 min"
    elif seconds >= (MAX_DURATION_MINUTES + 1) * 60:
        note = f"took {age(seconds)}, reported as {MAX_DURATION_MINUTES} min"
    else:
        return reason
    return f"{reason}; {note}" if reason else note


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
