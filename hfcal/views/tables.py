"""`hfcal status` for people."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

from hfcal.clock import Moment, age
from hfcal.state.records import ActiveState, AgentState, FailedWake, State
from hfcal.text import one_line
from hfcal.views.documents import is_overdue, stale_agents

HISTORY = 10
_FREE = 5  # the rank of an agent that is free and well
_FREE_ROWS = 30
_WIDE = 80  # columns from which notes fit into the table


def print_status(
    state: State, now: Moment, stream: TextIO, *, history: int = HISTORY, whole: bool = False
) -> None:
    """Print what goes on: agents first, then what is stuck, then what happened.

    Args:
        state: What to show.
        now: The present moment.
        stream: Where to.
        history: How many past entries.
        whole: Show each agent that is free and well, too, however many there are.
    """
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if console.is_dumb_terminal:  # to rich it has 80 columns, whatever it has
        console.size = ConsoleDimensions(*shutil.get_terminal_size())
    ascii_only = not (stream.encoding or "").lower().startswith("utf")
    for trouble in state.troubles.values():
        console.print(_text(trouble.message, "yellow"))
    most = None if whole else max(_FREE_ROWS, sum(1 for r in ranks(state, now) if r[0] < _FREE))
    wide = console.width >= _WIDE
    agents, rest = agents_table(state, now, most, notes=wide)
    for table in (
        agents,
        waiting_table(state, now),
        _refused(state, now),
        _past(state, now, history),
    ):
        if table.row_count:
            table.box = box.ASCII if ascii_only else box.SIMPLE_HEAD
            console.print(table)
        if table is not agents:
            continue
        if rest:
            console.print(rest)
        for _, agent_id in [] if wide else ranks(state, now)[:most]:
            note = agent_note(_record(state, agent_id), now)
            if note:
                console.print(_text(f"{agent_id}: {note}"))
    if not agents.row_count:
        console.print("no agents yet")


def ranks(state: State, now: Moment) -> list[tuple[int, str]]:
    """Each agent with how much it matters: 0 for the most; those alike in the state's order."""
    stale = set(stale_agents(state, now))
    found = []
    for agent_id in dict.fromkeys([*state.agents, *state.configured]):
        agent = _record(state, agent_id)
        if agent.error or _failing(agent) or agent_id in stale:
            rank = 0
        elif agent.active is not None and is_overdue(agent.active, now):
            rank = 1
        elif agent.queue or agent.refused:
            rank = 2
        elif agent.active is not None:
            rank = 3
        elif agent.hold is not None or agent.next is not None:
            rank = 4
        else:
            rank = _FREE
        found.append((rank, agent_id))
    return sorted(found, key=lambda item: item[0])


def agents_table(
    state: State, now: Moment, most: int | None = None, *, fold: bool = True, notes: bool = True
) -> tuple[Table, str]:
    """A row for each agent, what matters first, and a line that counts the rest.

    Args:
        state: Whose agents.
        now: The present moment.
        most: The most rows; None for no bound.
        fold: Whether long words go on in the next line; else each row is one line.
        notes: Whether there is a column for notes.
    """
    names = ["agent", "state", "slot", "since", "heartbeat", "note"]
    table = _table("", *(names if notes else names[:-1]))
    for column in table.columns:
        column.no_wrap = not fold and column.header not in {"agent", "slot", "note"}
    stale = set(stale_agents(state, now))
    order = [agent_id for _, agent_id in ranks(state, now)]
    for agent_id in order[:most]:
        cells = _agent_cells(agent_id, _record(state, agent_id), now, late=agent_id in stale)
        if not fold:
            for cell in cells:
                # In the cell, not in the column: rich narrows only columns that may wrap.
                cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*cells[: len(table.columns)])
    left = order[len(order) if most is None else most :]
    if not left:
        return table, ""
    counts = Counter(_doing(_record(state, agent_id)) for agent_id in left)
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    return table, f"and {len(left)} agent{'s' if len(left) > 1 else ''} more: {words}"


def agent_note(agent: AgentState, now: Moment) -> str:
    """What else is to be said of an agent, the worst first; empty for nothing."""
    notes = [agent.error] if agent.error else []
    notes += [_wake_note(agent, failed, now) for failed in _failing(agent)]
    if agent.queue:
        notes.append(f"{len(agent.queue)} waiting to be sent")
    if agent.refused:
        notes.append(f"{len(agent.refused)} refused")
    if agent.active is None and agent.next is not None:
        due = agent.next.due_at
        when = f" in {age(due - now.wall)}" if due is not None and due > now.wall else ""
        notes.append(f"next: {agent.next.ident}{when}")
    if agent.hold is not None and (agent.hold.until is None or agent.hold.until > now.wall):
        reason = f": {agent.hold.reason}" if agent.hold.reason else ""
        notes.append(f"held{reason}")
    return one_line("; ".join(notes))


def _agent_cells(agent_id: str, agent: AgentState, now: Moment, *, late: bool) -> list[Text]:
    what, style, slot, since = _doing(agent), "", "", ""
    failing = _failing(agent)
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
    good = "never" if agent.good_heartbeat is None else _ago(agent.good_heartbeat, now)
    return [
        Text(agent_id),
        Text(what, style),
        _text(slot),
        Text(since),
        Text(f"{good}, late" if late else good, "red" if late else ""),
        Text(agent_note(agent, now), "red" if agent.error or failing else ""),
    ]


def _record(state: State, agent_id: str) -> AgentState:
    """The agent's record; an empty one for an agent that no tick has asked about."""
    return state.agents.get(agent_id) or AgentState()


def _doing(agent: AgentState) -> str:
    if agent.active is not None:
        return agent.active.state.value
    if agent.error:
        return agent.error_kind.replace("_", " ")
    if _failing(agent):
        return "wake fails"
    return "free" if agent.heartbeat is not None else "not asked yet"


def _failing(agent: AgentState) -> list[FailedWake]:
    """The failed wakes that are to be tried again, as the last good heartbeat listed them."""
    listed = agent.good_heartbeat or 0.0
    return [failed for failed in agent.failed if failed.listed >= listed]


def _wake_note(agent: AgentState, failed: FailedWake, now: Moment) -> str:
    slot = f"slot {failed.ref.ident}: "
    trouble = agent.troubles.get("wake")
    known = trouble is not None and trouble.message.startswith(slot)
    what = trouble.message if trouble is not None and known else f"{slot}wake failed"
    pause = failed.not_before - now.wall
    times = f"{failed.count} times, " if failed.count > 1 else ""
    return f"{what} ({times}again {f'in {age(pause)}' if pause > 0 else 'at the next tick'})"


def waiting_table(state: State, now: Moment) -> Table:
    """A row for each update that waits."""
    table = _table("waiting to be sent", "agent", "slot", "status", "since", "tries", "error")
    for agent_id, agent in state.agents.items():
        for update in agent.queue:
            table.add_row(
                Text(agent_id),
                _text(update.ref.ident),
                update.status,
                _ago(update.since, now),
                str(update.attempts),
                _text(update.error),
            )
    return table


def _refused(state: State, now: Moment) -> Table:
    table = _table("refused by the backend", "agent", "slot", "status", "when", "error")
    for agent_id, agent in state.agents.items():
        for refusal in agent.refused:
            table.add_row(
                Text(agent_id),
                _text(refusal.update.ref.ident),
                refusal.update.status,
                _ago(refusal.at, now),
                _text(refusal.error, "red"),
            )
    return table


def _past(state: State, now: Moment, most: int) -> Table:
    table = _table("history", "when", "agent", "slot", "status", "backend", "note")
    for entry in state.history[max(0, len(state.history) - most) :]:
        note = entry.reason or entry.summary
        if entry.count > 1:
            note = f"{entry.count} times: {note}"
        table.add_row(
            _ago(entry.at, now),
            Text(entry.agent_id),
            _text(entry.ident),
            entry.status,
            entry.outcome.value,
            _text(note),
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(text: str, style: str = "") -> Text:
    """Text from elsewhere: on one line, and never markup."""
    return Text(one_line(text), style)


def _ago(wall: float, now: Moment) -> str:
    return f"{age(now.wall - wall)} ago"
