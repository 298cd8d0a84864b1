"""The part of a chaos run that does harm: many processes, random ends, a backend that misbehaves.

Each worker has dice of its own and draws the same number for each step, whatever happens, so the
same seed makes the same choices; only their timing is the machine's.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hfcal.sim.faults import parse_fault
from hfcal.sim.server import Simulator
from tests.chaos.host import VERBS, Fate, Host

KINDS = ("update", "any", "heartbeat", "status", "sync")
ANSWERS = ("slot", "wrapped", "slot_id", "ok", "empty")
FAULTS: tuple[dict[str, object], ...] = (
    {"drop_before": True},
    {"drop_after": True},
    {"status": 503},
    {"status": 503, "retry_after": 1},
    {"status": 429, "retry_after": 1},
    {"status": 401},
    {"status": 500, "effect": True},
    {"hang": 1.5},
    {"hang": 1.5, "effect": True},
    {"latency": 0.3},
    {"duplicate": True},
    {"body": "garbage"},
    {"body": "garbage", "effect": True},
)
SIDE_COMMANDS = (
    ("status", "--json"),
    ("status", "--check"),
    ("tick", "--dry-run", "--json"),
    ("config", "show", "--json"),
)


def make_scenario(dice: random.Random, agents: list[str], slots: int) -> dict[str, object]:
    """A backend of some reading of the protocol, with slots of all sorts."""
    return {
        "claw_identifier": "chaos",
        "agents": agents,
        "slots": [_slot(dice, agent, 1 + n) for agent in agents for n in range(slots)],
        "seed": dice.randrange(1 << 30),
        "switches": {
            "virtual_answer": dice.choice(ANSWERS),
            "repeat": dice.choice(("ok", "conflict")),
            "finish_from": dice.choice(("any", "ongoing")),
            "casing": dice.choice(("snake", "pascal", "kebab", "upper")),
            "lists_ongoing": dice.random() < 0.3,
            "older_backend": dice.random() < 0.2,
        },
    }


def _slot(dice: random.Random, agent: str, number: int) -> dict[str, object]:
    slot: dict[str, object] = {
        "agent": agent,
        "priority": dice.randrange(100),
        "scheduled_at": "00:00",
        "is_admin_locked": dice.random() < 0.2,
        "event_type": dice.choice(("job", "entertainment", None)),
        "event_data": {"type": "task", "code": "it's; $(odd)"},
    }
    if dice.random() < 0.5:
        slot["plan_id"] = int(agent.rpartition("-")[2]) * 1000 + number
    return slot


@dataclass
class Provoker:
    """Does harm for a while.

    Attributes:
        host: Where hfcal runs.
        backend: What it talks to.
        until: When to stop, by the monotonic clock.
        agents: Their ids.
    """

    host: Host
    backend: Simulator
    until: float
    agents: list[str]

    def run(self, dice: random.Random, workers: int) -> None:
        """All at once: several of each kind of process, and the backend's misery."""
        kinds: list[Callable[[random.Random], None]] = [self._side, self._break]
        for _ in range(workers):
            kinds += [self._tick, self._watch, self._agent]
        stop = threading.Event()
        reader = threading.Thread(target=self.host.watch_for_tears, args=(stop,))
        reader.start()
        threads = [
            threading.Thread(target=self._repeat, args=(kind, random.Random(dice.random())))
            for kind in kinds
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        reader.join()

    def _repeat(self, step: Callable[[random.Random], None], dice: random.Random) -> None:
        while time.monotonic() < self.until:
            step(dice)

    def _tick(self, dice: random.Random) -> None:
        self.host.hfcal("tick", "--json", fate=Fate.draw(dice))
        self._pause(dice.uniform(0, 0.3))

    def _watch(self, dice: random.Random) -> None:
        number = dice.choice((signal.SIGKILL, signal.SIGTERM))
        fate = Fate(number, dice.uniform(3.0, 20.0))
        self.host.hfcal("watch", "--json", "--interval", "0.7", fate=fate)
        self._pause(dice.uniform(0, 1.0))

    def _side(self, dice: random.Random) -> None:
        """What goes on beside: readers, and holds that come and go."""
        agent, what = dice.choice(self.agents), dice.random()
        words: tuple[str, ...]
        words, fate = dice.choice(SIDE_COMMANDS), Fate.draw(dice, kill=0.1, term=0.1)
        if what < 0.2:
            words = ("hold", "--agent", agent, "--for", "1s", "--reason", "chaos")
        elif what < 0.25:
            words = ("hold", "--all")
        elif what < 0.5:
            words = ("release", "--all")
        self.host.hfcal(*words, fate=fate)
        self._pause(dice.uniform(0, 0.5))

    def _agent(self, dice: random.Random) -> None:
        """One that was woken says something, now and then what it has said already."""
        verb = dice.choices(tuple(VERBS), (4, 1, 2, 2))[0]
        place, again, naming = dice.random(), dice.random() < 0.1, dice.random()
        strict, fate = dice.random() < 0.2, Fate.draw(dice)
        self._pause(dice.uniform(0.02, 0.1))
        woken, ended = woken_slots(self.host), ended_slots(self.host)
        candidates = sorted(woken & ended if again else woken - ended)
        if not candidates:
            return
        agent, slot = candidates[int(place * len(candidates))]
        words = [verb, "--json", "--timeout", "1"]
        if naming < 0.8:
            words += ["--agent", agent, "--slot", slot]
        elif naming < 0.85:  # whoever is the only one active
            agent = ""
        if strict:
            words.append("--require-delivery")
        self.host.hfcal(*words, fate=fate, agent_id=agent if naming >= 0.8 else "")

    def _break(self, dice: random.Random) -> None:
        away, outage = dice.random() < 0.15, dice.uniform(0.1, 1.5)
        fault: dict[str, Any] = dict(dice.choice(FAULTS))
        fault["path"] = dice.choices(KINDS, (6, 1, 2, 1, 1))[0]
        if fault.get("status") == 401 and fault["path"] in {"any", "sync"}:
            fault["path"] = "update"  # to a sync it means that there is none, for an hour at least
        fault["count"] = dice.randint(1, 4)
        wait = dice.uniform(0.05, 0.4)
        if away:
            self.backend.stop()
            self._pause(outage)
            self.backend.start()
        # A proxy that repeats what the backend refuses to hear twice turns a success into a
        # refusal, and no client can tell: it is kept as refused, nothing is lost.
        if "duplicate" not in fault or self.backend.calendar.switches.repeat == "ok":
            self.backend.faults.add([parse_fault(fault, "chaos")])
        self._pause(wait)

    @staticmethod
    def _pause(seconds: float) -> None:
        threading.Event().wait(seconds)


def woken_slots(host: Host) -> set[tuple[str, str]]:
    """Agents and the slots that they were told, as far as their wake didn't fail."""
    return {(wake["agent"], wake["slot"]) for wake in host.wakes() if not wake["failed"]}


def ended_slots(host: Host) -> set[tuple[str, str]]:
    """Agents and the slots whose end they have said and hfcal has taken."""
    ends = {(s["agent"], s["slot"]) for s in host.said() if s["code"] == 0}
    for ran in list(host.ran):
        if ran.accepted and ran.verb in {"complete", "abort"} and ran.stdout:
            document = ran.document
            ends.add((document["agent_id"], document["slot"]))
    return ends
