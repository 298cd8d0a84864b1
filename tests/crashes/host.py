"""A host with agents, one backend, and what must hold after whatever happened to it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from hfcal.core.records import State
from hfcal.errors import StateError
from hfcal.sim.server import Simulator
from hfcal.state.file import StateFile
from tests.crashes.forks import Forks, Run
from tests.crashes.steps import UNHARMED, Fate
from tests.rig import host as rig

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


class Host(rig.Host):
    """A host whose commands may meet a fate, and whose agent notes its wakes.

    Attributes:
        backend: What it talks to.
        said: The end that the agent gave each slot, by its place on the backend.
        damaged: What a damaged state file holds; empty when none is.
    """

    def __init__(self, root: Path, backend: Simulator, forks: Forks, wake: str = WAKE) -> None:
        super().__init__(root)
        self.backend = backend
        self.said: dict[str, str] = {}
        self.damaged = b""
        self._forks = forks
        self._woken = root / "wakes"
        settings = {
            "backend_url": backend.url,
            "claw_identifier": "srv1",
            "agents": ["a"],
            "request_timeout": 5,
        }
        command = ["/bin/sh", "-c", wake, str(self._woken), sys.executable, str(self.state)]
        self.write_config(
            rig.config_text(settings, {"wake": {"adapter": "command", "command": command}})
        )

    def meet(self, fate: Fate, *words: str, env: rig.Env | None = None) -> Run:
        """Run one command that meets its fate, and remember what the agent was told."""
        run = self._forks.run(list(words), self.environment(**(env or {})), self.root, fate)
        assert "Traceback" not in run.stderr, run
        if run.code == 0 and words[0] in ENDS:
            self.said.setdefault(self.slot_of(words), ENDS[words[0]])
        return run

    def run(self, *words: str, env: rig.Env | None = None) -> Run:
        """Run one command that no harm is done to, and remember what the agent was told."""
        return self.meet(UNHARMED, *words, env=env)

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
        if not self._woken.exists():
            return []
        return [(line.split()[0], line.split()[2]) for line in self._woken.read_text().splitlines()]

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
