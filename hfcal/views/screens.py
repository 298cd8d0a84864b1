"""Where `watch` shows its passes when it is not on a terminal: a line, or a document, for each."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

from hfcal.clock import now, rfc3339
from hfcal.errors import HfcalError
from hfcal.news import folded
from hfcal.report import TickReport
from hfcal.views.documents import error_document, tick_document
from hfcal.views.lines import tick_sum

_PAUSE = 5.0
_QUIET = 60.0  # seconds


@dataclass
class LineScreen:
    """A line for each pass in which something happened, and for each piece of news.

    A quiet pass gets one a minute, so that a quiet journal tells that it still runs.

    Attributes:
        log_format: `text` or `json`.
        pause: Seconds between two looks at the clock.
    """

    log_format: str = "text"
    pause: float = _PAUSE
    _failure: str = field(default="", init=False)
    _due: float = field(default=0.0, init=False)

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
        """Print the failure when it is another one than before."""
        if error.message != self._failure:
            self._failure = error.message
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


@dataclass
class JsonScreen:
    """One JSON document a line, for each pass.

    Attributes:
        pause: Seconds between two looks at the clock.
    """

    pause: float = _PAUSE

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
