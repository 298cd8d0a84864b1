"""`hfcal watch`: ticks now and then every interval, until told to stop.

The beat is kept by the monotonic clock, so no clock change makes it hurry or sleep; a pass that
takes longer than the interval is never overlapped, and the beats it missed are not made up.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from hfcal.clock import boot_clock
from hfcal.errors import HfcalError, InterruptedByUserError
from hfcal.log import log_failure, log_tick
from hfcal.news import REPEAT_AFTER
from hfcal.report import Progress, TickReport
from hfcal.sdnotify import Notifier
from hfcal.text import one_line
from hfcal.tick import Tick

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


class Watch:
    """The loop.

    Args:
        interval: Seconds from the start of one pass to the start of the next.
        make_tick: Makes each pass.
        screen: Where to show it.
        log: Whether to log each pass, too.
        notifier: Tells systemd.
    """

    def __init__(
        self,
        interval: float,
        make_tick: Callable[[], Tick],
        screen: Screen,
        *,
        log: bool = False,
        notifier: Notifier | None = None,
    ) -> None:
        self._interval = interval
        self._make_tick = make_tick
        self._screen = screen
        self._log = log
        self._notifier = notifier or Notifier()
        self._stopped = False
        self._failure = ("", 0.0)
        # A queue, since a signal handler may put into it wherever it interrupts; an Event may not.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._tick: Tick | None = None

    def run(self) -> None:
        """Tick until a signal to end, which lets the running pass end; a second one doesn't."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, self._stop)
        while not self._stopped:
            began = time.monotonic()
            status = self._pass()
            self._tell(status)
            self._wait(began)

    def _pass(self) -> str:
        """Make a pass; returns what came of it, in one line."""
        try:
            self._tick = self._make_tick()
            if self._stopped:
                return "stopping"
            self._screen.began(self._tick.progress)
            report = self._tick.run()
            self._screen.ticked(report)
            if self._log:
                log_tick(report)
            self._failure = ("", 0.0)
        except InterruptedByUserError:
            return "stopping"
        except HfcalError as error:
            self._screen.failed(error)
            if self._log and not self._is_known(error.message):
                log_failure(error.kind, error.message)
            return one_line(error.message)
        else:
            return f"{len(report.agents)} agents, {report.failed} failing"
        finally:
            self._tick = None

    def _is_known(self, message: str) -> bool:
        """Whether the pass before failed in the same way; once an hour that is told again."""
        known, since = self._failure
        if message == known and time.monotonic() - since < REPEAT_AFTER:
            return True
        self._failure = (message, time.monotonic())
        return False

    def _tell(self, status: str) -> None:
        """Tell systemd, only now that a pass is over: one that hangs starves the watchdog."""
        if not self._stopped:
            self._notifier.send("READY=1", "WATCHDOG=1", f"STATUS={status}")

    def _wait(self, began: float) -> None:
        beats = (time.monotonic() - began) // self._interval + 1
        until = began + beats * self._interval
        asleep = boot_clock() - time.monotonic()
        pause, fed = _PAUSE, began
        if self._notifier.watchdog is not None:
            pause = min(pause, self._notifier.watchdog / 4)
        while not self._stopped:
            left = until - time.monotonic()
            if left <= 0 or boot_clock() - time.monotonic() - asleep > _ASLEEP:
                return
            self._screen.waiting(left)
            if self._notifier.watchdog and time.monotonic() - fed >= self._notifier.watchdog / 2:
                fed = time.monotonic()
                self._notifier.send("WATCHDOG=1")
            with contextlib.suppress(queue.Empty):
                self._signals.get(timeout=min(left, pause))

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._stopped:
            raise SystemExit(128 + number)
        self._stopped = True
        self._screen.stopping()
        self._signals.put(number)
        self._notifier.send("STOPPING=1")
        if self._tick is not None:
            self._tick.stop(number, hurry=False)
