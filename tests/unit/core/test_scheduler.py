"""hfcal.core.scheduler: what is remembered and what the backend says, to what to do."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.clock import Moment, rfc3339
from hfcal.core.protocol import SlotStatus, parse_heartbeat
from hfcal.core.records import (
    AgentState,
    Ended,
    FailedWake,
    Hold,
    State,
    Update,
)
from hfcal.core.scheduler import Action, Decision, Policy, decide, due_at
from hfcal.core.transitions import LONGEST_WAKE_PAUSE
from hfcal.state.codec import decode_state, encode_state
from tests.unit.support import (
    NOON,
    TODAY,
    a_wake,
    an_active,
    at,
    beat,
    listed,
    ref,
    texts,
    thorough,
)

BERLIN = ZoneInfo("Europe/Berlin")
WAITS = Policy(due_check=True)


def choose(
    agent: AgentState,
    *slots,
    asked: Moment | None = None,
    now: Moment | None = None,
    policy: Policy | None = None,
    status: str = "idle",
) -> Decision:
    """What is decided when the backend lists these slots."""
    asked = asked or at()
    return decide(agent, beat(*slots, status=status), asked, now or asked, policy or Policy())


def ended(ident=12, *more, accepted: Moment | None = None, status: str = "finished") -> Ended:
    """An entry of the ended list."""
    return Ended(ref(ident, *more), status, NOON, NOON, accepted)


def failed(ident=12, pause: float = 5.0) -> FailedWake:
    """A slot whose wake failed just now."""
    return FailedWake(ref(ident), a_wake(str(ident)), 1, NOON + pause, NOON)


# Choosing


def test_nothing_listed_is_idle():
    """An agent without slots is idle."""
    assert choose(AgentState()) == Decision(Action.IDLE)


@pytest.mark.parametrize("status", [*SlotStatus, "frozen", None])
def test_only_pending_slots_are_dispatched(status):
    """Candidates are slots that are not_started or deferred, and nothing else."""
    decision = choose(AgentState(), listed(12, status))
    dispatched = decision.action is Action.DISPATCHED
    assert dispatched is (status in {"not_started", "deferred"})


@pytest.mark.parametrize("word", ["NotStarted", "not-started", "NOT_STARTED", "Deferred"])
def test_statuses_count_in_any_casing(word):
    """A backend that writes NotStarted has its slots dispatched like any other."""
    heartbeat = parse_heartbeat({"slots": [{"id": 12, "status": word}], "agent_status": "Idle"})
    decision = decide(AgentState(), heartbeat, at(), at(), Policy())
    assert decision.action is Action.DISPATCHED


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8))
@thorough
def test_the_highest_priority_wins_and_equal_ones_go_in_the_backends_order(priorities):
    """The first of those with the highest priority is dispatched, the first of the rest is next."""
    slots = [listed(n, priority=p) for n, p in enumerate(priorities, 1)]
    decision = choose(AgentState(), *slots)
    ordered = sorted(slots, key=lambda s: -s.priority)
    assert decision.slot is ordered[0]
    following = decision.next.ident if decision.next else None
    assert following == (ordered[1].ident if len(slots) > 1 else None)


def test_a_missing_priority_is_the_lowest():
    """A slot without a priority comes after those that have one."""
    assert choose(AgentState(), listed(1), listed(2, priority=1)).slot == listed(2, priority=1)


@pytest.mark.parametrize(
    "copy", [{"id": 12}, {"id": 12, "priority": 99}, {"virtual_id": "plan-7-2026-11-23"}]
)
def test_a_duplicate_is_neither_dispatched_nor_next(copy):
    """A slot that is listed twice counts once."""
    first = {"id": 12, "plan_id": 7, "date": TODAY, "status": "not_started"}
    heartbeat = parse_heartbeat({"slots": [first, {**first, "id": None, **copy}]})
    decision = decide(AgentState(), heartbeat, at(), at(), Policy())
    assert decision.slot is not None
    assert decision.slot.ident == "12"
    assert decision.next is None


# Due check


@pytest.mark.parametrize(
    ("scheduled_at", "day", "zone", "due"),
    [
        ("12:00", TODAY, UTC, True),
        ("12:01", TODAY, UTC, True),  # 60 s of slack
        ("12:01:00", TODAY, UTC, True),
        ("12:01:01", TODAY, UTC, False),
        ("12:02", TODAY, UTC, False),
        ("00:00", TODAY, UTC, True),
        ("00:00", "2026-11-24", UTC, False),
        ("23:59", "2026-11-22", UTC, True),
        ("13:00", TODAY, BERLIN, True),  # noon UTC
        ("13:01:01", TODAY, BERLIN, False),
        ("12:00", TODAY, BERLIN, True),
        ("07:01:01", TODAY, ZoneInfo("America/New_York"), False),
        ("07:00", TODAY, ZoneInfo("America/New_York"), True),
        ("00:30", "2026-11-24", ZoneInfo("Pacific/Kiritimati"), True),  # 10:30 UTC today
        ("12:02", None, UTC, False),  # no date: today in the zone
        ("12:01", None, UTC, True),
        ("01:00", None, ZoneInfo("Pacific/Kiritimati"), True),
        ("03:00", None, ZoneInfo("Pacific/Kiritimati"), False),
        # What can't be read is due.
        ("", TODAY, UTC, True),
        (None, TODAY, UTC, True),
        ("25:00", TODAY, UTC, True),
        ("23:60", TODAY, UTC, True),
        ("tomorrow", TODAY, UTC, True),
        (2300, TODAY, UTC, True),
        ("23:00", "2026-13-45", UTC, True),
        ("23:00", "0000-00-00", UTC, True),
    ],
)
def test_a_slot_waits_for_its_time_in_the_calendars_zone(scheduled_at, day, zone, due):
    """With due_check a slot is dispatched from 60 s before its date and time on."""
    slot = listed(12, scheduled_at=scheduled_at, date=day)
    decision = choose(AgentState(), slot, policy=Policy(due_check=True, zone=zone))
    assert decision.action is (Action.DISPATCHED if due else Action.WAITING)


def test_an_unreadable_date_counts_as_today():
    """A slot whose date is no date waits for its time of day."""
    slot = listed(12, scheduled_at="23:00", date="soon")
    assert choose(AgentState(), slot, policy=WAITS).action is Action.WAITING


def test_waiting_tells_when_the_next_slot_is_due():
    """Of several slots that aren't due the earliest is told, whatever its priority."""
    later = listed(1, scheduled_at="14:00", priority=9)
    sooner = listed(2, scheduled_at="13:00")
    decision = choose(AgentState(), later, sooner, policy=WAITS)
    assert decision.action is Action.WAITING
    assert decision.slot is sooner
    assert decision.due_at == NOON + 3600
    assert decision.next is not None
    assert (decision.next.ident, decision.next.due_at) == ("2", NOON + 3600)


def test_a_due_slot_goes_before_a_better_one_that_is_not():
    """Priority chooses among due slots only."""
    better = listed(1, scheduled_at="14:00", priority=9)
    due = listed(2, scheduled_at="11:00")
    decision = choose(AgentState(), better, due, policy=WAITS)
    assert decision.slot is due
    assert decision.next is not None
    assert decision.next.ident == "1"


@pytest.mark.parametrize(("scheduled_at", "warns"), [("12:01", False), ("12:01:01", True)])
def test_a_dispatch_before_its_time_warns_and_names_due_check(scheduled_at, warns):
    """Without due_check what is listed is due, with a warning from 60 s before its time on."""
    decision = choose(AgentState(), listed(12, scheduled_at=scheduled_at))
    assert decision.action is Action.DISPATCHED
    assert [w.slot for w in decision.warnings] == (["12"] if warns else [])
    assert all("due_check" in w.message for w in decision.warnings)


@given(
    st.text("0123456789:+-T.Z ", max_size=20) | texts, st.dates(), st.sampled_from([UTC, BERLIN])
)
@thorough
def test_any_time_of_day_and_date_is_read_or_due(scheduled_at, day, zone):
    """No date and no time that a backend may send ends in a failure."""
    slot = listed(12, scheduled_at=scheduled_at, date=day.isoformat())
    for policy in (Policy(zone=zone), Policy(due_check=True, zone=zone)):
        decision = choose(AgentState(), slot, policy=policy)
        assert decision.action in {Action.DISPATCHED, Action.WAITING}


@pytest.mark.parametrize(
    ("scheduled_at", "zone"),
    [("23:59", UTC), ("23:59", ZoneInfo("America/New_York")), ("23:59-01:00", UTC)],
)
def test_the_last_day_of_the_calendar_is_no_failure(scheduled_at: str, zone: tzinfo):
    """A slot at the far end of the calendar is dispatched with a warning, or waits."""
    slot = listed(12, scheduled_at=scheduled_at, date="9999-12-31")
    assert choose(AgentState(), slot, policy=Policy(zone=zone)).action is Action.DISPATCHED
    waiting = choose(AgentState(), slot, policy=Policy(due_check=True, zone=zone))
    if waiting.due_at is not None:
        assert rfc3339(waiting.due_at)


@pytest.mark.parametrize("day", ["0001-01-01", "1969-12-31", "9891-01-01", "9999-12-31"])
@pytest.mark.parametrize("policy", [Policy(), WAITS])
def test_what_comes_next_can_be_stored_whatever_its_date(day, policy):
    """A backend's date can't make a state file that hfcal itself takes for damaged."""
    slots = [listed(n, scheduled_at="12:00", date=day) for n in (1, 2)]
    state = State(created=NOON)
    state.agent("a").next = choose(AgentState(), *slots, policy=policy).next
    assert decode_state(encode_state(state)) == state


def test_due_at_is_none_for_what_can_not_be_read():
    """An unreadable time is no time at all, not midnight."""
    assert due_at(listed(12, scheduled_at="later"), UTC, at()) is None


# The ended list


@pytest.mark.promise_3
@pytest.mark.parametrize("status", ["not_started", "deferred", "ongoing", "paused"])
@pytest.mark.parametrize("accepted", [None, at(30)])
def test_a_slot_that_ended_here_is_neither_dispatched_nor_adopted(status, accepted):
    """Listed all the same, by a heartbeat asked before its end was accepted, it is left alone."""
    agent = AgentState(ended_slots=[ended(accepted=accepted)])
    decision = choose(agent, listed(12, status), asked=at(20), now=at(40))
    assert decision.action in {Action.SKIPPED, Action.IDLE}
    assert decision.slot is None or decision.reason == "ended here"


@pytest.mark.parametrize(
    "slot",
    [
        listed(12),
        listed("v"),
        listed("plan-7-2026-11-23"),
        listed(99, plan_id=7),
        listed(99, virtual_id="v"),
    ],
)
def test_the_ended_list_knows_every_ident(slot):
    """A slot that ended is recognised by its real id, its virtual id, or its plan and date."""
    agent = AgentState(ended_slots=[ended(12, "v", "plan-7-2026-11-23")])
    decision = choose(agent, slot)
    assert (decision.action, decision.reason) == (Action.SKIPPED, "ended here")


@pytest.mark.parametrize(
    ("accepted", "asked", "again"),
    [
        (None, at(10), False),
        (at(5), at(10), True),
        (at(10), at(10), False),
        (at(15), at(10), False),
        # Within one boot the boot clock decides, whatever the wall clock did meanwhile.
        (at(5), at(10, wall_jump=-3600), True),
        (at(15), at(10, wall_jump=3600), False),
        # After a reboot there is only the wall clock.
        (at(5, "boot-0"), at(10), True),
        (at(15, "boot-0"), at(10), False),
    ],
)
def test_only_a_heartbeat_asked_after_the_accepted_end_reopens_a_slot(accepted, asked, again):
    """One asked before the backend took the end proves nothing."""
    agent = AgentState(ended_slots=[ended(accepted=accepted)])
    decision = choose(agent, listed(12), asked=asked, now=at(20))
    assert decision.action is (Action.DISPATCHED if again else Action.SKIPPED)
    assert not decision.again


def test_an_ended_slot_that_runs_again_is_not_adopted_even_if_its_end_was_accepted():
    """Only a pending listing reopens; a running one may be a late message."""
    agent = AgentState(ended_slots=[ended(accepted=at(5))])
    assert choose(agent, listed(12, "ongoing"), asked=at(10)).action is Action.IDLE


def test_other_slots_go_on_beside_ended_ones():
    """An ended slot of high priority doesn't block the agent."""
    agent = AgentState(ended_slots=[ended(12)])
    decision = choose(agent, listed(12, priority=9), listed(13))
    assert (decision.action, decision.slot) == (Action.DISPATCHED, listed(13))


def test_a_slot_with_a_waiting_update_is_not_dispatched():
    """What is queued of a slot, by a word that came without it, keeps it from being woken."""
    update = Update(1, ref("plan-7-2026-11-23"), "finished", NOON)
    decision = choose(AgentState(queue=[update]), listed(12, plan_id=7))
    assert decision.action is Action.SKIPPED
    running = choose(AgentState(queue=[update]), listed(12, "ongoing", plan_id=7))
    assert running.action is Action.IDLE


# Failed wakes


def test_a_failed_wake_pauses_and_the_next_best_slot_is_chosen():
    """While one slot pauses after a failed wake, another may be dispatched."""
    agent = AgentState(failed_wakes=[failed(12, pause=5)])
    slots = (listed(12, priority=9), listed(13, priority=1))
    assert choose(agent, *slots, now=at(4.9)).slot == slots[1]
    assert choose(agent, *slots, now=at(5)).slot == slots[0]


def test_a_pause_after_failed_wakes_is_told():
    """An agent that only has a pausing slot is skipped, and the reason says so."""
    decision = choose(AgentState(failed_wakes=[failed()]), listed(12), now=at(1))
    assert decision.action is Action.SKIPPED
    assert decision.reason == "pausing after failed wakes"


def test_a_pause_too_far_ahead_counts_as_past():
    """A clock that was set back doesn't silence a slot for longer than the longest pause."""
    agent = AgentState(failed_wakes=[failed(pause=LONGEST_WAKE_PAUSE)])
    assert choose(agent, listed(12), now=at(0)).action is Action.SKIPPED
    assert choose(agent, listed(12), now=at(-1)).action is Action.DISPATCHED


# Hold, exhausted, no time left


@pytest.mark.parametrize(
    ("until", "held"), [(None, True), (NOON + 1, True), (NOON, False), (NOON - 1, False)]
)
def test_a_held_agent_gets_nothing_until_the_hold_ends(until, held):
    """A hold without an end lasts; one with an end is over then."""
    decision = choose(AgentState(hold=Hold(until)), listed(12))
    assert decision.action is (Action.SKIPPED if held else Action.DISPATCHED)
    assert decision.reason == ("hold" if held else "")


@pytest.mark.parametrize("word", ["exhausted", "Exhausted", "EXHAUSTED"])
def test_an_exhausted_agent_gets_nothing(word):
    """Nothing is dispatched while the heartbeat says exhausted."""
    decision = choose(AgentState(), listed(12), status=word)
    assert (decision.action, decision.reason) == (Action.SKIPPED, "exhausted")


@pytest.mark.parametrize("word", ["idle", "busy", "on_call", "offline", "asleep"])
def test_no_other_agent_status_keeps_a_slot_back(word):
    """What is listed is dispatched whatever else the backend says of the agent."""
    assert choose(AgentState(), listed(12), status=word).action is Action.DISPATCHED


def test_a_held_agent_still_adopts_what_runs():
    """A hold stops dispatches, not the memory of what the agent is at."""
    agent = AgentState(hold=Hold())
    assert choose(agent, listed(12, "ongoing")).action is Action.ADOPTED


def test_no_wake_is_started_when_there_is_no_time_left():
    """A tick starts no wake after 50 s: the slot is left for the next one, and told as next."""
    decision = choose(AgentState(), listed(12), policy=Policy(no_wake="no time left in this tick"))
    assert decision.action is Action.SKIPPED
    assert decision.next is not None
    assert decision.next.ident == "12"


def test_nor_is_a_wake_of_a_process_that_died_made_then():
    """A remembered wake is a wake like any other: none is started after 50 s."""
    agent = AgentState(active=an_active(woken=False))
    decision = choose(agent, listed(12), policy=Policy(no_wake="no time left in this tick"))
    assert decision.action is not Action.DISPATCHED
    assert not decision.lost


# The active slot


@pytest.mark.promise_5
@pytest.mark.parametrize("state", ["ongoing", "paused"])
@pytest.mark.parametrize("slots", [(), (listed(13, priority=99),), (listed(13, "ongoing"),)])
def test_an_agent_with_an_active_slot_gets_nothing_else(state, slots):
    """An agent has at most one active slot: no other is dispatched or adopted."""
    decision = choose(AgentState(active=an_active(state=state)), *slots)
    assert decision.action is Action.BUSY
    assert not (decision.again or decision.woken or decision.lost)


@pytest.mark.promise_4
@pytest.mark.parametrize("status", ["not_started", "deferred"])
def test_an_active_slot_that_comes_back_as_pending_is_told_again_and_not_woken(status):
    """A slot whose wake is noted is never woken again; the backend is told its state."""
    decision = choose(AgentState(active=an_active()), listed(12, status))
    assert (decision.action, decision.again) == (Action.BUSY, True)


def test_it_is_not_told_again_while_an_update_of_it_waits():
    """What waits says it already."""
    update = Update(1, ref(), "ongoing", NOON)
    decision = choose(AgentState(active=an_active(), queue=[update]), listed(12))
    assert (decision.action, decision.again) == (Action.BUSY, False)


def test_it_is_told_again_while_another_slots_update_waits():
    """Another slot's update says nothing of this one."""
    update = Update(1, ref(13), "finished", NOON)
    decision = choose(AgentState(active=an_active(), queue=[update]), listed(12))
    assert decision.again


@pytest.mark.parametrize("status", ["ongoing", "paused"])
def test_an_active_slot_listed_as_running_needs_nothing(status):
    """Backends that list ongoing slots change nothing."""
    decision = choose(AgentState(active=an_active()), listed(12, status))
    assert (decision.action, decision.again, decision.woken) == (Action.BUSY, False, False)


@pytest.mark.parametrize("status", ["finished", "aborted", "skipped"])
@pytest.mark.parametrize("woken", [True, False])
def test_an_active_slot_that_the_backend_says_is_over_is_resolved(status, woken):
    """A terminal listing ends it, and says so."""
    decision = choose(AgentState(active=an_active(woken=woken)), listed(12, status))
    assert decision.action is Action.RESOLVED
    assert status in decision.reason
    assert not decision.lost


@pytest.mark.parametrize("slot", [listed(12, plan_id=7), listed(99, plan_id=7), listed("v")])
def test_the_active_slot_is_known_by_every_ident(slot):
    """It is recognised by its real id, its virtual id, or its plan and date."""
    agent = AgentState(active=an_active(ref(12, "v", "plan-7-2026-11-23")))
    assert choose(agent, slot).action is Action.BUSY


# A wake that was remembered and not noted


def test_uncertain_and_listed_as_pending_it_is_woken_again():
    """The next process makes the same wake once more."""
    agent = AgentState(active=an_active(woken=False))
    decision = choose(agent, listed(12), listed(13, priority=99))
    assert (decision.action, decision.again, decision.slot) == (
        Action.DISPATCHED,
        True,
        listed(12),
    )


@pytest.mark.parametrize("status", ["ongoing", "paused"])
def test_uncertain_and_listed_as_running_it_is_taken_for_woken(status):
    """The backend has heard of the work, so the wake was made."""
    decision = choose(AgentState(active=an_active(woken=False)), listed(12, status))
    assert (decision.action, decision.woken, decision.again) == (Action.BUSY, True, False)


@pytest.mark.parametrize("others", [(), (listed(13),), (listed("v", plan_id=7),)])
def test_uncertain_and_not_listed_it_is_given_up(others):
    """It is resolved without the backend's word, and nothing else is dispatched in its place."""
    decision = choose(AgentState(active=an_active(woken=False)), *others)
    assert (decision.action, decision.lost) == (Action.RESOLVED, True)
    assert decision.slot is None


@pytest.mark.parametrize("status", ["frozen", None])
def test_uncertain_and_listed_with_an_unknown_word_it_stays(status):
    """A listing that can't be read proves nothing either way."""
    decision = choose(AgentState(active=an_active(woken=False)), listed(12, status))
    assert (decision.action, decision.lost, decision.again) == (Action.BUSY, False, False)


@pytest.mark.parametrize(("hold", "status"), [(Hold(), "idle"), (None, "exhausted")])
def test_uncertain_it_is_not_woken_while_the_agent_is_held_or_exhausted(hold, status):
    """It stays remembered until it may be woken."""
    agent = AgentState(active=an_active(woken=False), hold=hold)
    decision = choose(agent, listed(12), status=status)
    assert decision.action is Action.SKIPPED
    assert not decision.lost


# Adoption


@pytest.mark.parametrize("status", ["ongoing", "paused", "Ongoing"])
def test_a_running_slot_that_nobody_remembers_is_adopted(status):
    """Work that began before this state did is taken over, and nothing else is dispatched."""
    decision = choose(AgentState(), listed(13, priority=99), listed(12, status))
    assert (decision.action, decision.slot) == (Action.ADOPTED, listed(12, status))
    assert decision.next is not None
    assert decision.next.ident == "13"


def test_of_several_running_slots_the_best_is_adopted_and_the_others_told():
    """An agent has at most one active slot, also when the backend says two."""
    slots = (listed(1, "ongoing"), listed(2, "paused", priority=5), listed(3, "ongoing"))
    decision = choose(AgentState(), *slots)
    assert decision.slot == slots[1]
    assert [w.slot for w in decision.warnings] == ["1", "3"]


# What holds whatever is remembered and whatever is listed

numbers = st.sampled_from([1, 2, 3])
names = st.sampled_from(["v", "plan-7-2026-11-23", "plan-8-2026-11-23"])
some_refs = st.builds(ref, numbers) | st.builds(ref, names) | st.builds(ref, numbers, names)
some_slots = st.builds(
    listed,
    st.sampled_from([1, 2, 3, "v", "plan-7-2026-11-23"]),
    st.sampled_from([*SlotStatus, None, "frozen"]),
    plan_id=st.sampled_from([None, 7, 8]),
    priority=st.integers(0, 3),
    scheduled_at=st.sampled_from(["11:00", "12:05", "odd", None]),
)
some_moments = st.builds(at, st.integers(-20, 20), st.sampled_from(["boot-0", "boot-1"]))
some_agents = st.builds(
    AgentState,
    active=st.none() | st.builds(an_active, some_refs, woken=st.booleans()),
    queue=st.lists(st.builds(Update, st.just(1), some_refs, st.just("paused"), st.just(NOON))),
    ended_slots=st.lists(
        st.builds(Ended, some_refs, st.just("finished"), st.just(NOON), st.just(NOON), some_moments)
        | st.builds(Ended, some_refs, st.just("aborted"), st.just(NOON), st.just(NOON)),
        max_size=3,
    ),
    failed_wakes=st.lists(
        st.builds(
            FailedWake, some_refs, st.just(a_wake()), st.just(1), st.just(NOON + 5), st.just(NOON)
        ),
        max_size=2,
    ),
    hold=st.none() | st.builds(Hold, st.sampled_from([None, NOON - 1, NOON + 1])),
)


@pytest.mark.promise_5
@given(
    some_agents,
    st.lists(some_slots, max_size=5),
    st.sampled_from(["idle", "busy", "exhausted"]),
    st.builds(Policy, due_check=st.booleans(), no_wake=st.sampled_from(["", "no time left"])),
)
@thorough
def test_a_new_wake_is_decided_only_when_every_rule_allows_it(agent, slots, status, policy):
    """Whatever is remembered and listed, no rule against a dispatch is ever broken."""
    decision = choose(agent, *slots, status=status, policy=policy)
    if decision.action is not Action.DISPATCHED or decision.again:
        return
    slot = decision.slot
    assert slot is not None
    assert slot.status is not None
    assert slot.status.pending
    assert agent.active is None
    assert not policy.no_wake
    assert status != "exhausted"
    assert agent.hold is None or agent.hold.until == NOON - 1
    assert not any(update.ref.same(slot.ref) for update in agent.queue)
    assert not any(wake.ref.same(slot.ref) for wake in agent.failed_wakes)
    first = next((e for e in agent.ended_slots if e.ref.same(slot.ref)), None)
    assert first is None or (first.accepted and first.accepted.seconds_until(at()) > 0)
    assert not policy.due_check or slot.scheduled_at != "12:05"
    assert decision.next is None or decision.next.ident != slot.ident


@pytest.mark.promise_4
@given(some_agents, st.lists(some_slots, max_size=5), st.sampled_from(["idle", "exhausted"]))
@thorough
def test_a_slot_whose_wake_is_noted_is_never_woken_again(agent, slots, status):
    """Nothing that a backend lists wakes an agent that has an active slot, noted as woken."""
    if agent.active is None or agent.active.wake is not None:
        agent.active = an_active()
    decision = choose(agent, *slots, status=status)
    assert decision.action in {Action.BUSY, Action.RESOLVED}
    assert not decision.lost


@given(some_agents, st.lists(some_slots, max_size=5))
@thorough
def test_deciding_changes_nothing(agent, slots):
    """A decision is taken, and perhaps taken again, without leaving a trace."""
    state = State(NOON, agents={"a": agent})
    before = encode_state(state)
    first = choose(agent, *slots)
    assert choose(agent, *slots) == first
    assert encode_state(state) == before
