"""The host of a chaos run: its files, and hfcal as a process that may be killed in between."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Ran:
    """One command that is over."""

    words: tuple[str, ...]
    fate: Fate
    pid: int
    started: float
    ended: float
    code: int
    stdout: str
    stderr: str
    told: float | None = None  # when it got its signal; None when it was over before

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
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    def __str__(self) -> str:
        harm = f" after {self.fate}" if self.fate != LUCKY else ""
        return f"{' '.join(self.words)}{harm}: exit {self.code}: {self.stderr[-500:].strip()}"


@dataclass
class Host:
    """One directory with config, state and the agents' logs, and all that ran there.

    Attributes:
        directory: Where all of it is.
        seed: Of the agents' choices.
        pace: Seconds that a command takes here when nothing else goes on.
        ran: Each command that is over.
        torn: What readers of the state file saw that they never should.
    """

    directory: Path
    seed: int
    pace: float = 0.2
    ran: list[Ran] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    @property
    def state_file(self) -> Path:
        return self.directory / "state" / "state.json"

    def configure(self, url: str, agents: list[str]) -> None:
        command = [sys.executable, "-S", "-E", str(AGENT), str(self.seed), str(self.directory)]
        (self.directory / "config.toml").write_text(
            f'backend_url = "{url}"\nclaw_identifier = "chaos"\nagents = {json.dumps(agents)}\n'
            f'state_file = "{self.state_file}"\nrequest_timeout = 1\nabandon_after = 0\n'
            f'[wake]\nadapter = "command"\ncommand = {json.dumps(command)}\n'
        )
        first = self.hfcal("status")
        self.pace = max(0.1, first.ended - first.started)

    def hfcal(self, *words: str, fate: Fate = LUCKY, agent_id: str = "") -> Ran:
        """Run a command to its end, or to its fate."""
        how = [FAULTY, "ENOSPC", str(fate.full_from)] if fate.full_from else ["hfcal"]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "PYTHONPATH": str(ROOT)}
        if agent_id:
            env["HFCAL_AGENT_ID"] = agent_id
        config = ["--config", str(self.directory / "config.toml")]
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", *how, *words, *config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            env=env,
        )
        told = None
        patience = fate.after * self.pace if fate.signal else NEVER
        try:
            stdout, stderr = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            told = time.monotonic()
            stdout, stderr = _end(process, fate)
        ran = Ran(
            words,
            fate,
            process.pid,
            started,
            time.monotonic(),
            process.returncode,
            stdout.decode("utf-8", "replace"),
            stderr.decode("utf-8", "replace"),
            told,
        )
        self.ran.append(ran)
        return ran

    def state(self) -> dict[str, Any]:
        """The state as it is now."""
        found: dict[str, Any] = json.loads(self.state_file.read_text())
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
                content = self.state_file.read_bytes()
                json.loads(content)
                seen = True
            except FileNotFoundError:
                if seen:
                    self.torn.append("the state file was gone")
            except ValueError as error:
                self.torn.append(f"the state file was torn: {error}: {content[:80]!r}")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / name
        return [json.loads(li) for li in path.read_text().splitlines()] if path.exists() else []


def _end(process: subprocess.Popen[bytes], fate: Fate) -> tuple[bytes, bytes]:
    if fate.signal is signal.SIGTERM:
        process.send_signal(signal.SIGTERM)
        try:
            return process.communicate(timeout=STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            return stdout, stderr + f"\nnot over {STOPS_WITHIN:g} s after SIGTERM".encode()
    process.kill()
    stdout, stderr = process.communicate()
    if fate.signal is None:
        stderr += f"\nnot over after {NEVER:g} s".encode()
    return stdout, stderr
