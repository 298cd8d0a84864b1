"""One chaos run: provoke, quiet down, judge."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfcal.sim.faults import parse_fault
from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator

# The agent's side of a wake: one line, written whole, so that a kill leaves it out or in.
WAKE = (
    "import os, sys; sys.stdin.read(); e = os.environ; "
    "line = ' '.join((e['HFCAL_IDEMPOTENCY_KEY'], e['HFCAL_AGENT_ID'], e['HFCAL_SLOT'])); "
    "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600); "
    "os.write(fd, (line + '\\n').encode())"
)
QUIET_WITHIN = 90.0
FAULTS: tuple[dict[str, object], ...] = (
    {"drop_before": True},
    {"drop_after": True},
    {"status": 503},
    {"status": 503, "retry_after": 1},
    {"status": 429, "retry_after": 1},
    {"status": 500, "effect": True},
    {"hang": 1.5},
    {"hang": 1.5, "effect": True},
    {"latency": 0.3},
    {"duplicate": True},
    {"body": "garbage"},
)
ANSWERS = ("slot", "wrapped", "slot_id", "ok", "empty")


@dataclass
class Chaos:
    """One run in one directory.

    Attributes:
        directory: Where state, config and the wakes' log are.
        seed: Of every choice.
        agents: How many agents.
        slots: How many slots each gets.
    """

    directory: Path
    seed: int
    agents: int
    slots: int
    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    kills: int = 0
    problems: list[str] = field(default_factory=list)
    accepted: dict[tuple[str, str], str] = field(default_factory=dict)

    def run(self, seconds: float) -> list[str]:
        """Provoke for `seconds`, then quiet down and judge; returns what is broken."""
        dice = random.Random(self.seed)
        scenario = parse_scenario(
            {
                "claw_identifier": "chaos",
                "agents": [f"agent-{n}" for n in range(self.agents)],
                "slots": list(self._plan(dice)),
                "seed": self.seed,
                "switches": {
                    "virtual_answer": dice.choice(ANSWERS),
                    "repeat": dice.choice(("ok", "conflict")),
                    "finish_from": dice.choice(("any", "ongoing")),
                    "lists_ongoing": dice.random() < 0.3,
                },
            }
        )
        with Simulator(scenario) as backend:
            self._configure(backend.url)
            self._provoke(backend, dice, seconds)
            backend.faults.clear()
            self._quiet_down(backend)
            self._judge(backend)
        return self.problems

    def summary(self) -> str:
        """The run in one line."""
        codes = dict(sorted(self.codes.items()))
        calls = dict(self.calls)
        return f"{self.calls.total()} commands {calls}, {self.kills} killed, exits {codes}"

    def _plan(self, dice: random.Random) -> list[dict[str, object]]:
        slots: list[dict[str, object]] = []
        for number in range(self.agents):
            for index in range(self.slots):
                slot: dict[str, object] = {
                    "agent": f"agent-{number}",
                    "priority": dice.randrange(100),
                    "scheduled_at": "00:00",
                }
                if dice.random() < 0.5:
                    slot["plan_id"] = 1 + number * self.slots + index
                slots.append(slot)
        return slots

    def _configure(self, url: str) -> None:
        command = json.dumps([sys.executable, "-S", "-c", WAKE, str(self._wakes_log)])
        names = json.dumps([f"agent-{n}" for n in range(self.agents)])
        (self.directory / "config.toml").write_text(
            f'backend_url = "{url}"\nclaw_identifier = "chaos"\nagents = {names}\n'
            f'state_file = "{self._state}"\nrequest_timeout = 1\nabandon_after = 0\n'
            f'[wake]\nadapter = "command"\ncommand = {command}\n'
        )

    @property
    def _state(self) -> Path:
        return self.directory / "state" / "state.json"

    @property
    def _wakes_log(self) -> Path:
        return self.directory / "wakes.log"

    def _wakes(self) -> list[tuple[str, str, str]]:
        if not self._wakes_log.exists():
            return []
        lines = self._wakes_log.read_text().splitlines()
        return [(key, agent, slot) for key, agent, slot in (line.split() for line in lines)]

    # Provoking.

    def _provoke(self, backend: Simulator, dice: random.Random, seconds: float) -> None:
        until = time.monotonic() + seconds
        seeds = [dice.randrange(1 << 30) for _ in range(5)]
        threads = [
            threading.Thread(target=self._ticks, args=(random.Random(seeds[0]), until)),
            threading.Thread(target=self._ticks, args=(random.Random(seeds[1]), until)),
            threading.Thread(target=self._agents, args=(random.Random(seeds[2]), until)),
            threading.Thread(target=self._agents, args=(random.Random(seeds[3]), until)),
            threading.Thread(target=self._break, args=(backend, random.Random(seeds[4]), until)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ticks(self, dice: random.Random, until: float) -> None:
        while time.monotonic() < until:
            words = ["tick", "--json"]
            if dice.random() < 0.05:
                words = dice.choice((["status", "--json"], ["tick", "--dry-run"]))
            self._hfcal(words, dice, fatal=0.3)

    def _agents(self, dice: random.Random, until: float) -> None:
        """The agents: now and then one that was woken says something."""
        while time.monotonic() < until:
            woken = {(agent, slot) for _, agent, slot in self._wakes()} - self._said()
            if not woken:
                threading.Event().wait(0.05)
                continue
            agent, slot = dice.choice(sorted(woken))
            verb = dice.choices(("complete", "abort", "pause", "resume"), (6, 1, 1, 1))[0]
            code = self._hfcal(
                [verb, "--agent", agent, "--slot", slot, "--timeout", "1"], dice, fatal=0.3
            )
            if verb in {"complete", "abort"}:
                self._note_said(agent, slot, verb, code)

    def _said(self) -> set[tuple[str, str]]:
        return set(self.accepted)

    def _note_said(self, agent: str, slot: str, verb: str, code: int) -> None:
        if code == 0:
            self.accepted.setdefault((agent, slot), verb)
        elif code in {1, 2, 5, 6, 70}:
            self.problems.append(f"{verb} of {slot} by {agent} exited with {code}")

    def _break(self, backend: Simulator, dice: random.Random, until: float) -> None:
        while time.monotonic() < until:
            if dice.random() < 0.15:
                backend.stop()
                threading.Event().wait(dice.uniform(0.1, 1.5))
                backend.start()
            faults = FAULTS
            if backend.calendar.switches.repeat == "conflict":
                # A proxy that repeats what the backend refuses to hear twice turns a success into
                # a refusal, and no client can tell: it is kept as refused, nothing is lost.
                faults = tuple(f for f in FAULTS if "duplicate" not in f)
            fault = dict(dice.choice(faults), path=dice.choice(("heartbeat", "update", "any")))
            fault["count"] = dice.randint(1, 6)
            backend.faults.add([parse_fault(fault, "chaos")])
            threading.Event().wait(dice.uniform(0.05, 0.5))

    def _hfcal(self, words: list[str], dice: random.Random, fatal: float = 0.0) -> int:
        self.calls[words[0]] += 1
        kill_after = dice.uniform(0.05, 0.6) if dice.random() < fatal else None
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hfcal",
                "--config",
                str(self.directory / "config.toml"),
                *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
        )
        try:
            _, errors = process.communicate(timeout=kill_after or 60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
            if kill_after is None:
                self.problems.append(f"{words} never ended")
            self.kills += 1
        if process.returncode in {2, 5, 6, 70}:
            self.problems.append(f"{words}: exit {process.returncode}: {errors.decode()[-400:]}")
        self.codes[process.returncode] += 1
        return process.returncode

    # Quieting down.

    def _quiet_down(self, backend: Simulator) -> None:
        """Ticks go on and agents end what they were woken for, until nothing is left to do."""
        dice = random.Random(0)
        until = time.monotonic() + QUIET_WITHIN
        while time.monotonic() < until:
            self._hfcal(["tick", "--json"], dice)
            for agent, slot in sorted({(a, s) for _, a, s in self._wakes()} - self._said()):
                code = self._hfcal(["complete", "--agent", agent, "--slot", slot], dice)
                self._note_said(agent, slot, "complete", code)
            if self._all_over(backend):
                return
        state = json.loads(self._state.read_text())
        left = {n: (a.get("active"), a.get("queue")) for n, a in state["agents"].items()}
        self.problems.append(f"it never became quiet: {left}")

    def _all_over(self, backend: Simulator) -> bool:
        state = json.loads(self._state.read_text())
        waiting = any(a.get("queue") or a.get("active") for a in state["agents"].values())
        ended = all(s.spec.status in {"finished", "aborted"} for s in backend.calendar.slots())
        return ended and not waiting

    # Judging.

    def _judge(self, backend: Simulator) -> None:
        state = json.loads(self._state.read_text())
        for name, agent in state["agents"].items():
            for refusal in agent.get("refused", ()):
                update = refusal["update"]
                self.problems.append(
                    f"{name}: {update['status']} of {update['ref']} refused: {refusal['error']}"
                )
        idents: dict[str, int] = {}
        for place, slot in enumerate(backend.calendar.slots()):
            for ident in (str(slot.spec.id), slot.virtual_id, slot.former_virtual_id):
                if ident:
                    idents[ident] = place
            if slot.spec.status not in {"finished", "aborted"}:
                name = slot.spec.id or slot.virtual_id
                self.problems.append(f"slot {name} is {slot.spec.status} in the end")
                self.problems += self._story(backend, slot.spec.id)
        self._judge_ends(backend, idents)
        self._judge_order(backend)
        self._judge_wakes(idents)

    @staticmethod
    def _story(backend: Simulator, slot_id: int | None) -> list[str]:
        """All that was said of one slot, for whoever looks into it."""
        return [
            f"  journal {n}: {e.path} {e.body} {e.before}->{e.after} {e.answer} {e.fault or ''}"
            for n, e in backend.journal.since(0)
            if e.kind == "update" and e.slot_id == slot_id
        ]

    def _judge_ends(self, backend: Simulator, idents: dict[str, int]) -> None:
        """Each slot ended as its agent was told that it would."""
        statuses = [slot.spec.status for slot in backend.calendar.slots()]
        for (agent, ident), verb in self.accepted.items():
            want = "finished" if verb == "complete" else "aborted"
            if statuses[idents[ident]] != want:
                self.problems.append(
                    f"{agent} was told that {ident} is {want}; it is {statuses[idents[ident]]}"
                )

    def _judge_order(self, backend: Simulator) -> None:
        """No slot got another word after its end, and no agent ran two slots at once."""
        ended: dict[int | None, str] = {}
        running: dict[str, set[int | None]] = defaultdict(set)
        for number, entry in backend.journal.since(0):
            if entry.kind != "update" or not isinstance(entry.body, dict):
                continue
            status: Any = entry.body.get("status")
            late = entry.slot_id in ended and status != ended[entry.slot_id]
            if late and entry.fault != "duplicate":
                self.problems.append(
                    f"journal {number}: {status} of slot {entry.slot_id} after its end"
                )
            if entry.effect and entry.agent is not None:
                if status in {"finished", "aborted"}:
                    ended[entry.slot_id] = status
                    running[entry.agent].discard(entry.slot_id)
                else:
                    running[entry.agent].add(entry.slot_id)

    def _judge_wakes(self, idents: dict[str, int]) -> None:
        """One key for each slot, and no second wake without a kill."""
        keys: dict[int, Counter[str]] = defaultdict(Counter)
        for key, _, ident in self._wakes():
            keys[idents[ident]][key] += 1
        again = 0
        for place, counted in keys.items():
            if len(counted) > 1:
                self.problems.append(f"slot {place} was woken with {len(counted)} keys")
            again += sum(counted.values()) - 1
        if again > self.kills:
            self.problems.append(f"{again} second wakes for {self.kills} kills")
