"""docs/simulator.md says what the simulator does, and its examples work."""

import contextlib
import dataclasses
import io
import re
import tomllib
from pathlib import Path

import pytest

from hfcal.sim import faults, scenario, switches
from hfcal.sim.journal import Entry
from tests.sim.backend import Backend, Reply

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "simulator.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The cells of all tables in one part of the page, without their heads."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(heading: str) -> list[str]:
    """The words in code in the first cells of a part's tables."""
    return [name for row in rows(heading) for name in re.findall(r"`([^`]+)`", row[0])]


def test_the_example_scenario_does_what_its_comments_say():
    (example,) = map(tomllib.loads, blocks("toml"))
    scenario.parse_scenario(example)
    with Backend(**example) as backend:

        def ask(method: str, path: str, agent: str, **body: str) -> Reply:
            return backend.call(method, path, body, agent=agent, claw="laptop")

        def beat(agent: str) -> Reply:
            body = {"claw_identifier": "laptop", "agent_id": agent}
            return ask("POST", "/calendar/agent/heartbeat", agent, **body)

        assert beat("newcomer").detail == "Agent not found"
        first, second = beat("developer").json["slots"]
        assert (first["id"], second["id"], second["plan_id"]) == (12, None, 7)
        assert len(beat("operator").json["slots"]) == 1
        path = f"/calendar/slots/virtual/{second['virtual_id']}/agent-update"
        with contextlib.suppress(ConnectionError):
            ask("PATCH", path, "developer", status="ongoing")
        assert backend.journal()[-1]["fault"] == "drop_after"
        reply = ask("PATCH", "/calendar/slots/12/agent-update", "developer", status="ongoing")
        assert reply.json == {"slot_id": 12}


@pytest.mark.parametrize("example", blocks("python"))
def test_the_python_examples_run(example):
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(example, {})
    assert shown.getvalue().startswith("http://127.0.0.1:")


def test_every_key_of_a_scenario_is_told():
    told = {row[0].strip("`") for row in rows("Scenario")}
    assert set(scenario.KEYS) <= told
    assert {"agent", "id", "plan_id", "admin_made"} <= told


def test_every_switch_is_told_with_its_values_and_its_default_first():
    defaults = dataclasses.asdict(switches.Switches())
    told = {row[0].strip("`"): re.findall(r"`([^`]+)`", row[1]) for row in rows("Switches")}
    assert list(told) == list(switches.NAMES)
    for name, values in told.items():
        allowed = switches.CHOICES.get(name, ("true", "false"))
        assert sorted(values) == sorted(allowed)
        assert values[0] == str(defaults[name]).replace("True", "true").replace("False", "false")


def test_every_key_of_a_fault_is_told():
    told = {name.partition(" ")[0] for name in names("Faults")}
    beside = {"effect", "retry_after", "content_type"}
    assert told == set(faults.KEYS) - beside
    assert all(f"`{key}" in PAGE for key in (*beside, *faults.TRICK_KEYS))


def test_every_field_of_the_journal_is_told():
    fields = ["seq", *(field.name for field in dataclasses.fields(Entry))]
    assert sorted(names("Journal")) == sorted(fields)


@pytest.mark.parametrize("call", [name for name in names("Control endpoints") if " " in name])
def test_every_control_endpoint_that_is_told_is_there(call):
    with Backend(slots=[{"agent": "dev", "id": 1}]) as backend:
        method, _, path = call.partition(" ")
        path = path.replace("{ident}", "1").replace("=N", "=0")
        assert backend.call(method, path, {} if method in ("POST", "PATCH") else None).status in (
            200,
            400,
        )


def test_every_part_of_the_protocol_that_code_cites_is_there():
    headings = set(
        re.findall(r"^## (.+)$", (DOCS / "protocol.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    sources = Path(scenario.__file__).parent.glob("*.py")
    text = " ".join(path.read_text(encoding="utf-8") for path in sources)
    cited = set(re.findall(r"docs/protocol\.md, ([A-Z][a-z]+(?: [a-z]+)*)", text))
    assert cited
    assert {name for name in cited if not any(name.startswith(head) for head in headings)} == set()
