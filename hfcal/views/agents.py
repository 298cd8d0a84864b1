"""The agents as people see them: how each is, in one row, those that matter first."""

from __future__ import annotations

from collections import Counter

from rich.text import Text

from hfcal.clock import Moment, age
from hfcal.core.health import failing_wakes, hold_in_force, is_overdue, stale_agents
from hfcal.core.records import ActiveState, AgentState, FailedWake, State
from hfcal.text import one_line
from hfcal.views.grid import Grid

FREE = 5  # the rank of an agent that is free and well
_COLUMNS = ("agent", "state", "slot", "since", "heartbeat", "note")


def ranks(state: State, now: Moment) -> list[tuple[int, str]]:
    """Each agent with how much it matters: 0 for the most; those alike in the state's order."""
    stale = set(stale_agents(state, now))
    found = []
    for agent_id in dict.fromkeys([*state.configured, *state.agents]):
        agent = record(state, agent_id)
        if agent.error or failing_wakes(agent) or agent_id in stale:
            rank = 0
        elif is_overdue(agent.active, now):
            rank = 1
        elif agent.queue or agent.refused:
            rank = 2
        elif agent.active is not None:
            rank = 3
        elif hold_in_force(agent, now) or agent.next is not None:
            rank = 4
        else:
            rank = FREE
        found.append((rank, agent_id))
    return sorted(found, key=lambda item: item[0])


def agents_grid(state: State, now: Moment, order: list[str], width: int) -> tuple[Grid, bool]:
    """A row for each of these agents, and whether it has their notes.

    Args:
        state: Where they are remembered.
        now: The present moment.
        order: Their ids.
        width: Columns of the screen. Where columns fit without the notes alone, those are left out.
    """
    stale = set(stale_agents(state, now))

    def grid(*, notes: bool) -> Grid:
        rows = [
            _cells(agent_id, record(state, agent_id), now, late=agent_id in stale, notes=notes)
            for agent_id in order
        ]
        return Grid("", _COLUMNS, rows)

    whole, bare = grid(notes=True), grid(notes=False)
    return (bare, False) if bare.fits(width) and not whole.fits(width) else (whole, True)


def notes_of(state: State, now: Moment, order: list[str]) -> list[tuple[str, str]]:
    """Those of these agents of whom there is more to say, and what."""
    told = ((agent_id, agent_note(record(state, agent_id), now)) for agent_id in order)
    return [(agent_id, note) for agent_id, note in told if note]


def counted(state: State, now: Moment, agents: list[str]) -> str:
    """How many agents are not shown, and what is to be said of them; empty for none."""
    if not agents:
        return ""
    stale = set(stale_agents(state, now))
    counts = Counter(
        _word(record(state, agent_id), now, late=agent_id in stale) for agent_id in agents
    )
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"and {len(agents)} agent{'s' if len(agents) > 1 else ''} more: {words}"


def agent_note(agent: AgentState, now: Moment) -> str:
    """What else is to be said of an agent, the worst first; empty for nothing."""
    notes = [agent.error] if agent.error else []
    notes += [_wake_note(agent, failed, now) for failed in failing_wakes(agent)]
    if agent.active is not None and agent.active.reason:
        notes.append(f"paused: {agent.active.reason}")
    if agent.queue:
        notes.append(f"{len(agent.queue)} waiting to be sent")
    if agent.refused:
        notes.append(f"{len(agent.refused)} refused")
    if agent.next is not None:
        due = agent.next.due_at
        when = f" in {age(due - now.wall)}" if due is not None and due > now.wall else ""
        notes.append(f"next: {agent.next.ident}{when}")
    if (hold := hold_in_force(agent, now)) is not None:
        how_long = f" for {age(hold.until - now.wall)}" if hold.until is not None else ""
        notes.append(f"held{how_long}{f': {hold.reason}' if hold.reason else ''}")
    return one_line("; ".join(notes))


def record(state: State, agent_id: str) -> AgentState:
    """The agent's record; an empty one for an agent that no tick has asked about."""
    return state.agents.get(agent_id) or AgentState()


def ago(wall: float, now: Moment) -> str:
    """How long ago that was."""
    return f"{age(now.wall - wall)} ago"


def _cells(agent_id: str, agent: AgentState, now: Moment, *, late: bool, notes: bool) -> list[Text]:
    what, style, slot, since = _doing(agent, now), "", "", ""
    failing = failing_wakes(agent)
    if agent.error:
        style = "red"
    elif failing:
        style, slot = "red", failing[0].ref.ident
    if agent.active is not None:
        active = agent.active
        style, slot = "green", active.ref.ident
        if active.state is ActiveState.PAUSED:
            style = "yellow"
        since = age(active.start.seconds_until(now))
        if is_overdue(active, now):
            what, style = f"{what}, overdue", "yellow"
    good = "never" if agent.good_heartbeat is None else ago(agent.good_heartbeat, now)
    note = agent_note(agent, now) if notes else ""
    return [
        Text(agent_id),
        Text(what, style),
        Text(one_line(slot)),
        Text(since),
        Text(f"{good}, late" if late else good, "red" if late else ""),
        Text(note, "red" if agent.error or failing else ""),
    ]


def _doing(agent: AgentState, now: Moment) -> str:
    if agent.active is not None:
        return agent.active.state.value
    if agent.error:
        return agent.error_kind.replace("_", " ")
    if failing_wakes(agent):
        return "wake fails"
    if hold_in_force(agent, now) is not None:
        return "held"
    return "free" if agent.heartbeat is not None else "not asked yet"


def _word(agent: AgentState, now: Moment, *, late: bool) -> str:
    """What matters most of an agent, in the order of `ranks`."""
    if agent.error:
        return agent.error_kind.replace("_", " ")
    if failing_wakes(agent):
        return "wake fails"
    if late:
        return "late"
    if is_overdue(agent.active, now):
        return "overdue"
    if agent.queue:
        return "waiting to be sent"
    if agent.refused:
        return "refused"
    return _doing(agent, now)


def _wake_note(agent: AgentState, failed: FailedWake, now: Moment) -> str:
    slot = f"slot {failed.ref.ident}: "
    trouble = agent.troubles.get(f"wake of slot {failed.wake.slot}")
    what = f"{slot}wake failed" if trouble is None else trouble.message
    pause = failed.not_before - now.wall
    times = f"{failed.count} times, " if failed.count > 1 else ""
    return f"{what} ({times}again {f'in {age(pause)}' if pause > 0 else 'at the next tick'})"
