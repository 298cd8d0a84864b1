"""What becomes of an agent's command: which slot it is about, and what it changes; pure.

Rules: docs/contract.md, Agents' commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hfcal.clock import Moment, rfc3339
from hfcal.core import transitions
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

    @property
    def status(self) -> str:
        """What is reported to the backend."""
        return STATUS[self.verb]

    @property
    def ends(self) -> bool:
        """Whether it ends the slot."""
        return self.verb in {"complete", "abort"}


@dataclass
class AcceptedCommand:
    """What came of it.

    Attributes:
        agent_id: The agent.
        slot: The ident that the caller used, else the present one.
        status: The status reported to the backend.
        duration: The `actual_duration` reported.
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


def apply(state: State, agent_id: str, command: AgentCommand, moment: Moment) -> AcceptedCommand:
    """Take the agent's word into the state.

    An agent's word is true even when it is unexpected, so the end of a slot that isn't active is
    taken in the cases of `_INACTIVE`, the first that fits.

    Raises:
        NoActiveSlotError: The agent has no active slot.
        WrongSlotError: `slot` isn't the active one.
    """
    agent = state.agents.get(agent_id, AgentState())
    active = agent.active
    if active is not None and (command.slot is None or active.ref.named(command.slot)):
        if command.ends:
            end = transitions.end_active(state, agent_id, _slot_end(command), moment)
            return _accepted(command, agent_id, end)
        return _paused_or_resumed(state, agent_id, command, active.ref, moment)
    if command.slot is not None and command.ends:
        said = _Said(state, agent_id, agent, command, command.slot, moment)
        for case in _INACTIVE:
            accepted = case(said)
            if accepted is not None:
                return accepted
    raise _not_active(state, agent_id, agent, command)


@dataclass(frozen=True)
class _Said:
    """The end of a slot that isn't the agent's active one, as an agent said it."""

    state: State
    agent_id: str
    agent: AgentState
    command: AgentCommand
    ident: str
    moment: Moment

    def end(self, ref: SlotRef, slot_end: SlotEnd, *, announce: bool) -> AcceptedCommand:
        """Take the end."""
        end = transitions.end_inactive(
            self.state, self.agent_id, ref, slot_end, self.moment, announce=announce
        )
        return _accepted(self.command, self.agent_id, end)


def _wake_failed_or_uncertain(said: _Said) -> AcceptedCommand | None:
    """Its wake was reported failed, or is uncertain: it was woken, so the slot has run."""
    failed = next((f for f in said.agent.failed_wakes if f.ref.named(said.ident)), None)
    ended = _ended_by(said.agent, said.ident)
    if failed is not None:
        return said.end(failed.ref, _slot_end(said.command), announce=True)
    if ended is not None and ended.uncertain:
        return said.end(ended.ref, _slot_end(said.command), announce=True)
    return None


def _said_before(said: _Said) -> AcceptedCommand | None:
    """It ended here: agents repeat after a time-out. Another end than the first is refused.

    Raises:
        NoActiveSlotError: It ended in the other way.
        WrongSlotError: The same, and another slot is active.
    """
    ended = _ended_by(said.agent, said.ident)
    if ended is None:
        return None
    if ended.status != said.command.status:
        raise _not_active(said.state, said.agent_id, said.agent, said.command)
    again = _already(said.agent, said.agent_id, ended.ref, said.command)
    again.duration = ended.duration
    if again.delivered and ended.accepted is None:
        again.delivered = False
        again.fault = Fault("undelivered", "it was dropped by hand, so the backend is never told")
    return again


def _anothers(said: _Said) -> None:
    """It is, or was, another agent's.

    Raises:
        WrongSlotError: It is.
    """
    for other, theirs in said.state.agents.items():
        if other != said.agent_id and _knows(theirs, said.ident):
            raise WrongSlotError(
                f"slot {said.ident} is agent {other}'s, not {said.agent_id}'s; nothing was changed"
            )


def _unknown_to_a_young_state(said: _Said) -> AcceptedCommand | None:
    """It may have run before the state was lost; an `ongoing` might reopen it."""
    command = said.command
    young = 0 <= said.moment.wall - said.state.created < YOUNG
    if command.verb != "complete" or not young or command.agent_id is None:
        return None
    try:
        ref = SlotRef.from_ident(said.ident)
    except ValueError:
        return None
    reason = "not known here; by the agent's word"
    slot_end = SlotEnd("finished", command.minutes, reason, command.summary)
    return said.end(ref, slot_end, announce=False)


_INACTIVE: tuple[Callable[[_Said], AcceptedCommand | None], ...] = (
    _wake_failed_or_uncertain,
    _said_before,
    _anothers,
    _unknown_to_a_young_state,
)


def _ended_by(agent: AgentState, ident: str) -> Ended | None:
    return next((e for e in agent.ended_slots if e.ref.named(ident)), None)


def _knows(agent: AgentState, ident: str) -> bool:
    """Whether the agent is, or was, at this slot, by any id that it has had."""
    refs = [update.ref for update in agent.queue] + [failed.ref for failed in agent.failed_wakes]
    refs += [ended.ref for ended in agent.ended_slots]
    if agent.active is not None:
        refs.append(agent.active.ref)
    return any(ref.named(ident) for ref in refs)


def _already(
    agent: AgentState, agent_id: str, ref: SlotRef, command: AgentCommand
) -> AcceptedCommand:
    """What became of the same word, said before: it waits, was refused, or arrived."""
    status = command.status
    refusal = refused_before(agent, ref, status)
    said = [u.number for u in agent.queue if u.ref.same(ref) and u.status == status]
    return AcceptedCommand(
        agent_id,
        command.slot or ref.ident,
        status,
        already=True,
        update=said[-1] if said else None,
        delivered=not said and refusal is None,
        refused=refusal is not None,
        fault=Fault("rejected", refusal.error) if refusal else None,
    )


def _paused_or_resumed(
    state: State, agent_id: str, command: AgentCommand, ref: SlotRef, moment: Moment
) -> AcceptedCommand:
    agent = state.agent(agent_id)
    change = transitions.pause if command.verb == "pause" else transitions.resume
    update = change(state, agent_id, moment, command.reason)
    if update is None:
        return _already(agent, agent_id, ref, command)
    return AcceptedCommand(
        agent_id, command.slot or ref.ident, command.status, update=update.number
    )


def _accepted(
    command: AgentCommand, agent_id: str, end: transitions.AcceptedEnd
) -> AcceptedCommand:
    return AcceptedCommand(
        agent_id,
        command.slot or end.ident,
        end.status,
        end.duration,
        update=end.update,
    )


def _slot_end(command: AgentCommand) -> SlotEnd:
    return SlotEnd(command.status, command.minutes, command.reason, command.summary)


def _not_active(
    state: State, agent_id: str, agent: AgentState, command: AgentCommand
) -> NoActiveSlotError | WrongSlotError:
    active = agent.active
    ended = _ended_by(agent, command.slot or "")
    past = f"; {command.slot} {ended.status} here at {rfc3339(ended.at)}" if ended else ""
    if active is not None:
        return WrongSlotError(
            f"agent {agent_id} is at slot {active.ref.ident}, not at {command.slot}{past}; "
            f"nothing was changed"
        )
    others = [a for a, s in state.agents.items() if s.active is not None]
    hint = f"; active now: {', '.join(others)}" if others else ""
    if not past and not others:
        hint = "; hfcal status shows what there is"
    return NoActiveSlotError(f"agent {agent_id} has no active slot{past}{hint}")
