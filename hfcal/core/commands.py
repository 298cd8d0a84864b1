"""What becomes of an agent's word: whose slot it is about, and what it changes; pure.

Rules: docs/contract.md, Agents' commands.
"""

from __future__ import annotations

from dataclasses import dataclass

from hfcal.clock import Moment, rfc3339
from hfcal.core import transitions as course
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import refused_before
from hfcal.core.records import AgentState, Ended, State
from hfcal.core.transitions import SlotEnd
from hfcal.errors import AmbiguousAgentError, Fault, NoActiveSlotError, WrongSlotError

YOUNG = 86_400.0  # seconds that a new state may not know what ran before it
STATUS = {"complete": "finished", "abort": "aborted", "pause": "paused", "resume": "ongoing"}


@dataclass(frozen=True)
class AgentCommand:
    """What an agent says.

    Attributes:
        verb: `complete`, `abort`, `pause` or `resume`.
        agent_id: Which agent says it, None for the only active one.
        slot: The slot's ident, to guard against ending another one.
        minutes: How long it took, by the agent's word.
        reason: Why, for the history.
        summary: What was done.
    """

    verb: str
    agent_id: str | None = None
    slot: str | None = None
    minutes: int | None = None
    reason: str = ""
    summary: str = ""


@dataclass
class AcceptedCommand:
    """What came of it.

    Attributes:
        agent_id: The agent.
        slot: The ident that the caller used, else the present one.
        status: The status told to the backend.
        duration: The `actual_duration` told.
        already: It had been said before; nothing is sent.
        update: The number of the queued update; None when nothing is sent.
        delivered: The backend has it.
        refused: The backend refused it for good.
        fault: Why it isn't delivered.
        busy: Another process speaks for the agent and sends it.
    """

    agent_id: str
    slot: str
    status: str
    duration: int | None = None
    already: bool = False
    update: int | None = None
    delivered: bool = False
    refused: bool = False
    fault: Fault | None = None
    busy: bool = False


def find_agent(state: State, ident: str | None) -> str:
    """The only agent with an active slot; but whose slot ended as named, repeats itself.

    Raises:
        NoActiveSlotError: No agent has one.
        AmbiguousAgentError: Several have.
    """
    said = [
        agent_id
        for agent_id, agent in state.agents.items()
        if ident and any(ended.ref.named(ident) for ended in agent.ended_slots)
    ]
    if len(said) == 1 and not any(
        agent.active is not None and agent.active.ref.named(ident or "")
        for agent in state.agents.values()
    ):
        return said[0]
    active = [agent_id for agent_id, agent in state.agents.items() if agent.active is not None]
    if len(active) == 1:
        return active[0]
    if not active:
        raise NoActiveSlotError(
            "no agent has an active slot; name the agent with --agent if its slot ended already"
        )
    listed = ", ".join(
        f"{agent_id} (slot {agent.active.ref.ident})"
        for agent_id, agent in state.agents.items()
        if agent.active is not None
    )
    raise AmbiguousAgentError(
        f"several agents have an active slot: {listed}; say which with --agent or HFCAL_AGENT_ID"
    )


def apply(state: State, agent_id: str, request: AgentCommand, moment: Moment) -> AcceptedCommand:
    """Take the agent's word into the state.

    Raises:
        NoActiveSlotError: The agent has no active slot.
        WrongSlotError: `slot` isn't the active one.
    """
    agent = state.agents.get(agent_id, AgentState())
    active = agent.active
    if active is not None and (request.slot is None or active.ref.named(request.slot)):
        if request.verb in {"complete", "abort"}:
            return _ended(
                request, agent_id, course.end_active(state, agent_id, _word(request), moment)
            )
        return _paused_or_resumed(state, agent_id, request, active.ref, moment)
    if request.slot is not None and request.verb in {"complete", "abort"}:
        accepted = _accept_other(state, agent_id, agent, request, moment)
        if accepted is not None:
            return accepted
    raise _not_active(state, agent_id, agent, request)


def _accept_other(
    state: State, agent_id: str, agent: AgentState, request: AgentCommand, moment: Moment
) -> AcceptedCommand | None:
    """The end of a slot that isn't active: true all the same, or known already."""
    ident = request.slot or ""
    failed = next((f for f in agent.failed_wakes if f.ref.named(ident)), None)
    ended = next((e for e in agent.ended_slots if e.ref.named(ident)), None)
    untold = failed or (ended if ended is not None and ended.uncertain else None)
    if untold is not None:
        ref, word = untold.ref, _word(request)
        return _ended(
            request,
            agent_id,
            course.end_inactive(state, agent_id, ref, word, moment, announce=True),
        )
    if ended is not None:
        return _said_before(agent, agent_id, ended, request)
    for other, theirs in state.agents.items():
        if other != agent_id and _knows(theirs, ident):
            raise WrongSlotError(
                f"slot {ident} is agent {other}'s, not {agent_id}'s; nothing was changed"
            )
    young = 0 <= moment.wall - state.created < YOUNG
    if request.verb != "complete" or not young or request.agent_id is None:
        return None
    try:
        ref = SlotRef.from_ident(ident)
    except ValueError:
        return None
    word = SlotEnd(
        "finished", request.minutes, "not known here; by the agent's word", request.summary
    )
    return _ended(
        request, agent_id, course.end_inactive(state, agent_id, ref, word, moment, announce=False)
    )


def _knows(agent: AgentState, ident: str) -> bool:
    """Whether the agent is, or was, at this slot, by any id that it has had."""
    refs = [update.ref for update in agent.queue] + [failed.ref for failed in agent.failed_wakes]
    refs += [ended.ref for ended in agent.ended_slots]
    if agent.active is not None:
        refs.append(agent.active.ref)
    return any(ref.named(ident) for ref in refs)


def _said_before(
    agent: AgentState, agent_id: str, ended: Ended, request: AgentCommand
) -> AcceptedCommand | None:
    if ended.status != STATUS[request.verb]:
        return None
    said = _already(agent, agent_id, ended.ref, request)
    said.duration = ended.duration
    if said.delivered and ended.accepted is None:
        said.delivered = False
        said.fault = Fault("undelivered", "it was dropped by hand, so the backend is never told")
    return said


def _already(
    agent: AgentState, agent_id: str, ref: SlotRef, request: AgentCommand
) -> AcceptedCommand:
    """What became of the same word, said before: it waits, was refused, or arrived."""
    status = STATUS[request.verb]
    refusal = refused_before(agent, ref, status)
    said = [u.number for u in agent.queue if u.ref.same(ref) and u.status == status]
    return AcceptedCommand(
        agent_id,
        request.slot or ref.ident,
        status,
        already=True,
        update=said[-1] if said else None,
        delivered=not said and refusal is None,
        refused=refusal is not None,
        fault=Fault("rejected", refusal.error) if refusal else None,
    )


def _paused_or_resumed(
    state: State, agent_id: str, request: AgentCommand, ref: SlotRef, moment: Moment
) -> AcceptedCommand:
    agent = state.agent(agent_id)
    change = course.pause if request.verb == "pause" else course.resume
    update = change(state, agent_id, moment, request.reason)
    if update is None:
        return _already(agent, agent_id, ref, request)
    return AcceptedCommand(
        agent_id, request.slot or ref.ident, STATUS[request.verb], update=update.number
    )


def _ended(request: AgentCommand, agent_id: str, ending: course.AcceptedEnd) -> AcceptedCommand:
    return AcceptedCommand(
        agent_id,
        request.slot or ending.ident,
        ending.status,
        ending.duration,
        update=ending.update,
    )


def _word(request: AgentCommand) -> SlotEnd:
    return SlotEnd(STATUS[request.verb], request.minutes, request.reason, request.summary)


def _not_active(
    state: State, agent_id: str, agent: AgentState, request: AgentCommand
) -> NoActiveSlotError | WrongSlotError:
    active = agent.active
    ended = next((e for e in agent.ended_slots if request.slot and e.ref.named(request.slot)), None)
    past = f"; {request.slot} {ended.status} here at {rfc3339(ended.at)}" if ended else ""
    if active is not None:
        return WrongSlotError(
            f"agent {agent_id} is at slot {active.ref.ident}, not at {request.slot}{past}; "
            f"nothing was changed"
        )
    others = [a for a, s in state.agents.items() if s.active is not None]
    hint = f"; active now: {', '.join(others)}" if others else ""
    if not past and not others:
        hint = "; hfcal status shows what there is"
    return NoActiveSlotError(f"agent {agent_id} has no active slot{past}{hint}")
