"""`hfcal watch`: ticks now and then every interval, until told to stop.

The beat is kept by the monotonic clock, so no clock change makes it hurry or sleep. Each pass has a
thread of its own. The next one begins at the first beat at which this one has asked every agent:
wakes may take minutes, and no heartbeat waits for one. The beats missed by then are not made up.
"""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from hfcal.clock import boot_clock
from hfcal.core.notices import REPEAT_AFTER
from hfcal.core.report import Progress, TickReport
from hfcal.engine.sdnotify import Notifier
from hfcal.engine.tick import Tick
from hfcal.errors import HfcalError, InterruptedByUserError
from hfcal.text import one_line
from hfcal.views.log import log_failure, log_tick, log_well

_PAUSE = 5.0  # seconds between two looks at the clock
_ASLEEP = 2.0  # seconds by which the boot clock runs ahead when the host was suspended


class Screen(Protocol):
    """Where a watch shows what happens."""

    def began(self, progress: Callable[[], Progress]) -> None:
        """A pass is under way; any thread may ask how far it is."""

    def ticked(self, report: TickReport) -> None:
        """A pass is over."""

    def failed(self, error: HfcalError) -> None:
        """A pass could not be made; the next one is tried all the same."""

    def waiting(self, seconds: float) -> None:
        """The next pass begins in so many seconds; said every few seconds."""

    def stopping(self) -> None:
        """It was told to end after the running pass; called by a signal handler."""


@dataclass(eq=False)
class _Pass:
    """A tick on its way.

    Attributes:
        tick: The tick.
        began: When, by the monotonic clock.
        report: What it came to, once it is over.
        error: Why it could not be made.
    """

    tick: Tick
    began: float
    report: TickReport | None = None
    error: BaseException | None = None


class Watch:
    """The loop.

    Args:
        interval: Seconds from the start of one pass to the start of the next.
        make_tick: Makes each pass, given those that are still under way.
        screen: Where to show it.
        log: Whether to log each pass, too.
    """

    def __init__(
        self,
        interval: float,
        make_tick: Callable[[Collection[Tick]], Tick],
        screen: Screen,
        *,
        log: bool = False,
    ) -> None:
        self._interval = interval
        self._make_tick = make_tick
        self._screen = screen
        self._log = log
        self._notifier = Notifier()
        self._stopped = False
        self._failure = ("", 0.0)  # what was logged, and when
        self._failed = -math.inf  # when the last pass that failed began
        self._passes: list[_Pass] = []  # under way
        self._fed = math.inf  # when the watchdog was; it is hungry after the first pass only
        # What is over, or None for a signal. A queue, since a signal handler may put into it
        # wherever it interrupts; an Event may not.
        self._events: queue.SimpleQueue[_Pass | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Tick until a signal to end, which lets what runs end; a second one doesn't."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self._stop)
        try:
            while not self._stopped:
                began = time.monotonic()
                self._begin(began)
                self._wait(began + self._interval)
            while self._passes:
                self._next_event(_PAUSE)
        except Exception:  # a bug, or nobody reads any more; wakes under way are noted all the same
            self._stopped = True
            self._let_end()
            raise

    def _let_end(self) -> None:
        """Wait for the passes under way, which start no more wakes, and show nothing of them."""
        for pass_ in self._passes:
            pass_.tick.end_wakes(signal.SIGTERM)
        while self._passes:
            over = self._events.get()
            if over is not None:
                self._passes.remove(over)

    def _begin(self, began: float) -> None:
        """Start a pass."""
        try:
            tick = self._make_tick([pass_.tick for pass_ in self._passes])
        except HfcalError as error:
            self._tell_failure(error, began)
            return
        pass_ = _Pass(tick, began)
        self._passes.append(pass_)  # from here on a signal stops it
        if self._stopped:
            self._passes.remove(pass_)
            return
        self._screen.began(tick.progress)
        threading.Thread(target=self._make, args=(pass_,), daemon=True).start()

    def _make(self, pass_: _Pass) -> None:
        """Make a pass, on its own thread."""
        try:
            pass_.report = pass_.tick.run()
        except BaseException as error:  # for the main thread to judge
            pass_.error = error
        self._events.put(pass_)

    def _wait(self, until: float) -> None:
        """Take what comes until the next pass is to begin, or until told to stop."""
        asleep = boot_clock() - time.monotonic()
        while not self._stopped:
            slept = boot_clock() - time.monotonic() - asleep > _ASLEEP
            asked = all(pass_.tick.heartbeats_done for pass_ in self._passes)
            left = until - time.monotonic()
            if asked and (left <= 0 or slept):
                return
            if left <= 0:
                until += (-left // self._interval + 1) * self._interval
                continue
            if asked:
                self._screen.waiting(left)
                self._feed()
            self._next_event(left)

    def _next_event(self, seconds: float) -> None:
        """Take what comes within so many seconds, at most 5."""
        pause = _PAUSE
        if self._notifier.watchdog is not None:
            pause = min(pause, self._notifier.watchdog / 4)
        with contextlib.suppress(queue.Empty):
            pass_ = self._events.get(timeout=min(seconds, pause))
            if pass_ is not None:
                self._passes.remove(pass_)
                self._ended(pass_)

    def _ended(self, pass_: _Pass) -> None:
        """Show what came of a pass."""
        if isinstance(pass_.error, HfcalError):
            self._tell_failure(pass_.error, pass_.began)
        elif pass_.report is not None:
            report = pass_.report
            self._screen.ticked(report)
            self._note_made(pass_)
            if self._log:
                log_tick(report)
            self._tell(f"{len(report.agents)} agents, {report.failed} failing")
        elif pass_.error is not None and not isinstance(pass_.error, InterruptedByUserError):
            raise pass_.error

    def _note_made(self, pass_: _Pass) -> None:
        """It ends a failure, unless it began before that: it may have saved all that it does."""
        if self._failure[0] and pass_.began > self._failed:
            self._failure = ("", 0.0)
            log_well()

    def _tell_failure(self, error: HfcalError, began: float) -> None:
        """Show why a pass could not be made; the next one is tried all the same."""
        self._failed = max(self._failed, began)
        self._screen.failed(error)
        if self._log and not self._is_known(error.message):
            log_failure(error.kind, error.message)
        self._tell(one_line(error.message))

    def _is_known(self, message: str) -> bool:
        """Whether the pass before failed in the same way; once an hour that is told again."""
        known, since = self._failure
        if message == known and time.monotonic() - since < REPEAT_AFTER:
            return True
        self._failure = (message, time.monotonic())
        return False

    def _tell(self, status: str) -> None:
        """Tell systemd, now that a pass is over."""
        if not self._stopped and self._passes_end:
            self._fed = time.monotonic()
            self._notifier.send("READY=1", "WATCHDOG=1", f"STATUS={status}")

    def _feed(self) -> None:
        """Feed the watchdog while the next pass is waited for."""
        watchdog = self._notifier.watchdog
        if watchdog and self._passes_end and time.monotonic() - self._fed >= watchdog / 2:
            self._fed = time.monotonic()
            self._notifier.send("WATCHDOG=1")

    @property
    def _passes_end(self) -> bool:
        """Whether no pass has lasted longer than the watchdog has patience."""
        oldest = time.monotonic() - (self._notifier.watchdog or math.inf)
        return all(pass_.began > oldest for pass_ in self._passes)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._stopped:
            raise SystemExit(128 + number)
        self._stopped = True
        self._screen.stopping()
        self._events.put(None)
        self._notifier.send("STOPPING=1")
        for pass_ in self._passes:
            pass_.tick.end_wakes(number)
