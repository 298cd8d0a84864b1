"""The live view of `watch` on a terminal."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hfcal.clock import now, rfc3339
from hfcal.errors import HfcalError
from hfcal.news import folded
from hfcal.report import TickReport
from hfcal.state.file import StateFile
from hfcal.state.records import State
from hfcal.text import one_line
from hfcal.views.lines import tick_sum
from hfcal.views.tables import agents_table

_EVENTS = 5
_LEAST_ROWS = 3
_AROUND = 7  # lines besides rows and events: the head, the count of the rest, the foot


class LiveScreen:
    """Shows the agents as they are, the last events, and when the next pass begins.

    Args:
        state_file: What to show.
    """

    pause = 1.0

    def __init__(self, state_file: StateFile) -> None:
        self._state_file = state_file
        self._console = Console(markup=False, emoji=False, highlight=False)
        self._live = Live(console=self._console, screen=False, auto_refresh=False, transient=True)
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._state: State | None = None

    def __enter__(self) -> Self:
        self._live.start()
        self._draw("first pass under way")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def ticked(self, report: TickReport) -> None:
        """Take the pass into the view."""
        self._events.append(f"{rfc3339(report.started)}  {tick_sum(report)}")
        self._events.extend(f"{rfc3339(now().wall)}  {line}" for line in folded(report.news))
        self._draw("")

    def failed(self, error: HfcalError) -> None:
        """Take the failure into the view."""
        self._events.append(f"{rfc3339(now().wall)}  {error.message}")
        self._draw("")

    def waiting(self, seconds: float) -> None:
        """Count down."""
        self._draw(f"next pass in {seconds:.0f} s, Ctrl-C ends")

    @property
    def _shown(self) -> list[str]:
        """The last events, as far as there is room besides a few agents."""
        room = max(0, self._console.height - _AROUND - _LEAST_ROWS)
        return list(self._events)[-room:] if room else []

    def _draw(self, foot: str) -> None:
        moment = now()
        parts: list[RenderableType] = []
        try:
            # What the last pass left is known; only after another process wrote is it read.
            known = self._state_file.known() or self._state_file.read()
            self._state = known or self._state
        except HfcalError as error:
            parts.append(Text(one_line(error.message), "red"))
        if self._state is not None:
            rows = max(1, self._console.height - _AROUND - len(self._shown))
            table, rest = agents_table(self._state, moment, rows, fold=False)
            table.box = box.SIMPLE_HEAD if self._console.encoding.startswith("utf") else box.ASCII
            parts.append(table)
            if rest:
                parts.append(Text(rest, "dim"))
        parts += [Text(one_line(event), no_wrap=True, overflow="ellipsis") for event in self._shown]
        parts.append(Text(foot, "dim"))
        self._live.update(Group(*parts), refresh=True)
