"""Tricks that are plugged into the simulator: as faults, and the page that lists them."""

import ast
import contextlib
import http.client
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from hfcal.sim.messages import HttpResponse
from hfcal.sim.scenario import ScenarioError, parse_scenario
from hfcal.sim.tricks import Call
from tests.hostile import TRICKS
from tests.hostile.texts import PAYLOADS
from tests.sim.backend import Backend

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
KINDS = ("heartbeat", "update", "status", "sync")


def call_of(kind: str = "heartbeat", agent: str = "dev", key: str = "k1") -> Call:
    return Call(kind, agent, None, key, ["dev"], "http://127.0.0.1:9")


def tricks_of_the_page() -> dict[str, list[str]]:
    """The tricks that the page lists, each with the tests that its row names."""
    part = PAGE.split("\n## Tricks\n")[1].split("\n## ")[0]
    found = {}
    for line in part.splitlines():
        if line.startswith("| `"):
            first, *_, tests = line.strip("|").split(" | ")
            for name in re.findall(r"`([a-z0-9_]+)`", first):
                found[name] = re.findall(r"`(test_[a-z0-9_]+)`", tests)
    return found


def existing_tests() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
        found |= {name for name in names if name.startswith("test_")}
    return found


def test_the_page_lists_every_trick_with_its_tests():
    told = tricks_of_the_page()
    assert set(told) == set(TRICKS)
    assert all(told.values()), [name for name, tests in told.items() if not tests]
    assert set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE)) - existing_tests() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_trick_answers_every_kind_of_call(kind):
    for name, trick in TRICKS.items():
        answer = trick(call_of(kind))
        if isinstance(answer, HttpResponse):
            assert len(answer.body) < 16 * 1024 * 1024, name
            assert all("\n" not in value for _, value in answer.headers), name
        else:
            assert next(answer.parts(lambda _: True)), name


def test_a_trick_is_a_fault():
    faults: Any = [{"trick": "html", "path": "heartbeat", "count": 1}]
    with Backend(TRICKS, faults=faults) as backend:
        reply = backend.heartbeat()
        assert (reply.status, reply.body[:9]) == (200, b"<!doctype")
        entry = backend.journal()[-1]
        assert (entry["fault"], entry["effect"], entry["answer"]) == ("trick:html", False, 200)
        assert backend.listed() == []
        backend.control("POST", "faults", {"trick": "http09"})
        with pytest.raises(http.client.BadStatusLine):
            backend.heartbeat()
        assert backend.journal()[-1]["answer"] is None


def test_a_trick_may_take_effect():
    faults: Any = [{"trick": "early_close", "effect": True}]
    with Backend(TRICKS, slots=[{"agent": "dev", "id": 1}], faults=faults) as backend:
        with contextlib.suppress(http.client.HTTPException):
            backend.update(1, "ongoing")
        assert backend.slot(1)["status"] == "ongoing"


def test_a_trick_may_lead_elsewhere():
    faults: Any = [{"trick": "redirect", "to": "http://127.0.0.1:9"}]
    with Backend(TRICKS, faults=faults) as backend:
        reply = backend.heartbeat()
    assert (reply.status, reply.headers["Location"]) == (
        307,
        "http://127.0.0.1:9/calendar/elsewhere",
    )


@pytest.mark.parametrize(
    "scenario",
    [
        {"hostile": True},
        {"faults": [{"trick": "each"}]},
        {"faults": [{"status": 503, "to": "http://x"}]},
    ],
)
def test_without_any_plugged_in_there_are_none(scenario):
    """Not in what users install: `hfcal sim` knows no such key."""
    with pytest.raises(ScenarioError, match=r"(hostile|trick|to): unknown key"):
        parse_scenario(scenario)
    with Backend() as backend:
        assert "unknown key" in backend.refused_control("POST", "faults", {"trick": "each"})
        assert "trick" not in backend.refused_control("POST", "faults", {"path": "any"})


def test_an_unknown_trick_is_refused_with_the_closest():
    with Backend(TRICKS) as backend:
        text = backend.refused_control("POST", "faults", {"trick": "dripp"})
    assert "did you mean drip?" in text


def test_a_hostile_scenario_plays_all_in_turn_for_each_kind_of_call():
    with Backend(TRICKS, hostile=True) as backend:
        host, _, port = backend.sim.url.removeprefix("http://").partition(":")
        for path in ("/calendar/sync", "/calendar/agent/status"):
            for _ in TRICKS:
                # Its end is not waited for: some have none.
                with socket.create_connection((host, int(port)), 10) as connection:
                    connection.sendall(b"GET %s HTTP/1.1\r\n\r\n" % path.encode())
                    connection.recv(1)
        entries = [(entry["kind"], entry["fault"]) for entry in backend.journal()]
    for kind in ("sync", "status"):
        played = [fault for of, fault in entries if of == kind]
        assert played == [f"trick:{name}" for name in TRICKS]


def test_the_ids_of_a_trick_begin_where_the_agents_number_says():
    idents = PAYLOADS["flags"].idents
    for number in (0, 1, len(idents)):
        answer = TRICKS["flags"](call_of(agent=f"a.{number}"))
        assert isinstance(answer, HttpResponse)
        first = re.search(rb'"virtual_id": "([^"]+)"', answer.body)
        assert first
        assert first[1].decode() == idents[number % len(idents)]


def test_the_key_comes_back_whichever_header_it_came_in():
    jwt = "eyJhbGciOi.eyJzdWIi.c2ln"
    for key, header in (("k1", {"X-API-Key": "k1"}), (jwt, {"Authorization": f"Bearer {jwt}"})):
        with Backend(TRICKS, api_key=key, faults=[{"trick": "echo_key_error"}]) as backend:
            reply = backend.raw("GET", "/calendar/sync", headers=header)
            assert reply.detail == key
