"""Times that were saved by one process and are read by another, after the clocks went astray."""

from pathlib import Path

import pytest

from hfcal.clock import Moment
from hfcal.core.memory import forget_old
from hfcal.core.outbox import Delivery, Result, begin, enqueue, has_work, settle
from hfcal.core.records import Active, Ended, State
from hfcal.core.scheduler import Action, Policy, decide
from hfcal.core.transitions import (
    SlotEnd,
    abandon_if_overdue,
    end_active,
    note_wake_failed,
    whole_minutes,
)
from hfcal.errors import Fault
from hfcal.state.file import StateFile
from tests.unit.support import DAY, HOUR, NOON, an_active, at, beat, listed, ref

FOUR_HOURS = 4 * HOUR
JUMPS = [-30 * DAY, -DAY, -HOUR, 0.0, HOUR, DAY, 30 * DAY]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is."""
    return tmp_path / "state.json"


def begun(path: Path, active: Active) -> None:
    """A state in which agent a is at this slot, as an earlier process left it."""
    with StateFile(path).transaction() as state:
        state.agent("a").active = active


def look(path: Path, now: Moment) -> bool:
    """Whether a new process, at this moment, aborts the slot as abandoned."""
    with StateFile(path).transaction() as state:
        return abandon_if_overdue(state, "a", FOUR_HOURS, now) is not None


@pytest.mark.parametrize("jump", JUMPS)
def test_within_one_boot_a_saved_start_counts_by_the_boot_clock(path, jump):
    """Set by days, back or ahead, between two processes: the duration is what it took."""
    begun(path, an_active())
    now = at(17 * 60 + 30, wall_jump=jump)
    with StateFile(path).transaction() as state:
        ending = end_active(state, "a", SlotEnd("finished"), now)
    assert ending.duration == 17
    (update,) = StateFile(path).peek().agents["a"].queue
    assert update.actual_duration == 17


@pytest.mark.parametrize(
    ("jump", "minutes"), [(-30 * DAY, 1), (-HOUR, 1), (0.0, 30), (HOUR, 90), (30 * DAY, 1440)]
)
def test_after_a_reboot_a_saved_start_counts_by_the_wall_clock_within_bounds(path, jump, minutes):
    """Another boot's clock says nothing, so a wall clock that is off shows, up to a day."""
    begun(path, an_active())
    start = StateFile(path).peek().agents["a"].active
    assert start is not None
    assert whole_minutes(start.start, at(1800, "boot-2", wall_jump=jump)) == minutes


def test_the_two_looks_after_a_reboot_are_of_different_processes(path):
    """The first look is saved; the second one an hour later aborts, not one before."""
    begun(path, an_active())
    assert not look(path, at(5 * HOUR, "boot-2"))
    doomed = StateFile(path).peek().agents["a"].active
    assert doomed is not None
    assert doomed.abandon_suspected_at == at(5 * HOUR, "boot-2")
    assert not look(path, at(6 * HOUR - 1, "boot-2"))
    assert look(path, at(6 * HOUR, "boot-2"))


@pytest.mark.parametrize("jump", [HOUR, DAY, 30 * DAY])
def test_the_hour_between_two_looks_is_the_boot_clocks(path, jump):
    """A wall clock that is set ahead between them doesn't make it pass sooner."""
    begun(path, an_active())
    assert not look(path, at(5 * HOUR, "boot-2"))
    assert not look(path, at(5 * HOUR + 60, "boot-2", wall_jump=jump))
    assert look(path, at(6 * HOUR, "boot-2", wall_jump=jump))


@pytest.mark.parametrize("jump", [-30 * DAY, -DAY])
def test_a_wall_clock_set_back_after_a_reboot_abandons_nothing(path, jump):
    """It says that the slot has yet to begin; once it is right again the two looks begin again."""
    begun(path, an_active())
    assert not look(path, at(5 * HOUR, "boot-2"))
    assert not look(path, at(7 * HOUR, "boot-2", wall_jump=jump))
    assert not look(path, at(8 * HOUR, "boot-2"))
    assert not look(path, at(9 * HOUR - 1, "boot-2"))
    assert look(path, at(9 * HOUR, "boot-2"))


def test_a_pause_across_a_reboot_needs_two_looks_as_well(path):
    """A paused slot has its 24 hours by the wall clock, and then another hour."""
    begun(path, an_active(state="paused", paused=at(HOUR)))
    assert not look(path, at(24 * HOUR, "boot-2"))
    assert not look(path, at(25 * HOUR, "boot-2"))
    assert look(path, at(26 * HOUR, "boot-2"))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_saved_pause_of_an_update_ends_whatever_the_clock_does(path, jump):
    """It is kept by a clock that is right; one that was set back or ahead ends it at once."""
    with StateFile(path).transaction() as state:
        enqueue(state, "a", ref(), "finished", at())
        attempt(state, Fault("server_error", "answered 503", 503, 600.0), at())
    agent = StateFile(path).peek().agents["a"]
    assert agent.queue[0].not_before == NOON + 600
    assert has_work(agent, at(60, wall_jump=jump), set()) is (jump != 0.0)


@pytest.mark.parametrize("jump", JUMPS)
def test_a_saved_pause_of_a_wake_ends_whatever_the_clock_does(path, jump):
    """A slot whose wake failed is tried at the latest ten minutes later, by any clock."""
    begun(path, an_active(woken=False))
    with StateFile(path).transaction() as state:
        assert note_wake_failed(state, "a", "key-1", "no", at()) is not None
        # As after many failures.
        state.agent("a").failed_wakes[0].not_before = NOON + 600
    agent = StateFile(path).peek().agents["a"]
    now = at(60, wall_jump=jump)
    action = decide(agent, beat(listed()), now, now, Policy()).action
    assert action is (Action.SKIPPED if jump == 0.0 else Action.DISPATCHED)


@pytest.mark.promise_3
@pytest.mark.parametrize("jump", [-30 * DAY, -DAY])
def test_a_clock_set_back_forgets_no_ended_slot(path, jump):
    """What ended here, by a clock that was ahead, is not started again by one that is right."""
    with StateFile(path).transaction() as state:
        state.agent("a").ended_slots.append(Ended(ref(), "finished", NOON, NOON))
    with StateFile(path).transaction() as state:
        now = at(60, wall_jump=jump)
        forget_old(state.agent("a"), now)
        action = decide(state.agent("a"), beat(listed()), now, now, Policy()).action
    assert action is Action.SKIPPED


@pytest.mark.parametrize(
    ("accepted", "asked", "reopened"),
    [
        (at(10, wall_jump=30 * DAY), at(20), True),
        (at(20, wall_jump=-30 * DAY), at(10), False),
        (at(10), at(20, "boot-2"), True),
        (at(10), at(20, "boot-2", wall_jump=-DAY), False),
    ],
)
def test_a_saved_end_is_before_or_after_a_heartbeat_by_the_boot_clock(
    path, accepted, asked, reopened
):
    """A wall clock that jumped starts no slot again that ended; after a reboot it decides."""
    with StateFile(path).transaction() as state:
        ended = Ended(ref(), "finished", NOON, NOON, accepted)
        state.agent("a").ended_slots.append(ended)
    agent = StateFile(path).peek().agents["a"]
    action = decide(agent, beat(listed()), asked, asked, Policy()).action
    assert action is (Action.DISPATCHED if reopened else Action.SKIPPED)


def attempt(state: State, fault: Fault, now: Moment) -> Delivery:
    """One try of the one update that waits, answered so."""
    (sending,) = begin(state.agent("a"), now, set(), respect_pauses=False)
    return settle(state, "a", Result(sending, fault), now)


@pytest.mark.xfail(reason="the seven days are counted by the wall clock alone", strict=True)
@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_a_clock_set_ahead_makes_no_fault_last_seven_days(path, boot_id):
    """A host that starts in 1970 and then asks for the time loses no completion by that."""
    with StateFile(path).transaction() as state:
        enqueue(state, "a", ref(), "finished", at(wall_jump=-400 * DAY))
        fault = Fault("server_error", "answered 503", 503)
        assert not attempt(state, fault, at(wall_jump=-400 * DAY)).refused
    with StateFile(path).transaction() as state:
        assert not attempt(state, fault, at(60, boot_id)).refused


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY])
def test_a_clock_set_back_refuses_nothing(path, jump):
    """A fault that began in the future hasn't lasted."""
    fault = Fault("server_error", "answered 503", 503)
    with StateFile(path).transaction() as state:
        enqueue(state, "a", ref(), "finished", at())
        attempt(state, fault, at())
    with StateFile(path).transaction() as state:
        assert not attempt(state, fault, at(60, wall_jump=jump)).refused
        assert len(state.agent("a").queue) == 1
