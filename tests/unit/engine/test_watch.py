"""hfcal.engine.watch: the loop, with passes that a test begins and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from hfcal.core.report import Progress, TickReport
from hfcal.engine import watch as module
from hfcal.engine.tick import Tick
from hfcal.engine.watch import Watch
from hfcal.errors import HfcalError, InterruptedByUserError, LockedError, StateError
from tests.unit.support import NOON

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals are the process's own, so their handlers are put back."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@dataclass
class Pass:
    """A pass whose steps a test takes."""

    outcome: TickReport | BaseException
    heartbeats_done: bool = True
    may_end: threading.Event = field(default_factory=threading.Event)
    told_to_end: list[int] = field(default_factory=list)

    def run(self) -> TickReport:
        """Wait, and come to what is to be."""
        assert self.may_end.wait(20)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    def progress(self) -> Progress:
        """Nothing yet."""
        return Progress(1, 0, 0, 0)

    def end_wakes(self, number: int) -> None:
        """Remember that."""
        self.told_to_end.append(number)
        self.may_end.set()


@dataclass
class Seen:
    """A screen that remembers what it was told, and a watch that it may stop."""

    events: list[str] = field(default_factory=list)
    stop_after: int = -1

    def _note(self, event: str) -> None:
        self.events.append(event)
        if len(self.over()) == self.stop_after:
            signal.raise_signal(signal.SIGTERM)

    def over(self) -> list[str]:
        """The passes that came to an end."""
        return [e for e in self.events if e.startswith(("ticked", "failed"))]

    def began(self, progress: Callable[[], Progress]) -> None:
        self._note(f"began {progress().agents}")

    def ticked(self, report: TickReport) -> None:
        self._note(f"ticked {report.claw_identifier}")

    def failed(self, error: HfcalError) -> None:
        self._note(f"failed {error.message}")

    def waiting(self, seconds: float) -> None:
        assert seconds > 0

    def stopping(self) -> None:
        self.events.append("stopping")


def report(name: str = "well") -> TickReport:
    """What a pass came to."""
    return TickReport(NOON, name)


def passes(*outcomes: TickReport | BaseException, ended: bool = True) -> list[Pass]:
    """Passes that end at once, or when they are let."""
    made = [Pass(outcome) for outcome in outcomes]
    for each in made:
        if ended:
            each.may_end.set()
    return made


def run(
    seen: Seen, *planned: Pass | HfcalError, interval: float = 0.01, log: bool = False
) -> list[int]:
    """Watch with these passes; how many were under way as each was made."""
    left, others = list(planned), []

    def make(under_way: Collection[Tick]) -> Tick:
        others.append(len(under_way))
        following = left.pop(0)
        if isinstance(following, HfcalError):
            raise following
        return cast("Tick", following)

    Watch(interval, make, seen, log=log).run()
    return others


def test_passes_follow_one_another_until_told_to_stop():
    """The first one at once."""
    seen = Seen(stop_after=3)
    run(seen, *passes(*[report(str(n)) for n in range(5)]))
    assert seen.over() == ["ticked 0", "ticked 1", "ticked 2"]
    assert seen.events.count("stopping") == 1


def test_a_pass_that_cannot_be_made_is_shown_and_the_next_one_tried():
    """Whether before it began or in it."""
    seen = Seen(stop_after=3)
    run(seen, StateError("no state"), *passes(LockedError("locked"), report()))
    assert seen.over() == ["failed no state", "failed locked", "ticked well"]


def test_a_bug_ends_it_once_the_passes_under_way_have_ended():
    """Wakes under way are noted all the same."""
    bug, slow = Pass(ZeroDivisionError()), Pass(report())

    def both_began(under_way: Collection[Tick]) -> Tick:
        if not under_way:
            return cast("Tick", slow)
        bug.may_end.set()
        return cast("Tick", bug)

    seen = Seen()
    with pytest.raises(ZeroDivisionError):
        Watch(0.01, both_began, seen).run()
    assert slow.told_to_end == [signal.SIGTERM]
    assert seen.over() == []


class Asking(Pass):
    """A pass that has asked every agent only once it was looked at so often."""

    looks = 0

    @property
    def heartbeats_done(self) -> bool:
        self.looks += 1
        return self.looks > 5

    @heartbeats_done.setter
    def heartbeats_done(self, value: bool) -> None:
        """A field's first value is set."""


def test_a_pass_is_not_overlapped_before_it_has_asked_every_agent():
    """And then it is, however long its wakes take."""
    slow, second = Asking(report("slow")), Pass(report("second"))
    second.may_end.set()
    began_after: list[int] = []

    def make(under_way: Collection[Tick]) -> Tick:
        began_after.append(slow.looks)
        return cast("Tick", second if under_way else slow)

    seen = Seen(stop_after=1)
    Watch(0.01, make, seen).run()
    assert began_after[0] == 0
    assert began_after[1] > 5
    assert seen.over() == ["ticked second", "ticked slow"]


def test_told_to_stop_it_lets_the_running_pass_end():
    """It begins no other one, and starts no more wakes."""
    slow = Pass(report())

    class Stopping(Seen):
        def began(self, progress: Callable[[], Progress]) -> None:
            super().began(progress)
            signal.raise_signal(signal.SIGINT)

    seen = Stopping()
    run(seen, slow)
    assert slow.told_to_end == [signal.SIGINT]
    assert seen.over() == ["ticked well"]


def test_told_twice_it_ends_at_once():
    """With the signal's exit code."""
    seen = Seen()

    class Impatient(Seen):
        def stopping(self) -> None:
            super().stopping()
            signal.raise_signal(signal.SIGTERM)

        def began(self, progress: Callable[[], Progress]) -> None:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        run(Impatient(), Pass(report()))
    assert caught.value.code == 143
    assert seen.over() == []


def test_a_pass_that_a_signal_ended_is_no_failure():
    """It was told to."""
    seen = Seen()
    stopped = Pass(InterruptedByUserError(signal.SIGTERM))

    class Stopping(Seen):
        def began(self, progress: Callable[[], Progress]) -> None:
            signal.raise_signal(signal.SIGTERM)

    run(Stopping(), stopped)
    assert seen.over() == []


def test_nohup_is_respected():
    """A signal that is ignored stays so."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run(Seen(stop_after=1), *passes(report()))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was logged of failures and their ends."""
    found: list[str] = []
    monkeypatch.setattr(module, "log_failure", lambda kind, message: found.append(message))
    monkeypatch.setattr(module, "log_well", lambda: found.append("well"))
    return found


def test_a_failure_that_lasts_is_logged_once_and_so_is_its_end(logged):
    """The screen shows each; another failure is logged again."""
    gone, locked = StateError("gone"), LockedError("locked")
    planned: list[Any] = [gone, gone, locked, locked, *passes(report(), report())]
    seen = Seen(stop_after=6)
    run(seen, *planned, log=True)
    assert logged == ["gone", "locked", "well"]
    assert len(seen.over()) == 6


def test_a_pass_that_began_before_a_failure_ends_none(logged):
    """It may have saved all that it does before the disk was full."""
    slow, later = Pass(report("slow")), Pass(report("later"))
    planned: list[Pass | HfcalError] = [slow, StateError("gone"), later]

    def make(_: Collection[Tick]) -> Tick:
        following = planned.pop(0)
        if isinstance(following, HfcalError):
            slow.may_end.set()
            raise following
        return cast("Tick", following)

    class InTurn(Seen):
        def ticked(self, report: TickReport) -> None:
            super().ticked(report)
            # What came of it is judged after it was shown.
            if report.claw_identifier == "later":
                assert logged == ["gone"]
            later.may_end.set()

    seen = InTurn(stop_after=3)
    Watch(0.01, make, seen, log=True).run()
    assert seen.over() == ["failed gone", "ticked slow", "ticked later"]
    assert logged == ["gone", "well"]
