"""Permits to wake: how many agents are remembered for a wake at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_MOST_ROUNDS = 32


class WakePermits:
    """Hands out permits to wake; for the owner thread.

    An agent that is remembered waits with its lock held, so at first there is one permit for each
    wake worker. A worker then idles between two wakes, until the next agent is saved as
    remembered. When wakes turn out to be short, there are as many more permits as fill that time.

    Args:
        workers: How many are woken at once.
        gap: Seconds between two saves.
    """

    def __init__(self, workers: int, gap: Callable[[], float]) -> None:
        self._workers = workers
        self._gap = gap
        self._taken = 0
        self._longest: float | None = None
        self._handing_out = False
        self._waiting: deque[Callable[[], None]] = deque()

    def acquire(self) -> bool:
        """Take a permit, if one is free."""
        if self._taken >= self._most:
            return False
        self._taken += 1
        return True

    def release(self, seconds: float | None) -> None:
        """Give a permit back; whoever waits gets it.

        Args:
            seconds: How long the wake took; None if there was none.
        """
        self._taken -= 1
        if seconds is not None:
            self._longest = max(self._longest or 0.0, seconds)
        if self._handing_out:  # called from below: the loop there goes on
            return
        self._handing_out = True
        while self._taken < self._most and self._waiting:
            self._waiting.popleft()()
        self._handing_out = False

    def wait(self, then: Callable[[], None]) -> None:
        """Have `then` called when a permit is free; it acquires the permit."""
        self._waiting.append(then)

    @property
    def taken(self) -> int:
        """How many are taken, or handed on just now; any thread may ask."""
        handed_on = self._handing_out or self._waiting
        return max(self._taken, self._workers) if handed_on else self._taken

    @property
    def _most(self) -> int:
        if self._longest is None:
            return self._workers
        rounds = 1 + int(self._gap() / max(self._longest, 0.001))
        return self._workers * min(rounds, _MOST_ROUNDS)
