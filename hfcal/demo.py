"""`hfcal demo`: the whole cycle against an embedded simulator, with the real commands.

Each step is what cron, an agent or an operator would type; the demo only shows it and looks
whether it came true.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from hfcal.system.program import own_program

_SCENARIO = {
    "claw_identifier": "demo",
    "agents": [{"id": "developer"}, {"id": "operator"}],
    "slots": [
        {
            "agent": "developer",
            "id": 101,
            "priority": 80,
            "slot_type": "work",
            "event_type": "job",
            "event_data": {"type": "review", "code": "HF-7"},
            "estimated_duration": 30,
            "scheduled_at": "00:00",
        },
        {"agent": "developer", "id": 102, "priority": 20, "scheduled_at": "00:00"},
        {
            "agent": "operator",
            "plan_id": 7,
            "priority": 50,
            "slot_type": "on_call",
            "scheduled_at": "00:00",
        },
    ],
}
# The wake command keeps each message, as an agent would read it.
_WAKE = (
    "import os, sys, pathlib; "
    "pathlib.Path(sys.argv[1], os.environ['HFCAL_SLOT'] + '.txt').write_text(sys.stdin.read())"
)
_SECONDS = 60.0


class DemoError(Exception):
    """A step didn't come true; the text says which."""


@dataclass
class Step:
    """One command of the demo and what came of it.

    Attributes:
        command: What was typed.
        code: Its exit code.
        output: What it printed.
    """

    command: str
    code: int
    output: str


@dataclass
class Demo:
    """The demo in one temporary directory.

    Attributes:
        tell: Gets each line of the story.
        steps: The commands run so far.
    """

    tell: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    def run(self) -> None:
        """Tell the whole story.

        Raises:
            DemoError: Something didn't come true.
        """
        with (
            tempfile.TemporaryDirectory(prefix="hfcal-demo-") as directory,
            Simulator(parse_scenario(_SCENARIO)) as backend,
        ):
            self._story(Path(directory), backend)

    def _story(self, home: Path, backend: Simulator) -> None:
        self._home = home
        inbox = home / "inbox"
        inbox.mkdir()
        (home / "config.toml").write_text(_config(backend.url, inbox), encoding="utf-8")
        self.tell(f"A simulated backend at {backend.url} holds today's slots of two agents:")
        self.tell("  developer: slot 101, a code review, and slot 102, less urgent")
        self.tell("  operator:  an on-call hour that is still a plan, so its slot has no id yet")

        self._say("cron runs a tick each minute. It wakes each agent for its best slot:")
        self._hfcal("tick", "-v")
        self._must(_statuses(backend) == ["not_started", "ongoing", "ongoing"], "two slots run")

        message = (inbox / "101.txt").read_text(encoding="utf-8")
        self._say("The developer was woken with this:")
        for line in message.splitlines():
            self.tell(f"  | {line}" if line else "  |")

        self._say("Every command is a new process; what runs is remembered on disk:")
        self._hfcal("status")

        self._say("Done, the developer runs the line from its message, with an empty environment:")
        complete = next(line for line in message.splitlines() if " complete " in line)
        self._run(shlex.split(complete), shown=complete, environment={})
        self._must(_status(backend, "101") == "finished", "slot 101 is finished")

        self._say("Now the backend goes away, and the operator is done in that very moment:")
        backend.stop()
        self._hfcal("complete", "--agent", "operator", "--summary", "a quiet hour")
        self._must(_status(backend, "plan") == "ongoing", "the backend can't know yet")
        self.tell("Exit code 0: the word is on disk, and the operator may exit.")

        self._say("The backend is back. The next tick delivers, and wakes the developer again:")
        backend.start()
        self._hfcal("tick", "-v")
        self._must(_status(backend, "plan") == "finished", "the operator's slot is finished")
        self._must(_status(backend, "102") == "ongoing", "slot 102 runs")
        self._hfcal("complete", "--agent", "developer", "--slot", "102")
        self._must(_statuses(backend) == ["finished"] * 3, "every slot is finished")

        self._say("Nothing waits, nothing was refused, all is in the history:")
        self._hfcal("status")
        document = json.loads(self._hfcal("status", "--json", silent=True))
        outcomes = [entry["outcome"] for entry in document["history"]]
        well = outcomes == ["delivered"] * 3 and not document["queued"] and not document["active"]
        self._must(well, "the state agrees with the backend")
        again = shlex.join([*own_program(), "--help"])
        self._say(f"That was the whole cycle. Your turn: {again}, and README.md.")

    def _say(self, line: str) -> None:
        self.tell("")
        self.tell(line)

    def _hfcal(self, *words: str, silent: bool = False) -> str:
        command = [*own_program(), *words]
        environment = {"HFCAL_CONFIG": str(self._home / "config.toml"), "COLUMNS": "100"}
        shown = "" if silent else shlex.join(["hfcal", *words])
        return self._run(command, shown=shown, environment=environment)

    def _run(self, command: list[str], *, shown: str, environment: dict[str, str]) -> str:
        if shown:
            self.tell(f"  $ {shown}")
        path = {"PATH": os.environ.get("PATH", "")} if environment else {}
        done = subprocess.run(
            command,
            env={**path, **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_SECONDS,
            check=False,
        )
        output = done.stdout + done.stderr
        self.steps.append(Step(shlex.join(command), done.returncode, output))
        if shown:
            for line in output.splitlines():
                self.tell(f"  {line}".rstrip())
        self._must(done.returncode == 0, f"{shown or command[-1]} exits with 0")
        return done.stdout

    def _must(self, true: bool, what: str) -> None:  # noqa: FBT001
        if not true:
            last = self.steps[-1]
            raise DemoError(
                f"it did not come true that {what}; the last command was {last.command}, "
                f"exit code {last.code}, output: {last.output.strip()}"
            )


def _config(url: str, inbox: Path) -> str:
    command = json.dumps([sys.executable, "-c", _WAKE, str(inbox)])
    return (
        f'backend_url = "{url}"\n'
        'claw_identifier = "demo"\n'
        'agents = ["developer", "operator"]\n'
        f"state_file = {json.dumps(str(inbox.parent / 'state.json'))}\n"
        "\n[wake]\n"
        'adapter = "command"\n'
        f"command = {command}\n"
    )


def _status(backend: Simulator, ident: str) -> str:
    """The status of the slot with this id, or of the one that began as a plan."""
    found = [
        slot.spec.status
        for slot in backend.calendar.slots()
        if str(slot.spec.id) == ident or (ident == "plan" and slot.spec.plan_id is not None)
    ]
    return found[0] if found else ""


def _statuses(backend: Simulator) -> list[str]:
    return sorted(slot.spec.status for slot in backend.calendar.slots())
