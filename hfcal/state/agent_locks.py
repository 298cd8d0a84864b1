"""Who speaks for an agent: one kernel lock each, beside the state file."""

from __future__ import annotations

from pathlib import Path

from hfcal.system.locks import LockFile
from hfcal.text import file_name


class AgentLocks:
    """The agent locks beside one state file: who holds one speaks for that agent.

    Args:
        directory: Where the lock files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def try_take(self, agent_id: str) -> LockFile | None:
        """The agent's lock, taken, or None when another process (or thread) has it."""
        lock = LockFile(self._directory / f"agent-{file_name(agent_id)}.lock")
        return lock if lock.try_take() else None
