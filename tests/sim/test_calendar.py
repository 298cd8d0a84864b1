"""The simulator's slots: what a heartbeat and a sync list, and how updates change them."""

from typing import Any

import pytest

from tests.sim.backend import TODAY, Backend

VIRTUAL = f"plan-7-{TODAY}"


def slot(**values: Any) -> dict[str, Any]:
    return {"agent": "dev", **values}


def test_heartbeat_lists_todays_pending_slots_by_priority():
    slots = [
        slot(id=1, priority=10),
        slot(id=2, priority=90, status="deferred"),
        slot(id=3, priority=50, status="ongoing"),
        slot(id=4, priority=50, status="paused"),
        slot(id=5, priority=50, status="finished"),
        slot(id=6, priority=50, date="2026-11-22"),
        slot(id=7, priority=50, date="2026-11-24"),
        slot(plan_id=7, priority=60),
        slot(agent="ops", id=8),
    ]
    with Backend(slots=slots) as backend:
        assert backend.listed() == [2, VIRTUAL, 1]
        assert backend.listed("ops") == [8]


def test_a_slot_is_written_with_all_its_fields():
    values = {
        "id": 12,
        "plan_id": 7,
        "user_id": 3,
        "special_slot_id": 4,
        "slot_type": "on_call",
        "estimated_duration": 45,
        "scheduled_at": "09:30",
        "event_type": "job",
        "event_data": {"type": "task", "task_code": "T-1"},
        "priority": 80,
        "is_admin_locked": True,
        "new_field": [1, None],
    }
    with Backend(slots=[slot(**values)]) as backend:
        assert backend.heartbeat().json["slots"] == [
            {
                **values,
                "virtual_id": None,
                "date": TODAY,
                "scheduled_at": "09:30:00",
                "started_at": None,
                "attended": False,
                "actual_duration": None,
                "status": "not_started",
            }
        ]


def test_heartbeat_tells_status_and_message():
    with Backend(message="hello") as backend:
        assert backend.heartbeat().json == {
            "slots": [],
            "agent_status": "idle",
            "message": "hello",
        }
    with Backend() as backend:
        assert backend.heartbeat().json == {"slots": [], "agent_status": "idle"}


def test_the_day_turns_at_midnight_utc():
    with Backend(slots=[slot(id=1), slot(id=2, date="2026-11-24")]) as backend:
        backend.advance(15 * 3600 - 60)
        assert backend.listed() == [1]
        backend.advance(61)
        assert backend.listed() == [2]


def test_an_update_changes_status_start_and_duration():
    with Backend(slots=[slot(id=1)]) as backend:
        reply = backend.update(1, "ongoing", started_at="09:00")
        assert (reply.status, reply.json["status"]) == (200, "ongoing")
        assert (reply.json["started_at"], reply.json["attended"]) == ("09:00:00", True)
        assert backend.listed() == []
        reply = backend.update(1, "finished", actual_duration=17)
        assert (reply.json["status"], reply.json["actual_duration"]) == ("finished", 17)
        assert reply.json["started_at"] == "09:00:00"


def test_a_virtual_slot_becomes_real_with_its_first_update():
    with Backend(slots=[slot(id=1), slot(plan_id=7)]) as backend:
        listed = backend.heartbeat().json["slots"]
        assert {"id": None, "virtual_id": VIRTUAL, "plan_id": 7}.items() <= listed[1].items()
        reply = backend.update(VIRTUAL, "ongoing")
        new_id = reply.json["id"]
        assert new_id not in (None, 1)
        assert reply.json["virtual_id"] is None
        assert backend.update(VIRTUAL, "ongoing").status == 404
        assert backend.update(new_id, "finished").status == 200
        assert backend.slot(VIRTUAL)["id"] == new_id


def test_a_refused_first_update_leaves_the_slot_virtual():
    with Backend(slots=[slot(plan_id=7, is_admin_locked=True)]) as backend:
        assert backend.update(VIRTUAL, "deferred").status == 423
        assert backend.listed() == [VIRTUAL]


@pytest.mark.parametrize("end", ["finished", "aborted", "skipped"])
def test_terminal_states_are_final(end):
    with Backend(slots=[slot(id=1)]) as backend:
        assert backend.update(1, end).status == 200
        for status in ("ongoing", "paused", "finished", "aborted", "skipped", "deferred"):
            reply = backend.update(1, status, actual_duration=9)
            assert reply.status == (200 if status == end else 409)
        held = backend.slot(1)
        assert (held["status"], held["actual_duration"]) == (end, None)


@pytest.mark.parametrize("status", ["ongoing", "paused", "finished", "aborted"])
def test_a_locked_slot_takes_what_an_agents_work_needs(status):
    with Backend(slots=[slot(id=1, is_admin_locked=True)]) as backend:
        assert backend.update(1, status).status == 200


@pytest.mark.parametrize("status", ["not_started", "deferred", "skipped"])
def test_a_locked_slot_refuses_the_rest(status):
    with Backend(slots=[slot(id=1, is_admin_locked=True)]) as backend:
        reply = backend.update(1, status)
        assert reply.status == 423
        assert status in reply.detail
        assert backend.slot(1)["status"] == "not_started"


def test_updates_of_other_peoples_and_unknown_slots_are_404():
    with Backend(slots=[slot(id=1), slot(plan_id=7)]) as backend:
        assert backend.update(1, "ongoing", agent="ops").status == 404
        assert backend.update(VIRTUAL, "ongoing", agent="ops").status == 404
        assert backend.update(99, "ongoing").detail == "Slot not found"
        assert backend.update("plan-8-2026-11-23", "ongoing").status == 404
        assert backend.listed() == [1, VIRTUAL]


def test_sync_shows_todays_slots_of_all_bound_agents():
    agents = ["dev", "ops", {"id": "loner", "bound": False}]
    slots = [
        slot(id=1, status="ongoing"),
        slot(id=2, status="finished", priority=60),
        slot(id=3, date="2026-11-22"),
        slot(plan_id=7, priority=70),
        slot(agent="loner", id=9),
    ]
    with Backend(agents=agents, slots=slots) as backend:
        reply = backend.sync().json
        assert reply["full"] is True
        ids = {
            agent: [item["id"] or item["virtual_id"] for item in items]
            for agent, items in reply["schedules"].items()
        }
        assert ids == {"dev": [VIRTUAL, 2, 1], "ops": []}
        assert backend.sync(claw="other").json == {"full": True, "schedules": {}}


def test_sync_makes_todays_admin_slots():
    slots = [slot(id=1, admin_made=True), slot(id=2, admin_made=True, date="2026-11-24")]
    with Backend(slots=slots) as backend:
        assert backend.listed() == []
        assert backend.update(1, "ongoing").status == 404
        assert [item["id"] for item in backend.sync().json["schedules"]["dev"]] == [1]
        assert backend.listed() == [1]
        backend.advance(86400)
        assert backend.listed() == []
        backend.sync()
        assert backend.listed() == [2]


def test_new_ids_pass_over_those_that_are_taken():
    with Backend(slots=[slot(), slot(id=1), slot(id=2), slot(plan_id=7)]) as backend:
        assert backend.update(VIRTUAL, "ongoing").json["id"] == 4
        assert sorted(backend.listed()) == [1, 2, 3]
