"""What every wake adapter is, and how it reads its part of a wake table."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from hfcal.core.records import Wake


class WakeError(Exception):
    """A wake failed; the text says why, for people.

    Attributes:
        retry_after: Seconds that the receiver asked to wait, if it did.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


@dataclass(frozen=True)
class ServiceRequirements:
    """What wakes ask of the service that hfcal runs as.

    Attributes:
        seconds: The most that one wake may take.
        programs: Whether programs that are not hfcal's run inside the service.
        reads: Files that have to be there.
        writes: Files, or folders of files, that are written.
        variables: Environment variables that hold secrets.
    """

    seconds: float = 0.0
    programs: bool = False
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    variables: tuple[str, ...] = ()


class Adapter(Protocol):
    """One way to wake an agent."""

    def needs(self) -> ServiceRequirements:
        """What its wakes ask of the service that hfcal runs as."""

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:
        """Deliver one wake.

        Args:
            agent_id: Whom to wake.
            wake: What to tell it.
            stop: Set when hfcal is to stop: end the waiting as at a time-out.

        Raises:
            WakeError: It was not delivered.
        """


@runtime_checkable
class HasRetention(Protocol):
    """An adapter that keeps something which has to be bounded."""

    def tidy(self, agent_id: str) -> None:
        """Bound what is kept for this agent; called after each tick of an agent that is at work."""


def payload(agent_id: str, wake: Wake) -> dict[str, object]:
    """A wake as the JSON that receivers get."""
    return {
        "agent_id": agent_id,
        "slot": wake.slot,
        "source": wake.source,
        "message": wake.message,
        "event_type": wake.details.get("event_type"),
        "event_data": wake.details.get("event_data"),
    }
