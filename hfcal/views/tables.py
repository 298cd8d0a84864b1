"""`hfcal status` for people."""

from __future__ import annotations

from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hfcal.clock import Moment, age
from hfcal.state.records import ActiveState, State
from hfcal.text import one_line
from hfcal.views.documents import is_overdue, stale_agents

_HISTORY = 10


def print_status(state: State, now: Moment, stream: TextIO) -> None:
    """Print what goes on: agents first, then what is stuck, then what happened."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    ascii_only = not (stream.encoding or "").lower().startswith("utf")
    for table in (
        agents_table(state, now),
        waiting_table(state, now),
        _refused(state, now),
        _past(state, now),
    ):
        if table.row_count:
            table.box = box.ASCII if ascii_only else box.SIMPLE_HEAD
            console.print(table)
    if not state.agents:
        console.print("no agents yet")


def agents_table(state: State, now: Moment) -> Table:
    """A row for each agent."""
    table = _table("", "agent", "state", "slot", "since", "heartbeat", "note")
    stale = set(stale_agents(state, now))
    for agent_id, agent in state.agents.items():
        what, style, slot, since = "free", "", "", ""
        notes = []
        if agent.active is not None:
            active = agent.active
            what, style, slot = active.state.value, "green", active.ref.ident
            if active.state is ActiveState.PAUSED:
                style = "yellow"
            since = age(active.start.seconds_until(now))
            if is_overdue(active, now):
                what, style = f"{what}, overdue", "yellow"
        elif agent.next is not None:
            due = agent.next.due_at
            when = f" in {age(due - now.wall)}" if due is not None and due > now.wall else ""
            notes.append(f"next: {agent.next.ident}{when}")
        if agent.hold is not None and (agent.hold.until is None or agent.hold.until > now.wall):
            reason = f": {agent.hold.reason}" if agent.hold.reason else ""
            notes.append(f"held{reason}")
        if agent.error:
            notes.append(agent.error)
        good = "never" if agent.good_heartbeat is None else _ago(agent.good_heartbeat, now)
        late = agent_id in stale
        table.add_row(
            Text(agent_id),
            Text(what, style),
            _text(slot),
            since,
            Text(f"{good}, late" if late else good, "red" if late else ""),
            _text("; ".join(notes), "red" if agent.error else ""),
        )
    return table


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


def _past(state: State, now: Moment) -> Table:
    table = _table("history", "when", "agent", "slot", "status", "backend", "note")
    for entry in state.history[-_HISTORY:]:
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
