"""hfcal.core.memory: a slot remembered, woken, adopted, resolved, forgotten."""

import pytest

from hfcal.clock import Moment
from hfcal.core.memory import failed_wake, forget_old, note_listed, trim_history
from hfcal.core.protocol import SlotStatus
from hfcal.core.records import (
    Active,
    ActiveState,
    Ended,
    FailedWake,
    HistoryEntry,
    Outcome,
    Refusal,
    State,
    Update,
)
from hfcal.core.scheduler import Action, Policy, decide
from hfcal.core.transitions import (
    UNCERTAIN,
    SlotEnd,
    abort_uncertain,
    adopt,
    end_active,
    mark_woken_by_backend,
    note_wake_failed,
    note_woken,
    pause,
    remember,
    requeue_state,
    resolve,
)
from tests.unit.support import DAY, HOUR, NOON, TODAY, a_wake, an_active, at, beat, listed, ref

PLAN = "plan-7-2026-11-23"


def state_with(active: Active | None = None) -> State:
    """A state in which agent a is at this slot."""
    state = State(created=NOON)
    state.agent("a").active = active
    return state


def words(state: State) -> list[str]:
    """The statuses that wait, in order."""
    return [update.status for update in state.agent("a").queue]


def refuse(state: State, status: str) -> None:
    """The backend has refused this status of slot 12 for good."""
    update = Update(state.take_number(), ref(), status, NOON)
    state.agent("a").refused.append(Refusal(update, NOON, "answered 422"))


# Remember, wake, note


@pytest.mark.promise_1
def test_a_slot_is_remembered_with_its_whole_wake():
    """The key and the message are on disk before the agent hears of it."""
    state = state_with()
    slot = listed(12, mood="fine")
    active = remember(state.agent("a"), slot, a_wake(), at())
    assert state.agent("a").active is active
    assert (active.state, active.wake, active.key) == (ActiveState.WAKING, a_wake(), "key-1")
    assert active.slot["mood"] == "fine"
    assert words(state) == []


def test_a_new_run_of_a_reopened_slot_leaves_the_ended_list():
    """What is dispatched again can be ended again."""
    state = state_with()
    state.agent("a").ended_slots = [
        Ended(ref(), "finished", NOON, NOON, at()),
        Ended(ref(13), "", 0, 0),
    ]
    remember(state.agent("a"), listed(12), a_wake(), at(5))
    assert [e.ref.ident for e in state.agent("a").ended_slots] == ["13"]


def test_a_wake_that_was_made_is_noted_and_the_backend_told():
    """The first update is ongoing, with the start in UTC."""
    state = state_with(an_active(woken=False))
    assert note_woken(state, "a", "key-1", at(2))
    active = state.agent("a").active
    assert active is not None
    assert (active.wake, active.state) == (None, ActiveState.ONGOING)
    (update,) = state.agent("a").queue
    assert update.body() == {"status": "ongoing", "started_at": "12:00:00"}


@pytest.mark.promise_4
def test_a_wake_is_noted_once():
    """Neither a second note nor another run's key changes anything."""
    state = state_with(an_active(woken=False))
    assert not note_woken(state, "a", "other", at())
    assert note_woken(state, "a", "key-1", at())
    assert not note_woken(state, "a", "key-1", at())
    assert words(state) == ["ongoing"]


@pytest.mark.parametrize("verb", ["complete", "pause"])
def test_the_agents_own_word_while_the_wake_runs_counts_as_made(verb):
    """Whatever the wake returns then, it isn't a failure and nothing is told twice."""
    state = state_with(an_active(woken=False))
    if verb == "complete":
        end_active(state, "a", SlotEnd("finished"), at(1))
    else:
        pause(state, "a", at(1))
    told = words(state)
    assert told[0] == "ongoing"
    assert note_wake_failed(state, "a", "key-1", "exited with 1", at(2)) is None
    assert not note_woken(state, "a", "key-1", at(2))
    assert words(state) == told
    assert state.agent("a").failed_wakes == []
    assert not any(e.reason.startswith("wake failed") for e in state.history)


def test_a_late_word_of_an_earlier_wake_does_not_touch_a_later_slot():
    """A wake's outcome belongs to the slot with its key, and to no other."""
    state = state_with(an_active(ref(13), woken=False, key="key-2"))
    assert note_wake_failed(state, "a", "key-1", "late", at(2)) is None
    assert not note_woken(state, "a", "key-1", at(2))
    assert state.agent("a").active is not None


# Failed wakes


def fail_once(state: State, now: Moment, slot=None) -> FailedWake | None:
    """One more try of slot 12's wake that fails."""
    agent = state.agent("a")
    slot = slot or listed(12)
    known = failed_wake(agent, slot.ref)
    remember(agent, slot, known.wake if known else a_wake(), now)
    return note_wake_failed(state, "a", "key-1", "exited with 1", now)


def test_a_failed_wake_ends_the_slot_here_alone():
    """The agent is free, the history says why, and the backend is not told."""
    state = state_with()
    failed = fail_once(state, at())
    agent = state.agent("a")
    assert agent.active is None
    assert words(state) == []
    assert agent.ended_slots == []
    assert failed is not None
    (entry,) = state.history
    assert (entry.status, entry.reason) == ("aborted", "wake failed: exited with 1")
    assert entry.outcome is Outcome.LOCAL


def test_pauses_after_failed_wakes_double_from_5_s_to_10_minutes():
    """Each failure in a row makes the pause twice as long, up to ten minutes."""
    state = state_with()
    pauses = []
    for number in range(10):
        failed = fail_once(state, at(number * 1000))
        assert failed is not None
        pauses.append(failed.not_before - at(number * 1000).wall)
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


@pytest.mark.promise_4
def test_all_tries_of_a_wake_are_the_same():
    """Key, message and facts of the first try are kept until one has succeeded."""
    state = state_with()
    fail_once(state, at())
    failed = fail_once(state, at(10), listed(12, priority=99))
    assert failed is not None
    assert failed.wake == a_wake()


def test_failures_in_a_row_are_one_entry_with_their_number():
    """The history isn't flooded by a wake that fails all day."""
    state = state_with()
    for number in range(5):
        fail_once(state, at(number * 1000))
    (entry,) = state.history
    assert (entry.count, entry.at) == (5, at(4000).wall)


def test_failures_of_two_slots_are_two_entries():
    """Each slot's failures are counted for themselves, also when they take turns."""
    state = state_with()
    for number in range(3):
        fail_once(state, at(number * 1000), listed(12))
        fail_once(state, at(number * 1000 + 500), listed(13))
    assert sorted((e.ident, e.count) for e in state.history) == [("12", 3), ("13", 3)]


def test_failures_of_a_slot_that_became_real_between_are_one_entry():
    """A slot is the same under its virtual and its real id, in the history as well."""
    state = state_with()
    fail_once(state, at(), listed(PLAN))
    slot = listed(12, plan_id=7)
    note_listed(state, "a", [slot], at(10))
    fail_once(state, at(10), slot)
    assert [e.count for e in state.history] == [2]


def test_a_success_ends_the_row():
    """After a wake that was made, a failure is the first again and an entry of its own."""
    state = state_with()
    fail_once(state, at())
    remember(state.agent("a"), listed(12), a_wake(), at(10))
    note_woken(state, "a", "key-1", at(11))
    assert state.agent("a").failed_wakes == []
    end_active(state, "a", SlotEnd("finished"), at(60))
    failed = fail_once(state, at(100))
    assert failed is not None
    assert failed.count == 1
    assert [e.reason.startswith("wake failed") for e in state.history] == [True, False, True]


def test_a_slot_whose_wake_failed_is_forgotten_when_it_is_not_listed_for_a_day():
    """A slot that the backend took away leaves nothing behind for ever."""
    state = state_with()
    fail_once(state, at())
    note_listed(state, "a", [listed(12)], at(HOUR))
    forget_old(state.agent("a"), at(DAY + HOUR))
    assert len(state.agent("a").failed_wakes) == 1
    forget_old(state.agent("a"), at(DAY + HOUR + 1))
    assert state.agent("a").failed_wakes == []


# A wake that is uncertain


def test_an_uncertain_wake_that_is_not_listed_goes_into_the_history():
    """It is aborted here, the reason says why, and the backend is not told."""
    state = state_with(an_active(woken=False))
    abort_uncertain(state, "a", at(60))
    assert state.agent("a").active is None
    assert words(state) == []
    (entry,) = state.history
    assert (entry.status, entry.outcome) == ("aborted", Outcome.LOCAL)
    assert entry.reason == UNCERTAIN == "wake uncertain: the backend no longer lists it"


@pytest.mark.parametrize("status", ["not_started", "ongoing"])
def test_a_slot_that_was_given_up_is_not_started_again(status):
    """It may have been woken, so a late listing neither dispatches nor adopts it."""
    state = state_with(an_active(woken=False))
    abort_uncertain(state, "a", at(60))
    decision = decide(state.agent("a"), beat(listed(12, status)), at(90), at(90), Policy())
    assert decision.action in {Action.SKIPPED, Action.IDLE}


@pytest.mark.parametrize("status", [SlotStatus.ONGOING, SlotStatus.PAUSED])
def test_listed_as_running_it_is_taken_for_woken(status):
    """Nothing has to be told, and it is never woken again."""
    state = state_with(an_active(woken=False))
    active = state.agent("a").active
    assert active is not None
    mark_woken_by_backend(active, status, at())
    assert (active.wake, active.state.value) == (None, status.value)
    end_active(state, "a", SlotEnd("finished"), at(60))
    assert words(state) == ["finished"]


# Reconcile


@pytest.mark.parametrize("told", ["ongoing", "paused"])
def test_an_active_slot_that_came_back_is_sent_its_own_state_again(told):
    """ongoing, or paused if it is paused: nothing that it is not."""
    state = state_with(an_active(state=told))
    assert requeue_state(state, "a", at(60)) is not None
    assert words(state) == [told]


def test_it_is_not_sent_again_while_an_update_waits():
    """A heartbeat every 30 s doesn't fill the queue."""
    state = state_with(an_active())
    for number in range(5):
        requeue_state(state, "a", at(number * 30))
    assert words(state) == ["ongoing"]


@pytest.mark.promise_8
def test_what_was_refused_for_good_is_not_sent_again():
    """A refusal isn't repeated at each tick; the slot stays active."""
    state = state_with(an_active())
    refuse(state, "ongoing")
    assert requeue_state(state, "a", at()) is None
    assert words(state) == []
    assert state.agent("a").active is not None
    end_active(state, "a", SlotEnd("finished"), at(60))
    assert words(state) == ["finished"]


@pytest.mark.parametrize("status", ["finished", "aborted", "skipped"])
def test_the_backends_word_resolves_the_active_slot(status):
    """It is over here, nothing is sent, and a late listing doesn't start it again."""
    state = state_with(an_active())
    assert resolve(state, "a", SlotStatus(status), at(60)) == "12"
    agent = state.agent("a")
    assert agent.active is None
    assert words(state) == []
    assert state.history[0].status == status
    decision = decide(agent, beat(listed(12)), at(59), at(61), Policy())
    assert decision.action is Action.SKIPPED


@pytest.mark.parametrize(
    ("status", "started_at", "day", "start"),
    [
        ("ongoing", "11:00:00", TODAY, at(-HOUR)),
        ("ongoing", "11:30", TODAY, at(-HOUR / 2)),
        ("ongoing", "11:00", None, at(-HOUR)),
        ("ongoing", "13:00", TODAY, at()),
        ("ongoing", "11:00", "2026-11-22", at()),
        ("ongoing", None, TODAY, at()),
        ("ongoing", "eleven", TODAY, at()),
        ("ongoing", "-1:00", TODAY, at()),
        ("ongoing", "1:2:3:4", TODAY, at()),
        ("paused", "11:00", TODAY, at(-HOUR)),
    ],
)
def test_an_adopted_slot_starts_when_the_backend_says_if_that_can_be(
    status, started_at, day, start
):
    """An unreadable or impossible start is now."""
    state = state_with()
    active = adopt(state, "a", listed(12, status, started_at=started_at, date=day), at())
    assert active.start == start
    assert active.state.value == status
    assert active.wake is None
    assert (active.paused is not None) is (status == "paused")


def test_an_adopted_slot_needs_no_announcement():
    """The backend has it as running already: its end is the first word."""
    state = state_with()
    adopt(state, "a", listed(12, "ongoing"), at())
    assert words(state) == []
    end_active(state, "a", SlotEnd("finished"), at(60))
    assert words(state) == ["finished"]


def test_a_listing_tells_the_real_id_wherever_the_slot_is_remembered():
    """Active, queued, ended and failed ones are known by both ids from then on."""
    state = state_with(an_active(ref(PLAN)))
    agent = state.agent("a")
    agent.queue = [Update(1, ref(PLAN), "ongoing", NOON)]
    agent.ended_slots = [Ended(ref("v", PLAN), "finished", NOON, NOON)]
    agent.failed_wakes = [FailedWake(ref("w"), a_wake(), 1, NOON, NOON)]
    note_listed(state, "a", [listed(12, plan_id=7), listed(13, virtual_id="w")], at(30))
    assert agent.active is not None
    assert agent.active.ref.ident == "12"
    assert agent.queue[0].ref.ident == "12"
    assert agent.ended_slots[0].ref.idents == ["v", PLAN, "12"]
    assert agent.failed_wakes[0].ref.ident == "13"


@pytest.mark.parametrize(
    ("status", "waits", "told"),
    [
        ("not_started", "finished", ["ongoing", "finished"]),
        ("deferred", "aborted", ["ongoing", "aborted"]),
        ("not_started", "ongoing", ["ongoing"]),
        ("ongoing", "finished", ["finished"]),
        ("paused", "finished", ["finished"]),
        ("frozen", "finished", ["finished"]),
    ],
)
def test_an_unresolved_slot_that_is_listed_as_pending_gets_ongoing_first(status, waits, told):
    """Nothing of it had arrived, so its first update goes before what waits."""
    state = state_with()
    slot = ref(PLAN)
    slot.became_real = True
    first = Update(state.take_number(), slot, waits, NOON)
    state.agent("a").queue = [first, Update(state.take_number(), ref(5), "paused", NOON)]
    for _ in range(2):
        note_listed(state, "a", [listed(12, status, plan_id=7)], at(30))
    mine = [u for u in state.agent("a").queue if u.ref.named("12")]
    assert [u.status for u in mine] == told
    assert mine[0].body().get("started_at", "12:00:00") == "12:00:00"
    assert len({u.number for u in state.agent("a").queue}) == len(told) + 1


# Forgetting


@pytest.mark.parametrize(
    ("last_listed", "now", "kept"),
    [
        (at(), at(DAY), True),
        (at(), at(DAY + 1), False),
        (at(1.4 * DAY), at(1.5 * DAY - 1), True),
        (at(1.4 * DAY), at(1.5 * DAY), False),  # its date is two days past
    ],
)
def test_the_ended_list_forgets_what_cannot_be_listed_any_more(last_listed, now, kept):
    """After 24 h without a listing, or two days after the date."""
    state = state_with()
    state.agent("a").ended_slots = [Ended(ref(), "finished", NOON, NOON)]
    note_listed(state, "a", [listed(12)], last_listed)
    forget_old(state.agent("a"), now)
    assert bool(state.agent("a").ended_slots) is kept


@pytest.mark.promise_3
def test_the_ended_list_keeps_what_still_waits_to_be_told():
    """However long the backend is away, a slot whose end it hasn't heard isn't forgotten."""
    state = state_with(an_active())
    end_active(state, "a", SlotEnd("finished"), at())
    forget_old(state.agent("a"), at(30 * DAY))
    assert len(state.agent("a").ended_slots) == 1


def test_the_history_keeps_the_newest_and_what_waits():
    """An entry whose update is still queued stays, however old."""
    state = state_with()
    state.history = [
        HistoryEntry("a", str(n), "finished", NOON, outcome=outcome)
        for n, outcome in enumerate(
            [Outcome.LOCAL, Outcome.QUEUED, Outcome.DELIVERED, Outcome.REFUSED, Outcome.LOCAL]
        )
    ]
    trim_history(state, 2)
    assert [e.ident for e in state.history] == ["1", "3", "4"]
    trim_history(state, 0)
    assert [e.ident for e in state.history] == ["1"]
