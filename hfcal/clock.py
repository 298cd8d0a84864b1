"""Time as hfcal keeps it: a wall clock for people, a boot clock for durations.

The wall clock may jump; the boot clock can't, but means nothing after a reboot. So a moment
holds both, with the boot it belongs to.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path

EARLIEST, FARTHEST = -6.2e10, 2.5e11  # seconds since 1970 that a calendar can show


@dataclass(frozen=True)
class Moment:
    """One instant, by both clocks.

    Attributes:
        wall: Seconds since 1970-01-01 UTC.
        boot_id: Which boot of this host; empty where the system has no name for it.
        boot: Seconds since that boot, time asleep included.
    """

    wall: float
    boot_id: str
    boot: float

    def seconds_until(self, later: "Moment") -> float:
        """Seconds from here to `later`; by the boot clock within one boot, else by the wall."""
        if self.same_boot(later):
            return later.boot - self.boot
        return later.wall - self.wall

    def same_boot(self, other: "Moment") -> bool:
        """Whether the boot clock can compare the two."""
        return bool(self.boot_id) and self.boot_id == other.boot_id


def now() -> Moment:
    """The present moment."""
    return Moment(round(time.time(), 3), _boot_id(), round(boot_clock(), 3))


def boot_clock() -> float:
    """Seconds since boot, time asleep included where the system counts it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:13]
    except OSError:
        return ""


def rfc3339(wall: float) -> str:
    """`wall` as RFC 3339 in UTC with `Z`, to the second."""
    moment = datetime.fromtimestamp(wall, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='seconds')}Z"


def utc_date(wall: float) -> str:
    """The UTC date of `wall`, `YYYY-MM-DD`."""
    return datetime.fromtimestamp(wall, UTC).date().isoformat()


def utc_time(wall: float) -> str:
    """The UTC time of day of `wall`, `HH:MM:SS`, as updates send it."""
    return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S")


def age(seconds: float) -> str:
    """A duration as people say it: `42 s`, `5 min`, `4 h`, `3 h 10 min`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 100:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min".removesuffix(" 0 min")
    return f"{days} d {hours % 24} h".removesuffix(" 0 h")


def zone_of(name: str) -> tzinfo:
    """The time zone of this name, which the settings have checked."""
    if name == "UTC":
        return UTC
    import zoneinfo

    return zoneinfo.ZoneInfo(name)
