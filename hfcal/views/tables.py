"""`hfcal status` for people."""

from __future__ import annotations

from typing import TextIO

from rich.console import Group, RenderableType
from rich.text import Text

from hfcal.clock import Moment
from hfcal.core.records import State
from hfcal.text import one_line
from hfcal.views.agents import FREE, agents_grid, ago, counted, notes_of, ranks
from hfcal.views.grid import Grid, console_on, is_plain

HISTORY = 10
_FREE_ROWS = 30


def status_lines(
    state: State, now: Moment, stream: TextIO, *, history: int = HISTORY, whole: bool = False
) -> list[str]:
    """What goes on: agents first, then what is stuck, then what happened.

    Args:
        state: What to show.
        now: The present moment.
        stream: Where they will be printed: as wide as it is, coloured if it is a terminal.
        history: How many past entries.
        whole: Show each agent that is free and well, too, however many there are.
    """
    console, plain = console_on(stream), is_plain(stream)
    order = ranks(state, now)
    most = len(order) if whole else max(_FREE_ROWS, sum(1 for rank, _ in order if rank < FREE))
    shown, rest = ([agent_id for _, agent_id in part] for part in (order[:most], order[most:]))
    agents, noted = agents_grid(state, now, shown, console.width)
    notes = [] if noted else [_text(f"{a}: {note}") for a, note in notes_of(state, now, shown)]
    parts: list[RenderableType] = [_text(t.message, "yellow") for t in state.troubles.values()]
    parts.append(agents.shown(console.width, plain=plain) if shown else "no agents yet")
    parts += [*filter(None, [counted(state, now, rest)]), *notes]
    for grid in (_waiting(state, now), _refused(state, now), _past(state, now, history)):
        if grid.rows:
            parts += ["", grid.shown(console.width, plain=plain)]
    with console.capture() as captured:
        console.print(Group(*parts))
    # A table fills its last column with spaces, which wrap in a pager.
    return [line.rstrip() for line in captured.get().splitlines()]


def _waiting(state: State, now: Moment) -> Grid:
    """A row for each update that waits."""
    columns = ("agent", "slot", "status", "since", "tries", "error")
    grid = Grid("waiting to be sent", columns)
    for agent_id, agent in state.agents.items():
        grid.rows += [
            [
                Text(agent_id),
                _text(update.ref.ident),
                Text(update.status),
                Text(ago(update.since, now)),
                Text(str(update.attempts)),
                _text(update.error),
            ]
            for update in agent.queue
        ]
    return grid


def _refused(state: State, now: Moment) -> Grid:
    grid = Grid("refused by the backend", ("agent", "slot", "status", "when", "error"))
    for agent_id, agent in state.agents.items():
        grid.rows += [
            [
                Text(agent_id),
                _text(refusal.update.ref.ident),
                Text(refusal.update.status),
                Text(ago(refusal.at, now)),
                _text(refusal.error, "red"),
            ]
            for refusal in agent.refused
        ]
    return grid


def _past(state: State, now: Moment, most: int) -> Grid:
    grid = Grid("history", ("when", "agent", "slot", "status", "backend", "note"))
    for entry in state.history[max(0, len(state.history) - most) :]:
        note = entry.reason or entry.summary
        if entry.count > 1:
            note = f"{entry.count} times: {note}"
        grid.rows.append(
            [
                Text(ago(entry.at, now)),
                Text(entry.agent_id),
                _text(entry.ident),
                Text(entry.status),
                Text(entry.outcome.value),
                _text(note),
            ]
        )
    return grid


def _text(text: str, style: str = "") -> Text:
    """Text from elsewhere: on one line, and never markup."""
    return Text(one_line(text), style)
