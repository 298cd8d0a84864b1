"""Faults on demand: which requests they meet, and what they do to them."""

import http.client
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from hfcal.sim.faults import ACTIONS, FaultBox, PlannedFault
from tests.rig.waiting import wait_until
from tests.sim.backend import TODAY, Backend, Reply

VIRTUAL = f"plan-7-{TODAY}"
SLOTS = [{"agent": "dev", "id": 1}, {"agent": "dev", "plan_id": 7}, {"agent": "ops", "id": 2}]


def running(*faults: Any, **scenario: Any) -> Backend:
    return Backend(slots=SLOTS, faults=list(faults), **scenario)


def lost(call: Callable[..., Reply], *args: Any) -> None:
    """Make a call whose connection must be closed without an answer."""
    with pytest.raises(http.client.RemoteDisconnected):
        call(*args)


def last(backend: Backend) -> tuple[Any, ...]:
    entry = backend.journal()[-1]
    return entry["fault"], entry["effect"], entry["decision"], entry["answer"]


def test_drop_before():
    with running({"path": "update", "drop_before": True}) as backend:
        lost(backend.update, 1, "ongoing")
        assert backend.slot(1)["status"] == "not_started"
        assert last(backend) == ("drop_before", False, None, None)
        assert backend.update(1, "ongoing").status == 200


def test_drop_after():
    with running({"path": "update", "drop_after": True}) as backend:
        lost(backend.update, VIRTUAL, "ongoing")
        assert backend.slot(VIRTUAL)["status"] == "ongoing"
        assert last(backend) == ("drop_after", True, 200, None)
        assert backend.update(VIRTUAL, "ongoing").status == 404


def test_status():
    fault = {"path": "heartbeat", "status": 429, "retry_after": 30}
    with running(fault, {"path": "heartbeat", "status": 503}) as backend:
        reply = backend.heartbeat()
        assert (reply.status, reply.headers["Retry-After"]) == (429, "30")
        assert last(backend) == ("status", False, None, 429)
        reply = backend.heartbeat()
        assert (reply.status, "Retry-After" in reply.headers) == (503, False)
        assert backend.control("GET", "state")["agents"][0]["last_heartbeat"] is None
        assert backend.heartbeat().status == 200


def test_status_with_effect_and_a_date():
    date = "Mon, 23 Nov 2026 10:00:00 GMT"
    fault = {"path": "update", "status": 503, "effect": True, "retry_after": date}
    with running(fault) as backend:
        reply = backend.update(1, "ongoing")
        assert (reply.status, reply.headers["Retry-After"]) == (503, date)
        assert backend.slot(1)["status"] == "ongoing"
        assert last(backend) == ("status", True, 200, 503)


@pytest.mark.parametrize("effect", [True, False])
def test_hang(effect):
    with running({"path": "update", "hang": 0.05, "effect": effect}) as backend:
        began = time.monotonic()
        lost(backend.update, 1, "ongoing")
        assert time.monotonic() - began >= 0.05
        assert backend.slot(1)["status"] == ("ongoing" if effect else "not_started")
        assert last(backend) == ("hang", effect, 200 if effect else None, None)


def test_latency_comes_before_the_effect():
    faults = ({"path": "update", "latency": 0.04}, {"agent": "dev", "latency": 0.02})
    with running(*faults) as backend:
        began = time.monotonic()
        assert backend.update(1, "ongoing").status == 200
        assert time.monotonic() - began >= 0.06
        entry = backend.journal()[-1]
        assert (entry["fault"], entry["answer"]) == ("latency", 200)
        assert entry["monotonic"] - entry["received"] >= 0.06


def test_a_late_request_takes_effect_though_its_client_is_gone():
    with running({"path": "update", "latency": 0.2}) as backend:
        connection = backend.connect(timeout=0.02)
        headers = {"X-Agent-ID": "dev", "X-Claw-Identifier": "sim"}
        headers["Content-Type"] = "application/json"
        path = "/calendar/slots/1/agent-update"
        connection.request("PATCH", path, b'{"status": "ongoing"}', headers)
        with pytest.raises(TimeoutError):
            connection.getresponse()
        connection.close()
        wait_until(backend.journal, seconds=5)
        assert backend.slot(1)["status"] == "ongoing"


def test_latency_goes_with_another_fault():
    with running({"latency": 0.01}, {"drop_after": True}) as backend:
        lost(backend.update, 1, "ongoing")
        assert last(backend) == ("latency+drop_after", True, 200, None)


@pytest.mark.parametrize("body", ["<html>502</html>", "", '{"slots": 5', "\ud800"])
def test_body(body):
    fault = {"path": "heartbeat", "body": body, "content_type": "text/html"}
    with running(fault) as backend:
        reply = backend.heartbeat()
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html")
        assert reply.body == body.encode("utf-8", "surrogatepass")
        assert last(backend) == ("body", False, None, 200)


def test_body_and_status_go_together():
    with running({"status": 502, "body": "bad gateway"}) as backend:
        reply = backend.heartbeat()
        assert (reply.status, reply.body) == (502, b"bad gateway")


def test_duplicate():
    with running({"duplicate": True, "count": 2}, switches={"repeat": "conflict"}) as backend:
        assert backend.update(1, "ongoing").status == 409
        assert backend.update(VIRTUAL, "ongoing").status == 404
        entries = [(entry["decision"], entry["answer"]) for entry in backend.journal()]
        assert entries == [(200, None), (409, 409), (200, None), (404, 404)]
        assert backend.slot(VIRTUAL)["status"] == "ongoing"


def test_faults_match_by_kind():
    kinds = ("heartbeat", "update", "status", "sync")
    for kind in kinds:
        with running({"path": kind, "status": 503, "count": 0}) as backend:
            replies = {
                "heartbeat": [backend.heartbeat()],
                "update": [backend.update(1, "ongoing"), backend.update(VIRTUAL, "ongoing")],
                "status": [
                    backend.post_status("busy"),
                    backend.call("GET", "/calendar/agent/status"),
                ],
                "sync": [backend.sync()],
            }
            for name in kinds:
                expected = 503 if name == kind else 200
                assert {reply.status for reply in replies[name]} == {expected}
    with running({"status": 503, "count": 0}) as backend:
        assert backend.heartbeat().status == backend.sync().status == 503
        assert backend.control("GET", "state")


def test_faults_match_by_agent():
    with running({"agent": "ops", "status": 503, "count": 0}) as backend:
        assert backend.heartbeat("dev").status == 200
        assert backend.heartbeat("ops").status == 503
        assert backend.sync().status == 200


def test_faults_match_by_slot():
    faults = ({"slot": 2, "status": 503}, {"slot": VIRTUAL, "status": 502})
    with running(*faults) as backend:
        assert backend.update(1, "ongoing").status == 200
        assert backend.heartbeat().status == 200
        assert backend.update(VIRTUAL, "ongoing").status == 502
        assert backend.update(2, "ongoing", agent="ops").status == 503


def test_count_and_after():
    with running({"status": 503, "count": 2, "after": 1}) as backend:
        statuses = [backend.heartbeat().status for _ in range(5)]
        assert statuses == [200, 503, 503, 200, 200]


def test_a_count_of_0_lasts_until_the_faults_are_cleared():
    with running({"status": 503, "count": 0}) as backend:
        assert [backend.heartbeat().status for _ in range(3)] == [503, 503, 503]
        assert backend.control("DELETE", "faults") == {"cleared": 1}
        assert backend.heartbeat().status == 200


def test_the_first_fault_that_matches_acts_and_the_others_wait():
    with running({"status": 503}, {"path": "heartbeat", "status": 502}) as backend:
        assert [backend.heartbeat().status for _ in range(3)] == [503, 502, 200]


def test_probability_is_the_scenarios_and_replays_by_its_seed():
    def hits(seed: int, probability: float) -> list[bool]:
        box = FaultBox(seed)
        box.add([PlannedFault(status=503, count=0, probability=probability)])
        return [box.choose("heartbeat", "dev", None).fault is not None for _ in range(200)]

    assert hits(1, 0.5) == hits(1, 0.5) != hits(2, 0.5)
    assert 50 < sum(hits(1, 0.5)) < 150
    assert sum(hits(1, 0.0)) == 0
    assert sum(hits(1, 1.0)) == 200


def test_the_seed_comes_from_the_scenario():
    def statuses(seed: int) -> list[int]:
        fault = {"status": 503, "count": 0, "probability": 0.5}
        with running(fault, seed=seed) as backend:
            return [backend.heartbeat().status for _ in range(16)]

    assert statuses(3) == statuses(3) != statuses(4)


def test_faults_are_added_while_it_runs_and_shown_until_spent():
    with running({"path": "sync", "hang": 1, "count": 0}) as backend:
        backend.control("POST", "faults", [{"status": 503, "count": 2}, {"slot": 1, "latency": 0}])
        backend.heartbeat()
        shown = backend.control("GET", "state")["faults"]
        assert shown == [
            {"path": "sync", "hang": 1.0, "count": 0, "left": None},
            {"status": 503, "count": 2, "left": 1},
            {"slot": "1", "latency": 0.0, "left": 1},
        ]
        backend.heartbeat()
        assert len(backend.control("GET", "state")["faults"]) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "faults[0]: does nothing; must do one of latency,"),
        ({"hang": 1, "status": 503}, "faults[0]: does hang, status; must do one of"),
        ({"drop_befor": True}, "faults[0].drop_befor: unknown key (its value is True); did you "),
        ({"path": "updates", "hang": 1}, "did you mean update?"),
        ({"status": 99}, "faults[0].status: 99 is not allowed; must be a whole number from 200"),
        ({"hang": -1}, "faults[0].hang: -1 is not allowed; must be a number from 0 to 3600"),
        ({"hang": True}, "faults[0].hang: True is not allowed"),
        ({"status": 429, "retry_after": "a\nb"}, "faults[0].retry_after: 'a\\nb' is not allowed"),
        ({"body": "", "content_type": "a\r\nb"}, "faults[0].content_type"),
        ({"status": 503, "probability": 2}, "must be a number from 0 to 1"),
    ],
)
def test_bad_faults_are_refused(fault, message):
    with running() as backend:
        assert message in backend.refused_control("POST", "faults", fault)
        assert backend.control("GET", "state")["faults"] == []


def test_every_action_has_a_name():
    values = {"latency": 0.5, "hang": 1.0, "status": 503, "body": ""}
    for action in ACTIONS:
        assert PlannedFault(**{action: values.get(action, True)}).action == action  # type: ignore[arg-type]


def test_stopping_does_not_wait_for_requests_that_hang():
    with running({"hang": 60}) as backend:
        thread = threading.Thread(target=lost, args=(backend.heartbeat,))
        thread.start()
        wait_until(backend.journal, seconds=5)
        began = time.monotonic()
    thread.join(5)
    assert not thread.is_alive()
    assert time.monotonic() - began < 4
