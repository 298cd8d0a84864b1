"""hfcal.core.health: held, late, overdue, failing, at the second."""

import pytest

from hfcal.core.health import (
    failing_wakes,
    hold_in_force,
    is_overdue,
    stale_after,
    stale_agents,
    waits_too_long,
)
from hfcal.core.records import AgentState, FailedWake, Hold, State, Update
from tests.unit.support import NOON, a_wake, an_active, at, ref


@pytest.mark.parametrize(("every", "seconds"), [(1, 120), (60, 120), (61, 122), (3600, 7200)])
def test_what_is_older_than_two_intervals_is_late_but_nothing_within_two_minutes(every, seconds):
    assert stale_after(State(NOON, heartbeat_every=every)) == seconds


@pytest.mark.parametrize(
    ("good", "late"),
    [
        (None, True),
        (NOON, False),
        (NOON - 120, False),
        (NOON - 121, True),
        (NOON + 120, False),
        (NOON + 121, True),  # the clock was set back
    ],
)
def test_an_agent_is_stale_without_a_good_heartbeat(good, late):
    """One that no tick has asked about yet is so, too; one that no tick is for never is."""
    state = State(NOON, configured=["a"], agents={"a": AgentState(good_heartbeat=good)})
    state.agents["gone"] = AgentState()
    assert stale_agents(state, at()) == (["a"] if late else [])
    assert stale_agents(State(NOON, configured=["new"]), at()) == ["new"]


@pytest.mark.parametrize(("seconds", "late"), [(120, False), (121, True)])
def test_an_update_waits_too_long_after_as_long_as_a_heartbeat_may_take(seconds, late):
    assert waits_too_long(State(NOON), Update(1, ref(), "finished", NOON), at(seconds)) is late


@pytest.mark.parametrize(
    ("estimate", "seconds", "overdue"),
    [
        (30, 35 * 60, False),
        (30, 35 * 60 + 1, True),
        (0.5, 331, True),
        (10**400, 10**9, False),
        (True, 10**9, False),
        ("30", 10**9, False),
        (None, 10**9, False),
    ],
)
def test_a_slot_is_overdue_five_minutes_after_its_estimate(estimate, seconds, overdue):
    """One whose estimate is no number never is."""
    active = an_active(slot={"estimated_duration": estimate})
    assert is_overdue(active, at(seconds)) is overdue


def test_what_is_not_there_is_not_overdue():
    assert not is_overdue(an_active(), at(10**9))
    assert not is_overdue(None, at(10**9))


@pytest.mark.parametrize(
    ("hold", "holds"),
    [
        (None, False),
        (Hold(), True),
        (Hold(NOON + 1), True),
        (Hold(NOON), False),
        (Hold(NOON - 1), False),
    ],
)
def test_a_hold_is_in_force_until_its_end(hold, holds):
    assert hold_in_force(AgentState(hold=hold), at()) is (hold if holds else None)


def test_a_failed_wake_is_failing_while_the_last_good_heartbeat_lists_it():
    old, new = (
        FailedWake(ref(i), a_wake(str(i)), 1, NOON, listed=NOON + seconds)
        for i, seconds in ((1, -60), (2, 0))
    )
    assert failing_wakes(AgentState(good_heartbeat=NOON, failed_wakes=[old, new])) == [new]
    assert failing_wakes(AgentState(failed_wakes=[old, new])) == [old, new]
