"""When `/calendar/sync` is asked, and what is learned from it; pure.

Rules: docs/contract.md, Scheduling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hfcal.clock import Moment, utc_date
from hfcal.core import memory, transitions
from hfcal.core.notices import Notice
from hfcal.core.outbox import UNRESOLVED_PAUSE, unresolved, waiting_for
from hfcal.core.protocol import Slot
from hfcal.core.records import State
from hfcal.errors import Fault, docs_link

_PATIENCE = 600.0  # seconds for which a sync that failed holds up no heartbeat
_ABSENT = {401, 404, 405}
_DAY = 86_400.0


def comes_first(state: State, wall: float) -> bool:
    """Whether it has to be asked before any heartbeat; one that failed lately is asked beside."""
    failed = state.sync.failed
    failed_lately = failed is not None and 0 <= wall - failed < _PATIENCE
    return state.sync.needed and not _absent(state, wall) and not failed_lately


def is_due(state: State, wall: float) -> bool:
    """Whether it is to be asked beside the heartbeats: once a day, or for what it may say."""
    asked = state.sync.asked
    today = asked is not None and utc_date(asked) == utc_date(wall)
    wanted = state.sync.needed or not today
    return (wanted and not _absent(state, wall)) or id_missing(state, wall)


def id_missing(state: State, wall: float) -> bool:
    """Whether a real id is missing that a sync may say.

    What waits for it is tried hourly, and as often it is worth to ask a backend that seemed to
    have no sync: a 401 may have been the key's.
    """
    unknown = any(map(unresolved, state.agents.values()))
    return unknown and not _absent(state, wall, UNRESOLVED_PAUSE)


def note_failed(state: State, fault: Fault, wall: float) -> None:
    """A backend without sync is remembered for a day; any other fault is asked again."""
    if fault.http_status in _ABSENT:
        state.sync.needed = False
        state.sync.absent_until = wall + _DAY
    else:
        state.sync.failed = wall


def take_over(
    state: State, schedules: Mapping[str, Sequence[Slot]], moment: Moment
) -> tuple[list[str], list[Notice]]:
    """Learn real ids from a sync, and adopt what runs when the state is new or rebuilt.

    Args:
        state: The state to change.
        schedules: What the sync listed for each agent that is known here.
        moment: The present one.

    Returns:
        The agents that got an active slot by that, and the news.
    """
    adopted: list[str] = []
    news: list[Notice] = []
    for agent_id, listed in schedules.items():
        agent = state.agent(agent_id)
        for slot in listed:
            memory.learn_listed(state, agent_id, slot, moment)
        running = [
            slot
            for slot in listed
            if slot.status is not None
            and slot.status.running
            and memory.ended_before(agent, slot.ref) is None
            and not waiting_for(agent, slot.ref)
        ]
        if state.sync.needed and agent.active is None and running:
            best = max(running, key=lambda slot: slot.priority)
            transitions.adopt(state, agent_id, best, moment)
            adopted.append(agent_id)
            for other in running:
                if other is not best:
                    message = f"slot {other.ident} runs as well; only {best.ident} is adopted"
                    news.append(Notice(agent_id, message, docs_link("adopted")))
    state.sync.needed = False
    state.sync.asked = moment.wall
    return adopted, news


def _absent(state: State, wall: float, for_: float = _DAY) -> bool:
    """Whether the backend was found to have no sync, less than so many seconds ago."""
    until = state.sync.absent_until
    return until is not None and _DAY - for_ < until - wall <= _DAY
