"""Where `watch` shows its passes when it has no terminal to draw on: lines, documents, the log."""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hfcal.clock import now, rfc3339
from hfcal.core.notices import render_notices
from hfcal.core.report import Progress, TickReport
from hfcal.errors import HfcalError
from hfcal.views.documents import error_document, tick_document
from hfcal.views.lines import tick_sum

_QUIET = 60.0  # seconds


class PlainScreen:
    """What prints what is over, and is silent in between."""

    def began(self, progress: Callable[[], Progress]) -> None:
        """Say nothing."""

    def waiting(self, seconds: float) -> None:
        """Say nothing."""

    def stopping(self) -> None:
        """Say nothing."""


@dataclass
class LineScreen(PlainScreen):
    """A line for each pass in which something happened.

    A quiet pass gets one a minute, so that a quiet journal tells that it still runs.

    Attributes:
        log_format: `text` or `json`.
    """

    log_format: str = "text"
    _failure: str = field(default="", init=False)
    _due: float = field(default=0.0, init=False)

    def ticked(self, report: TickReport) -> None:
        """Print the pass with its news, if there is any or nothing was printed for a minute."""
        self._failure = ""
        happened = report.news or report.dispatched or report.delivered
        if happened or time.monotonic() >= self._due:
            self._due = time.monotonic() + _QUIET
            self._line("tick", tick_sum(report), render_notices(report.news))

    def failed(self, error: HfcalError) -> None:
        """Print the failure when it is another one than before, and once a minute."""
        if error.message != self._failure or time.monotonic() >= self._due:
            self._failure = error.message
            self._due = time.monotonic() + _QUIET
            self._line("failure", error.message, [])

    def _line(self, event: str, message: str, news: list[str]) -> None:
        at = rfc3339(now().wall)
        if self.log_format == "json":
            text = json.dumps({"time": at, "event": event, "message": message, "news": news})
        else:
            text = f"{at} {event}: {'; '.join([message, *news])}"
        _print(text)


class JsonScreen(PlainScreen):
    """One JSON document a line, for each pass."""

    def ticked(self, report: TickReport) -> None:
        """Print the pass."""
        _print(json.dumps(tick_document(report)))
        for line in render_notices(report.news):
            print(f"hfcal: {line}", file=sys.stderr, flush=True)

    def failed(self, error: HfcalError) -> None:
        """Print the failure."""
        _print(json.dumps(error_document(error.kind, error.message)))


def _print(line: str) -> None:
    """Print a line; a full disk ends no heartbeats, but a reader that is gone does."""
    try:
        print(line, flush=True)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
