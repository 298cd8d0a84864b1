"""hfcal.state.codec: records to the bytes of the state file and back."""

import json
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.clock import Moment, rfc3339
from hfcal.core import records
from hfcal.core.ids import MAX_REAL_ID, SlotRef
from hfcal.core.records import (
    SCHEMA,
    Active,
    ActiveState,
    AgentState,
    Ended,
    FailedWake,
    HistoryEntry,
    Hold,
    NextSlot,
    Outcome,
    Refusal,
    State,
    SyncNote,
    Trouble,
    Update,
    Wake,
)
from hfcal.state.codec import NewerSchemaError, decode_state, encode_state
from tests.unit.support import NOON, an_active, at, json_values, ref, texts, thorough

LAST_SECOND = 253_402_300_799.0  # of the year 9999

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
virtual_ids = printable.filter(lambda text: text not in {".", ".."})
real_ids = st.integers(1, MAX_REAL_ID)
SPECIAL: dict[Any, st.SearchStrategy[Any]] = {
    float: st.floats(-6.2e10, 2.4e11),
    int: st.integers(0, 10**6),
    bool: st.booleans(),
    str: texts,
    Any: json_values,
    SlotRef: st.builds(
        SlotRef,
        st.lists(real_ids, max_size=2),
        st.lists(virtual_ids, min_size=1, max_size=2),
        st.none() | texts,
        st.booleans(),
    )
    | st.builds(SlotRef, st.lists(real_ids, min_size=1, max_size=2)),
}


Kinds = dict[Any, st.SearchStrategy[Any]]


def values_of(hint: Any, kinds: Kinds) -> st.SearchStrategy[Any]:
    """Any value that a field of this type may hold."""
    if hint in kinds:
        return kinds[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return st.none() | values_of(inner[0], kinds)
    if origin is list:
        return st.lists(values_of(inner[0], kinds), max_size=2)
    if origin is dict:
        return st.dictionaries(kinds[str], values_of(inner[1], kinds), max_size=2)
    if is_dataclass(hint):
        return records_of(hint, kinds)
    return st.sampled_from(list(hint))


def records_of(
    cls: Any, kinds: Kinds = SPECIAL, **special: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """Any record of this class, with values in every field."""
    names = {**vars(records), **vars(sys.modules[cls.__module__])}
    hints = typing.get_type_hints(cls, names)
    return st.builds(
        cls, **{name: values_of(hint, kinds) for name, hint in hints.items()} | special
    )


updates = records_of(Update, status=st.sampled_from(["ongoing", "paused", "finished", "aborted"]))
SPECIAL[Update] = updates


def numbered(state: State) -> State:
    """The state with numbers of updates that are unique, as they always are."""
    for agent in state.agents.values():
        for update in agent.queue:
            update.number = state.take_number()
    return state


states = records_of(
    State, agents=st.dictionaries(printable, records_of(AgentState), max_size=2)
).map(numbered)


@given(states)
@thorough
def test_what_is_saved_is_read_back(state):
    """Every state that can be kept comes back as it was."""
    assert decode_state(encode_state(state)) == state


@given(states)
@thorough
def test_the_file_is_one_line_of_ascii(state):
    """Nothing in a state depends on a locale or acts on a terminal."""
    content = encode_state(state)
    assert content.isascii()
    assert content.endswith(b"\n")
    assert content[:-1].decode().isprintable()


def test_what_holds_its_default_takes_no_room():
    """A thousand idle agents don't fill the file with nulls."""
    assert json.loads(encode_state(State(created=5.0))) == {"schema": SCHEMA, "created": 5.0}


def read(content: bytes) -> State | None:
    """The state in these bytes; None for damage, which is a ValueError and nothing else."""
    try:
        return decode_state(content)
    except ValueError:
        return None


FULL = State(
    NOON,
    "http://127.0.0.1:1",
    "claw",
    agents={
        "a": AgentState(
            active=an_active(ref("plan-7-2026-11-23", 12), woken=False, abandon_suspected_at=at(5)),
            queue=[Update(1, ref(5), "ongoing", NOON), Update(2, ref(5), "finished", NOON)],
            refused=[Refusal(Update(3, ref(6), "paused", NOON), NOON, "answered 422")],
            ended_slots=[Ended(ref(5), "finished", NOON, NOON, at())],
            failed_wakes=[FailedWake(ref(7), Wake("k", "7", "calendar:7", "m", {}), 1, NOON, NOON)],
            hold=Hold(None, "lunch"),
            next=NextSlot("9", NOON),
            troubles={"wake": Trouble("wake_failed", "m", NOON, NOON)},
        )
    },
    history=[HistoryEntry("a", "5", "finished", NOON, outcome=Outcome.QUEUED, update=2)],
    next_number=4,
    ticks=7,
    tick_seconds=1.25,
    wakes_made=3,
    wakes_failed=2,
    faults={"timeout": 5},
)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda tail: b'{"schema":1,"created":5' + tail)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["schema", "created", "agents", "history", "next_number", "sync"]),
        st.sampled_from([1, 2, 0, True]) | json_values,
    ).map(lambda value: json.dumps({"schema": 1, "created": 5.0, **value}).encode())
)
@thorough
def test_any_bytes_are_a_state_or_damage(content):
    """Whatever stands in the file, reading it ends in a state or a ValueError."""
    state = read(content)
    assert state is None or decode_state(encode_state(state)) == state


@given(st.data())
@thorough
def test_a_torn_or_changed_file_is_a_state_or_damage(data):
    """A good file that is cut, or has some bytes replaced, ends in a state or a ValueError."""
    content = encode_state(FULL)
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(start + 40, len(content))))
    middle = data.draw(st.sampled_from([b"", b"\0" * (end - start), b"null", b"-1e11", b'"x"']))
    state = read(content[:start] + middle + content[end:])
    assert state is None or decode_state(encode_state(state)) == state


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of each value inside a JSON document."""
    found = [path]
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@pytest.mark.parametrize("instead", [None, True, -1, 0.5, 1e300, "", "x", [], {}, [1], {"a": 1}])
def test_any_value_of_another_type_is_a_state_or_damage(instead):
    """Each value of a good file, replaced by one of any other type, surfaces at once or never."""
    document = json.loads(encode_state(FULL))
    for path in places(document)[1:]:
        changed = json.loads(encode_state(FULL))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = instead
        state = read(json.dumps(changed).encode())
        assert state is None or decode_state(encode_state(state)) == state, path


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "9" * 5000])
@pytest.mark.parametrize("place", ['"created":{}', '"created":5,"agents":{{"a":{{"active":{}}}}}'])
def test_a_number_that_json_has_not_is_damage(number, place):
    """What could not be written back is not read."""
    active = json.loads(encode_state(FULL))["agents"]["a"]["active"]
    active["slot"] = {"priority": "HERE"}
    value = json.dumps(active).replace('"HERE"', number) if "active" in place else number
    with pytest.raises(ValueError, match=r"."):
        decode_state(f'{{"schema":1,{place.format(value)}}}'.encode())


@given(st.floats(allow_nan=False) | st.sampled_from([-2.5e11, -62_135_596_801.0, LAST_SECOND + 1]))
@thorough
def test_every_time_that_is_read_can_be_shown(wall):
    """A time that no calendar has is damage, not a failure of whoever shows it."""
    try:
        state = decode_state(json.dumps({"schema": 1, "created": wall}).encode())
    except ValueError:
        return
    assert rfc3339(state.created).endswith("Z")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\0" * 100, "."),
        (b"\xff\xfe\x00", "."),
        (b"[" * 100_000, "deep"),
        (b"[]", "not a JSON object"),
        (b"{}", "schema"),
        (b'{"schema":true,"created":5}', "schema"),
        (b'{"schema":0,"created":5}', "schema"),
        (b'{"schema":"1","created":5}', "schema"),
        (b'{"schema":1}', "a field is missing"),
        (b'{"schema":1,"created":5,"agents":{"a b":{}}}', "agent id"),
        (b'{"schema":1,"created":5,"agents":{"a":[]}}', "agents.a: not an object"),
        (b'{"schema":1,"created":5,"history":[{}]}', r"history\[0\]: a field is missing"),
    ],
)
def test_damage_is_named(content, why):
    """The message tells a person what is wrong, and where."""
    with pytest.raises(ValueError, match=why):
        decode_state(content)


@pytest.mark.parametrize("schema", [SCHEMA + 1, 99, 10**30])
def test_a_newer_schema_is_no_damage(schema):
    """A newer hfcal's file is told apart, whatever else stands in it."""
    with pytest.raises(NewerSchemaError, match=str(schema)):
        decode_state(json.dumps({"schema": schema, "other": 1}).encode())


def test_unknown_fields_are_passed_over():
    """A field that a later version adds is no damage to this one."""
    state = decode_state(b'{"schema":1,"created":5,"mood":"fine","agents":{"a":{"mood":1}}}')
    assert state == State(5.0, agents={"a": AgentState()})


@pytest.mark.parametrize("status", ["not_started", "Finished", ""])
def test_a_status_that_no_update_has_is_damage(status):
    """Nothing is ever sent that hfcal would not have queued."""
    state = State(NOON, agents={"a": AgentState(queue=[Update(1, ref(), status, NOON)])})
    state.next_number = 2
    with pytest.raises(ValueError, match="status"):
        decode_state(encode_state(state))


@pytest.mark.parametrize(
    "slot",
    [{}, {"real": []}, {"real": [0]}, {"real": [2**63]}, {"virtual": [".."]}, {"virtual": ["a\n"]}],
)
def test_ids_that_no_slot_has_are_damage(slot):
    """No odd id from the file gets into a request's path."""
    update = {"number": 1, "ref": slot, "status": "ongoing", "since": 5}
    document = {"schema": 1, "created": 5, "next_number": 2, "agents": {"a": {"queue": [update]}}}
    with pytest.raises(ValueError, match="ids of a slot"):
        decode_state(json.dumps(document).encode())


@pytest.mark.parametrize(("numbers", "following"), [((1, 1), 5), ((1, 5), 5), ((6, 1), 5)])
def test_numbers_of_updates_that_repeat_are_damage(numbers, following):
    """An answer must never be noted at another update than the one that was sent."""
    queue = [Update(n, ref(5 + n), "ongoing", NOON) for n in numbers]
    state = State(NOON, agents={"a": AgentState(queue=queue)}, next_number=following)
    with pytest.raises(ValueError, match="repeat"):
        decode_state(encode_state(state))


# Released files

# state-1.json and its like are what released hfcals wrote. They are never written again; a new
# schema, or a field added within one, comes with one more file.
RELEASED = sorted((Path(__file__).parents[2] / "data").glob("state-*.json"))
SOURCE = "calendar:plan-7-2026-11-23"


def update_of(number: int, slot: SlotRef, status: str, **more: Any) -> Update:
    """An update with a value in nearly every field."""
    return Update(
        number,
        slot,
        status,
        since=NOON + number,
        attempts=3,
        may_have_applied=True,
        error=f"answered 50{number}",
        not_before=NOON + 600 + number,
        pauses=2,
        failing_since=NOON - number,
        **more,
    )


# What tests/data/state-1.json holds: every field of every record, none of them as by default.
EVERYTHING = State(
    created=NOON - 90_000,
    backend_url="https://backend.example:8443/api",
    claw_identifier="srv1",
    heartbeat_every=45.0,
    version="0.1.0",
    report_agent_status=False,
    configured=["developer", "operator"],
    agents={
        "developer": AgentState(
            active=Active(
                ref=SlotRef([12], ["plan-7-2026-11-23"], "2026-11-23", became_real=True),
                state=ActiveState.WAKING,
                start=Moment(NOON - 10, "boot-1", 5_000.25),
                key="key-1",
                wake=Wake(
                    key="key-1",
                    slot="plan-7-2026-11-23",
                    source=SOURCE,
                    message="[calendar job x/JOB-1] please handle this\n",
                    details={"slot_id": None, "event_data": {"code": "JOB-1"}},
                ),
                announced=True,
                paused=Moment(NOON - 5, "boot-1", 5_005.25),
                reason="waits for a review",
                abandon_suspected_at=Moment(NOON - 2, "boot-2", 8.5),
                slot={"id": 12, "priority": 50, "note": "\u00fcber", "deep": [{"x": None}]},
            ),
            queue=[
                update_of(1, SlotRef([9], [], "2026-11-22"), "ongoing", started_at="11:58:01"),
                update_of(2, SlotRef([9], [], "2026-11-22"), "finished", actual_duration=17),
            ],
            refused=[
                Refusal(
                    update_of(3, SlotRef([8]), "paused", started_at="10:00:00", actual_duration=1),
                    at=NOON - 70,
                    error="answered 422",
                    count=4,
                )
            ],
            ended_slots=[
                Ended(
                    SlotRef([9], [], "2026-11-22"),
                    "finished",
                    at=NOON - 60,
                    listed=NOON - 55,
                    accepted=Moment(NOON - 50, "boot-1", 4_960.0),
                    duration=17,
                    uncertain=True,
                )
            ],
            failed_wakes=[
                FailedWake(
                    SlotRef([], ["plan-8-2026-11-23"]),
                    Wake("key-2", "plan-8-2026-11-23", "calendar:plan-8-2026-11-23", "m", {"a": 1}),
                    count=3,
                    not_before=NOON + 20,
                    listed=NOON - 1,
                )
            ],
            hold=Hold(NOON + 7200, "lunch"),
            next=NextSlot("15", NOON + 300),
            heartbeat=NOON - 3,
            good_heartbeat=NOON - 33,
            error="the backend answered 503",
            error_kind="server_error",
            unsent_agent_status="busy",
            troubles={"heartbeat": Trouble("server_error", "answered 503", NOON - 99, NOON - 9)},
        ),
        "operator": AgentState(hold=Hold()),
    },
    history=[
        HistoryEntry(
            "developer",
            "9",
            "finished",
            NOON - 60,
            reason="told late",
            summary="all done",
            outcome=Outcome.QUEUED,
            update=2,
            count=5,
        )
    ],
    sync=SyncNote(needed=False, asked=NOON - 400, absent_until=NOON + 86_000, failed=NOON - 300),
    troubles={"disk": Trouble("state", "no room", NOON - 500, NOON - 400)},
    next_number=4,
    ticks=7,
    tick_seconds=1.25,
    wakes_made=3,
    wakes_failed=2,
    faults={"timeout": 5},
)


def leaves(value: object) -> Iterator[str]:
    """The values inside a JSON document that are no objects or lists, each as JSON."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield json.dumps(value)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.name)
def test_a_released_file_is_read_with_every_field(path):
    """What an earlier hfcal wrote comes through an upgrade whole, whatever it is called by now."""
    document = json.loads(path.read_bytes())
    state = decode_state(path.read_bytes())
    written = json.loads(encode_state(state))
    schema = document.pop("schema")
    assert schema == int(path.stem.split("-")[1])
    assert written.pop("schema") == SCHEMA
    if schema == SCHEMA:
        assert written == document
    # What a migration renames or moves, it keeps.
    assert Counter(leaves(document)) - Counter(leaves(written)) == Counter()
    assert decode_state(encode_state(state)) == state


def test_the_first_schema_is_read_field_by_field():
    """Each value stands in the record, and under the name, that it was written from."""
    (content,) = [path.read_bytes() for path in RELEASED if path.name == "state-1.json"]
    assert decode_state(content) == EVERYTHING


def records_in(value: object) -> Iterator[Any]:
    """Every record inside a value, itself included."""
    inner: list[Any] = []
    if is_dataclass(value):
        yield value
        inner = [getattr(value, item.name) for item in fields(value)]
    elif isinstance(value, list):
        inner = value
    elif isinstance(value, dict):
        inner = list(value.values())
    for one in inner:
        yield from records_in(one)


def test_every_field_stands_in_a_released_file():
    """A field without an example in tests/data could be dropped without anybody's noticing."""
    contents = [path.read_bytes() for path in RELEASED]
    mine = [content for content in contents if json.loads(content)["schema"] == SCHEMA]
    found = list(records_in([decode_state(content) for content in mine]))
    missing = []
    for cls in [c for c in vars(records).values() if isinstance(c, type) and is_dataclass(c)]:
        for item in fields(cls):
            made = item.default_factory
            default = item.default if made is MISSING else made()
            values = [getattr(record, item.name) for record in found if type(record) is cls]
            if all(value == default for value in values):
                missing.append(f"{cls.__name__}.{item.name}")
    assert missing == []
