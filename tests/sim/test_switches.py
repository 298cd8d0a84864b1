"""Each switch of the simulator, and each of its values."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from hfcal.sim.switches import CHOICES, NAMES, Switches
from tests.sim.backend import TODAY, Backend

VIRTUAL = f"plan-7-{TODAY}"


def slot(**values: Any) -> dict[str, Any]:
    return {"agent": "dev", **values}


def running(slots: Sequence[Any] = (), **switches: Any) -> Backend:
    return Backend(slots=list(slots), switches=switches)


def test_the_first_choice_is_the_default():
    defaults = dataclasses.asdict(Switches())
    assert {name: values[0] for name, values in CHOICES.items()}.items() <= defaults.items()
    assert all(isinstance(defaults[name], bool) for name in NAMES if name not in CHOICES)


@pytest.mark.parametrize("answer", CHOICES["virtual_answer"])
@pytest.mark.parametrize("ident", [VIRTUAL, 1])
def test_virtual_answer(answer, ident):
    with running([slot(id=1), slot(plan_id=7)], virtual_answer=answer) as backend:
        reply = backend.update(ident, "ongoing")
        real_id = backend.slot(ident)["id"]
        if answer == "empty":
            assert (reply.status, reply.body) == (204, b"")
            return
        assert reply.status == 200
        match answer:
            case "slot":
                assert (reply.json["id"], reply.json["status"]) == (real_id, "ongoing")
            case "wrapped":
                assert list(reply.json) == ["slot"]
                assert reply.json["slot"]["id"] == real_id
            case "slot_id":
                assert reply.json == {"slot_id": real_id}
            case "ok":
                assert reply.json == {"ok": True}


def test_lists_ongoing():
    with running([slot(id=1), slot(id=2)], lists_ongoing=True) as backend:
        backend.update(1, "ongoing")
        assert sorted(backend.listed()) == [1, 2]
        backend.update(1, "paused")
        assert backend.listed() == [2]


def test_lists_due():
    slots = [slot(id=1, scheduled_at="09:00:00"), slot(id=2, scheduled_at="09:30:00")]
    with running(slots, lists="due") as backend:
        assert backend.listed() == [1]
        backend.advance(1800)
        assert sorted(backend.listed()) == [1, 2]
    with running(slots) as backend:
        assert sorted(backend.listed()) == [1, 2]


@pytest.mark.parametrize("status", ["not_started", "deferred", "ongoing", "paused"])
def test_finish_from(status):
    for rule in CHOICES["finish_from"]:
        with running([slot(id=1, status=status)], finish_from=rule) as backend:
            allowed = rule == "any" or status in ("ongoing", "paused")
            assert backend.update(1, "finished").status == (200 if allowed else 409)
            assert backend.slot(1)["status"] == ("finished" if allowed else status)
    with running([slot(id=1, status=status)], finish_from="ongoing") as backend:
        assert backend.update(1, "aborted").status == 200


def test_repeat():
    for rule, expected in (("ok", 200), ("conflict", 409)):
        with running([slot(id=1)], repeat=rule) as backend:
            for status in ("ongoing", "paused", "finished"):
                assert backend.update(1, status, started_at="09:00").status == 200
                assert backend.update(1, status, started_at="10:00").status == expected
            assert backend.slot(1)["started_at"] == "09:00:00"


def test_sync():
    slots = [slot(id=1, status="ongoing"), slot(id=2), slot(id=3, admin_made=True)]
    ids = {}
    for value in ("full", "pending"):
        with running(slots, sync=value) as backend:
            ids[value] = [item["id"] for item in backend.sync().json["schedules"]["dev"]]
    assert ids == {"full": [1, 2, 3], "pending": [2, 3]}
    for value, status in (("absent", 404), ("unauthorized", 401)):
        with running(slots, sync=value) as backend:
            assert backend.sync().status == status
            assert backend.listed() == [2]


def test_older_backend():
    with running([slot(id=1, is_admin_locked=True)], older_backend=True) as backend:
        assert backend.call("GET", "/calendar/agent/status").status == 405
        assert backend.post_status("busy").status == 200
        reply = backend.post_status("busy")
        assert (reply.status, reply.body) == (500, b"Internal Server Error")
        assert backend.post_status("on_call").status == 409
        assert "is_admin_locked" not in backend.heartbeat().json["slots"][0]
        assert backend.update(1, "deferred").status == 200


@pytest.mark.parametrize(("value", "shown"), [("HH:MM", "09:05"), ("HH:MM:SS", "09:05:07")])
def test_time_format(value, shown):
    with running([slot(id=1, scheduled_at="09:05:07")], time_format=value) as backend:
        reply = backend.update(1, "ongoing", started_at="09:05:07")
        assert (reply.json["scheduled_at"], reply.json["started_at"]) == (shown, shown)
        assert backend.slot(1)["started_at"] == "09:05:07"


@pytest.mark.parametrize(
    ("casing", "words"),
    [
        ("snake", ("not_started", "on_call", "system_event", "busy")),
        ("pascal", ("NotStarted", "OnCall", "SystemEvent", "Busy")),
        ("kebab", ("not-started", "on-call", "system-event", "busy")),
        ("upper", ("NOT_STARTED", "ON_CALL", "SYSTEM_EVENT", "BUSY")),
    ],
)
def test_casing(casing, words):
    slots = [slot(id=1, slot_type="on_call", event_type="system_event")]
    with running(slots, casing=casing) as backend:
        backend.post_status("busy")
        answer = backend.heartbeat().json
        listed = answer["slots"][0]
        shown = (listed["status"], listed["slot_type"], listed["event_type"])
        assert (*shown, answer["agent_status"]) == words
        assert backend.agent_status() == words[3]
        assert backend.slot(1)["status"] == "not_started"
        assert backend.update(1, "ongoing").status == 200


def test_updates_past_days():
    for value, expected in ((True, 200), (False, 422)):
        with running([slot(id=1), slot(id=2, date="2026-11-24")]) as backend:
            backend.control("POST", "switches", {"updates_past_days": value})
            backend.advance(86400)
            assert backend.update(1, "finished").status == expected
            assert backend.update(2, "finished").status == 200


def test_extra_fields():
    more = {"reason": "rate_limit"}
    with running([slot(id=1)], extra_fields="ignore") as backend:
        assert backend.update(1, "ongoing", **more).status == 200
    with running([slot(id=1)]) as backend:
        assert backend.update(1, "ongoing", **more).errors == {
            ("extra_forbidden", "body", "reason")
        }


def test_switches_change_while_it_runs():
    with running([slot(id=1)]) as backend:
        changed = backend.control("POST", "switches", {"casing": "upper", "lists_ongoing": True})
        expected = dataclasses.asdict(Switches(casing="upper", lists_ongoing=True))
        assert changed["switches"] == expected
        assert backend.control("GET", "state")["switches"] == expected
        backend.update(1, "ongoing")
        assert backend.heartbeat().json["slots"][0]["status"] == "ONGOING"
        refusal = backend.refused_control("POST", "switches", {"casing": "snakes"})
        assert refusal == (
            "switches.casing: 'snakes' is not allowed; must be one of snake, pascal, kebab, "
            "upper; did you mean snake?"
        )
        assert backend.control("GET", "state")["switches"] == expected
