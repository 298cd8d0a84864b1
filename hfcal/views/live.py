"""The live view of `watch` on a terminal.

A thread of rich draws it each second, so it goes on during a long pass.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hfcal.clock import now, rfc3339
from hfcal.errors import HfcalError
from hfcal.news import folded
from hfcal.report import Progress, TickReport
from hfcal.state.file import StateFile
from hfcal.state.records import State
from hfcal.text import one_line
from hfcal.views.lines import tick_sum
from hfcal.views.tables import agents_table

_KEPT = 200
_EVENTS = 5  # that agents leave room for
_AROUND = 8  # lines besides rows and events: the head, the count of the rest, the foot


class LiveScreen:
    """Shows the agents as they are, the last events, and when the next pass begins.

    What is printed meanwhile becomes an event: it would be drawn over.

    Args:
        state_file: What to show; for this view alone, as a pass changes its own while it is drawn.
    """

    def __init__(self, state_file: StateFile) -> None:
        self._state_file = state_file
        self._console = Console(markup=False, emoji=False, highlight=False, file=sys.stdout)
        self._open = contextlib.ExitStack()
        self._events: deque[str] = deque(maxlen=_KEPT)
        self._state: State | None = None
        self._progress: Callable[[], Progress] | None = None
        self._next = 0.0
        self._last = ""
        self._live = Live(
            console=self._console,
            screen=True,
            get_renderable=self._view,
            refresh_per_second=1,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._open.enter_context(self._live)
        printed = _Printed(self._event)
        self._open.enter_context(contextlib.redirect_stdout(printed))
        if sys.stderr.isatty():
            self._open.enter_context(contextlib.redirect_stderr(printed))
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
        self._last = f"last pass {rfc3339(report.started)}: {tick_sum(report)}"
        if report.news or report.dispatched or report.delivered:
            self._event(tick_sum(report))
        for line in folded(report.news):
            self._event(line)

    def failed(self, error: HfcalError) -> None:
        """Take the failure into the view."""
        self._event(error.message)

    def waiting(self, seconds: float) -> None:
        """Count down."""
        if self._progress is not None:
            self._progress, self._next = None, time.monotonic() + seconds
            self._live.refresh()

    def _event(self, line: str) -> None:
        self._events.append(f"{rfc3339(now().wall)}  {one_line(line)}")

    @property
    def _foot(self) -> str:
        if self._progress is not None:
            pass_ = self._progress()
            return f"pass under way: {pass_.done} of {pass_.agents} agents, Ctrl-C ends"
        if not self._next:
            return "first pass under way"
        return f"next pass in {max(0.0, self._next - time.monotonic()):.0f} s, Ctrl-C ends"

    def _view(self) -> RenderableType:
        parts: list[RenderableType] = []
        room = max(1, self._console.height - _AROUND)
        try:
            self._state = self._state_file.known() or self._state_file.read() or self._state
        except HfcalError as error:
            parts.append(Text(one_line(error.message), "red"))
        if self._state is not None:
            rows = max(1, room - min(_EVENTS, max(0, room - 3)))
            table, rest = agents_table(self._state, now(), rows, fold=False)
            table.box = box.SIMPLE_HEAD if self._console.encoding.startswith("utf") else box.ASCII
            parts.append(table)
            if rest:
                parts.append(Text(rest, "dim"))
            room -= table.row_count
        events = list(self._events)[-room:] if room > 0 else []
        parts += [Text(event, no_wrap=True, overflow="ellipsis") for event in events]
        parts += [Text(line, "dim") for line in (self._last, self._foot) if line]
        return Group(*parts)


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
