"""The host of a chaos run: its files, and hfcal as a process that may be killed in between."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rig import host as rig
from tests.rig.process import HFCAL
from tests.rig.result import Result

ROOT = Path(__file__).parents[2]
AGENT = Path(__file__).with_name("agent.py")
FAULTY = "tests.crashes.faulty"
NEVER = 60.0  # seconds after which a command counts as one that never ends
STOPS_WITHIN = 15.0  # seconds for SIGTERM; 5 are promised, the rest is for a busy machine
VERBS = {"complete": "finished", "abort": "aborted", "pause": "paused", "resume": "ongoing"}
READERS = {"status", "queue", "doctor", "config"}


@dataclass(frozen=True)
class Fate:
    """What happens to a process.

    Attributes:
        signal: What it gets, None for nothing.
        after: When, from its start, in times that a command takes on this machine.
        full_from: The step on files from which the disk is full, 0 for never.
    """

    signal: signal.Signals | None = None
    after: float = 0.0
    full_from: int = 0

    @classmethod
    def draw(cls, dice: random.Random, kill: float = 0.25, term: float = 0.1) -> Fate:
        """Always as many draws, whatever comes of them."""
        which, after, step = dice.random(), dice.uniform(0.5, 4.0), dice.randint(1, 40)
        if which < kill:
            return cls(signal.SIGKILL, after)
        if which < kill + term:
            return cls(signal.SIGTERM, after)
        if which < kill + term + 0.08 and disk_can_fill():
            return cls(full_from=step)
        return cls()


LUCKY = Fate()


def disk_can_fill() -> bool:
    """Whether the tool that lets the disk run full is there."""
    return importlib.util.find_spec(FAULTY) is not None


@dataclass(frozen=True, kw_only=True)
class Ran(Result):
    """One command that is over.

    Attributes:
        started: By the monotonic clock.
        told: When it got its signal; None when it was over before.
    """

    fate: Fate
    pid: int
    started: float
    told: float | None = None

    @property
    def ended(self) -> float:
        """By the monotonic clock."""
        return self.started + self.seconds

    @property
    def verb(self) -> str:
        return self.words[0]

    @property
    def unharmed(self) -> bool:
        """Whether it could do all that it wanted to."""
        return self.told is None and not self.fate.full_from

    @property
    def accepted(self) -> bool:
        """Whether an agent's word was taken: 4 says that it is safely queued."""
        return self.verb in VERBS and self.code in {0, 4}

    @property
    def document(self) -> dict[str, Any]:
        found = self.json
        assert isinstance(found, dict)
        return found

    def __str__(self) -> str:
        harm = f" after {self.fate}" if self.fate != LUCKY else ""
        return f"{' '.join(self.words)}{harm}: exit {self.code}: {self.stderr[-500:].strip()}"


class Host(rig.Host):
    """A host whose commands may meet a fate, with the agents' logs and all that ran there.

    Args:
        root: Where all of it is.
        seed: Of the agents' choices.

    Attributes:
        pace: Seconds that a command takes here when nothing else goes on.
        ran: Each command that is over.
        torn: What readers of the state file saw that they never should.
    """

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root, {"PYTHONPATH": str(ROOT)})
        self.seed = seed
        self.pace = 0.2
        self.ran: list[Ran] = []
        self.torn: list[str] = []

    def configure(self, url: str, agents: list[str]) -> None:
        """Write the config, and see how fast this machine is."""
        settings = {
            "backend_url": url,
            "claw_identifier": "chaos",
            "agents": agents,
            "request_timeout": 1,
            "abandon_after": 0,
        }
        command = [sys.executable, "-S", "-E", str(AGENT), str(self.seed), str(self.root)]
        wake = {"adapter": "command", "command": command}
        self.write_config(rig.config_text(settings, {"wake": wake}))
        self.pace = max(0.1, self.hfcal("status").seconds)

    def hfcal(self, *words: str, fate: Fate = LUCKY, agent_id: str = "") -> Ran:
        """Run a command to its end, or to its fate; each begins from nothing."""
        faulty = (sys.executable, "-m", FAULTY, "ENOSPC", str(fate.full_from))
        program = faulty if fate.full_from else HFCAL
        started = time.monotonic()
        env = {"HFCAL_AGENT_ID": agent_id or None}
        process = self.spawn(*program, *words, env=env, errors="replace")
        told = None
        patience = fate.after * self.pace if fate.signal else NEVER
        try:
            stdout, stderr = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            told = time.monotonic()
            stdout, stderr = _end(process, fate)
        ran = Ran(
            words,
            process.returncode,
            stdout,
            stderr,
            time.monotonic() - started,
            fate=fate,
            pid=process.pid,
            started=started,
            told=told,
        )
        self.ran.append(ran)
        return ran

    def saved(self) -> dict[str, Any]:
        """The state as it is now."""
        found: dict[str, Any] = json.loads(self.state.read_text())
        return found

    def wakes(self) -> list[dict[str, Any]]:
        """What the woken agents noted, in order."""
        return self._lines("wakes.log")

    def said(self) -> list[dict[str, Any]]:
        """What woken agents said at once."""
        return self._lines("said.log")

    def watch_for_tears(self, stop: threading.Event) -> None:
        """Read the state file again and again: it must be whole, and stay there."""
        seen = False
        while not stop.wait(0.02):
            try:
                content = self.state.read_bytes()
                json.loads(content)
                seen = True
            except FileNotFoundError:
                if seen:
                    self.torn.append("the state file was gone")
            except ValueError as error:
                self.torn.append(f"the state file was torn: {error}: {content[:80]!r}")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.root / name
        return [json.loads(li) for li in path.read_text().splitlines()] if path.exists() else []


def _end(process: subprocess.Popen[str], fate: Fate) -> tuple[str, str]:
    if fate.signal is signal.SIGTERM:
        process.send_signal(signal.SIGTERM)
        try:
            return process.communicate(timeout=STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            return stdout, stderr + f"\nnot over {STOPS_WITHIN:g} s after SIGTERM"
    process.kill()
    stdout, stderr = process.communicate()
    if fate.signal is None:
        stderr += f"\nnot over after {NEVER:g} s"
    return stdout, stderr
