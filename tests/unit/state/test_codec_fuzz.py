"""The state file as damage and odd hands may leave it: every outcome is one that is defined."""

from __future__ import annotations

import copy
import io
import json
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hfcal.backend.bridge import Bridge
from hfcal.backend.pool import Workers
from hfcal.clock import EARLIEST, FARTHEST, Moment, now
from hfcal.config.settings import Settings
from hfcal.core import memory, outbox, transitions
from hfcal.core.commands import AcceptedCommand, AgentCommand, apply
from hfcal.core.health import stale_agents
from hfcal.core.ids import SlotRef, valid_agent_id
from hfcal.core.notices import record_fault, record_recovery
from hfcal.core.protocol import Heartbeat, Slot, SlotStatus
from hfcal.core.records import (
    Active,
    ActiveState,
    AgentState,
    HistoryEntry,
    State,
    Update,
)
from hfcal.core.scheduler import Action, Policy, decide
from hfcal.engine.tick import Tick
from hfcal.errors import BridgeError, Fault, HfcalError
from hfcal.state.codec import (
    NewerSchemaError,
    decode_state,
    encode,
    encode_state,
)
from hfcal.state.damaged import salvage_updates
from hfcal.state.file import StateFile
from hfcal.views.documents import status_document
from hfcal.views.tables import status_lines
from hfcal.wake.message import Commands
from hfcal.wake.wakers import Wakers
from tests.unit.state.test_codec import EVERYTHING, numbered, places, records_of, states
from tests.unit.support import DAY, HOUR, NOON, TODAY, beat, listed, ref, texts, thorough

# Bytes that are no state any more


@cache
def several() -> State:
    """A state of three agents with updates amidst all else that is kept, and alone."""
    state = copy.deepcopy(EVERYTHING)
    state.agents["last"] = AgentState(queue=[Update(1, ref(5), "finished", NOON)])
    return numbered(state)


def found_in(content: bytes) -> tuple[State | None, dict[str, list[Update]]]:
    """What is read, and what is saved, from these bytes; fails unless both are sound."""
    state: State | None = None
    try:
        state = decode_state(content)
    except NewerSchemaError:
        pass
    except ValueError as error:
        assert str(error)
    else:
        assert decode_state(encode_state(state)) == state
    saved = salvage_updates(content)
    rebuilt = State(NOON)
    for agent_id, updates in saved.items():
        assert valid_agent_id(agent_id)
        rebuilt.agent(agent_id).queue = copy.deepcopy(updates)
    numbered(rebuilt)
    assert decode_state(encode_state(rebuilt)) == rebuilt
    return state, saved


def whole_before(content: bytes, state: State) -> list[tuple[int, str, Update]]:
    """Each queued update with the place where it ends in the file, and its agent."""
    found = []
    place = 0
    for agent_id, agent in state.agents.items():
        for update in agent.queue:
            text = json.dumps(encode(update), default=encode, separators=(",", ":")).encode()
            place = content.index(text, place) + len(text)
            found.append((place, agent_id, update))
    return found


@pytest.mark.promise_2
@pytest.mark.promise_7
def test_a_cut_anywhere_loses_no_update_that_stands_before_it():
    """What an agent was promised and is whole in a torn file is sent, in its order, no more."""
    state = several()
    content = encode_state(state)
    ends = whole_before(content, state)
    assert len(ends) == 3
    for cut in range(len(content) - 1):
        with pytest.raises(ValueError, match=r"."):
            decode_state(content[:cut])
        saved = salvage_updates(content[:cut])
        assert set(saved) <= set(state.agents)
        for agent_id in state.agents:
            due = [update for end, name, update in ends if name == agent_id and end <= cut]
            assert saved.get(agent_id, []) == due, (cut, content[max(0, cut - 60) : cut])


@pytest.mark.promise_7
@pytest.mark.promise_10
@pytest.mark.parametrize(
    "slot",
    [
        {"queue": [1]},
        {"queue": [{"number": 9, "ref": {"real": [99]}, "status": "finished", "since": 5}]},
        {"agents": {"x": {"queue": [1]}}},
        {"note": '"queue":[', "more": '"agents":{"'},
    ],
    ids=["queue", "update", "agents", "text"],
)
def test_no_listed_slot_hides_or_forges_a_waiting_update(slot):
    """What the backend listed is kept in the file as well, and may look like a queue."""
    state = several()
    state.agents["last"].active = Active(ref(7), ActiveState.ONGOING, now(), slot=slot)
    state.agents["last"].error = "odd"
    content = encode_state(state)
    queue = state.agents["last"].queue
    for end in (content.index(b'"odd"'), content.index(b'"error":"odd"') - 1):
        _, saved = found_in(content[:end])
        assert saved["last"] == queue


def test_a_flipped_bit_anywhere_is_a_state_or_damage():
    """One bit of every third byte: read, newer or damaged, and updates that are sound."""
    content = bytearray(encode_state(several()))
    for place in range(0, len(content), 3):
        bit = 1 << (place % 8)
        content[place] ^= bit
        found_in(bytes(content))
        content[place] ^= bit


BOM = "\ufeff"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("before", ["", BOM, "\0", " \n\t", "\x1a"])
@pytest.mark.parametrize("after", ["", "\0" * 40, " \n", "{}", "\ud800"])
def test_another_encoding_is_the_state_or_damage(encoding, before, after):
    """An editor's idea of text loses nothing silently: what is read is all of it."""
    text = encode_state(several()).decode()
    content = f"{before}{text}{after}".encode(encoding, "surrogatepass")
    state, _ = found_in(content)
    assert state in (None, several())


RAW = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e308",
    "-1e308",
    "1e999",
    "1e-999",
    "-0.0",
    "9" * 400,
    "-" + "9" * 400,
    "9" * 4300,
    "9" * 5000,
    "NaN",
    "-Infinity",
    '""',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    '"\\u0000"',
    '"\x00"',
    '"plan-7-2026-11-23"',
    '"2026-99-99"',
    "[]",
    "{}",
    "[[]]",
    '{"":{}}',
    *[f"{'[' * depth}{']' * depth}" for depth in (20, 300, 700, 100_000)],
    '{"a":' * 400 + "1" + "}" * 400,
]


def rewritten(content: bytes, changes: list[tuple[int, str, str]]) -> bytes:
    """A state's bytes with values replaced, dropped or given twice, by the number of their place.

    A value of `changes` stands as it is: it may be no JSON.
    """
    document = json.loads(content)
    marks: dict[str, str] = {}
    for number, what, raw in changes:
        paths = places(document)[1:]
        if not paths:
            break
        path = paths[number % len(paths)]
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        last = path[-1]
        if what == "drop":
            del inner[last]
            continue
        mark = f"@{len(marks)}@"
        instead = raw
        if what == "twice" and isinstance(inner, dict):
            instead = f"{json.dumps(inner[last])},{json.dumps(last)}:{raw}"
        inner[last] = mark
        marks[json.dumps(mark)] = instead
    text = json.dumps(document, separators=(",", ":"))
    # The later ones may stand inside the earlier ones.
    for mark, instead in marks.items():
        text = text.replace(mark, instead)
    return text.encode("utf-8", "surrogatepass")


changes = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from(["replace", "drop", "twice"]),
        st.sampled_from(RAW) | st.builds(json.dumps, texts),
    ),
    min_size=1,
    max_size=4,
)


@given(changes)
@settings(thorough, max_examples=80)
def test_a_rewritten_document_is_a_state_or_damage(drawn):
    """Values replaced, dropped and given twice, at any places at once, by any JSON or none."""
    found_in(rewritten(encode_state(EVERYTHING), drawn))


@pytest.mark.parametrize(
    "raw", ["9" * 400, "-" + "9" * 400, "[" * 700 + "]" * 700], ids=["large", "low", "deep"]
)
def test_an_extreme_value_at_any_place_is_a_state_or_damage(raw):
    """Too large or too deep for what comes after is found when it is read."""
    content = encode_state(EVERYTHING)
    for number in range(len(places(json.loads(content))) - 1):
        state, _ = found_in(rewritten(content, [(number, "replace", raw)]))
        if state is not None:
            shown(state, now())


# States that are read, and odd

WORDS = ["", "finished", "busy", "\ud800", "\x1b[2J\0", "x" * 5000, "12", TODAY, "9999-12-31"]
SLOTS = [
    {},
    {"estimated_duration": 30},
    {"estimated_duration": 10**400},
    {"estimated_duration": -1e308},
    {"estimated_duration": "30"},
    {"slot_type": ["on_call"], "id": None},
    {"slot_type": "On-Call", "queue": [{}]},
    {"slot_type": "x" * 20_000, "\ud800": "\ud800"},
]
COMMON: dict[str, list[Any]] = {
    "numbers": [0, 1, 2],
    "times": [NOON - HOUR, NOON],
    "words": ["", "finished", TODAY],
    "slots": SLOTS[:2],
}
ODD: dict[str, list[Any]] = {
    "numbers": [2**31, 2**53 + 1, 2**63, 2**63, -1],
    "times": [EARLIEST, FARTHEST, 0.0, -1.0, 1e11, 5e-324, NOON + 3 * HOUR, NOON + 400 * DAY],
    "words": WORDS,
    "slots": SLOTS,
}
REFS = [ref(12), ref(12, "plan-7-2026-11-23"), ref("plan-7-2026-11-23"), ref(13, date=None)]
REFS += [SlotRef([12, 13], ["v"], "odd", became_real=True), SlotRef([], ["v"], None, True)]


def odd_states(what: str) -> st.SearchStrategy[State]:
    """States whose values of one kind are odd, while their types are right."""

    def of(kind: str) -> st.SearchStrategy[Any]:
        return st.sampled_from(COMMON[kind] + (ODD[kind] if kind == what else []))

    times, words = of("times"), of("words")
    boots = st.sampled_from([now().boot_id, "boot-0", ""])
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        float: times,
        int: of("numbers"),
        bool: st.booleans(),
        str: words,
        Any: st.none() | words,
        SlotRef: st.sampled_from(REFS).map(copy.deepcopy),
        Moment: st.builds(Moment, times, boots, times),
    }
    statuses = st.sampled_from(["ongoing", "paused", "finished", "aborted"])
    kinds[Update] = records_of(Update, kinds, status=statuses)
    kinds[Active] = records_of(Active, kinds, slot=of("slots"))
    names = st.sampled_from(["a", "b", "c"])
    kinds[HistoryEntry] = records_of(HistoryEntry, kinds, agent_id=names | words)
    agents = st.dictionaries(names, records_of(AgentState, kinds), min_size=1, max_size=2)
    return records_of(State, kinds, agents=agents).map(numbered)


any_odd = st.sampled_from(sorted(ODD)).flatmap(odd_states)
some = settings(
    thorough,
    max_examples=12,
    phases=[Phase.generate],  # making such a state smaller takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def kept(state: State) -> State | None:
    """The state as it comes out of its file; None if it is damage."""
    try:
        return decode_state(encode_state(state))
    except ValueError:
        return None


def still_kept(state: State) -> None:
    """Whatever was done to a state, it can be saved and read."""
    assert decode_state(encode_state(state)) == state


def shown(state: State, moment: Moment) -> None:
    """Show a state in every way there is."""
    assert json.loads(json.dumps(status_document(state, moment)))["schema"] == 1
    assert set(stale_agents(state, moment)) <= set(state.configured)
    assert status_lines(state, moment, io.TextIOWrapper(io.BytesIO(), "utf-8", errors="replace"))


def some_moments() -> list[Moment]:
    """Now, and the moments of a host whose clock is off or that was booted again."""
    here = now()
    return [here, Moment(NOON - 400 * DAY, "boot-9", 5.0), Moment(5.0, "", 0.0)]


HEARTBEATS = [
    beat(),
    beat(listed(12), listed(13, "deferred", scheduled_at="11:00"), listed("v", "paused")),
    beat(listed(12, "finished"), listed("plan-7-2026-11-23", plan_id=7)),
    beat(listed(12, "ongoing"), listed(13, "aborted"), status="exhausted"),
]
FAULTS: list[Fault | None] = [
    None,
    Fault("unreachable", "cannot connect"),
    Fault("timeout", "waited 10 s", maybe_done=True),
    Fault("server_error", "answered 503", 503, 1e300, maybe_done=True),
    Fault("rejected", "answered 404", 404),
    Fault("rejected", "answered 409", 409),
    Fault("rejected", "answered 422", 422),
    Fault("unauthorized", "answered 401", 401),
]


@given(any_odd)
@some
def test_every_odd_state_can_be_shown(odd):
    """`status` has an answer to whatever could be read, on any host's clock."""
    state = kept(odd)
    if state is not None:
        for moment in some_moments():
            shown(state, moment)


EXTREME = [10**400, -(10**400), 1e308, -1e308, 0, "30", None, True, [], {}]


@pytest.mark.parametrize("value", EXTREME, ids=lambda value: repr(value)[:6])
def test_whatever_a_listed_slot_says_can_be_shown(value):
    """What the backend lists is kept as it came, and no number in it is too large to show."""
    words = ["estimated_duration", "priority", "slot_type", "id", "scheduled_at", "event_data"]
    slot = dict.fromkeys(words, value)
    state = State(NOON)
    state.agent("a").active = Active(ref(7), ActiveState.ONGOING, now(), slot=slot)
    state = decode_state(encode_state(state))
    for moment in some_moments():
        shown(state, moment)


@given(any_odd)
@some
def test_an_agents_word_has_an_outcome_in_every_odd_state(odd):
    """Accepted and queued, or refused with a reason; then the state can still be saved."""
    for verb in ("complete", "abort", "pause", "resume"):
        for slot in (None, "12", "v", "nope", "plan-7-2026-11-23"):
            state = kept(odd)
            if state is None:
                return
            agent_id = next(iter(state.agents))
            accepted: AcceptedCommand | None = None
            try:
                accepted = apply(state, agent_id, AgentCommand(verb, agent_id, slot), now())
            except HfcalError as error:
                assert error.message
            still_kept(state)
            if accepted is not None and accepted.update is not None:
                queue = state.agent(agent_id).queue
                assert accepted.update in {update.number for update in queue}


@given(any_odd, st.sampled_from(HEARTBEATS), st.booleans())
@some
def test_a_decision_is_taken_in_every_odd_state(odd, heartbeat, due_check):
    """Whatever is remembered and listed, one of the known actions comes of it."""
    state = kept(odd)
    if state is None:
        return
    for moment in some_moments():
        for agent in state.agents.values():
            decision = decide(agent, heartbeat, moment, moment, Policy(due_check))
            assert decision.action in Action
            agent.next = decision.next
        still_kept(state)


def slot_steps(agent_id: str, moment: Moment) -> Mapping[str, Callable[[State], object]]:
    """Each step that a tick may take about an agent, by its name."""
    heard = [slot for heartbeat in HEARTBEATS for slot in heartbeat.slots]
    key = "12"
    return {
        "listed": lambda s: memory.note_listed(s, agent_id, heard, moment),
        "forget": lambda s: memory.forget_old(s.agent(agent_id), moment),
        "trim": lambda s: memory.trim_history(s, 1),
        "abandon": lambda s: transitions.abandon_if_overdue(s, agent_id, 4 * HOUR, moment),
        "woken": lambda s: transitions.note_woken(s, agent_id, key, moment),
        "failed": lambda s: transitions.note_wake_failed(s, agent_id, key, "no", moment),
        "end": lambda s: transitions.end_active(
            s, agent_id, transitions.SlotEnd("finished"), moment
        ),
        "other": lambda s: transitions.end_inactive(
            s, agent_id, ref(12), transitions.SlotEnd("aborted"), moment, announce=True
        ),
        "pause": lambda s: transitions.pause(s, agent_id, moment),
        "resume": lambda s: transitions.resume(s, agent_id, moment),
        "again": lambda s: transitions.requeue_state(s, agent_id, moment),
        "resolve": lambda s: transitions.resolve(s, agent_id, SlotStatus.SKIPPED, moment),
        "give up": lambda s: transitions.abort_uncertain(s, agent_id, moment),
        "adopt": lambda s: transitions.adopt(s, agent_id, listed(12, "ongoing"), moment),
        "fault": lambda s: record_fault(
            s.agent(agent_id).troubles, agent_id, "", "kind", "m", moment.wall
        ),
        "well": lambda s: record_recovery(s.agent(agent_id).troubles, agent_id, "", moment.wall),
    }


@given(any_odd)
@some
def test_every_step_of_a_slot_can_be_taken_in_every_odd_state(odd):
    """No step of docs/contract.md's Scheduling fails on what could be read."""
    state = kept(odd)
    if state is None:
        return
    agent_id = next(iter(state.agents))
    for moment in some_moments()[:2]:
        for name, step in slot_steps(agent_id, moment).items():
            changed = copy.deepcopy(state)
            agent = changed.agent(agent_id)
            if agent.active is None:
                agent.active = Active(ref(12), ActiveState.WAKING, moment)
            if name in {"woken", "failed"}:
                agent.active.key = "12"
            step(changed)
            still_kept(changed)


@given(any_odd)
@some
def test_every_answer_can_be_noted_in_every_odd_state(odd):
    """An update is delivered, refused or still waits, whatever is answered; none gets lost."""
    for fault in FAULTS:
        state = kept(odd)
        if state is None:
            return
        moment = now()
        for agent_id, agent in state.agents.items():
            waiting = {update.number for update in agent.queue}
            for sending in outbox.begin(agent, moment, set(), respect_pauses=False):
                delivery = outbox.settle(state, agent_id, outbox.Result(sending, fault, 77), moment)
                queued = sending.number in {update.number for update in agent.queue}
                assert queued != (delivery.delivered or delivery.refused)
                waiting -= set() if queued else {sending.number}
            assert waiting == {update.number for update in agent.queue}
            outbox.learn(agent, ref(12, "plan-7-2026-11-23", "v"))
            outbox.has_work(agent, moment, set())
        still_kept(state)


# A whole tick over an odd state


class Answering(Bridge):
    """A bridge that answers at once: the same listing for all, and faults in turn."""

    def __init__(self, heartbeat: Heartbeat, fault: Fault | None) -> None:
        super().__init__("http://127.0.0.1:1", "srv1")
        self._heartbeat = heartbeat
        self._fault = fault

    def heartbeat(self, agent_id: str) -> Heartbeat:
        return copy.deepcopy(self._heartbeat)

    def update(self, agent_id: str, ref: SlotRef, body: Mapping[str, object]) -> int | None:
        json.dumps(body)
        if self._fault is not None:
            raise BridgeError(self._fault)
        return 77

    def post_status(self, agent_id: str, status: str) -> None:
        if self._fault is not None:
            raise BridgeError(self._fault)

    def sync(self) -> dict[str, list[Slot]]:
        return {"a": [listed(12, "ongoing"), listed(31, "paused")], "nobody": [listed(5)]}


@given(any_odd, st.sampled_from(HEARTBEATS), st.sampled_from(FAULTS))
@settings(some, max_examples=10)
def test_a_tick_over_every_odd_state_ends_well(tmp_path_factory, odd, heartbeat, fault):
    """All of a tick: no bug, every agent reported, a state that can be read, no update lost."""
    if kept(odd) is None:
        return
    path: Path = tmp_path_factory.mktemp("odd") / "state.json"
    path.write_bytes(encode_state(odd))
    wanted = Settings(
        None, path, "http://127.0.0.1:1", "srv1", ("a", "b"), wake={"adapter": "print"}
    )
    lost: list[str] = []
    file = StateFile(path, lock_timeout=5, on_lost=lost.append)
    workers = Workers(4, lambda: Answering(heartbeat, fault))
    before = set(threading.enumerate())
    tick = Tick(
        wanted,
        file,
        Wakers(wanted, answer_on_stdout=True),
        Commands(("hfcal",), path, None),
        workers,
        wakes=1,
    )
    report = tick.run()
    workers.close()
    assert [agent.agent_id for agent in report.agents] == ["a", "b"]
    assert [agent.error.message for agent in report.agents if agent.error] == []
    assert [news.message for news in report.news if "bug" in news.message] == []
    assert lost == []
    after = StateFile(path).read()
    assert after is not None
    gone = {delivery.number for delivery in report.deliveries if delivery.delivered}
    for agent_id, agent in odd.agents.items():
        then = after.agents[agent_id]
        still = {u.number for u in then.queue} | {r.update.number for r in then.refused}
        assert {update.number for update in agent.queue} <= still | gone or then.refused
    for thread in set(threading.enumerate()) - before:
        thread.join(10)


@given(states, st.sampled_from([NOON, 5.0]))
@some
def test_every_state_that_can_be_kept_can_be_shown(state, wall):
    """Also with the texts and values that only a generator thinks of."""
    shown(state, Moment(wall, "boot-1", 100.0))
