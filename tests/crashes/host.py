"""A host with agents, one backend, and what must hold after whatever happened to it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfcal.core.records import State
from hfcal.errors import StateError
from hfcal.sim.server import Simulator
from hfcal.state.file import StateFile
from tests.crashes.forks import Forks, Run
from tests.crashes.steps import UNHARMED, Fate

# The agent's side of a wake: the message goes unread, one line is written whole.
WAKE = 'echo "$HFCAL_IDEMPOTENCY_KEY $HFCAL_AGENT_ID $HFCAL_SLOT" >> "$0"'
# The same, and the agent is done before its wake command is.
WAKE_AND_COMPLETE = (
    f'{WAKE}; exec "$1" -m hfcal complete --agent "$HFCAL_AGENT_ID" --slot "$HFCAL_SLOT" '
    '--state "$2" > "$0.said" 2>&1'
)
SAVED = {"state.json", "state.json.locks"}
ENDS = {"complete": "finished", "abort": "aborted"}


def read(path: Path) -> State | None:
    """The state, or None without a file or with one that is damaged."""
    try:
        return StateFile(path).read()
    except StateError:
        return None


@dataclass
class Host:
    """One host in a directory of its own."""

    root: Path
    backend: Simulator
    forks: Forks
    wake: str = WAKE
    said: dict[str, str] = field(default_factory=dict)
    damaged: bytes = b""

    def __post_init__(self) -> None:
        self.state = self.root / "state" / "state.json"
        self.woken = self.root / "wakes"
        command = ["/bin/sh", "-c", self.wake, str(self.woken), sys.executable, str(self.state)]
        (self.root / "config.toml").write_text(
            f'backend_url = "{self.backend.url}"\nclaw_identifier = "srv1"\nagents = ["a"]\n'
            f'state_file = "{self.state}"\nrequest_timeout = 5\n'
            f'[wake]\nadapter = "command"\ncommand = {json.dumps(command)}\n'
        )

    def run(self, *words: str, fate: Fate = UNHARMED) -> Run:
        """Run one command, and remember what the agent was told."""
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.root)}
        run = self.forks.run([*words, "--config", str(self.root / "config.toml")], env, fate)
        assert "Traceback" not in run.stderr, run
        if run.code == 0 and words[0] in ENDS:
            self.said.setdefault(self.slot_of(words), ENDS[words[0]])
        return run

    def slot_of(self, words: tuple[str, ...]) -> str:
        """The slot that a command names, as the backend numbers them."""
        ident = words[words.index("--slot") + 1]
        return self.number_of(ident)

    def number_of(self, ident: str) -> str:
        """A slot's place on the backend, whichever of its ids that is."""
        for place, slot in enumerate(self.backend.calendar.slots()):
            if ident in {str(slot.spec.id), slot.virtual_id, slot.former_virtual_id}:
                return str(place)
        raise AssertionError(ident)

    def wakes(self) -> list[tuple[str, str]]:
        """Key and slot of each wake that reached the agent."""
        if not self.woken.exists():
            return []
        return [(line.split()[0], line.split()[2]) for line in self.woken.read_text().splitlines()]

    def is_whole(self) -> None:
        """There is the old state or the new one, and next to it nothing piles up."""
        if self.state.parent.exists():
            if not self.damaged or self.state.read_bytes() != self.damaged:
                StateFile(self.state).read()
            others = {p.name for p in self.state.parent.iterdir()} - SAVED - {".state.json.new"}
            corrupt = [name for name in others if name.startswith("state.json.corrupt-")]
            assert len(others) == len(corrupt) <= 1, others

    def recover(self) -> None:
        """Ticks go on and the agent ends what it was woken for, until all is quiet."""
        for _ in range(6):
            tick = self.run("tick", "--json")
            assert tick.code in {0, 1}, tick
            for _, ident in self.wakes():
                if self.number_of(ident) not in self.said:
                    self.run("complete", "--agent", "a", "--slot", ident, "--json")
            if self._is_quiet():
                return
        raise AssertionError(f"never quiet: {self.state.read_text()}\n{self.journal()}")

    def _is_quiet(self) -> bool:
        agents: dict[str, Any] = json.loads(self.state.read_text())["agents"]
        busy = any(
            a.get("active") or a.get("queue") or a.get("status_owed") for a in agents.values()
        )
        ended = all(s.spec.status in ENDS.values() for s in self.backend.calendar.slots())
        return ended and not busy

    def journal(self) -> list[Any]:
        """All updates that reached the backend whole."""
        entries = [e for _, e in self.backend.journal.since(0) if e.kind == "update"]
        return [e for e in entries if isinstance(e.body, dict)]

    def judge(self, *, again: int) -> None:
        """Every promise, from the backend's journal and the agent's own.

        Args:
            again: How many second wakes what happened can explain.
        """
        state = StateFile(self.state).read()
        assert state is not None
        assert [r for a in state.agents.values() for r in a.refused] == []
        for place, slot in enumerate(self.backend.calendar.slots()):
            assert slot.spec.status == self.said[str(place)], self.journal()
            words = [e.body["status"] for e in self.journal() if e.slot_id == slot.spec.id]
            assert words[0] in {"ongoing", *ENDS.values()} or words[0] == "paused", words
            end = words.index(slot.spec.status)
            assert set(words[end:]) == {slot.spec.status}, words
        keys = Counter(self.wakes())
        assert len({key for key, _ in keys}) == len(self.backend.calendar.slots()), keys
        assert sum(keys.values()) - len(keys) <= again, keys
