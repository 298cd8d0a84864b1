"""The outbox: updates on disk before they are sent, in order for each slot, until answered.

Pure: records in, records changed, no I/O. Two rules carry promises 2 and 3 of docs/contract.md:

* an update is begun only when it is the first of its slot in the queue, so what stands behind
  another one can't have been sent yet;
* it leaves the queue in the transaction before its successor is begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from hfcal.clock import Moment, utc_date
from hfcal.core.ids import SlotRef
from hfcal.core.records import (
    AgentState,
    HistoryEntry,
    Outcome,
    Refusal,
    State,
    Update,
)
from hfcal.errors import Fault

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
LONGEST_RETRY_AFTER = 3600.0
UNRESOLVED_PAUSE = 3600.0
GIVE_UP_AFTER = 7 * 86_400.0

# 401 and 403 are not here: a person fixes the key, however long that takes.
_PASSING = frozenset({408, 425, 429})
NOT_FOR_GOOD = _PASSING | {401, 403}
_GONE = "the slot became real and its real id was never found"


@dataclass(frozen=True)
class Sending:
    """One try of an update, under way.

    Attributes:
        number: The update's number.
        ref: The slot's ids as they are now.
        status: The status to report.
        body: The request's body.
        repeat: An earlier try may have taken effect, so 409 means that it did.
    """

    number: int
    ref: SlotRef
    status: str
    body: dict[str, object]
    repeat: bool


@dataclass(frozen=True)
class Result:
    """How a try went.

    Attributes:
        sending: The try.
        fault: Why it failed; None when the backend accepted.
        real_id: The slot's real id, if the answer has it.
        sent: Whether it was tried at all.
    """

    sending: Sending
    fault: Fault | None = None
    real_id: int | None = None
    sent: bool = True


@dataclass(frozen=True)
class Delivery:
    """What a try came to, for reports.

    Attributes:
        agent_id: Whose update.
        slot: The slot's ident.
        status: The status reported.
        number: The update's number.
        delivered: The backend has it.
        refused: The backend refused it for good.
        fault: Why it isn't delivered.
        known: The try before failed in the same way.
    """

    agent_id: str
    slot: str
    status: str
    number: int
    delivered: bool
    refused: bool = False
    fault: Fault | None = None
    known: bool = False


def enqueue(
    state: State,
    agent_id: str,
    ref: SlotRef,
    status: str,
    now: Moment,
    *,
    started_at: str | None = None,
    actual_duration: int | None = None,
) -> Update:
    """Put an update at the end of the agent's queue; what is accepted is never left out."""
    update = Update(
        number=state.take_number(),
        ref=ref.copy(),
        status=status,
        since=now.wall,
        started_at=started_at,
        actual_duration=actual_duration,
        not_before=now.wall + UNRESOLVED_PAUSE if ref.unresolved else None,
    )
    state.agent(agent_id).queue.append(update)
    return update


def begin(
    agent: AgentState, now: Moment, tried: set[int], *, respect_pauses: bool
) -> list[Sending]:
    """Begin a try of each slot's first update that may be sent now.

    Args:
        agent: Whose queue; the tries are noted in it, so save it before sending.
        now: The present moment.
        tried: Numbers tried already in this pass, which gets the new ones.
        respect_pauses: Whether pauses are kept to: a tick does, a command tries once all the same.
    """
    sendings = []
    # The least tried first, so that a slot which hangs the backend holds up no other for ever.
    for update in sorted(_heads(agent.queue), key=lambda u: u.attempts):
        if update.number in tried:
            continue
        if (respect_pauses or update.ref.unresolved) and _pausing(update, now.wall):
            continue
        tried.add(update.number)
        sendings.append(
            Sending(
                number=update.number,
                ref=update.ref.copy(),
                status=update.status,
                body=update.body(),
                repeat=update.may_have_applied,
            )
        )
        update.attempts += 1
        update.may_have_applied = True
    return sendings


def has_work(agent: AgentState, now: Moment, tried: set[int]) -> bool:
    """Whether a tick would begin a try."""
    return any(u.number not in tried and not _pausing(u, now.wall) for u in _heads(agent.queue))


def settle(state: State, agent_id: str, result: Result, now: Moment) -> Delivery:
    """Note how a try went: done, refused for good, or still waiting."""
    agent = state.agent(agent_id)
    sending, fault = result.sending, result.fault
    update = next((u for u in agent.queue if u.number == sending.number), None)
    if update is None:  # dropped by a person meanwhile
        return Delivery(
            agent_id, sending.ref.ident, sending.status, sending.number, fault is None, fault=fault
        )
    if fault is None or (fault.http_status == 409 and sending.repeat):
        return _delivered(state, agent_id, update, result.real_id, now)
    known = update.error == fault.message
    update.error = fault.message
    if not result.sent:
        update.attempts -= 1
    if not result.sent or not fault.maybe_done:
        update.may_have_applied = sending.repeat
    refused = False
    if fault.http_status == 404 and not sending.ref.real and update.ref.real:
        update.not_before = None  # the real id was learned while the virtual one was tried
    elif fault.http_status == 404 and not sending.ref.real:
        note_became_real(agent, update.ref, now)
        update.not_before = now.wall + UNRESOLVED_PAUSE
        if two_days_past(update.ref.date or utc_date(update.since), now.wall):
            refused = True
            fault = Fault(fault.kind, f"{_GONE}; {fault.message}", fault.http_status)
    elif _waits(update, fault, now.wall):
        _pause(update, fault, now.wall)
    else:
        refused = True
    if refused:
        _refuse(state, agent_id, update, fault, now.wall)
    return Delivery(
        agent_id,
        update.ref.ident,
        update.status,
        update.number,
        delivered=False,
        refused=refused,
        fault=fault,
        known=known and not refused,
    )


def learn(agent: AgentState, listed: SlotRef) -> None:
    """Take over the ids of a listed slot wherever that slot is remembered."""
    for ref in _refs(agent):
        if ref.same(listed):
            known = bool(ref.real)
            ref.learn(listed)
            if ref.real and not known:
                _wake_up(agent, ref)


def note_became_real(agent: AgentState, ref: SlotRef, now: Moment) -> None:
    """The server made this slot real and we don't know its real id: what waits is tried hourly."""
    for known in _refs(agent):
        if known.same(ref):
            known.became_real = True
    for update in waiting_for(agent, ref):
        update.not_before = now.wall + UNRESOLVED_PAUSE


def unresolved(agent: AgentState) -> bool:
    """Whether something waits, or runs, whose real id isn't known."""
    running = agent.active is not None and agent.active.ref.unresolved
    return running or any(u.ref.unresolved for u in agent.queue)


def waiting_for(agent: AgentState, ref: SlotRef) -> list[Update]:
    """The updates of one slot that wait, in order."""
    return [u for u in agent.queue if u.ref.same(ref)]


def refused_before(agent: AgentState, ref: SlotRef, status: str) -> Refusal | None:
    """The refusal of this status for this slot, if there was one."""
    return next(
        (r for r in agent.refused if r.update.status == status and r.update.ref.same(ref)), None
    )


def _heads(queue: Iterable[Update]) -> list[Update]:
    heads: list[Update] = []
    for update in queue:
        if not any(update.ref.same(head.ref) for head in heads):
            heads.append(update)
    return heads


def _pausing(update: Update, wall: float) -> bool:
    if update.not_before is None:
        return False
    left = update.not_before - wall
    # Further ahead than the longest pause there is: the clock was set back.
    return 0 < left <= max(LONGEST_RETRY_AFTER, UNRESOLVED_PAUSE)


def _delivered(
    state: State, agent_id: str, update: Update, real_id: int | None, now: Moment
) -> Delivery:
    agent = state.agent(agent_id)
    agent.queue.remove(update)
    if real_id is not None and not update.ref.real:
        learn(agent, SlotRef([real_id], list(update.ref.virtual), update.ref.date))
        update.ref.real.append(real_id)
    elif not update.ref.real:
        note_became_real(agent, update.ref, now)
    if update.end:
        for ended in agent.ended_slots:
            if ended.ref.same(update.ref):
                ended.accepted = now
    for entry in state.history:
        if entry.update == update.number:
            entry.outcome = Outcome.DELIVERED
    return Delivery(agent_id, update.ref.ident, update.status, update.number, delivered=True)


def _waits(update: Update, fault: Fault, wall: float) -> bool:
    """Whether the update stays in the queue after this fault."""
    if fault.http_status is None or fault.http_status in {401, 403}:
        update.failing_since = None
        return True
    if fault.http_status >= 500 or fault.http_status in _PASSING:
        update.failing_since = update.failing_since or wall
        return wall - update.failing_since < GIVE_UP_AFTER
    return fault.http_status < 400


def _pause(update: Update, fault: Fault, wall: float) -> None:
    if fault.http_status is None:
        update.not_before = None
        return
    pause = min(FIRST_PAUSE * 2 ** min(update.pauses, 10), LONGEST_PAUSE)
    if fault.retry_after is not None:
        pause = min(fault.retry_after, LONGEST_RETRY_AFTER)
    update.pauses += 1
    update.not_before = wall + pause


def _refuse(state: State, agent_id: str, update: Update, fault: Fault, wall: float) -> None:
    agent = state.agent(agent_id)
    agent.queue.remove(update)
    earlier = refused_before(agent, update.ref, update.status)
    if earlier is not None:
        earlier.at, earlier.error, earlier.count = wall, fault.message, earlier.count + 1
    else:
        agent.refused.append(Refusal(update, wall, fault.message))
    entry = next((e for e in state.history if e.update == update.number), None)
    if entry is not None:
        entry.outcome = Outcome.REFUSED
        if fault.message not in entry.reason:  # not the same one again
            entry.reason = "; ".join(filter(None, [entry.reason, fault.message]))
    elif earlier is None:
        state.history.append(
            HistoryEntry(
                agent_id=agent_id,
                ident=update.ref.ident,
                status=update.status,
                at=wall,
                reason=fault.message,
                outcome=Outcome.REFUSED,
            )
        )


def two_days_past(day: str, wall: float) -> bool:
    """Whether the date `day`, `YYYY-MM-DD`, is two days past in UTC; no date never is."""
    try:
        last = date.fromisoformat(day) + timedelta(days=2)
    except (ValueError, OverflowError):
        return False
    return utc_date(wall) >= last.isoformat()


def _refs(agent: AgentState) -> list[SlotRef]:
    refs = [u.ref for u in agent.queue]
    refs += [e.ref for e in agent.ended_slots]
    refs += [f.ref for f in agent.failed_wakes]
    refs += [r.update.ref for r in agent.refused]
    if agent.active is not None:
        refs.append(agent.active.ref)
    return refs


def _wake_up(agent: AgentState, ref: SlotRef) -> None:
    """What waited for the real id may go at once."""
    for update in agent.queue:
        if update.ref is ref:
            update.not_before = None
