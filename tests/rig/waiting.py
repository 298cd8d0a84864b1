"""Waiting for something to hold, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

DEADLINE = 20.0


def wait_until(condition: Callable[[], Any], *, seconds: float = DEADLINE, what: str = "") -> Any:
    """What `condition` returns once that is true; fails after a deadline."""
    pause = threading.Event()
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what or condition}"
        pause.wait(0.005)
    return found


def wait_past(moment: float) -> None:
    """Wait until the wall clock is past `moment`, such as the end of a pause that is promised."""
    wait_until(lambda: time.time() > moment, what=f"the clock past {moment}")
