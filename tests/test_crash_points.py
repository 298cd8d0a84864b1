"""Each step of each command is the last one once, by a kill or by a disk that is full.

No step is left to luck: the steps are numbered, and N goes from 1 until the command ends unharmed.
After each, what is left is looked at; then the host goes on, once with the agent's word first and
once with a tick first, and in the end the backend's journal must read as the agent spoke.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("waits for orphans as Linux can", allow_module_level=True)

from tests.crash.host import AGENT, Host, listening
from tests.crash.server import NO_FAULT, Forks, Run, forks
from tests.crash.steps import DISK, KILL, LOCK, NET, NOTE, WAKE, Fault
from tests.crash.world import Backend

REAL: dict[str, Any] = {"id": 4}
VIRTUAL: dict[str, Any] = {"plan_id": 7}
RUNNING: dict[str, Any] = {"id": 4, "status": "ongoing"}
SLOT = ("--agent", AGENT, "--slot", "4")
DONE = ("ongoing", "finished")


def woken(host: Host) -> None:
    """The agent is at its slot."""
    assert host.run("tick").code == 0
    assert len(host.wakes()) == 1


def paused(host: Host) -> None:
    """The agent paused."""
    woken(host)
    assert host.tell("pause").code == 0


def unannounced(host: Host) -> None:
    """The agent is at its slot, and the backend has not heard of it."""
    host.fault(path="update", drop_before=True)
    assert host.run("tick").code == 1


def unsent(host: Host) -> None:
    """The agent is done, and the backend has heard nothing at all."""
    unannounced(host)
    host.fault(path="update", drop_before=True)
    assert host.tell("complete").code == 0


def unanswered(host: Host) -> None:
    """The agent is done, the backend heard that it began, and its answer was lost."""
    host.fault(path="update", drop_after=True)
    assert host.run("tick").code == 1
    host.fault(path="update", drop_before=True)
    assert host.tell("complete").code == 0


def damaged(host: Host) -> None:
    """The backend has heard nothing, and the state is cut off behind what waits."""
    unsent(host)
    content = host.state.read_bytes()
    host.state.write_bytes(content[: content.index(b'"ended"')])


def taken_back(host: Host) -> None:
    """Somebody on the server set the running slot to pending again."""
    woken(host)
    host.change_slot(status="not_started")


def paused_and_taken_back(host: Host) -> None:
    """The same with a paused slot."""
    paused(host)
    host.change_slot(status="not_started")


def ended_there(host: Host) -> None:
    """Somebody on the server aborted the running slot, and it is listed so."""
    woken(host)
    host.change_slot(status="aborted")
    slot = {"id": 4, "status": "aborted", "scheduled_at": "00:00:00", "priority": 50}
    host.backend.lists = json.dumps({"slots": [slot], "agent_status": "idle"})


@dataclass(frozen=True)
class Scenario:
    """A command, and what was before it.

    Attributes:
        words: The command.
        slot: What the backend holds at first.
        before: What comes before it.
        told: The updates that must take effect, from the first to the last, repeats left out.
        switches: How the backend reads the protocol.
        listens: The agent completes before its wake command is over.
        begin: The first step to be killed before, where those before it are another scenario's.
        disk: How the disk fails, where the steps on files are no other scenario's.
        notes: Whether a kill comes before the notes in lock files as well; they are all alike.
        orders: Afterwards, whether a tick comes before the agent's word: both, one after the other.
    """

    words: tuple[str, ...]
    slot: dict[str, Any] = field(default_factory=lambda: REAL)
    before: Callable[[Host], None] = lambda _: None
    told: tuple[str, ...] = DONE
    switches: dict[str, Any] = field(default_factory=dict)
    listens: bool = False
    orders: tuple[bool, ...] = (False, True)
    begin: str = ""
    disk: tuple[str, ...] = ()
    notes: bool = False

    @property
    def adopted(self) -> bool:
        """Whether nobody is woken."""
        return "status" in self.slot


ERRNOS = ("ENOSPC", "EDQUOT", "EIO")
SCENARIOS = {
    "first": Scenario(("tick",), disk=("ENOSPC",), notes=True),
    "virtual": Scenario(("tick",), VIRTUAL, begin="start"),
    "virtual-untold": Scenario(
        ("tick",), VIRTUAL, switches={"virtual_answer": "empty"}, begin="send PATCH"
    ),
    "answered": Scenario(("tick",), listens=True, begin="start"),
    "deliver": Scenario(("tick",), before=unsent, disk=("ENOSPC",)),
    "deliver-again": Scenario(("tick",), before=unanswered, begin="recv"),
    "remark": Scenario(("tick",), before=taken_back, switches={"finish_from": "any"}, begin="recv"),
    "remark-paused": Scenario(
        ("tick",),
        before=paused_and_taken_back,
        told=("ongoing", "paused", "ongoing", "paused", "finished"),
        orders=(True,),
        begin="recv",
    ),
    "adopt": Scenario(("tick",), RUNNING, told=("finished",), disk=("ENOSPC",)),
    "adopt-listed": Scenario(
        ("tick",),
        RUNNING,
        told=("finished",),
        switches={"lists_ongoing": True, "sync": "absent"},
        begin="recv",
    ),
    "resolve": Scenario(("tick",), before=ended_there, told=("ongoing",), begin="recv"),
    "damaged": Scenario(("tick",), before=damaged, disk=("ENOSPC",)),
    "complete": Scenario(("complete", *SLOT), before=woken, notes=True),
    "complete-unannounced": Scenario(("complete", *SLOT), before=unannounced, disk=("ENOSPC",)),
    "abort": Scenario(("abort", *SLOT), before=woken, told=("ongoing", "aborted")),
    "pause": Scenario(
        ("pause", *SLOT), before=woken, told=("ongoing", "paused", "finished"), disk=("ENOSPC",)
    ),
    "resume": Scenario(
        ("resume", *SLOT), before=paused, told=("ongoing", "paused", "ongoing", "finished")
    ),
    "hold": Scenario(("hold", "--agent", AGENT, "--for", "1ms"), before=woken, disk=ERRNOS),
}
# All of a save, in order.
SAVE = [
    "open .state.json.new",
    "fchmod .state.json.new",
    "write .state.json.new",
    "write .state.json.new half",
    "fsync .state.json.new",
    "replace .state.json.new state.json",
    "fsync state",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    """Runs hfcal."""
    with forks() as found:
        yield found


class Stage:
    """One scenario, ready to be played as often as there are steps."""

    def __init__(self, scenario: Scenario, host: Host) -> None:
        self.scenario = scenario
        self.host = host
        host.adopted = scenario.adopted
        host.silent = scenario.before is ended_there
        host.backend.switches = scenario.switches
        host.begin(scenario.slot)
        scenario.before(host)
        self.start = host.take()
        host.damaged = host.state.read_bytes() if scenario.before is damaged else None
        self.worlds: set[str] = set()
        self.leavings: set[str] = set()
        self.points = 0

    def begins(self) -> int:
        """The number of the first step that is this scenario's own."""
        if not self.scenario.begin:
            return 1
        fault = Fault(KILL, notes=self.scenario.notes)
        counted = [s.name for s in self.play(fault).steps if fault.counts(s.kind)]
        return counted.index(self.scenario.begin) + 1

    def play(self, fault: Fault) -> Run:
        """The command with one fault."""
        self.host.restore(self.start)
        run = self.host.run(*self.scenario.words, fault=fault)
        if run.killed and any(step.kind == NET for step in run.steps):
            self.host.backend.settle()
        self.points += 1
        return run

    def go_on(self, run: Run) -> None:
        """Look at what is left, go on from there in both orders, and judge.

        Of worlds that go on alike, one is enough; and each kind of leavings is there once.
        """
        self.host.look()
        world = self.host.take()
        accepted = run.code == 0
        saved, beside = f"{accepted} {world.print()}", world.leavings()
        if saved in self.worlds and beside in self.leavings:
            return
        self.worlds.add(saved)
        self.leavings.add(beside)
        status = self.host.run("status", "--json")
        assert status.code == (6 if self.host.is_damaged() else 0), status
        again = int(self.host.unnoted())
        words = self.scenario.words if not accepted and self.scenario.words[0] != "tick" else ()
        for tick_first in self.scenario.orders:
            self.host.restore(world)
            self.host.recover(words, tick_first=tick_first)
            self.host.judge(self.scenario.told, again=again)


@pytest.fixture
def stage(request: pytest.FixtureRequest, server: Forks) -> Iterator[Stage]:
    """The stage of the scenario that a test is parametrised by; in memory, where that can be."""
    shm = Path("/dev/shm")
    memory = shm if shm.is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="hfcal-crash-", dir=memory) as root,
        Backend() as backend,
    ):
        scenario = SCENARIOS[request.param]
        host = Host(Path(root) / "host", backend, server)
        with listening(host) if scenario.listens else nullcontext():
            made = Stage(scenario, host)
            yield made
            print(f"{request.node.name}: {made.points} runs, {len(made.worlds)} worlds")


@pytest.mark.parametrize("stage", SCENARIOS, indirect=True)
def test_each_step_is_the_last_one_once(stage: Stage) -> None:
    """Killed there, or the disk fails there, once or from there on: no promise is broken.

    A kill leaves the old state or the new one, and no lock. A disk that fails gives exit 6 and the
    name of the file. Nobody is woken who is not remembered, and nothing that was accepted is lost.
    """
    for at in count(stage.begins()):
        fault = Fault(KILL, at, notes=stage.scenario.notes)
        run = stage.play(fault)
        stage.go_on(run)
        if not run.killed:
            assert run.code == 0, run
            assert run.counted(fault) == at - 1
            break
    for how in stage.scenario.disk:
        for lasting in (False, True):
            fail_at_each_step(stage, how, lasting=lasting)


def fail_at_each_step(stage: Stage, how: str, *, lasting: bool) -> None:
    """Each step on a file fails."""
    for at in count(1):
        fault = Fault(how, at, lasting)
        run = stage.play(fault)
        spoiled = run.counted(fault) >= at
        if not lasting:  # a wake that was made is noted with the next try
            assert not stage.host.unnoted(), run
        if spoiled:
            disk = [step.name for step in run.steps if step.kind == DISK]
            check_failure(stage, run, disk[at - 1], saved="fsync state" in disk[: at - 1])
        stage.go_on(run)
        if not spoiled:
            assert run.code == 0, run
            return


def check_failure(stage: Stage, run: Run, step: str, *, saved: bool) -> None:
    """What a command says that could not use the disk at a step, perhaps after it saved once."""
    lines = [line for line in run.stderr.splitlines() if "was damaged" not in line]
    if run.code == 0:
        # It came out short and was completed; or there is another place for it; or the agent's
        # word was on disk already.
        accepted = saved and run.words[0] != "tick"
        elsewhere = step in {"open hidden", "open temporary", "write temporary", "unlink temporary"}
        assert accepted or elsewhere or step.endswith(" half"), (step, run)
        return
    assert len(lines) == 1, (step, run)
    if run.code == 1:  # the message to the agent found no place, so it was not woken
        assert "temporary" in step or "hidden" in step, (step, run)
        assert "wake failed" in lines[0], run
        assert not stage.host.wakes(), run
    else:
        assert run.code == 6, (step, run)
        assert str(stage.host.state) in lines[0], run


@pytest.mark.parametrize("stage", ["first", "complete"], indirect=True)
def test_notes_in_lock_files_may_be_lost(stage: Stage) -> None:
    """They are for people who wait; without them all goes on."""
    run = stage.play(Fault("ENOSPC", 1, kind=NOTE))
    assert run.code == 0, run
    assert run.stderr == ""
    stage.go_on(run)


@pytest.mark.parametrize("stage", SCENARIOS, indirect=True)
def test_what_is_saved_is_on_the_disk_before_anything_follows(stage: Stage) -> None:
    """No kill shows a missing fsync, but the order of the steps does.

    A save is written, synced, renamed and its directory synced before the next thing happens, and
    whatever is sent or woken comes after a save, the note of a wake too.
    """
    steps = [s for s in stage.play(NO_FAULT).steps if s.kind not in {NOTE, LOCK}]
    names = [step.name for step in steps]
    saves = [place for place, step in enumerate(steps) if step.name.startswith("replace")]
    assert saves
    for place in saves:
        assert names[place - 5 : place + 2] == SAVE
    for place, step in enumerate(steps):
        if step.name in {"send PATCH", "start"}:
            before = [s.name for s in steps[:place] if s.kind in {DISK, NET, WAKE}]
            before = [n for n in before if not n.startswith(("open ", "write ", "unlink "))]
            while before and before[-1] == "connect":
                before.pop()
            assert before[-1] == "fsync state", (step, names)
        if step.name == "ended":
            after = [s.name for s in steps[place:] if s.kind == NET or s.name in SAVE]
            assert after[: len(SAVE)] == SAVE, names
