"""hfcal.core.repair: what a person does by hand to what waits or was refused."""

import pytest

from hfcal.core.ids import SlotRef
from hfcal.core.records import Active, HistoryEntry, Hold, Outcome, Refusal, State, Update
from hfcal.core.repair import drop, find, forget, past_retrying, reasons_to_keep, retry
from tests.unit.support import NOON, an_active, ref


def state_with(active: Active | None = None) -> State:
    """A state in which agent a is at this slot."""
    state = State(created=NOON)
    state.agent("a").active = active
    return state


def waits(state: State, status: str, slot: SlotRef | None = None, agent_id: str = "a") -> Update:
    """An update that waits, after pauses, with its entry in the history."""
    update = Update(state.take_number(), slot or ref(), status, NOON)
    update.not_before, update.pauses, update.failing_since = NOON + 600, 7, NOON
    state.agent(agent_id).queue.append(update)
    entry = HistoryEntry(agent_id, update.ref.ident, status, NOON, "why", outcome=Outcome.QUEUED)
    entry.update = update.number
    state.history.append(entry)
    return update


def refused(state: State, status: str, slot: SlotRef | None = None, agent_id: str = "a") -> Update:
    """The same, refused for good."""
    update = waits(state, status, slot, agent_id)
    agent = state.agent(agent_id)
    agent.queue.remove(update)
    agent.refused.append(Refusal(update, NOON, "answered 422"))
    state.history[-1].outcome = Outcome.REFUSED
    return update


def numbers(updates: list[Update]) -> list[int]:
    """Which updates these are."""
    return [update.number for update in updates]


def test_a_slot_is_found_by_any_ident_that_it_had():
    """Both what waits and what was refused, in the order in which it was accepted."""
    state = state_with()
    first = refused(state, "ongoing", ref(12, "plan-7-2026-11-23"))
    second = waits(state, "finished", ref(12, "plan-7-2026-11-23"))
    waits(state, "finished", ref(13))
    for ident in ("12", "plan-7-2026-11-23"):
        (found,) = find(state, ident, [])
        assert (found.agent_id, found.ident) == ("a", "12")
        assert numbers(found.updates) == [first.number, second.number]
        assert found.statuses == ["ongoing", "finished"]
    assert find(state, "14", []) == []


def test_only_the_agents_that_are_named_count():
    """One ident may be of several agents, and a person may mean one of them."""
    state = state_with()
    for agent_id in ("a", "b", "c"):
        waits(state, "finished", agent_id=agent_id)
    assert [found.agent_id for found in find(state, "12", [])] == ["a", "b", "c"]
    assert [found.agent_id for found in find(state, "12", ["c", "a"])] == ["a", "c"]


@pytest.mark.promise_2
def test_only_what_was_shown_counts():
    """What came to wait since the person looked is left alone."""
    state = state_with()
    shown, since = refused(state, "paused"), waits(state, "finished")
    (found,) = find(state, "12", [], among=[shown.number])
    assert numbers(found.updates) == [shown.number]
    assert find(state, "12", [], among=[]) == []
    drop(state, found)
    assert state.agent("a").queue == [since]


@pytest.mark.promise_2
def test_retry_sends_in_the_old_order_and_at_once():
    """What was refused first goes first, though it is put back last."""
    state = state_with(an_active())
    first, second, third = (
        refused(state, "ongoing"),
        waits(state, "paused"),
        refused(state, "finished"),
    )
    (found,) = find(state, "12", [])
    retry(state, found)
    agent = state.agent("a")
    assert numbers(agent.queue) == [first.number, second.number, third.number]
    assert agent.refused == []
    for update in agent.queue:
        assert (update.not_before, update.pauses, update.failing_since) == (None, 0, None)
    assert {entry.outcome for entry in state.history} == {Outcome.QUEUED}


@pytest.mark.promise_3
def test_what_would_open_an_ended_slot_again_is_past_retrying():
    """Unless the slot is still active, or its end waits behind it or is retried with it."""
    ended = state_with()
    refused(ended, "ongoing")
    (found,) = find(ended, "12", [])
    assert past_retrying(ended, found) == found.refused

    active = state_with(an_active())
    refused(active, "ongoing")
    assert past_retrying(active, find(active, "12", [])[0]) == []

    elsewhere = state_with(an_active(ref(13)))
    refused(elsewhere, "ongoing")
    assert len(past_retrying(elsewhere, find(elsewhere, "12", [])[0])) == 1

    for end in (waits, refused):
        ending = state_with()
        refused(ending, "ongoing")
        end(ending, "finished")
        assert past_retrying(ending, find(ending, "12", [])[0]) == []


def test_an_end_can_always_be_retried():
    """It opens nothing."""
    state = state_with()
    refused(state, "aborted")
    assert past_retrying(state, find(state, "12", [])[0]) == []


def test_dropped_is_gone_and_the_history_says_by_whom():
    """The reason that stood there stays."""
    state = state_with()
    waits(state, "finished")
    refused(state, "paused")
    (found,) = find(state, "12", [])
    drop(state, found)
    assert (state.agent("a").queue, state.agent("a").refused) == ([], [])
    assert [(e.outcome, e.reason) for e in state.history] == [
        (Outcome.LOCAL, "why; dropped by hand"),
        (Outcome.REFUSED, "why"),
    ]


@pytest.mark.parametrize(("status", "announced"), [("ongoing", False), ("paused", True)])
def test_a_dropped_beginning_has_to_be_said_again(status, announced):
    """The first update of a slot is always ongoing, so the next word is led by another one."""
    state = state_with(an_active())
    waits(state, status)
    drop(state, find(state, "12", [])[0])
    active = state.agent("a").active
    assert active is not None
    assert active.announced is announced


def test_another_slots_dropped_beginning_changes_nothing_for_the_active_one():
    """Slots are told apart by their ids."""
    state = state_with(an_active(ref(13)))
    waits(state, "ongoing")
    drop(state, find(state, "12", [])[0])
    active = state.agent("a").active
    assert active is not None
    assert active.announced


def test_a_forgotten_agent_is_nowhere_but_in_the_history():
    """What waited is marked as dropped; other agents stay."""
    state = state_with(an_active())
    state.configured = ["a", "b"]
    waits(state, "ongoing")
    waits(state, "finished", ref(13), "b")
    forget(state, "a")
    assert (list(state.agents), state.configured) == (["b"], ["b"])
    assert [(e.agent_id, e.outcome) for e in state.history] == [
        ("a", Outcome.LOCAL),
        ("b", Outcome.QUEUED),
    ]


def test_what_would_be_lost_is_said():
    """Each reason not to forget an agent, in words; none for one that is idle."""
    state = state_with()
    assert reasons_to_keep(state.agent("a")) == []
    state.agent("a").active = an_active(state="paused", paused=None)
    state.agent("a").hold = Hold(None, "")
    waits(state, "ongoing")
    refused(state, "finished")
    refused(state, "finished")
    assert reasons_to_keep(state.agent("a")) == [
        "slot 12 is paused",
        "it is held",
        "1 update not delivered yet",
        "2 updates refused by the backend",
    ]
