"""hfcal.core.outbox: updates in order for each slot, until the backend has answered."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.clock import Moment, utc_date
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import (
    Delivery,
    Result,
    Sending,
    begin,
    enqueue,
    has_work,
    learn,
    note_became_real,
    refused_before,
    settle,
    two_days_past,
    unresolved,
    waiting_for,
)
from hfcal.core.records import Ended, HistoryEntry, Outcome, State, Update
from hfcal.errors import Fault
from tests.unit.support import DAY, HOUR, NOON, TODAY, an_active, at, ref, thorough

UNREACHABLE = Fault("unreachable", "cannot connect")
TIMEOUT = Fault("timeout", "waited 10 s", maybe_done=True)
PLAN = "plan-7-2026-11-23"


def answered(status: int, retry_after: float | None = None) -> Fault:
    """The fault that a backend's status makes."""
    kind = "unauthorized" if status in {401, 403} else "rejected"
    if status >= 500:
        return Fault("server_error", f"answered {status}", status, retry_after, maybe_done=True)
    return Fault(kind, f"answered {status}", status, retry_after)


def fresh() -> State:
    """A state that knows nothing."""
    return State(created=NOON)


def queued(state: State) -> list[tuple[str, str]]:
    """What waits, as ident and status."""
    return [(u.ref.ident, u.status) for u in state.agent("a").queue]


def put(
    state: State, status: str, slot: SlotRef | None = None, now: Moment | None = None
) -> Update:
    """Queue an update of agent a."""
    return enqueue(state, "a", slot or ref(), status, now or at())


def start(state: State, now: Moment | None = None, *, respect_pauses: bool = True) -> list[Sending]:
    """What a new pass begins."""
    return begin(state.agent("a"), now or at(), set(), respect_pauses=respect_pauses)


def attempt(
    state: State,
    fault: Fault | None = None,
    now: Moment | None = None,
    *,
    real_id: int | None = None,
    respect_pauses: bool = True,
) -> Delivery:
    """One try of the one update that can be begun, and how it went."""
    (sending,) = start(state, now, respect_pauses=respect_pauses)
    return settle(state, "a", Result(sending, fault, real_id), now or at())


# The order of one slot's updates


@pytest.mark.promise_2
def test_updates_wait_in_the_order_of_acceptance():
    """Each new update stands behind all that were accepted before it."""
    state = fresh()
    for status, slot in (("ongoing", ref(1)), ("ongoing", ref(2)), ("finished", ref(1))):
        put(state, status, slot)
    assert queued(state) == [("1", "ongoing"), ("2", "ongoing"), ("1", "finished")]
    numbers = [u.number for u in state.agent("a").queue]
    assert numbers == sorted(set(numbers))


@pytest.mark.promise_2
@pytest.mark.promise_3
def test_an_update_is_not_begun_while_an_earlier_one_of_its_slot_waits():
    """Only the first of each slot is begun, whatever became of its tries."""
    state = fresh()
    put(state, "ongoing", ref(1))
    put(state, "finished", ref(1))
    put(state, "ongoing", ref(2))
    assert [(s.ref.ident, s.status) for s in start(state)] == [("1", "ongoing"), ("2", "ongoing")]
    settle(state, "a", Result(start(state)[0], TIMEOUT), at())
    assert [s.status for s in start(state)] == ["ongoing", "ongoing"]
    settle(state, "a", Result(start(state)[0]), at())
    assert [(s.ref.ident, s.status) for s in start(state)] == [("1", "finished"), ("2", "ongoing")]


def test_the_first_of_a_slot_holds_up_the_others_also_while_it_pauses():
    """A pause of the first update is a pause of all that stand behind it, and of no other slot."""
    state = fresh()
    put(state, "ongoing", ref(1))
    put(state, "finished", ref(1))
    settle(state, "a", Result(start(state)[0], answered(503)), at())
    put(state, "ongoing", ref(2))
    assert [s.ref.ident for s in start(state, at(1))] == ["2"]


def test_one_slot_under_two_idents_is_one_queue():
    """An update under the real id waits behind one under the virtual id of the same slot."""
    state = fresh()
    put(state, "ongoing", ref(PLAN))
    put(state, "finished", ref(12, PLAN))
    assert [s.status for s in start(state)] == ["ongoing"]


def test_what_was_tried_least_goes_first():
    """A slot that hangs the backend at each try holds up no other slot for ever."""
    state = fresh()
    put(state, "finished", ref(1))
    for _ in range(3):
        attempt(state, TIMEOUT)
    put(state, "finished", ref(2))
    assert [s.ref.ident for s in start(state)] == ["2", "1"]


def test_an_update_that_was_begun_and_not_sent_was_not_tried():
    """A try that never left, as the backend was away, is no try and leaves no doubt."""
    state = fresh()
    update = put(state, "finished")
    (sending,) = start(state)
    settle(state, "a", Result(sending, TIMEOUT, sent=False), at())
    assert (update.attempts, update.may_have_applied) == (0, False)
    assert attempt(state, answered(409)).refused


def test_an_update_is_tried_once_in_a_pass():
    """What was tried already in this pass is not begun again."""
    state = fresh()
    put(state, "ongoing")
    tried: set[int] = set()
    agent = state.agent("a")
    assert len(begin(agent, at(), tried, respect_pauses=False)) == 1
    assert begin(agent, at(), tried, respect_pauses=False) == []
    assert len(begin(agent, at(), set(), respect_pauses=False)) == 1


def test_a_try_is_noted_before_it_is_made():
    """A process that dies while it sends leaves an update that may have taken effect."""
    state = fresh()
    update = put(state, "ongoing")
    assert [s.repeat for s in start(state)] == [False]
    assert update.attempts == 1
    assert [s.repeat for s in start(state)] == [True]
    assert update.attempts == 2


# Nothing accepted is left out


@pytest.mark.promise_2
@pytest.mark.parametrize(
    "words",
    [
        ["ongoing", "paused", "ongoing", "paused", "ongoing"],
        ["ongoing", "paused", "finished"],
        ["paused", "ongoing", "aborted"],
        ["ongoing", "ongoing"],
    ],
)
def test_every_accepted_word_stays(words):
    """A newer word replaces no older one: all reach the backend, in order."""
    state = fresh()
    for word in words:
        put(state, word)
    told = []
    while start(state):
        told.append(attempt(state).status)
    assert told == words


def test_an_update_under_way_stays_the_first():
    """What is accepted while it is sent stands behind it."""
    state = fresh()
    put(state, "paused")
    (sending,) = start(state)
    put(state, "ongoing")
    assert state.agent("a").queue[0].number == sending.number
    settle(state, "a", Result(sending), at())
    assert queued(state) == [("12", "ongoing")]


# What is sent


def test_the_body_has_what_the_status_needs():
    """ongoing is sent with started_at, finished with actual_duration, the others alone."""
    state = fresh()
    bodies = []
    for status in ("ongoing", "paused", "finished", "aborted"):
        duration = 17 if status == "finished" else None
        update = enqueue(
            state, "a", ref(), status, at(), started_at="12:00:00", actual_duration=duration
        )
        bodies.append(update.body())
    assert bodies == [
        {"status": "ongoing", "started_at": "12:00:00"},
        {"status": "paused"},
        {"status": "finished", "actual_duration": 17},
        {"status": "aborted"},
    ]


# Accepted


def test_an_accepted_update_leaves_the_queue():
    """Delivered is delivered, and the history says so."""
    state = fresh()
    update = put(state, "finished")
    entry = HistoryEntry("a", "12", "finished", NOON, outcome=Outcome.QUEUED, update=update.number)
    state.history.append(entry)
    delivery = attempt(state)
    assert (delivery.delivered, delivery.refused, delivery.fault) == (True, False, None)
    assert queued(state) == []
    assert entry.outcome is Outcome.DELIVERED


@pytest.mark.parametrize("status", ["finished", "aborted"])
def test_an_accepted_end_is_noted_on_the_ended_list(status):
    """From then on a pending listing means that the slot was reopened."""
    state = fresh()
    agent = state.agent("a")
    agent.ended_slots = [Ended(ref(), status, NOON, NOON), Ended(ref(13), status, NOON, NOON)]
    put(state, status)
    attempt(state, now=at(7))
    assert [e.accepted for e in agent.ended_slots] == [at(7), None]


def test_an_accepted_ongoing_is_no_accepted_end():
    """Only the end itself counts as accepted end."""
    state = fresh()
    agent = state.agent("a")
    agent.ended_slots = [Ended(ref(), "finished", NOON, NOON)]
    put(state, "ongoing")
    put(state, "finished")
    attempt(state)
    assert agent.ended_slots[0].accepted is None


@pytest.mark.parametrize("first", [TIMEOUT, answered(500), answered(503)])
def test_a_409_on_a_repeat_counts_as_arrived(first):
    """An earlier try may have taken effect, and the backend says that it did."""
    state = fresh()
    state.agent("a").ended_slots = [Ended(ref(), "finished", NOON, NOON)]
    put(state, "finished")
    attempt(state, first)
    delivery = attempt(state, answered(409), at(10))
    assert delivery.delivered
    assert delivery.fault is None
    assert queued(state) == []
    assert state.agent("a").refused == []
    assert state.agent("a").ended_slots[0].accepted == at(10)


def test_a_409_after_a_crash_counts_as_arrived():
    """A process that died while it sent may have been heard."""
    state = fresh()
    put(state, "finished")
    start(state)
    assert attempt(state, answered(409)).delivered


@pytest.mark.parametrize("before", [[], [UNREACHABLE], [answered(401)], [answered(429)]])
def test_a_409_on_a_first_try_is_a_refusal(before):
    """Tries that can't have taken effect make no repeat."""
    state = fresh()
    put(state, "finished")
    for number, fault in enumerate(before):
        attempt(state, fault, at(number * HOUR))
    delivery = attempt(state, answered(409), at(9 * HOUR))
    assert (delivery.delivered, delivery.refused) == (False, True)


def test_a_doubtful_try_stays_doubtful():
    """A try that surely failed doesn't take back that an earlier one may have arrived."""
    state = fresh()
    put(state, "finished")
    attempt(state, TIMEOUT)
    attempt(state, UNREACHABLE)
    assert attempt(state, answered(409)).delivered


# Refused for good


@pytest.mark.promise_8
@pytest.mark.parametrize("status", [400, 402, 404, 409, 410, 422, 423, 451])
def test_a_refusal_for_good_is_kept_and_frees_what_waits_behind(status):
    """It moves to the refused ones and the history with the reason; the next update may go."""
    state = fresh()
    put(state, "ongoing")
    put(state, "finished")
    delivery = attempt(state, answered(status))
    assert (delivery.delivered, delivery.refused) == (False, True)
    (refusal,) = state.agent("a").refused
    assert (refusal.update.status, refusal.count) == ("ongoing", 1)
    assert str(status) in refusal.error
    (entry,) = state.history
    assert (entry.status, entry.outcome) == ("ongoing", Outcome.REFUSED)
    assert str(status) in entry.reason
    assert [s.status for s in start(state)] == ["finished"]


@pytest.mark.promise_8
def test_the_refusal_of_an_end_is_noted_in_its_history_entry():
    """The entry that told the end tells its refusal, beside the reason that was given."""
    state = fresh()
    update = put(state, "aborted")
    state.history.append(
        HistoryEntry(
            "a", "12", "aborted", NOON, "no disk", outcome=Outcome.QUEUED, update=update.number
        )
    )
    attempt(state, answered(422))
    (entry,) = state.history
    assert entry.outcome is Outcome.REFUSED
    assert entry.reason == "no disk; answered 422"


def test_the_same_refusal_again_is_a_count():
    """A refusal that repeats makes no new entry, in the list or in the history."""
    state = fresh()
    for number in range(3):
        put(state, "paused")
        attempt(state, answered(423), at(number))
    (refusal,) = state.agent("a").refused
    assert refusal.count == 3
    assert refusal.at == at(2).wall
    assert len(state.history) == 1


def test_refusals_of_other_slots_and_words_are_entries_of_their_own():
    """Only the same word of the same slot is the same refusal."""
    state = fresh()
    for status, slot in (("paused", ref(1)), ("ongoing", ref(1)), ("paused", ref(2))):
        put(state, status, slot)
        attempt(state, answered(423))
    assert [r.count for r in state.agent("a").refused] == [1, 1, 1]
    assert refused_before(state.agent("a"), ref(2), "paused") is not None
    assert refused_before(state.agent("a"), ref(2), "ongoing") is None


# Not for good

PASSING = [408, 425, 429, 500, 502, 503, 504, 599]


@pytest.mark.parametrize("status", [401, 403, *PASSING])
def test_what_is_not_for_good_pauses_5_s_doubling_to_10_minutes(status):
    """The update waits, and each pause is twice as long as the one before."""
    state = fresh()
    (update,) = [put(state, "finished")]
    wall, pauses = 0.0, []
    for _ in range(10):
        delivery = attempt(state, answered(status), at(wall))
        assert (delivery.delivered, delivery.refused) == (False, False)
        assert update.not_before is not None
        pauses.append(update.not_before - NOON - wall)
        assert start(state, at(wall + pauses[-1] - 0.1)) == []
        wall += pauses[-1]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 503])
@pytest.mark.parametrize(
    ("retry_after", "pause"), [(0.0, 0), (1.0, 1), (120.0, 120), (3600.0, 3600), (86_400.0, 3600)]
)
def test_retry_after_is_heeded_up_to_an_hour(status, retry_after, pause):
    """The backend's word for the pause counts, within an hour."""
    state = fresh()
    put(state, "finished")
    attempt(state, answered(status, retry_after))
    assert len(start(state, at(pause))) == 1
    assert pause == 0 or not has_work(state.agent("a"), at(pause - 0.1), set())


@pytest.mark.parametrize("fault", [UNREACHABLE, TIMEOUT, Fault("bad_response", "no HTTP")])
def test_after_no_answer_the_next_tick_tries_again(fault):
    """An outage is retried at each tick, however long it lasts, without growing pauses."""
    state = fresh()
    put(state, "finished")
    for day in range(40):
        delivery = attempt(state, fault, at(day * DAY))
        assert (delivery.delivered, delivery.refused) == (False, False)
    assert len(start(state, at(39 * DAY))) == 1


def test_an_unreachable_backend_ends_a_pause():
    """After unreachable the next tick tries, also where 5xx had made the pause long."""
    state = fresh()
    put(state, "finished")
    for hour in range(10):
        attempt(state, answered(503), at(hour * HOUR))
    attempt(state, UNREACHABLE, at(10 * HOUR))
    assert has_work(state.agent("a"), at(10 * HOUR), set())


def test_a_command_tries_whatever_the_pause():
    """One try a tick after the pause, and one a command at once."""
    state = fresh()
    put(state, "finished")
    attempt(state, answered(503))
    assert start(state, at(1)) == []
    assert len(start(state, at(1), respect_pauses=False)) == 1


@pytest.mark.parametrize("status", PASSING)
def test_what_lasts_for_7_days_is_refused(status):
    """408, 425, 429 and 5xx that are answered for seven days are for good."""
    state = fresh()
    put(state, "finished")
    for hour in range(7 * 24):
        assert not attempt(state, answered(status), at(hour * HOUR)).refused
    assert attempt(state, answered(status), at(7 * DAY)).refused
    assert len(state.agent("a").refused) == 1


@pytest.mark.promise_2
@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_key_is_never_for_good(status):
    """A person fixes the key, however long that takes."""
    state = fresh()
    put(state, "finished")
    for day in range(60):
        assert not attempt(state, answered(status), at(day * DAY)).refused
    assert attempt(state, now=at(61 * DAY)).delivered


@pytest.mark.parametrize("between", [UNREACHABLE, TIMEOUT])
def test_5xx_before_and_after_a_long_outage_has_not_lasted(between):
    """Two 503 a week apart, with a backend that was away between, are not seven days of 5xx."""
    state = fresh()
    put(state, "finished")
    attempt(state, answered(503))
    for day in range(1, 8):
        attempt(state, between, at(day * DAY))
    assert not attempt(state, answered(503), at(8 * DAY)).refused


@pytest.mark.parametrize("ahead", [3600.1, 1e6, 1e9])
def test_a_pause_too_far_ahead_counts_as_past(ahead):
    """A clock that was set back doesn't hold an update longer than the longest pause."""
    state = fresh()
    update = put(state, "finished")
    update.not_before = NOON + 3599
    assert start(state) == []
    update.not_before = NOON + ahead
    assert len(start(state)) == 1


def test_a_dropped_update_settles_quietly():
    """A person who drops an update while it is under way has the last word."""
    state = fresh()
    put(state, "finished")
    (sending,) = start(state)
    state.agent("a").queue.clear()
    assert settle(state, "a", Result(sending), at()).delivered
    assert not settle(state, "a", Result(sending, answered(422)), at()).delivered
    assert state.agent("a").refused == []
    assert state.history == []


# Virtual slots


def test_the_answer_to_the_first_update_makes_the_slot_real():
    """The real id is taken over wherever the slot is remembered."""
    state = fresh()
    agent = state.agent("a")
    agent.active = an_active(ref(PLAN))
    put(state, "ongoing", ref(PLAN))
    put(state, "finished", ref(PLAN))
    delivery = attempt(state, real_id=12)
    assert delivery.slot == "12"
    assert agent.active.ref.idents == [PLAN, "12"]
    (sending,) = start(state)
    assert sending.ref.real == [12]


def test_without_the_real_id_what_waits_is_unresolved():
    """The server made it real, so the virtual id is gone: the rest waits for the real one."""
    state = fresh()
    put(state, "ongoing", ref(PLAN))
    put(state, "finished", ref(PLAN))
    assert attempt(state).delivered
    assert unresolved(state.agent("a"))
    assert start(state, at(HOUR - 1)) == []


def test_the_active_slot_is_unresolved_as_well():
    """The active slot's own real id is wanted as soon as the server has made one."""
    state = fresh()
    agent = state.agent("a")
    agent.active = an_active(ref(PLAN))
    put(state, "ongoing", ref(PLAN))
    assert not unresolved(agent)
    attempt(state)
    assert unresolved(agent)
    learn(agent, ref(12, PLAN))
    assert not unresolved(agent)


def test_a_404_on_a_virtual_id_is_neither_delivery_nor_refusal():
    """The id has become real, by us or someone else: the update waits, unresolved."""
    state = fresh()
    put(state, "finished", ref(PLAN))
    delivery = attempt(state, answered(404))
    assert (delivery.delivered, delivery.refused) == (False, False)
    assert queued(state) == [(PLAN, "finished")]
    assert unresolved(state.agent("a"))
    assert state.agent("a").refused == []


def test_an_unresolved_update_holds_up_no_other_slot():
    """Other slots' updates go on beside it."""
    state = fresh()
    put(state, "finished", ref(PLAN))
    attempt(state, answered(404))
    put(state, "ongoing", ref(5))
    assert [s.ref.ident for s in start(state, at(1))] == ["5"]


@pytest.mark.parametrize("respect_pauses", [True, False])
def test_an_unresolved_update_is_tried_hourly(respect_pauses):
    """Neither a tick nor a command asks for a gone id more often."""
    state = fresh()
    put(state, "finished", ref(PLAN))
    attempt(state, answered(404), respect_pauses=respect_pauses)
    assert start(state, at(HOUR - 1), respect_pauses=respect_pauses) == []
    assert len(start(state, at(HOUR), respect_pauses=respect_pauses)) == 1


def test_what_is_queued_of_an_unresolved_slot_waits_as_well():
    """A new update of it isn't sent to an id that is known to be gone."""
    state = fresh()
    slot = ref(PLAN)
    slot.became_real = True
    put(state, "finished", slot)
    assert start(state, at(1), respect_pauses=False) == []
    assert len(start(state, at(HOUR), respect_pauses=False)) == 1


def test_once_the_real_id_is_found_it_goes_at_once():
    """Learning the id, from a listing or a sync, ends the waiting."""
    state = fresh()
    agent = state.agent("a")
    put(state, "finished", ref(PLAN))
    attempt(state, answered(404))
    learn(agent, ref(12, PLAN))
    (sending,) = start(state, at(1))
    assert sending.ref.real == [12]
    assert settle(state, "a", Result(sending), at(1)).delivered


def test_an_id_found_while_the_virtual_one_is_tried_ends_the_waiting_as_well():
    """A 404 on the virtual id says nothing against a real id that was learned meanwhile."""
    state = fresh()
    agent = state.agent("a")
    put(state, "finished", ref(PLAN))
    (sending,) = start(state)
    learn(agent, ref(12, PLAN))
    delivery = settle(state, "a", Result(sending, answered(404)), at())
    assert not delivery.refused
    assert [s.ref.real for s in start(state, at(1))] == [[12]]


def test_an_id_found_while_the_virtual_one_is_tried_late_keeps_the_update():
    """Nor is the update refused then, whatever the slot's date."""
    state = fresh()
    put(state, "finished", ref(PLAN, date="2026-11-20"))
    (sending,) = start(state)
    learn(state.agent("a"), ref(12, PLAN))
    assert not settle(state, "a", Result(sending, answered(404)), at()).refused
    assert queued(state) == [("12", "finished")]


def test_learning_another_slots_id_changes_nothing():
    """An id is taken over only by the slot that it belongs to."""
    state = fresh()
    agent = state.agent("a")
    put(state, "finished", ref(PLAN))
    attempt(state, answered(404))
    learn(agent, ref(13, "plan-8-2026-11-23"))
    assert unresolved(agent)
    assert start(state, at(1)) == []


@pytest.mark.parametrize(
    ("day", "now", "refused"),
    [
        (TODAY, at(0), False),
        (TODAY, at(1.4 * DAY), False),  # the 24th, late
        (TODAY, at(1.5 * DAY - 1), False),
        (TODAY, at(1.5 * DAY), True),  # the 25th begins
        ("2026-11-21", at(0), True),
        ("2026-11-22", at(0), False),
        (None, at(0), False),  # without a date, from when it was accepted
        (None, at(1.5 * DAY), True),
        ("never", at(9 * DAY), False),
    ],
)
def test_an_unresolved_update_is_refused_two_days_after_its_date(day, now, refused):
    """By then the slot is history, and the update is kept as refused with the reason."""
    state = fresh()
    put(state, "finished", ref("v", date=day))
    delivery = attempt(state, answered(404), now)
    assert delivery.refused is refused
    assert len(state.agent("a").refused) == int(refused)
    assert all("real id was never found" in r.error for r in state.agent("a").refused)


@given(st.dates(max_value=date(9999, 12, 29)), st.floats(-6e10, 2.5e11))
@thorough
def test_two_days_past_compares_utc_dates(day, wall):
    """It says yes exactly from the second day after the date on."""
    assert two_days_past(day.isoformat(), wall) is (utc_date(wall - 2 * DAY) >= day.isoformat())


def test_a_404_on_a_real_id_is_a_refusal():
    """A real slot that is gone is gone."""
    state = fresh()
    put(state, "finished", ref(12, PLAN))
    assert attempt(state, answered(404)).refused


def test_a_409_on_the_real_id_counts_as_arrived_after_a_lost_answer_on_the_virtual_one():
    """The try whose answer was lost may have made the slot real and taken effect."""
    state = fresh()
    agent = state.agent("a")
    put(state, "ongoing", ref(PLAN))
    attempt(state, TIMEOUT)
    attempt(state, answered(404))
    learn(agent, ref(12, PLAN))
    assert attempt(state, answered(409)).delivered


def test_became_real_is_noted_wherever_the_slot_is_remembered():
    """The active slot, the queue and the ended list agree about it."""
    state = fresh()
    agent = state.agent("a")
    agent.active = an_active(ref(PLAN))
    agent.ended_slots = [Ended(ref(PLAN), "finished", NOON, NOON)]
    put(state, "finished", ref(PLAN))
    note_became_real(agent, ref(PLAN), at())
    assert agent.active.ref.became_real
    assert agent.ended_slots[0].ref.became_real
    assert all(u.ref.became_real for u in waiting_for(agent, ref(PLAN)))


# What holds whatever happens

slots_of = st.sampled_from([ref(1), ref(2), ref(PLAN)])
words = st.sampled_from(["ongoing", "paused", "finished", "aborted"])
answers = st.sampled_from(
    [None, UNREACHABLE, TIMEOUT, *map(answered, (401, 404, 409, 422, 429, 503))]
)
steps = st.lists(
    st.tuples(st.just("put"), slots_of, words)
    | st.tuples(st.just("try"), answers, st.sampled_from([None, 12]))
    | st.tuples(st.just("wait"), st.sampled_from([1.0, 20.0, 700.0, HOUR]), st.none()),
    max_size=30,
)


@pytest.mark.promise_2
@pytest.mark.promise_3
@given(steps)
@thorough
def test_no_update_is_lost_repeated_or_overtaken(course):
    """Each slot's updates are answered in order; what leaves the queue is accepted or refused."""
    state = fresh()
    agent = state.agent("a")
    wall = 0.0
    accepted: list[Update] = []
    settled: dict[int, str] = {}
    order: dict[str, list[int]] = {}
    for step, first, second in course:
        if step == "put":
            accepted.append(put(state, second, first, at(wall)))
        elif step == "wait":
            wall += first
        else:
            sendings = start(state, at(wall), respect_pauses=False)
            assert len({str(s.ref) for s in sendings}) == len(sendings)
            for sending in sendings:
                mine = [u for u in agent.queue if u.ref.same(sending.ref)]
                assert mine[0].number == sending.number
                real_id = second if first is None and not sending.ref.real else None
                delivery = settle(state, "a", Result(sending, first, real_id), at(wall))
                if delivery.delivered or delivery.refused:
                    assert sending.number not in settled
                    settled[sending.number] = "delivered" if delivery.delivered else "refused"
                    order.setdefault(sending.ref.idents[0], []).append(sending.number)
    waiting = {u.number for u in agent.queue}
    for update in accepted:
        assert (update.number in waiting) is (update.number not in settled)
    for numbers in order.values():
        assert numbers == sorted(numbers)
    refused = sum(r.count for r in agent.refused)
    assert refused == list(settled.values()).count("refused")
