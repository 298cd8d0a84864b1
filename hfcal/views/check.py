"""`hfcal status --check`: what is late, for monitoring, on one line."""

from __future__ import annotations

from hfcal.clock import Moment, age
from hfcal.core.health import failing_wakes, is_overdue, stale_agents, waits_too_long
from hfcal.core.notices import names
from hfcal.core.records import State
from hfcal.text import one_line


def summary(state: State, now: Moment, wrong: list[str]) -> str:
    """All of it on one line, with what is late if something is."""
    well = [] if wrong else ["heartbeats and deliveries are in time"]
    return "; ".join(filter(None, [*wrong, *well, besides(state, now)]))


def late(state: State, now: Moment) -> list[str]:
    """Heartbeats and updates that are later than may be (docs/contract.md, Commands)."""
    found = []
    if not state.configured:
        found.append("no tick has run")
    if stale := stale_agents(state, now):
        found.append(_heartbeats(state, now, stale))
    waiting = [(u.since, a, u) for a, agent in state.agents.items() for u in agent.queue]
    since, agent_id, update = min(waiting, key=lambda w: w[0], default=(now.wall, "", None))
    if update is not None and waits_too_long(state, update, now):
        more = f", with {len(waiting) - 1} more" if len(waiting) > 1 else ""
        found.append(
            f"{agent_id}: {update.status} of slot {update.ref.ident} waits for "
            f"{age(now.wall - since)}{_why(update.error)}{more}"
        )
    return found


def besides(state: State, now: Moment) -> str:
    """What is not late and still wants to be seen; empty for nothing."""
    refused = sum(len(agent.refused) for agent in state.agents.values())
    overdue = sum(1 for a in state.agents.values() if is_overdue(a.active, now))
    failing = sum(len(failing_wakes(agent)) for agent in state.agents.values())
    wakes = "failing wakes" if failing > 1 else "failing wake"
    counts = ((refused, "refused"), (overdue, "overdue"), (failing, wakes))
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def _heartbeats(state: State, now: Moment, stale: list[str]) -> str:
    good = {a: state.agents[a].good_heartbeat for a in stale if a in state.agents}
    worst = min(stale, key=lambda agent_id: good.get(agent_id) or 0.0)
    last = good.get(worst)
    how_long = "ever" if last is None else f"for {age(now.wall - last)}"
    error = state.agents[worst].error if worst in state.agents else ""
    if len(stale) == 1:
        return f"no good heartbeat {how_long}: {worst}{_why(error)}"
    who = f"{len(stale)} agents, {names([worst, *stale])}"
    return f"no good heartbeat {how_long}: {who}{_why(error and f'{worst}: {error}')}"


def _why(error: str) -> str:
    # Whole: it ends with what to do.
    return f" ({one_line(error, 1000)})" if error else ""
