"""`hfcal queue list` for people: a line for each update that waits or was refused."""

from __future__ import annotations

from hfcal.clock import Moment, age
from hfcal.core.records import Refusal, State, Update
from hfcal.text import one_line


def queue_lines(state: State, now: Moment) -> list[str]:
    """The lines, those that wait first."""
    agents = state.agents.items()
    lines = [_waiting(a, update, now) for a, agent in agents for update in agent.queue]
    lines += [_refused(a, refusal, now) for a, agent in agents for refusal in agent.refused]
    return lines or ["nothing waits and nothing was refused"]


def _waiting(agent_id: str, update: Update, now: Moment) -> str:
    tries = f"{update.attempts} {'try' if update.attempts == 1 else 'tries'}"
    why = f": {one_line(update.error)}" if update.error else ""
    since = age(now.wall - update.since)
    return f"waits    {_what(agent_id, update)}, since {since} ago, {tries}{why}"


def _refused(agent_id: str, refusal: Refusal, now: Moment) -> str:
    when = age(now.wall - refusal.at)
    return f"refused  {_what(agent_id, refusal.update)}, {when} ago: {one_line(refusal.error)}"


def _what(agent_id: str, update: Update) -> str:
    return f"{agent_id}  slot {one_line(update.ref.ident)}  {update.status}"
