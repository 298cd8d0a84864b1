"""Every step of every command is fatal once: killed there, or the disk fails there.

The steps are enumerated, none is left to luck. After each, what is on disk is looked at, then the
host goes on as if nothing had been, and the backend's journal is read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from hfcal.sim.faults import parse_fault
from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from tests.crashes.forks import Forks, Run, serving
from tests.crashes.host import WAKE, WAKE_AND_COMPLETE, Host, read
from tests.crashes.steps import UNHARMED, Fate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="waits for orphans as Linux can")

REAL: dict[str, Any] = {"agent": "a", "id": 4, "scheduled_at": "00:00"}
VIRTUAL: dict[str, Any] = {"agent": "a", "plan_id": 7, "scheduled_at": "00:00"}
COMPLETE = ("complete", "--agent", "a", "--slot", "4")


@dataclass(frozen=True)
class Scenario:
    """A command, and what came before it; steps before `begin` are another scenario's."""

    name: str
    words: tuple[str, ...]
    slot: dict[str, Any]
    before: Callable[[Host], None] = lambda _: None
    wake: str = WAKE
    switches: tuple[tuple[str, Any], ...] = ()
    begin: str = ""


def woken(host: Host) -> None:
    """The agent is at its slot."""
    assert host.run("tick").code == 0
    assert len(host.wakes()) == 1


def paused(host: Host) -> None:
    """The agent paused."""
    woken(host)
    assert host.run("pause", "--agent", "a").code == 0


def unsent(host: Host) -> None:
    """The agent is at its slot, and the backend has not heard of it."""
    host.backend.faults.add([parse_fault({"path": "update", "drop_before": True}, "test")])
    assert host.run("tick").code == 1


def finished_unsent(host: Host) -> None:
    """The agent is done, and the backend has heard nothing."""
    unsent(host)
    host.backend.faults.add([parse_fault({"path": "update", "drop_before": True}, "test")])
    assert host.run(*COMPLETE).code == 0


def damaged(host: Host) -> None:
    """The same, and the state is damaged behind what waits."""
    finished_unsent(host)
    content = host.state.read_bytes()
    host.state.write_bytes(content[: content.index(b'"ended"')])
    host.damaged = host.state.read_bytes()


SCENARIOS = [
    Scenario("first", ("tick",), REAL),
    Scenario("virtual", ("tick",), VIRTUAL, begin="_execute_child"),
    Scenario("answered", ("tick",), REAL, wake=WAKE_AND_COMPLETE, begin="_execute_child"),
    Scenario("deliver", ("tick",), REAL, finished_unsent),
    Scenario("complete", COMPLETE, REAL, woken),
    Scenario("late-complete", COMPLETE, REAL, unsent, switches=(("finish_from", "ongoing"),)),
    Scenario("pause", ("pause", *COMPLETE[1:]), REAL, woken),
    Scenario("resume", ("resume", *COMPLETE[1:]), REAL, paused),
    Scenario("damaged", ("tick",), REAL, damaged),
    Scenario("hold", ("hold", "--agent", "a", "--for", "1ms"), REAL, woken),
]
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
QUICK = ("complete",)  # the others are for `make crashes`, which CI runs
# Each of them plays its scenario once for each step, some sixty times.
EXHAUSTIVE = (pytest.mark.exhaustive, pytest.mark.timeout(600))


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    """Forks off the runs."""
    with serving() as found:
        yield found


def play(
    scenario: Scenario, root: Path, server: Forks, fate: Fate, check: Callable[[Host, Run], int]
) -> Run:
    """One run with one fate; `check` looks at once, and says how many second wakes it explains."""
    root.mkdir()
    planned = {
        "claw_identifier": "srv1",
        "agents": ["a"],
        "slots": [scenario.slot],
        "switches": dict(scenario.switches),
    }
    with Simulator(parse_scenario(planned)) as backend:
        host = Host(root, backend, server, scenario.wake)
        scenario.before(host)
        run = host.meet(fate, *scenario.words)
        host.is_whole()
        again = check(host, run)
        if run.code != 0 and scenario.words[0] in {"complete", "abort"}:
            host.run(*scenario.words)  # who got no answer says it again
        host.recover()
        host.is_whole()
        host.judge(again=again)
    return run


@pytest.mark.promise_1
@pytest.mark.promise_2
@pytest.mark.promise_3
@pytest.mark.promise_4
@pytest.mark.promise_6
@pytest.mark.parametrize(
    ("name", "how"),
    [
        *(
            pytest.param(name, "kill", marks=() if name in QUICK else EXHAUSTIVE)
            for name in BY_NAME
        ),
        *(
            pytest.param(name, "half", marks=() if name in QUICK else EXHAUSTIVE)
            for name in ("first", "complete")
        ),
    ],
)
def test_killed_at_each_step(name: str, how: str, tmp_path: Path, server: Forks) -> None:
    """Old state or new, no stuck lock, each slot worked once and ended as it was told."""
    scenario = BY_NAME[name]

    def check(host: Host, _: Run) -> int:
        """A second wake is due only where the first one was made and could not be noted."""
        state = read(host.state)
        active = None if state is None else state.agent("a").active
        return int(active is not None and active.wake is not None and bool(host.wakes()))

    unharmed = play(scenario, tmp_path / "0", server, UNHARMED, lambda *_: 0)
    assert unharmed.code == 0, unharmed
    begin = unharmed.steps.index(scenario.begin) + 1 if scenario.begin else 1
    for at in count(begin):
        run = play(scenario, tmp_path / str(at), server, Fate(at, how), check)
        if at > len(run.steps):
            assert run.code == 0, run
            assert at > begin
            return


@pytest.mark.promise_1
@pytest.mark.promise_2
@pytest.mark.promise_6
@pytest.mark.parametrize(
    "on", [False, pytest.param(True, marks=EXHAUSTIVE)], ids=["once", "from-there-on"]
)
@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param("first", "ENOSPC", marks=EXHAUSTIVE),
        ("complete", "EDQUOT"),
        pytest.param("damaged", "EIO", marks=EXHAUSTIVE),
    ],
)
def test_the_disk_fails_at_each_step(
    name: str, how: str, tmp_path: Path, server: Forks, *, on: bool
) -> None:
    """Exit 6 with the path; the old file stays; nobody is woken who could not be remembered."""

    def check(host: Host, run: Run) -> int:
        if at > len(run.steps):
            return 0
        wakes = len(host.wakes())
        # On disk for sure once the directory's fsync has followed the rename.
        accepted = "replace fsync" in " ".join(run.steps[: at - 1])
        if run.code == 6:
            assert str(host.state.parent) in run.stderr, run
            assert run.stderr.count("\n") <= 2, run
            assert not (accepted and name == "complete"), run
        elif name == "complete":  # nothing takes back what is on disk, and it needs no agent lock
            state = read(host.state)
            assert state is not None
            assert (run.code, len(state.agent("a").ended_slots)) == (0, 1), run
        else:  # the agent's lock, or the file that a wake's message is put in, could not be made
            assert run.code == 1, run
            assert name == "first" or f"cannot lock {host.state.parent}" in run.stderr, run
        state = read(host.state)
        if wakes and not host.damaged:
            assert state is not None
            agent = state.agent("a")
            assert agent.active or agent.queue or agent.ended_slots
        return wakes if on else 0

    for at in count(1):
        run = play(BY_NAME[name], tmp_path / str(at), server, Fate(at, how, on), check)
        if at > len(run.steps):
            assert run.code == 0, run
            return


@pytest.mark.promise_6
@pytest.mark.parametrize("name", ["first", "complete"])
def test_what_is_saved_is_on_the_disk_before_anything_follows(
    name: str, tmp_path: Path, server: Forks
) -> None:
    """A power cut can't be played, but its order can be looked at: fsync, rename, fsync."""
    run = play(BY_NAME[name], tmp_path / "0", server, UNHARMED, lambda *_: 0)
    steps = [step for step in run.steps if step not in {"mkdir", "connect", "recv"}]
    saves = [place for place, step in enumerate(steps) if step == "replace"]
    assert len(saves) >= 2
    for place in saves:
        assert steps[place - 4 : place + 2] == [
            "open",
            "fchmod",
            "write",
            "fsync",
            "replace",
            "fsync",
        ]
