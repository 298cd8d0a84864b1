"""hfcal.core.memory: a slot of which the agent says nothing is abandoned."""

import copy

import pytest

from hfcal.core.protocol import SlotStatus
from hfcal.core.records import Active, State
from hfcal.core.transitions import AcceptedEnd, abandon_if_overdue, mark_woken_by_backend, pause
from tests.unit.support import DAY, HOUR, NOON, an_active, at

FOUR_HOURS = 4 * HOUR


def state_with(active: Active | None = None) -> State:
    """A state in which agent a is at this slot."""
    state = State(created=NOON)
    state.agent("a").active = active
    return state


@pytest.mark.parametrize(
    ("active", "seconds", "abandoned"),
    [
        (an_active(), FOUR_HOURS - 1, False),
        (an_active(), FOUR_HOURS, True),
        (an_active(woken=False), FOUR_HOURS, True),
        (an_active(state="paused", paused=at(HOUR)), FOUR_HOURS, False),
        (an_active(state="paused", paused=at(HOUR)), 25 * HOUR - 1, False),
        (an_active(state="paused", paused=at(HOUR)), 25 * HOUR, True),
    ],
)
def test_a_silent_agents_slot_is_aborted_after_4_hours_or_24_of_pause(active, seconds, abandoned):
    """The backend is told aborted, so that a dead agent isn't blocked for ever."""
    state = state_with(copy.deepcopy(active))
    ending = abandon_if_overdue(state, "a", FOUR_HOURS, at(seconds))
    assert (ending is not None) is abandoned
    assert (state.agent("a").active is None) is abandoned
    told = [update.status for update in state.agent("a").queue]
    assert told[-1:] == (["aborted"] if abandoned else [])
    assert all("abandoned" in entry.reason for entry in state.history)


@pytest.mark.parametrize(
    ("active", "after", "seconds", "reason"),
    [
        (an_active(), 2.0, 25 * HOUR, "running for 25 h {}, abandon_after is 2 s"),
        (an_active(), FOUR_HOURS, FOUR_HOURS, "running for 4 h {}, abandon_after is 4 h"),
        (
            an_active(state="paused", paused=at(HOUR)),
            FOUR_HOURS,
            30 * HOUR,
            "paused for 29 h {}, 6 times abandon_after is 24 h",
        ),
    ],
)
def test_an_abandoned_slot_says_how_long_it_really_ran(active, after, seconds, reason):
    """Which may be longer than it was given, when no tick looked."""
    state = state_with(copy.deepcopy(active))
    abandon_if_overdue(state, "a", after, at(seconds))
    said = reason.format("without a word from the agent")
    assert state.history[-1].reason == f"abandoned: {said}"


def test_abandoning_can_be_turned_off():
    """abandon_after = 0 leaves every slot active."""
    state = state_with(an_active())
    assert abandon_if_overdue(state, "a", 0, at(1000 * DAY)) is None
    assert state.agent("a").active is not None


def test_nothing_is_abandoned_where_nothing_is_active():
    """An idle agent has nothing to abandon."""
    assert abandon_if_overdue(state_with(), "a", FOUR_HOURS, at(DAY)) is None


@pytest.mark.parametrize("jump", [DAY, 1e9, -1e9])
def test_a_jump_of_the_wall_clock_abandons_nothing(jump):
    """Within one boot the boot clock decides."""
    state = state_with(an_active())
    for hour in (1, 2, 3):
        moment = at(hour * HOUR, wall_jump=jump)
        assert abandon_if_overdue(state, "a", FOUR_HOURS, moment) is None
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(4 * HOUR, wall_jump=jump)) is not None


@pytest.mark.parametrize("boot_id", ["boot-2", ""])
def test_without_the_boot_clock_two_looks_an_hour_apart_must_agree(boot_id):
    """After a reboot, or where boots have no name, one look at the wall clock isn't enough."""
    start = at(0, "boot-1" if boot_id else "")
    state = state_with(an_active(start=start))

    def look(seconds: float) -> AcceptedEnd | None:
        return abandon_if_overdue(state, "a", FOUR_HOURS, at(seconds, boot_id))

    assert look(5 * HOUR) is None
    assert look(6 * HOUR - 1) is None
    assert look(6 * HOUR) is not None


def test_a_wall_clock_that_was_wrong_for_a_moment_abandons_nothing():
    """A second look that doesn't agree takes the first one back."""
    state = state_with(an_active())
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(0, "boot-2", wall_jump=1e8)) is None
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(60, "boot-2")) is None
    moment = at(HOUR + 61, "boot-2", wall_jump=1e8)
    assert abandon_if_overdue(state, "a", FOUR_HOURS, moment) is None


def test_a_second_reboot_begins_the_two_looks_anew():
    """Looks of two boots are not an hour apart by any clock that can be trusted."""
    state = state_with(an_active())
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(5 * HOUR, "boot-2")) is None
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(7 * HOUR, "boot-3")) is None
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(8 * HOUR, "boot-3")) is not None


def test_the_agents_word_begins_the_patience_of_a_pause():
    """A pause gives 24 h from then on, whatever looked abandoned before."""
    state = state_with(an_active())
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(5 * HOUR, "boot-2")) is None
    pause(state, "a", at(5.5 * HOUR, "boot-2"))
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(29 * HOUR, "boot-2")) is None
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(29.5 * HOUR, "boot-2")) is not None


def test_a_slot_taken_for_woken_as_paused_has_the_patience_of_a_pause():
    """Listed as paused, it is given up 24 h after that, not 4 h after its start."""
    state = state_with(an_active(woken=False))
    active = state.agent("a").active
    assert active is not None
    mark_woken_by_backend(active, SlotStatus.PAUSED, at())
    assert abandon_if_overdue(state, "a", FOUR_HOURS, at(5 * HOUR)) is None
    assert state.agent("a").active is active
