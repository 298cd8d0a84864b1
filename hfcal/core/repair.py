"""What a person does by hand to what waits or was refused, and to an agent; pure.

Whoever calls this holds the agents' locks, so nothing of it is being sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hfcal.core.records import AgentState, Outcome, Refusal, State, Update

_DROPPED = "dropped by hand"


@dataclass(frozen=True)
class SlotUpdates:
    """One slot's updates that wait or were refused."""

    agent_id: str
    queued: list[Update]
    refused: list[Refusal]

    @property
    def ident(self) -> str:
        """The slot's present ident."""
        ref = self.queued[0].ref if self.queued else self.refused[0].update.ref
        return ref.ident

    @property
    def updates(self) -> list[Update]:
        """All of them, in the order in which they were accepted."""
        updates = [*self.queued, *(refusal.update for refusal in self.refused)]
        return sorted(updates, key=lambda update: update.number)

    @property
    def statuses(self) -> list[str]:
        """What the updates say."""
        return [update.status for update in self.updates]


def find(
    state: State, ident: str, agents: Iterable[str], among: Collection[int] | None = None
) -> list[SlotUpdates]:
    """What waits or was refused of the slot that has, or had, this ident; by agent.

    Args:
        state: Where to look.
        ident: A real or virtual id, present or former.
        agents: Whose; empty for anybody's.
        among: Numbers of the only updates that count; None for all.
    """
    only = set(agents)
    found = []
    for agent_id, agent in state.agents.items():
        if only and agent_id not in only:
            continue
        queued = [u for u in agent.queue if u.ref.named(ident) and _counts(u, among)]
        refused = [
            r for r in agent.refused if r.update.ref.named(ident) and _counts(r.update, among)
        ]
        if queued or refused:
            found.append(SlotUpdates(agent_id, queued, refused))
    return found


def past_retrying(state: State, found: SlotUpdates) -> list[Refusal]:
    """Refusals whose slot has ended since: sent now, they would open it again."""
    agent = state.agent(found.agent_id)
    open_refs = [u.ref for u in agent.queue if u.end]
    open_refs += [r.update.ref for r in found.refused if r.update.end]
    if agent.active is not None:
        open_refs.append(agent.active.ref)
    return [
        r
        for r in found.refused
        if not r.update.end and not any(ref.same(r.update.ref) for ref in open_refs)
    ]


def retry(state: State, found: SlotUpdates) -> None:
    """Let the next tick send them without a pause; what was refused waits in its old place."""
    agent = state.agent(found.agent_id)
    for refusal in found.refused:
        agent.refused.remove(refusal)
        agent.queue.append(refusal.update)
        _note(state, refusal.update, Outcome.QUEUED)
    agent.queue.sort(key=lambda update: update.number)
    for update in found.updates:
        update.not_before = None
        update.pauses = 0
        update.failing_since = None


def drop(state: State, found: SlotUpdates) -> None:
    """Give them up: the backend is never told."""
    agent = state.agent(found.agent_id)
    for refusal in found.refused:
        agent.refused.remove(refusal)
    for update in found.queued:
        agent.queue.remove(update)
        _note(state, update, Outcome.LOCAL, _DROPPED)
        active = agent.active
        if update.status == "ongoing" and active is not None and active.ref.same(update.ref):
            # Whatever the agent says next of its slot is led by another one.
            active.announced = False


def forget(state: State, agent_id: str) -> None:
    """Remember nothing of the agent any more; what happened stays in the history."""
    for update in state.agent(agent_id).queue:
        _note(state, update, Outcome.LOCAL, _DROPPED)
    del state.agents[agent_id]
    state.configured = [name for name in state.configured if name != agent_id]


def reasons_to_keep(agent: AgentState) -> list[str]:
    """Why an agent shouldn't be forgotten, for people."""
    reasons = []
    if agent.active is not None:
        reasons.append(f"slot {agent.active.ref.ident} is {agent.active.state.value}")
    if agent.hold is not None:
        reasons.append("it is held")
    if agent.queue:
        count = len(agent.queue)
        reasons.append(f"{count} update{'s' if count > 1 else ''} not delivered yet")
    if agent.refused:
        count = len(agent.refused)
        reasons.append(f"{count} update{'s' if count > 1 else ''} refused by the backend")
    return reasons


def _counts(update: Update, among: Collection[int] | None) -> bool:
    return among is None or update.number in among


def _note(state: State, update: Update, outcome: Outcome, reason: str = "") -> None:
    for entry in state.history:
        if entry.update == update.number:
            entry.outcome = outcome
            entry.reason = "; ".join(filter(None, [entry.reason, reason]))
