"""One chaos run: provoke, quiet down, judge."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from tests.chaos.host import Host
from tests.chaos.judge import ENDS, judge, left_over
from tests.chaos.provoke import Provoker, ended_slots, make_scenario, woken_slots

QUIET_WITHIN = 60.0


@dataclass(frozen=True)
class Size:
    """How much of it: agents, slots for each, workers of each kind, seconds of harm."""

    agents: int = 6
    slots: int = 4
    workers: int = 2
    seconds: float = 15.0

    def words(self) -> str:
        """As options of `python -m tests.chaos`."""
        return " ".join(f"--{name} {value:g}" for name, value in vars(self).items())


@dataclass
class Chaos:
    """One run in one directory; the seed makes every choice."""

    directory: Path
    seed: int
    size: Size = field(default_factory=Size)
    problems: list[str] = field(default_factory=list)
    summary: str = ""

    def run(self) -> list[str]:
        """Do harm, quiet down and judge; returns what is broken."""
        self.host = Host(self.directory, self.seed)
        dice = random.Random(self.seed)
        agents = [f"agent-{n}" for n in range(self.size.agents)]
        scenario = parse_scenario(make_scenario(dice, agents, self.size.slots))
        with Simulator(scenario) as backend:
            self.host.configure(backend.url, agents)
            until = time.monotonic() + self.size.seconds
            Provoker(self.host, backend, until, agents).run(dice, self.size.workers)
            backend.faults.clear()
            self._quiet_down(backend)
            self.problems += judge(self.host, backend)
            self.summary = self._summary(backend)
        return self.problems

    def replay(self) -> str:
        """The command that makes the same choices again."""
        return f"python -m tests.chaos --seed {self.seed} {self.size.words()}"

    def _summary(self, backend: Simulator) -> str:
        """The run in one line."""
        ran, entries = self.host.ran, [entry for _, entry in backend.journal.since(0)]
        spoiled = sum(e.kind == "update" and e.fault is not None for e in entries)
        harms = Counter(r.fate.signal.name for r in ran if r.fate.signal and r.told)
        harms["disk full"] = sum(r.fate.full_from > 0 for r in ran)
        calls, codes = Counter(r.verb for r in ran), Counter(r.code for r in ran)
        return (
            f"{len(ran)} commands {dict(calls)}, exits {dict(codes)}, {dict(harms)}, "
            f"{spoiled} updates spoiled, {len(self.host.wakes())} wakes"
        )

    def _quiet_down(self, backend: Simulator) -> None:
        """Ticks go on and agents end what they were woken for, until nothing is left to do."""
        until = time.monotonic() + QUIET_WITHIN
        self.host.hfcal("release", "--all")
        while time.monotonic() < until:
            before = len(self.host.wakes())
            self.host.hfcal("tick", "--json")
            waiting = {name for name, agent in self._agents().items() if agent.get("queue")}
            ended = ended_slots(self.host)
            # To say it again is to try its delivery again, without the pause that a tick makes.
            for agent, slot in sorted(woken_slots(self.host)):
                if (agent, slot) not in ended or agent in waiting:
                    said = self.host.hfcal("complete", "--json", "--agent", agent, "--slot", slot)
                    if (
                        said.code == 0
                    ):  # of a slot that was aborted it is refused, and sends nothing
                        waiting.discard(agent)
            if self._all_over(backend):
                return
            if len(self.host.wakes()) == before:
                threading.Event().wait(0.4)
        self.problems.append(f"it was not quiet after {QUIET_WITHIN:g} s")

    def _all_over(self, backend: Simulator) -> bool:
        switches = backend.calendar.switches
        if any(left_over(agent, switches) for agent in self._agents().values()):
            return False
        return all(slot.spec.status in ENDS for slot in backend.calendar.slots())

    def _agents(self) -> dict[str, dict[str, object]]:
        found: dict[str, dict[str, object]] = self.host.saved()["agents"]
        return found
