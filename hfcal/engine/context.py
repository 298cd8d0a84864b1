"""What an agent's pass needs of the tick that it is part of.

A tick makes passes and a pass calls its tick back, so what it may call stands here, below both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from hfcal.backend.breaker import Breaker
from hfcal.backend.bridge import Bridge
from hfcal.config.settings import Settings
from hfcal.core.records import State
from hfcal.core.scheduler import Policy
from hfcal.engine.permits import WakePermits
from hfcal.state.agent_locks import AgentLocks
from hfcal.state.commit import GroupCommit
from hfcal.wake.message import Commands
from hfcal.wake.wakers import Wakers


class Pass(Protocol):
    """What a tick needs of a pass to run a part of it on a worker, and to let it end."""

    @property
    def agent_id(self) -> str:
        """The agent."""

    @property
    def tried(self) -> set[int]:
        """Numbers of the updates that were tried."""

    def fail(self, error: Exception) -> None:
        """A bug ended the pass."""

    def release_lock(self) -> None:
        """Release the agent's lock."""


class TickContext(Protocol):
    """One tick, as its passes see it.

    Attributes:
        settings: With agents and backend.
        wakers: How agents are woken.
        commands: How agents call back.
        commit: Where changes of the state are handed in.
        locks: The agents' locks.
        breaker: Whether the backend is worth asking.
        permits: Permits to wake.
        stopping: No new agents are taken.
        wakes_ended: No new wakes are started.
        adopted: Agents that got their slot from `/calendar/sync`, before their own heartbeat.
        hurry: Set when wakes are to end at once.
    """

    settings: Settings
    wakers: Wakers
    commands: Commands
    commit: GroupCommit
    locks: AgentLocks
    breaker: Breaker
    permits: WakePermits
    stopping: bool
    wakes_ended: bool
    adopted: set[str]
    hurry: threading.Event

    def note(self, state: State) -> None:
        """Count the tick in the state, with a heartbeat's own change."""

    def policy(self) -> Policy:
        """What decisions need to know of the settings and the time left."""

    def has_work(self, agent_id: str) -> bool:
        """Whether the agent's outbox is worth a look under its lock."""

    def submit(self, agent_pass: Pass, job: Callable[[Bridge], None]) -> None:
        """Have a worker do a part of an agent's pass."""

    def submit_wake(self, agent_pass: Pass, job: Callable[[Bridge], None]) -> None:
        """Have a wake worker do a part of an agent's pass."""

    def ended(self, agent_pass: Pass) -> None:
        """The pass is over and its lock released (owner thread)."""
