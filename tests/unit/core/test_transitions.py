"""hfcal.core.transitions: a slot begun, paused, resumed and ended by its agent's word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.core.memory import ended_before
from hfcal.core.records import (
    ActiveState,
    FailedWake,
    Outcome,
    State,
)
from hfcal.core.transitions import (
    SlotEnd,
    abort_uncertain,
    end_active,
    end_inactive,
    pause,
    resume,
    whole_minutes,
)
from tests.unit.core.test_memory import refuse, state_with, words
from tests.unit.support import HOUR, NOON, a_wake, an_active, at, ref, thorough

# Ends


def test_the_agents_end_frees_it_and_is_queued():
    """The slot is over here at once: history, ended list, queue and agent status say so."""
    state = state_with(an_active())
    ending = end_active(state, "a", SlotEnd("finished", summary="all done"), at(17 * 60 + 59))
    agent = state.agent("a")
    assert agent.active is None
    assert (ending.ident, ending.status, ending.duration) == ("12", "finished", 17)
    (update,) = agent.queue
    assert update.body() == {"status": "finished", "actual_duration": 17}
    assert update.number == ending.update
    assert agent.unsent_agent_status == "idle"
    (entry,) = state.history
    assert (entry.summary, entry.outcome) == ("all done", Outcome.QUEUED)
    known = ended_before(agent, ref())
    assert known is not None
    assert (known.status, known.accepted, known.duration) == ("finished", None, 17)


def test_an_abort_tells_no_duration():
    """aborted is sent alone."""
    state = state_with(an_active())
    assert end_active(state, "a", SlotEnd("aborted", reason="no disk"), at(600)).duration is None
    assert state.agent("a").queue[0].body() == {"status": "aborted"}
    assert state.history[0].reason == "no disk"


@pytest.mark.promise_2
@pytest.mark.parametrize("status", ["finished", "aborted"])
def test_the_first_update_is_ongoing_even_if_the_end_comes_first(status):
    """complete or abort before ongoing was queued queues it first."""
    state = state_with(an_active(woken=False))
    end_active(state, "a", SlotEnd(status), at(1))
    assert words(state) == ["ongoing", status]


@pytest.mark.parametrize(
    ("seconds", "minutes"),
    [
        (-5, 1),
        (0, 1),
        (59, 1),
        (60, 1),
        (119.9, 1),
        (120, 2),
        (1440 * 60, 1440),
        (1e7, 1440),
    ],
)
def test_durations_are_whole_minutes_from_1_to_1440(seconds, minutes):
    """However long or short it took."""
    assert whole_minutes(at(), at(seconds)) == minutes


@pytest.mark.parametrize(
    ("now", "minutes", "reason"),
    [
        (at(1441 * 60 - 1), None, "done"),
        (at(50 * HOUR), None, "done; took 2 d 2 h, reported as 1440 min"),
        (at(-90), None, "done; began 90 s from now by the clock, reported as 1 min"),
        (at(50 * HOUR), 30, "done"),
    ],
)
def test_a_duration_that_cannot_be_told_is_noted(now, minutes, reason):
    """The history says what was measured where another number was told."""
    state = State(created=NOON)
    state.agent("a").active = an_active()
    end_active(state, "a", SlotEnd("finished", minutes, "done"), now)
    assert state.history[-1].reason == reason
    assert state.agent("a").queue[-1].actual_duration in {1, 30, 1440}


@given(
    st.floats(-1e9, 1e9),
    st.floats(-1e9, 1e9),
    st.sampled_from(["", "boot-0", "boot-1"]),
)
@thorough
def test_durations_stay_in_range_whatever_the_clocks_do(seconds, jump, boot_id):
    """No clock makes a duration that the backend would refuse."""
    assert 1 <= whole_minutes(at(), at(seconds, boot_id, wall_jump=jump)) <= 1440


def test_a_jump_of_the_wall_clock_does_not_count_as_work():
    """The duration is measured by the boot clock."""
    assert whole_minutes(at(), at(600, wall_jump=7200)) == 10


def test_the_agents_own_duration_counts():
    """--duration is sent as it is."""
    state = state_with(an_active())
    assert end_active(state, "a", SlotEnd("finished", minutes=45), at(60)).duration == 45


@pytest.mark.parametrize(
    ("announce", "told"), [(True, ["ongoing", "finished"]), (False, ["finished"])]
)
def test_the_end_of_a_slot_that_is_not_active(announce, told):
    """A failed or uncertain one is announced first; one that a lost state may have told is not."""
    state = state_with(an_active(ref(13)))
    state.agent("a").failed_wakes = [FailedWake(ref(), a_wake(), 2, NOON, NOON)]
    ending = end_inactive(state, "a", ref(), SlotEnd("finished"), at(60), announce=announce)
    agent = state.agent("a")
    assert words(state) == told
    assert ending.duration == 1
    assert agent.failed_wakes == []
    assert agent.active is not None
    assert agent.active.ref.ident == "13"
    assert ended_before(agent, ref()) is not None


def test_an_ended_slot_is_once_on_the_ended_list():
    """Ending it again, after it was reopened or given up, replaces the entry."""
    state = state_with(an_active(woken=False))
    abort_uncertain(state, "a", at())
    end_inactive(state, "a", ref(), SlotEnd("finished"), at(60), announce=True)
    assert [e.status for e in state.agent("a").ended_slots] == ["finished"]


def test_a_refused_first_update_is_not_queued_by_the_end():
    """The end goes alone where ongoing was refused for good."""
    state = state_with(an_active(woken=False))
    refuse(state, "ongoing")
    end_active(state, "a", SlotEnd("aborted"), at(60))
    assert words(state) == ["aborted"]


# Pause and resume


def test_pause_and_resume_are_told_and_the_slot_stays_active():
    """paused, then ongoing with the first start."""
    state = state_with(an_active())
    paused = pause(state, "a", at(60))
    active = state.agent("a").active
    assert active is not None
    assert (active.state, active.paused) == (ActiveState.PAUSED, at(60))
    state.agent("a").queue.clear()
    resumed = resume(state, "a", at(120))
    assert (active.state, active.paused) == (ActiveState.ONGOING, None)
    assert paused is not None
    assert resumed is not None
    assert paused.body() == {"status": "paused"}
    assert resumed.body() == {"status": "ongoing", "started_at": "12:00:00"}


def test_saying_it_twice_sends_nothing():
    """A pause of a paused slot, and a resume of one that runs, were said before."""
    state = state_with(an_active())
    assert resume(state, "a", at()) is None
    assert pause(state, "a", at()) is not None
    assert pause(state, "a", at()) is None
    assert words(state) == ["paused"]


def test_a_resume_during_the_wake_is_its_first_update():
    """By its own word the agent was woken: `ongoing` is told once, and nobody wakes it again."""
    state = state_with(an_active(woken=False))
    told = resume(state, "a", at(5))
    active = state.agent("a").active
    assert active is not None
    assert (active.state, active.wake) == (ActiveState.ONGOING, None)
    assert told is not None
    assert told.body() == {"status": "ongoing", "started_at": "12:00:00"}
    assert resume(state, "a", at(6)) is None
    assert words(state) == ["ongoing"]


def test_a_pause_before_ongoing_was_queued_queues_it_first():
    """The first update of a slot is always ongoing."""
    state = state_with(an_active(woken=False))
    pause(state, "a", at(1))
    assert words(state) == ["ongoing", "paused"]
