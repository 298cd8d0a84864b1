"""Where `watch` shows its passes when it has no terminal to draw on: lines, documents, the log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hfcal.clock import now, rfc3339
from hfcal.errors import HfcalError
from hfcal.news import folded
from hfcal.report import Progress, TickReport
from hfcal.views.documents import error_document, tick_document
from hfcal.views.lines import tick_sum

_QUIET = 60.0  # seconds


@dataclass
class LineScreen:
    """A line for each pass in which something happened, and for each piece of news.

    A quiet pass gets one a minute, so that a quiet journal tells that it still runs.

    Attributes:
        log_format: `text` or `json`.
    """

    log_format: str = "text"
    _failure: str = field(default="", init=False)
    _due: float = field(default=0.0, init=False)

    def began(self, progress: Callable[[], Progress]) -> None:
        """Say nothing."""

    def ticked(self, report: TickReport) -> None:
        """Print the pass, if it is worth a line or none was printed for a minute."""
        self._failure = ""
        happened = report.news or report.dispatched or report.delivered
        if happened or time.monotonic() >= self._due:
            self._due = time.monotonic() + _QUIET
            self._line("tick", tick_sum(report))
        for line in folded(report.news):
            self._line("news", line)

    def failed(self, error: HfcalError) -> None:
        """Print the failure when it is another one than before, and once a minute."""
        if error.message != self._failure or time.monotonic() >= self._due:
            self._failure = error.message
            self._due = time.monotonic() + _QUIET
            self._line("failure", error.message)

    def waiting(self, seconds: float) -> None:
        """Say nothing."""

    def _line(self, event: str, message: str) -> None:
        at = rfc3339(now().wall)
        if self.log_format == "json":
            text = json.dumps({"time": at, "event": event, "message": message})
        else:
            text = f"{at} {event}: {message}"
        print(text, flush=True)


class JsonScreen:
    """One JSON document a line, for each pass."""

    def began(self, progress: Callable[[], Progress]) -> None:
        """Say nothing."""

    def ticked(self, report: TickReport) -> None:
        """Print the pass."""
        print(json.dumps(tick_document(report)), flush=True)
        for line in folded(report.news):
            print(f"hfcal: {line}", file=sys.stderr, flush=True)

    def failed(self, error: HfcalError) -> None:
        """Print the failure."""
        print(json.dumps(error_document(error.kind, error.message)), flush=True)

    def waiting(self, seconds: float) -> None:
        """Say nothing."""
