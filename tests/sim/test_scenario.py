"""Scenarios: what they may hold, and what is said of those that are wrong."""

import dataclasses
import datetime
import json

import pytest

from hfcal.sim.scenario import (
    AgentSpec,
    Scenario,
    ScenarioError,
    SlotSpec,
    load_scenario,
    parse_scenario,
)
from hfcal.sim.server import Simulator

FULL = """
claw_identifier = "srv1"
api_key = "k"
message = "hello"
now = 2026-11-23T10:00:00+01:00
seed = 7
agents = ["dev", {id = "ops", bound = false, status = "busy"}]

[[slots]]
agent = "dev"
id = 12
date = 2026-11-24
scheduled_at = 09:30:00
event_data = {at = 2026-01-02T03:04:05Z}
due = [2026-01-02]

[[slots]]
agent = "dev"
plan_id = 7

[[slots]]
agent = "ops"
plan_id = 7
virtual = false

[switches]
sync = "absent"

[[faults]]
hang = 5
"""


def test_an_empty_scenario_is_one():
    assert parse_scenario({}) == Scenario()


def test_a_full_scenario(tmp_path):
    path = tmp_path / "full.toml"
    path.write_text(FULL)
    scenario = load_scenario(path)
    assert (scenario.claw_identifier, scenario.api_key, scenario.message) == ("srv1", "k", "hello")
    assert scenario.now == datetime.datetime(2026, 11, 23, 9, tzinfo=datetime.UTC)
    assert scenario.seed == 7
    assert scenario.agents == (
        AgentSpec(agent_id="dev"),
        AgentSpec(agent_id="ops", bound=False, status="busy"),
    )
    assert scenario.slots == (
        SlotSpec(
            agent="dev",
            id=12,
            day=datetime.date(2026, 11, 24),
            scheduled_at="09:30:00",
            event_data={"at": "2026-01-02T03:04:05+00:00"},
            extra={"due": ["2026-01-02"]},
        ),
        SlotSpec(agent="dev", plan_id=7, virtual=True),
        SlotSpec(agent="ops", plan_id=7),
    )
    assert scenario.switches.sync == "absent"
    assert [fault.hang for fault in scenario.faults] == [5.0]


def test_json_says_the_same(tmp_path):
    path = tmp_path / "small.JSON"
    path.write_text(json.dumps({"agents": ["dev"], "slots": [{"agent": "dev", "date": None}]}))
    assert load_scenario(path).slots == (SlotSpec(agent="dev"),)


def test_the_key_is_not_shown():
    assert "s3cret" not in repr(parse_scenario({"api_key": "s3cret"}))
    with pytest.raises(ScenarioError) as caught:
        parse_scenario({"api_key": "s3cret value"})
    assert "s3cret" not in str(caught.value)


def test_a_date_left_out_is_the_simulators_today():
    scenario = parse_scenario({"agents": ["dev"], "slots": [{"agent": "dev"}]})
    scenario = dataclasses.replace(
        scenario, now=datetime.datetime(2030, 1, 2, 0, 30, tzinfo=datetime.UTC)
    )
    assert Simulator(scenario).calendar.slots()[0].day == datetime.date(2030, 1, 2)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "scenario: [] is not allowed; must be a table with the keys claw_identifier,"),
        (
            {"agent": ["dev"]},
            "agent: unknown key (its value is ['dev']); did you mean agents?; known keys are",
        ),
        ({"claw_identifier": "a b"}, "claw_identifier: 'a b' is not allowed; must be printable"),
        ({"claw_identifier": ""}, "claw_identifier: '' is not allowed"),
        ({"agents": "dev"}, "agents: 'dev' is not allowed; must be a list"),
        ({"agents": ["dev", "dev"]}, "agents: dev is listed 2 times"),
        ({"agents": [{"id": "x", "bond": True}]}, "agents[0].bond: unknown key"),
        ({"agents": [{"id": "x", "bound": "no"}]}, "agents[0].bound: 'no' is not allowed"),
        ({"agents": ["a\nb"]}, "agents[0].id: 'a\\nb' is not allowed"),
        ({"agents": ["a" * 129]}, "must be text of 1 to 128 characters"),
        ({"slots": [{}]}, "slots[0].agent: missing"),
        ({"now": "2026-11-23T09:00:00"}, "must be a time with its zone"),
        ({"now": "noon"}, "now: 'noon' is not allowed"),
        ({"seed": -1}, "seed: -1 is not allowed; must be a whole number from 0 to"),
        ({"switches": {"sync": "no"}}, "switches.sync: 'no' is not allowed; must be one of full,"),
        ({"switches": {"list": "due"}}, "switches.list: unknown key (its value is 'due'); did "),
        ({"switches": {"lists_ongoing": 1}}, "switches.lists_ongoing: 1 is not allowed"),
        ({"faults": [{"path": "any"}]}, "faults[0]: does nothing"),
    ],
)
def test_what_is_wrong_is_named(raw, message):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(raw)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"agent": "devv"}, "slots[0].agent: 'devv' is not allowed; must be one of dev; did you "),
        ({"id": 0}, "slots[0].id: 0 is not allowed; must be a whole number from 1 to"),
        ({"id": True}, "slots[0].id: True is not allowed"),
        ({"priority": 100}, "slots[0].priority: 100 is not allowed; must be a whole number from 0"),
        ({"estimated_duration": 51}, "from 1 to 50"),
        ({"scheduled_at": "9:30"}, "slots[0].scheduled_at: '9:30' is not allowed; must be a time"),
        ({"date": "2026-02-30"}, "slots[0].date: '2026-02-30' is not allowed; must be a date"),
        ({"date": "20261123"}, "must be a date as YYYY-MM-DD"),
        ({"slot_type": "on-call"}, "did you mean on_call?"),
        ({"event_type": "jobs"}, "did you mean job?"),
        ({"event_data": []}, "slots[0].event_data: [] is not allowed; must be a table"),
        ({"status": "NotStarted"}, "did you mean not_started?"),
        ({"virtual_id": "plan-7-2026-11-23"}, "slots[0].virtual_id: is made by the simulator"),
        ({"virtual": True}, "slots[0].virtual: True is not allowed; must be false for a slot"),
        ({"virtual": True, "plan_id": 7, "id": 1}, "slots[0].virtual: True is not allowed"),
        ({"plan_id": 7, "status": "ongoing"}, "must be not_started for a virtual slot"),
        ({"extra": float("inf")}, "slots[0].extra: inf is not allowed; must be a finite number"),
    ],
)
def test_what_is_wrong_with_a_slot_is_named(values, message):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario({"agents": ["dev"], "slots": [{"agent": "dev", **values}]})
    assert message in str(caught.value)


def test_a_long_list_of_agents_is_cut_in_messages():
    with pytest.raises(ScenarioError) as caught:
        parse_scenario({"agents": [f"a{n}" for n in range(1000)], "slots": [{"agent": "x"}]})
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("second", [{"id": 1}, {"plan_id": 7}])
def test_slots_with_the_same_id_are_refused(second):
    slots = [{"agent": "dev", **values} for values in ({"id": 1}, {"plan_id": 7}, second)]
    scenario = parse_scenario({"agents": ["dev"], "slots": slots})
    with pytest.raises(ScenarioError, match="is taken by another slot"):
        Simulator(scenario)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"", "must end in .toml or .json"),
        ("a.toml", b"agents = [", "a.toml: "),
        ("a.toml", b"\xff", "a.toml: "),
        ("a.toml", b'claw = "x"', "a.toml: claw: unknown key (its value is 'x'); did you mean"),
        ("a.json", b"{", "a.json: "),
        ("a.json", b"[" * 100_000, "a.json: nested too deeply"),
        ("missing.toml", None, "missing.toml: No such file or directory"),
    ],
)
def test_files_that_can_not_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert message in str(caught.value)
