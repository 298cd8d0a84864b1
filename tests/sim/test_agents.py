"""The simulator's agents: who is known, who is alive, and which status follows which."""

import pytest

from tests.sim.backend import Backend

ALL = ("idle", "on_call", "busy", "exhausted", "offline")


def test_an_agent_that_is_not_bound_to_the_claw_is_not_found():
    agents = ["dev", {"id": "loner", "bound": False}]
    with Backend(agents=agents, slots=[{"agent": "loner", "id": 1}]) as backend:
        for reply in (
            backend.heartbeat("loner"),
            backend.heartbeat("nobody"),
            backend.heartbeat("dev", claw="other"),
            backend.update(1, "ongoing", agent="loner"),
            backend.post_status("busy", "loner"),
            backend.call("GET", "/calendar/agent/status", agent="loner"),
        ):
            assert (reply.status, reply.json) == (404, {"detail": "Agent not found"})
        assert backend.slot(1)["status"] == "not_started"


@pytest.mark.parametrize("present", ALL)
@pytest.mark.parametrize("status", ALL)
def test_transitions(present, status):
    with Backend(agents=[{"id": "dev", "status": present}]) as backend:
        reply = backend.post_status(status)
        if status == present:
            assert (reply.status, reply.json) == (200, {"ok": True, "no_change": True})
        elif status in ("busy", "on_call") and present != "idle":
            assert reply.status == 409
            assert reply.detail == f"Agent dev is {present}; expected one of [idle]"
            assert backend.agent_status() == present
        else:
            assert (reply.status, reply.json) == (200, {"ok": True})
            assert backend.agent_status() == status


def test_an_agent_goes_offline_after_120_s_of_silence_and_comes_back_idle():
    with Backend(agents=[{"id": "dev", "status": "busy"}]) as backend:
        backend.heartbeat()
        backend.advance(119)
        assert backend.agent_status() == "busy"
        backend.advance(2)
        assert backend.agent_status() == "offline"
        assert backend.post_status("busy").status == 409
        assert backend.heartbeat().json["agent_status"] == "idle"
        assert backend.agent_status() == "idle"


def test_only_heartbeats_keep_an_agent_alive():
    with Backend(slots=[{"agent": "dev", "id": 1}]) as backend:
        backend.advance(100)
        backend.update(1, "ongoing")
        backend.post_status("busy")
        backend.advance(21)
        assert backend.agent_status() == "offline"


def test_heartbeats_stamp_the_last_heartbeat():
    with Backend() as backend:
        agents = backend.control("GET", "state")["agents"]
        assert [agent["last_heartbeat"] for agent in agents] == [None, None]
        backend.heartbeat()
        stamp = backend.control("GET", "state")["agents"][0]["last_heartbeat"]
        assert stamp.startswith("2026-11-23T09:00:0")
        assert stamp.endswith("Z")
        backend.advance(3600)
        backend.heartbeat("ops", claw="other")
        backend.heartbeat()
        agents = backend.control("GET", "state")["agents"]
        assert agents[0]["last_heartbeat"].startswith("2026-11-23T10:00:0")
        assert agents[1]["last_heartbeat"] is None


def test_get_tells_the_status():
    with Backend() as backend:
        reply = backend.call("GET", "/calendar/agent/status", agent="ops")
        assert reply.json == {"agent_id": "ops", "status": "idle"}
