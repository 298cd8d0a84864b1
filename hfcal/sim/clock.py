"""The simulator's clock, which tests can set and move without waiting."""

import time
from datetime import UTC, datetime, timedelta


class SimClock:
    """A clock in UTC that starts at `start` (now by default) and runs on at its usual pace.

    It runs by the monotonic clock, so a change of the host's clock does not move it.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._start = (start or datetime.now(UTC)).astimezone(UTC)
        self._since = time.monotonic()

    def now(self) -> datetime:
        """Return the simulator's time, in UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._since)

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._start += timedelta(seconds=seconds)


def rfc3339(moment: datetime) -> str:
    """Write a UTC time as `2026-11-23T09:00:00.123456Z`."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
