"""hfcal.clock: a wall clock for people, a boot clock for durations."""

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.clock import Moment, age, boot_clock, now, rfc3339, utc_date, utc_time
from tests.unit.support import NOON, TODAY, at, thorough


def test_within_one_boot_the_boot_clock_counts():
    """A wall clock that is set means nothing for a duration."""
    assert at(0).seconds_until(at(60)) == 60
    assert at(0).seconds_until(at(60, wall_jump=-7200)) == 60
    assert at(60).seconds_until(at(0)) == -60


@pytest.mark.parametrize("boot_id", ["boot-2", ""])
def test_across_boots_the_wall_clock_counts(boot_id):
    """After a reboot, or where boots have no name, there is only the wall clock."""
    later = Moment(NOON + 60, boot_id, 5.0)
    assert at(0).seconds_until(later) == 60
    assert not at(0).same_boot(later)
    assert Moment(NOON, "", 0.0).seconds_until(Moment(NOON + 60, "", 999.0)) == 60
    assert not Moment(NOON, "", 0.0).same_boot(Moment(NOON, "", 0.0))


def test_now_is_now_by_both_clocks():
    """The present moment goes on, within one boot."""
    before, first, second, after = time.time(), now(), now(), time.time()
    assert before - 0.01 <= first.wall <= after + 0.01
    assert first.boot_id == second.boot_id
    assert first.boot <= second.boot
    assert abs(boot_clock() - second.boot) < 5


@pytest.mark.parametrize(
    ("wall", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOON, "2026-11-23T12:00:00Z"),
        (NOON + 0.999, "2026-11-23T12:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_times_are_rfc_3339_in_utc_with_z(wall, shown):
    """Whatever the zone of the host."""
    assert rfc3339(wall) == shown


def test_dates_and_times_of_day_are_utc(monkeypatch):
    """A host in another zone sends the same."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone can't be changed here")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert utc_date(NOON) == TODAY
        assert utc_time(NOON) == "12:00:00"
        assert rfc3339(NOON) == f"{TODAY}T12:00:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(-6e10, 2.5e11))
@thorough
def test_every_time_of_the_calendar_is_shown_to_the_second(wall):
    """What is shown reads back as the same second."""
    assert -0.001 < wall - datetime.fromisoformat(rfc3339(wall)).timestamp() < 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (42.4, "42 s"),
        (99, "99 s"),
        (100, "1 min"),
        (5 * 60, "5 min"),
        (99 * 60 + 59, "99 min"),
        (100 * 60, "1 h 40 min"),
        (3 * 3600 + 600, "3 h 10 min"),
        (47 * 3600, "47 h"),
        (52 * 3600, "2 d 4 h"),
    ],
)
def test_an_age_is_said_as_people_say_it(seconds, said):
    """In the units that matter at that length."""
    assert age(seconds) == said
