"""hfcal.core.protocol: the protocol's words and shapes, read tolerantly."""

import json
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.core.ids import MAX_REAL_ID, SlotRef, valid_agent_id, valid_real_id, valid_virtual_id
from hfcal.core.protocol import (
    MAX_SLOT_BYTES,
    MAX_SLOTS,
    AgentStatus,
    BadAnswerError,
    EventType,
    SlotStatus,
    SlotType,
    parse_heartbeat,
    parse_slot,
    parse_slots,
    parse_sync,
    real_id_of,
)
from tests.unit.support import TODAY, json_values, listed, ref, texts, thorough

CASINGS: dict[str, Callable[[str], str]] = {
    "snake": lambda word: word,
    "pascal": lambda word: word.title().replace("_", ""),
    "kebab": lambda word: word.replace("_", "-"),
    "upper": lambda word: word.upper(),
    "spaced": lambda word: word.replace("_", " ").title(),
}

# Slots as a backend with bugs, or an enemy's, might send them: known keys, any values.
FIELDS = [
    "id",
    "virtual_id",
    "plan_id",
    "date",
    "status",
    "slot_type",
    "event_type",
    "event_data",
    "scheduled_at",
    "started_at",
    "estimated_duration",
    "priority",
]
plausible = (
    st.integers(-1, 9)
    | st.sampled_from(["plan-7-2026-11-23", "not_started", "Ongoing", TODAY, "09:00", ".", ""])
    | json_values
)
odd_slots = st.dictionaries(st.sampled_from(FIELDS) | texts, plausible) | json_values
odd_heartbeats = (
    st.fixed_dictionaries(
        {"slots": st.lists(odd_slots, max_size=6)}, optional={"agent_status": plausible}
    )
    | json_values
)


@pytest.mark.parametrize("casing", CASINGS)
def test_words_are_read_in_any_casing(casing):
    """A backend may write its words NotStarted, not-started or NOT_STARTED."""
    write = CASINGS[casing]
    for status in SlotStatus:
        assert listed(1, write(status.value)).status is status
    for slot_type in SlotType:
        assert listed(1, slot_type=write(slot_type.value)).slot_type is slot_type
    for event_type in EventType:
        assert listed(1, event_type=write(event_type.value)).event_type is event_type
    for agent_status in AgentStatus:
        answer = {"slots": [], "agent_status": write(agent_status.value)}
        assert parse_heartbeat(answer).agent_status is agent_status


@pytest.mark.parametrize("key", ["status", "slot_type", "event_type"])
def test_an_unknown_word_is_told_and_spoils_nothing(key):
    """A word that nobody knows stays visible: never dropped silently, never an error."""
    heartbeat = parse_heartbeat({"slots": [{"id": 5, "status": "not_started", key: "frozen"}]})
    (slot,) = heartbeat.slots
    (problem,) = heartbeat.problems
    assert getattr(slot, key) is None
    assert problem.slot == "5"
    assert key in problem.message
    assert "'frozen'" in problem.message
    assert slot.raw[key] == "frozen"


def test_an_unknown_agent_status_is_told():
    """An agent status that nobody knows is a problem of the answer, not of a slot."""
    heartbeat = parse_heartbeat({"slots": [], "agent_status": "asleep"})
    assert heartbeat.agent_status is None
    assert [(p.slot, "asleep" in p.message) for p in heartbeat.problems] == [(None, True)]


def test_a_slot_without_status_is_told():
    """A slot that can't be dispatched because its status is missing says so."""
    (problem,) = parse_heartbeat({"slots": [{"id": 5}]}).problems
    assert problem.slot == "5"
    assert "no status" in problem.message


@pytest.mark.parametrize("missing", [{}, dict.fromkeys(FIELDS[2:], None)])
def test_all_but_an_id_may_be_missing_or_null(missing):
    """A slot of which only the id is known is a slot."""
    slot = parse_slot({**missing, "id": 5})
    assert slot.ident == "5"
    assert slot.priority == 0
    assert slot.event_data == {}


def test_unknown_fields_are_kept():
    """More fields will come: they are passed on and are no problem."""
    slot = listed(5, mood="fine", extra={"a": [1, None]})
    assert slot.raw["mood"] == "fine"
    assert slot.raw["extra"] == {"a": [1, None]}
    assert slot.problems == ()


@pytest.mark.parametrize("value", ["text", 5, [1], True])
def test_odd_event_data_is_told(value):
    """Event data that is no object counts as none."""
    slot = listed(5, event_data=value)
    assert slot.event_data == {}
    assert "event_data" in slot.problems[0]


@pytest.mark.parametrize("value", ["high", [], True, 1e30, -1e12])
def test_an_odd_priority_counts_as_none(value):
    """A priority that is no number in range is told, and the slot comes last."""
    slot = listed(5, priority=value)
    assert slot.priority == 0
    assert "priority" in slot.problems[0]


GOOD_IDS = [
    {"id": 1},
    {"id": MAX_REAL_ID},
    {"virtual_id": "a"},
    {"virtual_id": "x" * 200},
    {"virtual_id": "..."},
    {"virtual_id": "a/../b?c#d e"},
    {"id": 3, "virtual_id": None},
    {"id": None, "virtual_id": "plan-7-2026-11-23"},
]
BAD_IDS = [
    {},
    {"id": None, "virtual_id": None},
    {"id": 0},
    {"id": -1},
    {"id": MAX_REAL_ID + 1},
    {"id": 10**4000},
    {"id": True},
    {"id": "12"},
    {"id": 12.0},
    {"id": [12]},
    {"virtual_id": ""},
    {"virtual_id": "."},
    {"virtual_id": ".."},
    {"virtual_id": "x" * 201},
    {"virtual_id": "plän"},
    {"virtual_id": "a\nb"},
    {"virtual_id": "a\x7fb"},
    {"virtual_id": 7},
    {"id": 12, "virtual_id": ".."},
]


@pytest.mark.parametrize("ids", GOOD_IDS, ids=str)
def test_ids_within_the_limits_are_taken(ids):
    """A real id is 1 to 2^63-1; a virtual one 1 to 200 printable ASCII, not dots alone."""
    slots, problems = parse_slots([{**ids, "status": "not_started"}])
    assert len(slots) == 1
    assert problems == []


@pytest.mark.parametrize("ids", BAD_IDS, ids=lambda ids: str(ids)[:40])
def test_a_slot_that_cannot_be_updated_is_an_error_of_that_slot_alone(ids):
    """Its neighbours are read as if it were not there."""
    good = {"id": 1, "status": "not_started"}
    slots, problems = parse_slots([ids, good])
    assert [s.ident for s in slots] == ["1"]
    assert len(problems) == 1
    assert "slot number 1 of the answer" in problems[0].message


@pytest.mark.parametrize("item", [None, 5, "slot", [], True])
def test_what_is_no_slot_is_told_by_its_place(item):
    """An item that is no object is a problem, not a failure."""
    slots, problems = parse_slots([{"id": 1, "status": "deferred"}, item])
    assert len(slots) == 1
    assert "slot number 2 of the answer" in problems[0].message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"id": 5}, {"id": 5}),
        ({"virtual_id": "v"}, {"virtual_id": "v"}),
        ({"virtual_id": "v"}, {"id": 5, "virtual_id": "v"}),
        ({"virtual_id": "plan-7-2026-11-23"}, {"id": 5, "plan_id": 7, "date": TODAY}),
        ({"id": 5, "plan_id": 7, "date": TODAY}, {"id": 6, "plan_id": 7, "date": TODAY}),
    ],
)
def test_duplicates_in_one_answer_count_once(first, second):
    """The first of two that agree in real id, virtual id, or plan and date, is the slot."""
    slots, _ = parse_slots([{**first, "priority": 1}, {**second, "priority": 2}, {"id": 99}])
    assert [s.priority for s in slots] == [1, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"id": 5}, {"id": 6}),
        ({"id": 5}, {"virtual_id": "5"}),
        ({"id": 5, "plan_id": 7, "date": TODAY}, {"id": 6, "plan_id": 7, "date": "2026-11-24"}),
        ({"id": 5, "plan_id": 7, "date": TODAY}, {"id": 6, "plan_id": 8, "date": TODAY}),
        ({"id": 5, "plan_id": 7}, {"id": 6, "plan_id": 7}),
        ({"id": 5, "date": TODAY}, {"id": 6, "date": TODAY}),
    ],
)
def test_slots_that_agree_in_nothing_are_two(first, second):
    """A plan without a date, or a date without a plan, makes no two slots the same."""
    slots, _ = parse_slots([first, second])
    assert len(slots) == 2


@pytest.mark.promise_10
def test_a_flood_of_slots_is_cut_and_told():
    """Of more than a thousand listed slots the first thousand are read, and the answer says so."""
    slots, problems = parse_slots(
        [{"id": n, "status": "deferred"} for n in range(1, MAX_SLOTS + 2)]
    )
    assert [s.ident for s in slots] == [str(n) for n in range(1, MAX_SLOTS + 1)]
    assert [p.slot for p in problems] == [None]
    assert "1001" in problems[0].message


@pytest.mark.parametrize("answer", [None, [], "text", 5, True, {}, {"slots": None}, {"slots": {}}])
def test_an_answer_without_slots_is_no_heartbeat(answer):
    """A heartbeat's answer must be an object with a list of slots."""
    with pytest.raises(BadAnswerError, match="expected"):
        parse_heartbeat(answer)


@pytest.mark.parametrize("answer", [None, [], {}, {"schedules": []}, {"schedules": None}])
def test_an_answer_without_schedules_is_no_sync(answer):
    """A sync's answer must be an object with an object of schedules."""
    with pytest.raises(BadAnswerError, match="schedules"):
        parse_sync(answer)


def test_a_sync_passes_over_what_is_odd():
    """Odd schedules and odd slots spoil no other agent's schedule."""
    schedules = parse_sync(
        {"schedules": {"a": [{"id": 1}, 5, {}], "b": "odd", "c": [], "d": None}, "full": True}
    )
    assert {a: [s.ident for s in slots] for a, slots in schedules.items()} == {"a": ["1"], "c": []}


@pytest.mark.promise_10
def test_a_kept_slot_is_at_most_16_kib():
    """The largest fields are left out, by name; what is small, and the ids, stay."""
    slot = listed(5, notes="x" * 100_000, event_data={"event": "SummaryToday"}, priority=9)
    assert len(json.dumps(slot.raw)) <= MAX_SLOT_BYTES
    assert "notes" not in slot.raw
    assert slot.raw["id"] == 5
    assert slot.event_data == {"event": "SummaryToday"}
    assert any("notes" in problem for problem in slot.problems)


@pytest.mark.promise_10
def test_a_slot_of_many_small_fields_is_cut_as_well():
    """The limit is for the whole slot, not for each field."""
    slot = listed(5, **{f"field{n}": "ü" * 50 for n in range(1000)})
    assert 0 < len(json.dumps(slot.raw)) <= MAX_SLOT_BYTES
    assert slot.ident == "5"


def test_a_slot_of_just_16_kib_is_kept_whole():
    """Nothing is left out of a slot that fits."""
    room = MAX_SLOT_BYTES - len(json.dumps(listed(5, notes="").raw))
    assert listed(5, notes="x" * room).problems == ()
    assert listed(5, notes="x" * (room + 1)).problems != ()


@pytest.mark.promise_10
def test_deep_nesting_is_cut():
    """Nesting that would exhaust the stack of whoever reads it later is cut off."""
    lists: object = []
    objects: object = {}
    for _ in range(900):
        lists, objects = [lists], {"a": objects}
    kept = json.dumps(listed(5, event_data={"lists": lists}, objects=objects).raw)
    assert kept.count("[") < 20
    assert kept.count("{") < 20


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 12, "status": "ongoing"},
        {"slot": {"id": 12}},
        {"slot_id": 12},
        {"slot": {"slot_id": 12}},
        {"ok": True, "slot_id": 12},
        {"ok": True, "slot": {"id": 12, "virtual_id": None}},
    ],
)
def test_the_real_id_is_found_in_each_shape(answer):
    """The answer to an update tells the real id in one of several shapes."""
    assert real_id_of(answer) == 12


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "12",
        12,
        {},
        {"ok": True},
        {"id": True},
        {"id": "12"},
        {"id": 12.0},
        {"id": 2**63},
        {"slot_id": 0},
        {"slot": 12},
        {"slot": {"id": -1}},
        {"slot": [{"id": 12}]},
    ],
)
def test_what_is_no_id_is_not_taken_for_one(answer):
    """An answer that doesn't tell the id leaves it unknown."""
    assert real_id_of(answer) is None


@pytest.mark.promise_10
@given(odd_heartbeats)
@thorough
def test_any_answer_to_a_heartbeat_is_read_or_named_bad(answer):
    """Any JSON gives slots that are bounded and can be stored and shown, or a BadAnswerError."""
    try:
        heartbeat = parse_heartbeat(answer)
    except BadAnswerError as error:
        assert str(error)
        return
    for slot in heartbeat.slots:
        assert valid_virtual_id(slot.ident) or slot.ident.isdigit()
        assert len(json.dumps(slot.raw)) <= MAX_SLOT_BYTES
        assert json.loads(json.dumps(slot.raw, ensure_ascii=False).encode("utf-8")) == slot.raw
        assert all(valid_real_id(number) for number in slot.ref.real)
        assert all(valid_virtual_id(text) for text in slot.ref.virtual)
        assert slot.event_data == (slot.raw.get("event_data") or {}) or not slot.event_data
    for problem in heartbeat.problems:
        assert len(problem.message) < 500
        assert not any(unicodedata.category(c).startswith("C") for c in problem.message)


@pytest.mark.promise_10
@given(st.dictionaries(texts, st.lists(odd_slots, max_size=3) | json_values, max_size=3))
@thorough
def test_any_schedules_are_read(schedules):
    """Whatever stands in a sync's schedules, no agent's part of it is a failure."""
    for slots in parse_sync({"schedules": schedules}).values():
        assert all(slot.ident for slot in slots)


@given(json_values | st.dictionaries(st.sampled_from(["id", "slot", "slot_id"]), plausible))
@thorough
def test_any_answer_to_an_update_gives_a_valid_id_or_none(answer):
    """Whatever an update is answered, the id taken from it is one."""
    found = real_id_of(answer)
    assert found is None or valid_real_id(found)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ref(5), ref(5), True),
        (ref(5), ref(6), False),
        (ref(5, 6), ref(6, 7), True),
        (ref("v"), ref("v", 5), True),
        (ref("v"), ref("w"), False),
        (ref("5"), ref(5), False),
        (ref("v", "plan-7-2026-11-23"), ref(5, "plan-7-2026-11-23"), True),
    ],
)
def test_two_slots_are_the_same_when_any_id_agrees(one, other, same):
    """Real ids are compared with real ids, virtual ones with virtual ones."""
    assert one.same(other) is same
    assert other.same(one) is same


def test_the_present_ident_is_the_real_id_else_the_virtual_one():
    """A slot is called by its newest real id; every ident it ever had names it."""
    slot = ref("plan-7-2026-11-23")
    assert slot.ident == "plan-7-2026-11-23"
    slot.learn(ref(12, "plan-7-2026-11-23"))
    assert slot.ident == "12"
    assert slot.idents == ["plan-7-2026-11-23", "12"]
    assert slot.named("12")
    assert slot.named("plan-7-2026-11-23")
    assert not slot.named("13")


def test_a_listed_slot_has_its_plan_and_date_as_an_ident():
    """plan-{plan_id}-{date} names a slot whatever else it is called."""
    assert listed(12, plan_id=7).ref.idents == ["plan-7-2026-11-23", "12"]
    assert listed("v", plan_id=7).ref.idents == ["v", "plan-7-2026-11-23"]
    assert listed("v", plan_id=7).ident == "v"


def test_copies_of_ids_are_independent():
    """What one record learns doesn't change another's copy."""
    first = ref("v")
    second = first.copy()
    second.learn(ref(12, "v"))
    second.became_real = True
    assert first.idents == ["v"]
    assert not first.became_real


@pytest.mark.parametrize(
    ("ident", "idents"),
    [
        ("12", ["12"]),
        (str(MAX_REAL_ID), [str(MAX_REAL_ID)]),
        ("plan-7-2026-11-23", ["plan-7-2026-11-23"]),
        ("a b", ["a b"]),
    ],
)
def test_a_person_names_a_slot_by_any_ident(ident, idents):
    """Digits are a real id, anything else that can be one is a virtual id."""
    assert SlotRef.from_ident(ident).idents == idents


def test_the_date_in_a_virtual_id_is_known():
    """A slot named by plan and date is known to be of that date."""
    assert SlotRef.from_ident("plan-7-2026-11-23").date == TODAY
    assert SlotRef.from_ident("other").date is None


@given(texts | st.from_regex(r"[0-9]{1,40}", fullmatch=True))
@thorough
def test_a_named_slot_has_ids_within_the_limits(ident):
    """What a person types is a slot with ids that can be ids, or a ValueError."""
    try:
        found = SlotRef.from_ident(ident)
    except ValueError:
        return
    assert all(valid_real_id(number) for number in found.real)
    assert all(valid_virtual_id(text) for text in found.virtual)


@pytest.mark.parametrize("value", ["a", "x" * 128, "dev/1", "~!@", ".."])
def test_agent_ids_within_the_limits_are_taken(value):
    """An agent id is 1 to 128 printable ASCII characters without space."""
    assert valid_agent_id(value)


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "é", "a\n", "\x7f", "a\x00", 5, None])
def test_other_agent_ids_are_not(value):
    """Anything else is no agent id."""
    assert not valid_agent_id(value)
