"""What a command came to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """A command that is over; `code` is negative when a signal ended it."""

    words: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        """Stdout as the one JSON document that it must be."""
        return json.loads(self.stdout)

    @property
    def error(self) -> Any:
        """The `error` of the document on stdout."""
        return self.json["error"]

    @property
    def agents(self) -> dict[str, Any]:
        """A tick's agents by their ids."""
        return {agent["agent_id"]: agent for agent in self.json["agents"]}

    @property
    def actions(self) -> dict[str, str]:
        """What a tick did, by agent."""
        return {name: agent["action"] for name, agent in self.agents.items()}
