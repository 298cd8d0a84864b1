"""The live view of `watch` on a terminal.

A thread of rich draws it each second, so it goes on during a long pass.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, OverflowMethod, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from hfcal.clock import Moment, now, rfc3339
from hfcal.core.notices import names, render_notices
from hfcal.core.records import HistoryEntry, State
from hfcal.core.report import Progress, TickReport
from hfcal.core.scheduler import Action
from hfcal.errors import HfcalError
from hfcal.state.file import StateFile
from hfcal.text import one_line
from hfcal.views.agents import agents_grid, counted, notes_of, ranks
from hfcal.views.grid import console_on, is_plain
from hfcal.views.lines import agent_words, tick_sum

_KEPT = 200
_EVENTS = 5  # that agents leave room for
_HEAD = 2  # lines above the rows of a table
_LEAVE, _RETURN = b"\x1b[?1049l\x1b[?25h", b"\x1b[?1049h\x1b[?25l"
_TOLD = (Action.DISPATCHED, Action.ADOPTED)


class LiveScreen:
    """Shows the agents as they are, the last events, and when the next pass begins.

    What is printed meanwhile becomes an event: it would be drawn over.

    Args:
        state_file: What to show; for this view alone, as a pass changes its own while it is drawn.
    """

    def __init__(self, state_file: StateFile) -> None:
        self._state_file = state_file
        self._console = console_on(sys.stdout)
        self._plain = is_plain(sys.stdout)
        self._open = contextlib.ExitStack()
        self._events: deque[str] = deque(maxlen=_KEPT)
        self._past: set[tuple[str, str, str, float]] = set()
        self._stamp: tuple[int, ...] | None = None
        self._state: State | None = None
        self._trouble = ""
        self._progress: Callable[[], Progress] | None = None
        self._stopping = False
        self._next = 0.0
        self._last = ""
        self._last_began = 0.0
        self._live = Live(
            console=self._console,
            screen=True,
            get_renderable=lambda: _Page(self._parts),
            refresh_per_second=1,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._open.enter_context(self._live)
        for number in (signal.SIGTSTP, signal.SIGQUIT):
            self._open.callback(signal.signal, number, signal.signal(number, self._give_back))
        printed = _Printed(self._event)
        self._open.enter_context(contextlib.redirect_stdout(printed))
        if sys.stderr.isatty():
            self._open.enter_context(contextlib.redirect_stderr(printed))
        self._live.refresh()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if self._last:
            self._console.print(self._last)

    def began(self, progress: Callable[[], Progress]) -> None:
        """Show how far the pass is."""
        self._progress = progress

    def ticked(self, report: TickReport) -> None:
        """Take the pass into the view."""
        if report.started >= self._last_began:  # one with a long wake may end after later ones
            self._last_began = report.started
            self._last = f"last pass {rfc3339(report.started)}: {tick_sum(report)}"
        for action in _TOLD:
            agents = [agent for agent in report.agents if agent.action is action]
            if len(agents) > _EVENTS:
                self._event(f"{names(agent.agent_id for agent in agents)}: {action}")
            else:
                for agent in agents:
                    self._event(f"{agent.agent_id}: {agent_words(agent)}")
        for line in render_notices(report.news):
            self._event(line)

    def failed(self, error: HfcalError) -> None:
        """Take the failure into the view."""
        self._event(error.message)

    def waiting(self, seconds: float) -> None:
        """Count down."""
        self._next = time.monotonic() + seconds
        if self._progress is not None:
            self._progress = None
            self._live.refresh()

    def stopping(self) -> None:
        """Say that the running pass is the last one."""
        self._stopping = True

    def _give_back(self, number: int, _: FrameType | None) -> None:
        """Leave the terminal as it was, while this process is stopped or when it is ended so."""
        terminal = self._console.file.fileno()
        os.write(terminal, _LEAVE)
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_kill(threading.get_ident(), number)
        # Here only one goes on that was stopped.
        signal.signal(number, self._give_back)
        os.write(terminal, _RETURN)

    def _event(self, line: str, wall: float | None = None) -> None:
        self._events.append(f"{rfc3339(now().wall if wall is None else wall)}  {one_line(line)}")

    @property
    def _foot(self) -> str:
        if self._progress is None:
            if not self._next:
                return "first pass under way"
            if self._stopping:
                return "stops when the last wake is over, Ctrl-C again stops now"
            left = max(0.0, self._next - time.monotonic())
            return f"next pass in {left:.0f} s, Ctrl-C ends"
        pass_ = self._progress()
        how = "stops after it, Ctrl-C again stops now" if self._stopping else "Ctrl-C ends"
        return f"pass under way: {pass_.done} of {pass_.agents} agents, {how}"

    def _look(self) -> None:
        """Read the state again if it was replaced, and take what happened since as events."""
        try:
            stamp = self._state_file.stamp()
            if stamp == self._stamp and not self._trouble:
                return
            self._state, self._stamp, self._trouble = self._state_file.read(), stamp, ""
        except HfcalError as error:
            self._trouble = error.message
            return
        for entry in self._state.history if self._state else []:
            key = (entry.agent_id, entry.ident, entry.status, entry.at)
            if key not in self._past and not entry.reason.startswith("wake failed: "):
                self._past.add(key)  # of failed wakes the tick's news tell, once
                self._event(_happened(entry), entry.at)

    def _parts(self, width: int, height: int) -> Iterator[tuple[int, RenderableType]]:
        """What is to be seen, each with the most lines that it may take; the foot last."""
        self._look()
        moment = now()
        foot = [line for line in (self._last, self._foot) if line]
        room = height - len(foot)
        if self._trouble:
            yield min(3, room), Text(one_line(self._trouble), "red")
        if self._state is not None:
            yield from self._agents(self._state, moment, width, room)
        yield -1, self._lines(list(self._events))
        yield len(foot), self._lines(foot, "dim")

    def _agents(
        self, state: State, moment: Moment, width: int, room: int
    ) -> Iterator[tuple[int, RenderableType]]:
        order = [agent_id for _, agent_id in ranks(state, moment)]
        notes = notes_of(state, moment, order[:room])
        below = min(len(self._events), _EVENTS) + min(len(notes), _EVENTS)
        rows = max(1, room - _HEAD - 1 - min(below, room // 2))
        grid, noted = agents_grid(state, moment, order[:rows], width)
        yield room, grid.shown(width, plain=self._plain, cut=True)
        rest = counted(state, moment, order[rows:])
        if rest:
            yield 1, self._lines([rest], "dim")
        # Whole once more what is cut above, or isn't there.
        fitting = grid.last_width(width) if noted else -1
        cut = [f"{agent_id}: {note}" for agent_id, note in notes if len(note) > fitting]
        yield room // 2, Text("\n".join(cut), "red")

    def _lines(self, lines: list[str], style: str = "") -> Text:
        overflow: OverflowMethod = "crop" if self._plain else "ellipsis"
        return Text("\n".join(lines), style, no_wrap=True, overflow=overflow)


class _Page:
    """One screen: the foot always, of the rest what there is room for.

    Args:
        parts: Given the size, what is to be seen, each with the most lines that it may take; -1
            is for as many of its last lines as are left. The foot comes last.
    """

    def __init__(self, parts: Callable[[int, int], Iterator[tuple[int, RenderableType]]]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, console.height
        head: list[list[Segment]] = []
        rest: list[list[Segment]] = []
        foot: list[list[Segment]] = []
        for most, part in self._parts(width, height):
            lines = console.render_lines(part, options.update(width=width, height=None), pad=False)
            if most < 0:
                rest = lines
                continue
            head += foot
            foot = lines[:most]
        head = head[: max(0, height - len(foot))]
        left = max(0, height - len(foot) - len(head))
        for line in [*head, *rest[len(rest) - min(left, len(rest)) :], *foot]:
            yield from line
            yield Segment.line()


def _happened(entry: HistoryEntry) -> str:
    note = entry.reason or entry.summary
    return f"{entry.agent_id}: slot {entry.ident} {entry.status}{f': {note}' if note else ''}"


class _Printed(io.TextIOBase):
    """Hands on each line that is printed."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in filter(str.strip, lines):
            self._line(line)
        return len(text)
