"""The simulator's control endpoints: its state, its journal, and changes while it runs."""

import threading
from typing import Any

import pytest

from hfcal.sim.journal import Entry, Journal
from tests.sim.backend import TODAY, Backend

VIRTUAL = f"plan-7-{TODAY}"


def slot(**values: Any) -> dict[str, Any]:
    return {"agent": "dev", **values}


def running(*slots: Any, **scenario: Any) -> Backend:
    return Backend(slots=list(slots), **scenario)


def test_state_shows_everything():
    agents = ["dev", {"id": "ops", "bound": False, "status": "exhausted"}]
    with running(slot(plan_id=7), slot(id=2, admin_made=True), agents=agents) as backend:
        backend.update(VIRTUAL, "ongoing")
        state = backend.control("GET", "state")
        assert state["claw_identifier"] == "sim"
        assert state["now"].startswith(f"{TODAY}T09:00:0")
        assert state["agents"] == [
            {"agent_id": "dev", "status": "idle", "bound": True, "last_heartbeat": None},
            {"agent_id": "ops", "status": "exhausted", "bound": False, "last_heartbeat": None},
        ]
        made, hidden = state["slots"]
        assert (made["id"], made["virtual_id"], made["former_virtual_id"]) == (1, None, VIRTUAL)
        assert (made["agent_id"], made["status"], made["made"]) == ("dev", "ongoing", True)
        assert (hidden["id"], hidden["admin_made"], hidden["made"]) == (2, True, False)
        assert state["faults"] == []
        assert state["journal"] == {"newest": 1}


def test_the_journal_tells_what_was_asked_and_what_came_of_it():
    with running(slot(id=1), slot(plan_id=7)) as backend:
        backend.heartbeat()
        backend.update(VIRTUAL, "ongoing", started_at="09:00")
        backend.update(1, "nonsense")
        backend.raw("POST", "/calendar/agent/status", b"{", {"User-Agent": "test/1"})
        backend.call("GET", "/nowhere")
        first, second, third, fourth, fifth = backend.journal()
        assert first | {"at": 0, "monotonic": 0, "received": 0} == {
            "seq": 1,
            "at": 0,
            "monotonic": 0,
            "received": 0,
            "cookie": None,
            "method": "POST",
            "path": "/calendar/agent/heartbeat",
            "kind": "heartbeat",
            "agent": "dev",
            "claw": "sim",
            "user_agent": None,
            "body": {"claw_identifier": "sim", "agent_id": "dev"},
            "slot": None,
            "slot_id": None,
            "before": None,
            "after": None,
            "decision": 200,
            "effect": True,
            "answer": 200,
            "fault": None,
        }
        assert first["at"].startswith(f"{TODAY}T09:00:0")
        assert first["received"] <= first["monotonic"] <= second["received"]
        assert (second["slot"], second["slot_id"]) == (VIRTUAL, 2)
        assert (second["before"], second["after"]) == ("not_started", "ongoing")
        assert (third["before"], third["after"], third["effect"]) == (
            "not_started",
            "not_started",
            False,
        )
        assert third["decision"] == third["answer"] == 422
        assert (fourth["body"], fourth["user_agent"], fourth["agent"]) == ("{", "test/1", None)
        assert (fifth["kind"], fifth["answer"]) == ("other", 404)
        assert [entry["seq"] for entry in backend.journal(since=3)] == [4, 5]
        assert backend.journal(since=99) == []


def test_the_journal_is_in_the_order_of_the_effects(monkeypatch):
    with running(slot(id=1)) as backend:
        apply = backend.sim.calendar.update

        def apply_slowly(*args: Any) -> Any:
            # Other requests get their chance between an effect and its entry.
            result = apply(*args)
            threading.Event().wait(0.001)
            return result

        monkeypatch.setattr(backend.sim.calendar, "update", apply_slowly)

        def toggle():
            for _ in range(10):
                backend.update(1, "ongoing")
                backend.update(1, "paused")

        threads = [threading.Thread(target=toggle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        entries = backend.journal()
        assert len(entries) == 80
        status = "not_started"
        for entry in entries:
            assert entry["before"] == status
            status = entry["after"]
            assert status == entry["body"]["status"]


def test_the_journal_keeps_the_newest():
    journal = Journal(kept=3)
    entry = Entry(
        at="",
        monotonic=0,
        received=0,
        method="",
        path="",
        kind="",
        agent=None,
        claw=None,
        user_agent=None,
        body=None,
    )
    for _ in range(5):
        journal.add(entry)
    assert [number for number, _ in journal.since()] == [3, 4, 5]
    assert [number for number, _ in journal.since(4)] == [5]
    assert journal.newest == 5


def test_long_bodies_are_cut_in_the_journal():
    with running() as backend:
        body = b'"' + b"x" * 10_000 + b'"'
        backend.raw("POST", "/calendar/agent/heartbeat", body)
        assert len(backend.journal()[0]["body"]) == 4096


@pytest.mark.parametrize("since", ["x", "-1", "1.5", ""])
def test_a_bad_since_is_refused(since):
    with running() as backend:
        assert "whole number" in backend.refused_control("GET", f"journal?since={since}")


def test_slots_are_added_while_it_runs():
    with running() as backend:
        added = backend.control("POST", "slots", [slot(id=5, priority=9), slot(plan_id=7)])
        assert [item["id"] for item in added["slots"]] == [5, None]
        backend.control("POST", "slots", slot(agent="ops"))
        assert backend.listed() == [VIRTUAL, 5]
        assert backend.listed("ops") == [1]


@pytest.mark.parametrize("second", [{"id": 5}, {"plan_id": 7}])
def test_ids_are_never_given_twice(second):
    with running(slot(id=5), slot(plan_id=7)) as backend:
        backend.update(VIRTUAL, "ongoing")
        message = backend.refused_control("POST", "slots", [slot(), slot(**second)])
        assert "is taken by another slot" in message
        assert len(backend.control("GET", "state")["slots"]) == 2


def test_a_slot_is_changed_as_by_a_person_on_the_server():
    with running(slot(id=5, status="finished", note="x"), slot(plan_id=7)) as backend:
        change = {"status": "not_started", "priority": 99, "event_data": {"a": 1}, "more": 2}
        changed = backend.control("PATCH", "slots/5", change)["slots"][0]
        assert {**change, "id": 5, "note": "x"}.items() <= changed.items()
        assert backend.listed() == [5, VIRTUAL]
        backend.control("PATCH", "slots/5", {"event_data": None, "date": "2026-11-24"})
        assert backend.listed() == [VIRTUAL]
        assert backend.slot(5)["event_data"] is None
        assert backend.control("PATCH", f"slots/{VIRTUAL}", {"priority": 3})
        assert backend.listed() == [VIRTUAL]
        backend.control("PATCH", f"slots/{VIRTUAL}", {"virtual": False, "status": "deferred"})
        assert backend.listed() == [1]
        assert backend.update(VIRTUAL, "ongoing").status == 404


@pytest.mark.parametrize(
    ("ident", "change", "message"),
    [
        (5, {"id": 6}, "slot.id: can't be changed"),
        (5, {"agent": "ops"}, "slot.agent: can't be changed"),
        (5, {"status": "done"}, "slot.status: 'done' is not allowed; must be one of"),
        (5, [], "slot: [] is not allowed; must be a table"),
        (VIRTUAL, {"status": "ongoing"}, "not_started for a virtual slot"),
        (VIRTUAL, {"date": "2026-11-24"}, "slot.date: can't be changed"),
    ],
)
def test_bad_changes_are_refused(ident, change, message):
    with running(slot(id=5), slot(plan_id=7)) as backend:
        before = backend.control("GET", "state")["slots"]
        assert message in backend.refused_control("PATCH", f"slots/{ident}", change)
        assert backend.control("GET", "state")["slots"] == before


def test_a_slot_is_removed():
    with running(slot(id=5), slot(plan_id=7)) as backend:
        backend.control("DELETE", "slots/5")
        backend.control("DELETE", f"slots/{VIRTUAL}")
        assert backend.listed() == []
        assert backend.update(5, "ongoing").status == 404
        assert backend.update(VIRTUAL, "ongoing").status == 404
        backend.sync()
        assert backend.control("GET", "state")["slots"] == []
        assert backend.call("DELETE", "/_sim/slots/5").status == 404
        assert "taken" in backend.refused_control("POST", "slots", slot(id=5))


def test_agents_are_added_bound_and_unbound():
    with running() as backend:
        backend.control("POST", "agents", ["new", {"id": "dev", "bound": False}])
        assert backend.heartbeat("new").status == 200
        assert backend.heartbeat("dev").status == 404
        backend.control("POST", "agents", {"id": "dev", "status": "busy"})
        assert backend.heartbeat("dev").json["agent_status"] == "busy"
        backend.control("POST", "agents", {"id": "dev"})
        assert backend.agent_status("dev") == "busy"
        assert "did you mean busy" in backend.refused_control(
            "POST", "agents", {"id": "dev", "status": "bussy"}
        )
        assert "agents[0].id: missing" in backend.refused_control("POST", "agents", {})


@pytest.mark.parametrize("value", [-1, "5", None, 1e9, float("nan")])
def test_the_clock_goes_forward_only(value):
    with running() as backend:
        assert backend.refused_control("POST", "clock", {"advance": value})
        assert backend.control("POST", "clock", {"advance": 3600})["now"].startswith(
            f"{TODAY}T10:00:0"
        )


def test_the_date_header_is_the_simulators_clock():
    with running() as backend:
        backend.advance(86400)
        reply = backend.heartbeat()
        assert reply.headers["Date"].startswith("Tue, 24 Nov 2026 09:00:0")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "state", 405),
        ("GET", "clock", 405),
        ("GET", "slots/1", 405),
        ("GET", "nothing", 404),
    ],
)
def test_wrong_control_requests(method, path, status):
    with running(slot(id=1)) as backend:
        assert backend.call(method, f"/_sim/{path}").status == status


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b'{"agent": "dev", "x": ' + b"[" * 450 + b"]" * 450 + b"}"]
)
def test_control_bodies_end_in_an_answer(body):
    with running() as backend:
        assert backend.raw("POST", "/_sim/slots", body or None).status in (200, 400)


def test_control_needs_no_key_and_is_not_in_the_journal():
    with running(api_key="secret") as backend:
        backend.control("GET", "state")
        assert backend.journal() == []
