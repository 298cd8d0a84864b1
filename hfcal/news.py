"""What is new enough to tell: cron mails what is printed, so a fault that lasts is said once.

News is a fault that began, changed or ended, and once an hour one that lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hfcal.clock import age
from hfcal.state.records import Trouble

REPEAT_AFTER = 3600.0


@dataclass(frozen=True)
class News:
    """One thing to tell.

    Attributes:
        agent_id: Whom it is about; empty when it is about no single agent.
        message: For people.
        good: Whether it is the end of a fault.
    """

    agent_id: str
    message: str
    good: bool = False


def note_fault(
    troubles: dict[str, Trouble], agent_id: str, about: str, kind: str, message: str, wall: float
) -> News | None:
    """Note that something is at fault.

    Args:
        troubles: The lasting faults, changed in place.
        agent_id: Whom it is about.
        about: What is at fault: `heartbeat`, `wake`, `delivery`, …
        kind: The kind of fault; another kind is news.
        message: For people.
        wall: The present time.

    Returns:
        What to tell, if it is news.
    """
    known = troubles.get(about)
    if known is None or known.kind != kind:
        since = wall if known is None else known.since
        troubles[about] = Trouble(kind, message, since, wall)
        return News(agent_id, message)
    known.message = message
    if 0 <= wall - known.said < REPEAT_AFTER:
        return None
    known.said = wall
    return News(agent_id, f"still, for {age(wall - known.since)}: {message}")


def note_well(troubles: dict[str, Trouble], agent_id: str, about: str, wall: float) -> News | None:
    """Note that all is well; the end of a fault is news."""
    known = troubles.pop(about, None)
    if known is None:
        return None
    return News(agent_id, f"{about} is well again after {age(wall - known.since)}", good=True)


def folded(items: Iterable[News]) -> list[str]:
    """One line for each message, however many agents it is about."""
    agents: dict[str, list[str]] = {}
    for item in items:
        agents.setdefault(item.message, []).append(item.agent_id)
    return [_line(message, names) for message, names in agents.items()]


def _line(message: str, names: list[str]) -> str:
    named = [name for name in dict.fromkeys(names) if name]
    if not named:
        return message
    shown = ", ".join(named[:3])
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return f"{shown}{more}: {message}"


def lasting(troubles: Mapping[str, Trouble]) -> list[str]:
    """The faults that last, for people."""
    return [f"{about}: {trouble.message}" for about, trouble in troubles.items()]
