"""hfcal.state.damaged: what the queues of a file that is no state still tell."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.core.records import AgentState, State, Update
from hfcal.state.codec import encode_state
from hfcal.state.damaged import salvage_updates
from tests.unit.state.test_codec import FULL
from tests.unit.support import NOON, json_values, ref, thorough


@pytest.mark.promise_7
def test_queued_updates_are_read_from_a_damaged_state():
    """What an agent was promised survives damage elsewhere in the file."""
    document = json.loads(encode_state(FULL))
    document["created"] = "yesterday"
    document["agents"]["a"]["active"] = 5
    document["agents"]["b"] = {"queue": [{"number": 1}, "odd", None]}
    document["agents"]["c d"] = document["agents"]["a"]
    document["agents"]["e"] = []
    found = salvage_updates(json.dumps(document).encode())
    assert [u.status for u in found["a"]] == ["ongoing", "finished"]
    assert found["a"] == FULL.agents["a"].queue
    assert all(not waiting for agent_id, waiting in found.items() if agent_id != "a")


def test_a_file_that_breaks_off_gives_the_updates_before_the_break():
    """Of a torn file everything that was written whole is saved, and nothing else."""
    queue = [Update(n, ref(n), "ongoing", NOON) for n in range(1, 4)]
    state = State(NOON, agents={"a": AgentState(queue=queue), "b": AgentState(queue=[queue[0]])})
    content = encode_state(state)
    saved = []
    for cut in range(len(content)):
        found = salvage_updates(content[:cut])
        assert found.get("a", []) == queue[: len(found.get("a", []))]
        assert set(found) <= {"a", "b"}
        saved.append(sum(map(len, found.values())))
    assert saved == sorted(saved)
    assert saved[-2] == 4


pieces = [
    b'{"schema":1,',
    b'"agents":{',
    b'"a":',
    b'{"queue":[',
    b'"b":{"queue":[{}',
    b'"queue":5',
    b'"\xff"',
    b'"\\ud800":',
    b"null",
    b"1e999",
    *[bytes([byte]) for byte in b"{}[],"],
]
fragments = st.lists(st.sampled_from(pieces), max_size=12).map(b"".join)


@given(
    st.binary(max_size=60) | fragments | json_values.map(lambda value: json.dumps(value).encode())
)
@thorough
def test_looking_for_updates_in_anything_is_no_failure(content):
    """A file that holds none gives none."""
    assert not any(salvage_updates(content).values())
