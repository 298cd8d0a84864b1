"""`hfcal watch`: ticks now and then every interval, until told to stop.

The beat is kept by the monotonic clock, so no clock change makes it hurry or sleep; a pass that
takes longer than the interval is never overlapped, and the beats it missed are not made up.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from hfcal.clock import boot_clock
from hfcal.errors import HfcalError
from hfcal.report import TickReport
from hfcal.tick import Tick

_ASLEEP = 2.0  # seconds by which the boot clock runs ahead when the host was suspended


class Screen(Protocol):
    """Where a watch shows what happens."""

    pause: float
    """Seconds between two calls of `waiting`."""

    def ticked(self, report: TickReport) -> None:
        """A pass is over."""

    def failed(self, error: HfcalError) -> None:
        """A pass could not be made; the next one is tried all the same."""

    def waiting(self, seconds: float) -> None:
        """The next pass begins in so many seconds."""


class Watch:
    """The loop.

    Args:
        interval: Seconds from the start of one pass to the start of the next.
        make_tick: Makes each pass.
        screen: Where to show it.
    """

    def __init__(self, interval: float, make_tick: Callable[[], Tick], screen: Screen) -> None:
        self._interval = interval
        self._make_tick = make_tick
        self._screen = screen
        self._stopped = threading.Event()
        self._tick: Tick | None = None

    def run(self) -> None:
        """Tick until SIGTERM or SIGINT, which lets the running pass end; a second one doesn't."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        while not self._stopped.is_set():
            began = time.monotonic()
            self._pass()
            self._wait(began)

    def _pass(self) -> None:
        try:
            self._tick = self._make_tick()
            if not self._stopped.is_set():
                self._screen.ticked(self._tick.run())
        except HfcalError as error:
            self._screen.failed(error)
        finally:
            self._tick = None

    def _wait(self, began: float) -> None:
        beats = (time.monotonic() - began) // self._interval + 1
        until = began + beats * self._interval
        asleep = boot_clock() - time.monotonic()
        while not self._stopped.is_set():
            left = until - time.monotonic()
            if left <= 0 or boot_clock() - time.monotonic() - asleep > _ASLEEP:
                return
            self._screen.waiting(left)
            self._stopped.wait(min(left, self._screen.pause))

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._stopped.is_set():
            raise SystemExit(128 + number)
        self._stopped.set()
        if self._tick is not None:
            self._tick.stop(number, hurry=False)
