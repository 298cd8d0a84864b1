"""How the agents are: held, late, overdue, failing. Pure; every view asks here, so they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcal.clock import Moment
    from hfcal.core.records import Active, AgentState, FailedWake, Hold, State, Update

LEAST_STALE = 120.0
OVERDUE_AFTER = 300.0


def stale_after(state: State) -> float:
    """Seconds after which a heartbeat, or a waiting update, is too old."""
    return max(LEAST_STALE, 2 * state.heartbeat_every)


def stale_agents(state: State, now: Moment) -> list[str]:
    """The agents of the last tick without a good heartbeat for longer than may be."""
    limit = stale_after(state)
    found = []
    for agent_id in state.configured:
        good = state.agents[agent_id].good_heartbeat if agent_id in state.agents else None
        # One from the future is of no worth either: the clock was set back.
        if good is None or not -LEAST_STALE <= now.wall - good <= limit:
            found.append(agent_id)
    return found


def waits_too_long(state: State, update: Update, now: Moment) -> bool:
    """Whether the backend should have had this waiting update by now."""
    return now.wall - update.since > stale_after(state)


def is_overdue(active: Active | None, now: Moment) -> bool:
    """Whether there is an active slot that runs longer than its estimate and five minutes."""
    if active is None:
        return False
    estimate = active.slot.get("estimated_duration")
    if not isinstance(estimate, int | float) or isinstance(estimate, bool):
        return False
    # Compared as it is, since no float holds every number that a slot may come with.
    return (active.start.seconds_until(now) - OVERDUE_AFTER) / 60 > estimate


def hold_in_force(agent: AgentState, now: Moment) -> Hold | None:
    """What keeps anything from being dispatched to the agent; None for nothing any more."""
    hold = agent.hold
    return hold if hold is not None and (hold.until is None or hold.until > now.wall) else None


def failing_wakes(agent: AgentState) -> list[FailedWake]:
    """The failed wakes that are to be tried again, as the last good heartbeat listed them."""
    listed = agent.good_heartbeat or 0.0
    return [failed for failed in agent.failed_wakes if failed.listed >= listed]
