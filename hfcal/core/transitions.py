"""The course of an agent's slot, by its word: begun, paused, resumed, ended.

Each is queued for the backend.

Pure: records in, records changed, no I/O. Each function is called inside one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hfcal.clock import Moment, age, utc_time
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import enqueue, refused_before
from hfcal.core.records import (
    Active,
    ActiveState,
    Ended,
    HistoryEntry,
    Outcome,
    State,
    Update,
)

MAX_DURATION_MINUTES = 1440


@dataclass(frozen=True)
class Word:
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
class Ending:
    """An end that was accepted.

    Attributes:
        ident: The slot's present ident.
        status: How it ended.
        update: The number of the update that tells the backend.
        duration: The `actual_duration` told, in minutes, if it was finished.
    """

    ident: str
    status: str
    update: int
    duration: int | None = None


def hear_from(state: State, agent_id: str, active: Active, now: Moment) -> Update | None:
    """The wake was made, by its adapter's word or the agent's; returns the update that tells it."""
    if active.state is ActiveState.WAKING:
        active.state = ActiveState.ONGOING
    active.wake = None
    agent = state.agent(agent_id)
    agent.failed = [f for f in agent.failed if not f.ref.same(active.ref)]
    return None if active.announced else _announce(state, agent_id, active, now)


def end_active(state: State, agent_id: str, word: Word, now: Moment) -> Ending:
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


def end_other(
    state: State, agent_id: str, ref: SlotRef, word: Word, now: Moment, *, announce: bool
) -> Ending:
    """A slot that isn't active is over by the agent's word, which is true even when unexpected.

    Args:
        state: Changed in place.
        agent_id: Whose slot.
        ref: The slot; it leaves the failed wakes.
        word: What the agent says.
        now: The present moment.
        announce: Whether `ongoing` is told first: not for a slot that a lost state may have told
            already, since that might reopen it.
    """
    if announce:
        enqueue(state, agent_id, ref, "ongoing", now, started_at=utc_time(now.wall))
    return _end(state, agent_id, ref, word, now, measured=1)


def pause(state: State, agent_id: str, now: Moment, reason: str = "") -> Update | None:
    """The agent paused its active slot; None when that was told, or refused for good, before."""
    active = state.agent(agent_id).active
    assert active is not None
    if active.state is ActiveState.PAUSED:
        return None
    hear_from(state, agent_id, active, now)
    active.state, active.paused, active.doomed = ActiveState.PAUSED, now, None
    active.reason = reason
    return _tell(state, agent_id, active, reason, now)


def resume(state: State, agent_id: str, now: Moment, reason: str = "") -> Update | None:
    """The agent is at its active slot again; None as of `pause`."""
    active = state.agent(agent_id).active
    assert active is not None
    if active.state is ActiveState.WAKING:
        return hear_from(state, agent_id, active, now)
    if active.state is not ActiveState.PAUSED:
        return None
    active.state, active.paused, active.doomed = ActiveState.ONGOING, None, None
    active.reason = ""
    return _tell(state, agent_id, active, reason, now)


def whole_minutes(start: Moment, now: Moment) -> int:
    """Whole minutes from start to now, within 1 to 1440 whatever the clocks did."""
    return max(1, min(MAX_DURATION_MINUTES, int(start.seconds_until(now) // 60)))


def _with_clamping(reason: str, start: Moment, now: Moment) -> str:
    """The reason, with a note when the clocks say what no `actual_duration` can."""
    seconds = start.seconds_until(now)
    if seconds < 0:
        note = f"began {age(-seconds)} from now by the clock, told as 1 min"
    elif seconds >= (MAX_DURATION_MINUTES + 1) * 60:
        note = f"took {age(seconds)}, told as {MAX_DURATION_MINUTES} min"
    else:
        return reason
    return f"{reason}; {note}" if reason else note


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
    state: State, agent_id: str, ref: SlotRef, word: Word, now: Moment, measured: int
) -> Ending:
    agent = state.agent(agent_id)
    duration = (word.minutes or measured) if word.status == "finished" else None
    update = enqueue(state, agent_id, ref, word.status, now, actual_duration=duration)
    agent.failed = [f for f in agent.failed if not f.ref.same(ref)]
    agent.ended = [e for e in agent.ended if not e.ref.same(ref)]
    agent.ended.append(Ended(ref.copy(), word.status, now.wall, now.wall, duration=duration))
    agent.status_owed = "idle"
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
    return Ending(ref.ident, word.status, update.number, duration)
