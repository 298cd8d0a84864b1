"""`hfcal tick` against a simulated backend: what is chosen, woken, marked and reported."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import modes
from tests.rig.backend import CLAW
from tests.rig.process import is_alive
from tests.rig.waiting import wait_past, wait_until

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FIELDS = {"agent_id", "ok", "agent_status", "slots", "action", "slot", "error", "warnings"}


def heartbeat_of(*slots: object) -> str:
    """The body of a heartbeat's answer with these slots."""
    return json.dumps({"slots": list(slots), "agent_status": "idle"})


def test_one_tick_reports_field_by_field(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """One tick over four agents: each field of the document, and what the backend saw."""
    backend = make_backend(
        agents=["developer", "operator", {"id": "newcomer", "bound": False}, "tester"],
        slots=[
            {"agent": "developer", "id": 11, "priority": 10},
            {"agent": "developer", "id": 12, "priority": 80},
            {"agent": "operator", "plan_id": 7, "slot_type": "on_call"},
        ],
    )
    host = make_host(backend, "developer", "newcomer", "operator", "tester")
    result = host.tick()
    assert (result.code, result.stderr.count("\n")) == (1, 1)
    assert "newcomer" in result.stderr
    document = result.json
    assert set(document) >= {
        *("schema", "started_at", "duration_ms", "dry_run", "claw_identifier"),
        *("agents", "deliveries", "summary"),
    }
    assert document["schema"] == 1
    assert RFC3339.fullmatch(document["started_at"])
    assert isinstance(document["duration_ms"], int)
    assert document["dry_run"] is False
    assert document["claw_identifier"] == CLAW
    agents = document["agents"]
    assert [a["agent_id"] for a in agents] == ["developer", "newcomer", "operator", "tester"]
    assert all(set(agent) >= FIELDS for agent in agents)
    developer, newcomer, operator, tester = agents
    assert {key: developer[key] for key in FIELDS} == {
        "agent_id": "developer",
        "ok": True,
        "agent_status": "idle",
        "slots": 2,
        "action": "dispatched",
        "slot": "12",
        "error": None,
        "warnings": [],
    }
    assert (newcomer["ok"], newcomer["action"], newcomer["slot"]) == (False, "error", None)
    assert newcomer["error"]["kind"] == "not_bound"
    assert newcomer["error"]["http_status"] == 404
    assert "hf user bind-agent" in newcomer["error"]["message"]
    assert CLAW in newcomer["error"]["message"]
    assert (operator["ok"], operator["action"], operator["slots"]) == (True, "dispatched", 1)
    assert (tester["action"], tester["slots"], tester["slot"]) == ("idle", 0, None)
    deliveries = {d["agent_id"]: d for d in document["deliveries"]}
    assert set(deliveries) == {"developer", "operator"}
    assert deliveries["developer"] == {
        "agent_id": "developer",
        "slot": "12",
        "status": "ongoing",
        "delivered": True,
        "error": None,
    }
    assert document["summary"] == {
        "agents": 4,
        "ok": 3,
        "failed": 1,
        "dispatched": 2,
        "delivered": 2,
        "queued": 0,
    }
    twelve = backend.slot(12)
    assert twelve["status"] == "ongoing"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", twelve["started_at"])
    assert backend.slot(11)["status"] == "not_started"
    virtual = next(s for s in backend.slots if s["agent_id"] == "operator")
    assert (virtual["status"], virtual["virtual_id"]) == ("ongoing", None)
    assert [a["status"] for a in backend.state["agents"]][:2] == ["busy", "on_call"]
    heartbeats = backend.journal("heartbeat")
    assert sorted(e["agent"] for e in heartbeats) == sorted(host.agents)
    assert all(e["claw"] == CLAW for e in heartbeats)
    assert all(re.fullmatch(r"hfcal/\d+\.\d+\.\d+\S*", e["user_agent"]) for e in heartbeats)
    assert sorted((w.agent_id, w.slot) for w in host.wakes) == [
        ("developer", "12"),
        ("operator", virtual["former_virtual_id"]),
    ]


def test_the_highest_priority_wins_and_ties_go_in_the_backends_order(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Highest priority first, equal ones as listed; one slot at a time, the others later."""
    backend = make_backend(
        agents=["developer", "operator"],
        slots=[
            {"agent": "developer", "id": 30, "priority": 50},
            {"agent": "developer", "id": 10, "priority": 50},
            {"agent": "developer", "id": 20, "priority": 51, "status": "deferred"},
            {"agent": "operator", "plan_id": 9, "priority": 20},
            {"agent": "operator", "id": 3, "priority": 20},
        ],
    )
    host = make_host(backend, "developer", "operator")
    done = []
    for _ in range(3):
        assert host.tick().actions["developer"] == "dispatched"
        done.append(host.ok("complete", "--agent", "developer", "--json").json["slot"])
    assert done == ["20", "30", "10"]
    assert [w.slot for w in host.wakes if w.agent_id == "operator"] == [
        s["former_virtual_id"] for s in backend.slots if s["former_virtual_id"]
    ]
    assert [slot for slot, word in backend.told("developer") if word == "finished"] == done


@pytest.mark.parametrize(
    ("shapes", "sync"), [(("slot", "wrapped", "slot_id"), "absent"), (("ok", "empty"), "full")]
)
def test_each_shape_of_answer_leads_to_the_real_id(
    shapes: tuple[str, ...], sync: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By the answer to the first update, else by sync; `finished` goes to the real id."""
    backend = make_backend(switches={"sync": sync})
    host = make_host(backend)
    done = []
    for plan, shape in enumerate(shapes, 1):
        backend.switch(virtual_answer=shape)
        backend.add_slots({"agent": "developer", "plan_id": plan})
        virtual = backend.slots[-1]["virtual_id"]
        assert host.tick().agents["developer"]["slot"] == virtual, shape
        real = str(backend.slot(virtual)["id"])
        if sync == "full":
            # A sync asked before the update proves nothing: then the next tick asks.
            host.tick()
            assert [a["ident"] for a in host.status()["active"]] == [real], shape
        result = host.ok("complete", "--agent", "developer", "--slot", virtual, "--json")
        assert (result.json["slot"], result.json["delivered"]) == (virtual, True), shape
        assert backend.told()[-2:] == [(virtual, "ongoing"), (real, "finished")], shape
        done.append((real, "delivered"))
    assert [(e["ident"], e["outcome"]) for e in host.status()["history"]] == done


@pytest.mark.parametrize(
    ("shape", "sync"), [("ok", "pending"), ("ok", "absent"), ("empty", "unauthorized")]
)
def test_an_end_waits_for_a_real_id_that_nothing_tells(
    shape: str, sync: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Without an answer's or a sync's word, the next listing tells; `ongoing` goes first then."""
    backend = make_backend(
        slots=[{"agent": "developer", "plan_id": 7}],
        switches={"virtual_answer": shape, "sync": sync, "finish_from": "ongoing"},
    )
    host = make_host(backend)
    virtual = backend.slots[0]["virtual_id"]
    host.tick()
    real = str(backend.slot(virtual)["id"])
    result = host.ok("complete", "--slot", virtual, "--json")
    assert (result.json["slot"], result.json["delivered"]) == (virtual, False)
    assert result.stderr
    assert host.tick().json["summary"]["queued"] == 1
    assert backend.told() == [(virtual, "ongoing")]
    # A person takes it back, so that it is listed, as pending, with its real id.
    backend.change_slot(int(real), status="not_started")
    assert host.tick().code == 0
    assert backend.told()[1:] == [(real, "ongoing"), (real, "finished")]
    assert len(host.wakes) == 1
    assert [e["outcome"] for e in host.status()["history"]] == ["delivered"]


def test_sync_is_asked_at_first_and_then_when_there_is_need(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """At most once a tick: for a new state, and for a real id that no answer told."""
    backend = make_backend(
        slots=[{"agent": "developer", "plan_id": 7}], switches={"virtual_answer": "ok"}
    )
    host = make_host(backend)
    counts = []
    for _ in range(3):
        assert host.tick().code == 0
        counts.append(len(backend.journal("sync")))
    assert counts == [1, 2, 2]
    (active,) = host.status()["active"]
    slot = backend.slots[0]
    assert active["ident"] == str(slot["id"])
    assert active["idents"] == [slot["former_virtual_id"], str(slot["id"])]


@pytest.mark.parametrize("casing", ["pascal", "kebab", "upper"])
def test_words_in_any_casing_are_understood(
    casing: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`NotStarted`, `not-started`, `NOT_STARTED`: dispatched all the same; sent as snake_case."""
    backend = make_backend(
        agents=["developer", {"id": "tired", "status": "exhausted"}, "guard"],
        slots=[
            {
                "agent": "developer",
                "id": 5,
                "event_type": "system_event",
                "event_data": {"event": "SummaryToday"},
            },
            {"agent": "tired", "id": 6},
            {"agent": "guard", "id": 7, "slot_type": "on_call"},
        ],
        switches={"casing": casing, "time_format": "HH:MM"},
    )
    host = make_host(backend, "developer", "tired", "guard")
    result = host.tick()
    assert result.code == 0
    assert result.actions == {
        "developer": "dispatched",
        "tired": "skipped",
        "guard": "dispatched",
    }
    assert result.agents["tired"]["agent_status"] == "exhausted"
    assert all(agent["warnings"] == [] for agent in result.agents.values())
    firsts = {wake.agent_id: wake.lines[0] for wake in host.wakes}
    assert firsts["developer"] == "[calendar system_event] SummaryToday"
    assert [backend.agent(a)["status"] for a in host.agents] == ["busy", "exhausted", "on_call"]
    assert [e["answer"] for e in backend.journal("update")] == [200, 200]


def test_what_the_backend_says_is_running_is_adopted(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """An ongoing slot that nobody remembers becomes the active one, is not woken, and ends here."""
    backend = make_backend(
        slots=[
            {"agent": "developer", "id": 4, "status": "ongoing"},
            {"agent": "developer", "id": 5, "priority": 99},
        ],
        switches={"lists_ongoing": True, "sync": "absent"},
    )
    host = make_host(backend)
    result = host.tick()
    assert result.code == 0
    agent = result.agents["developer"]
    assert (agent["action"], agent["slot"]) == ("adopted", "4")
    active = host.status()["active"]
    assert [(a["ident"], a["state"]) for a in active] == [("4", "ongoing")]
    host.ok("complete")
    assert (host.wakes, backend.told()) == ([], [("4", "finished")])


def test_a_new_state_learns_from_sync_what_runs(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Where heartbeats hide running slots, a new state asks sync once and adopts."""
    backend = make_backend(
        slots=[
            {"agent": "developer", "id": 4, "status": "paused"},
            {"agent": "developer", "id": 5, "priority": 99},
        ]
    )
    host = make_host(backend)
    result = host.tick()
    agent = result.agents["developer"]
    assert (result.code, agent["slot"]) == (0, "4")
    assert agent["action"] in {"adopted", "busy"}
    assert [(a["ident"], a["state"]) for a in host.status()["active"]] == [("4", "paused")]
    host.ok("complete")
    assert (host.wakes, backend.told()) == ([], [("4", "finished")])


def test_an_active_slot_that_is_over_on_the_server_is_resolved(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Listed as finished, an active slot is over here too, and nothing is sent for it."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    slot = {**backend.slot(4), "status": "Finished"}
    backend.change_slot(4, status="finished")
    backend.fault(path="heartbeat", body=heartbeat_of(slot))
    result = host.tick()
    agent = result.agents["developer"]
    assert (result.code, agent["action"], agent["slot"]) == (0, "resolved", "4")
    status = host.status()
    assert status["active"] == []
    assert [(e["ident"], e["status"], e["outcome"]) for e in status["history"]] == [
        ("4", "finished", "local")
    ]
    assert backend.told() == [("4", "ongoing")]
    assert backend.agent("developer")["status"] == "idle"


@pytest.mark.promise_4
@pytest.mark.promise_5
def test_an_active_slot_is_busy_and_told_again_when_the_server_took_it_back(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Busy with its slot, nothing else is dispatched; pending again, it is marked but not woken."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.add_slots({"agent": "developer", "id": 5, "priority": 99})
    backend.change_slot(4, status="not_started")
    result = host.tick()
    agent = result.agents["developer"]
    assert (agent["action"], agent["slot"], agent["slots"]) == ("busy", "4", 2)
    assert [d["status"] for d in result.json["deliveries"]] == ["ongoing"]
    host.ok("pause")
    backend.change_slot(4, status="deferred")
    host.tick()
    assert backend.slot(4)["status"] == "paused"
    assert len(host.wakes) == 1
    assert backend.slot(5)["status"] == "not_started"


def test_with_due_check_a_slot_waits_for_its_time(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`due_check` waits for date and time; without it, a slot before its time gives a warning."""
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    backend = make_backend(
        now=f"{tomorrow}T12:00:00Z",
        slots=[
            {"agent": "developer", "id": 4, "scheduled_at": "13:00", "priority": 90},
            {"agent": "developer", "id": 5, "scheduled_at": "12:30"},
        ],
    )
    host = make_host(backend)
    result = host.tick(env={"HFCAL_DUE_CHECK": "true"})
    agent = result.agents["developer"]
    assert result.code == 0
    assert (agent["action"], agent["slot"]) == ("waiting", "5")
    assert agent["due_at"] == f"{tomorrow}T12:30:00Z"
    status = host.status()
    assert status["next"] == [
        {"agent_id": "developer", "ident": "5", "due_at": f"{tomorrow}T12:30:00Z"}
    ]
    assert host.wakes == []
    host.configure(due_check=True, calendar_timezone="Asia/Tokyo")
    assert host.tick().agents["developer"]["due_at"] == f"{tomorrow}T03:30:00Z"
    host.configure(due_check=False)
    agent = host.tick().agents["developer"]
    assert (agent["action"], agent["slot"]) == ("dispatched", "4")
    assert [w["slot"] for w in agent["warnings"]] == ["4"]
    assert "due_check" in agent["warnings"][0]["message"]


def test_a_held_and_an_exhausted_agent_are_skipped(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Hold and exhausted dispatch nothing, say why, and heartbeat all the same."""
    backend = make_backend(
        agents=["developer", {"id": "tired", "status": "exhausted"}],
        slots=[{"agent": "developer", "id": 4}, {"agent": "tired", "id": 5}],
    )
    host = make_host(backend, "developer", "tired")
    host.ok("hold", "--agent", "developer")
    result = host.tick()
    assert result.code == 0
    assert {a: (r["action"], r["reason"]) for a, r in result.agents.items()} == {
        "developer": ("skipped", "hold"),
        "tired": ("skipped", "exhausted"),
    }
    assert result.agents["tired"]["agent_status"] == "exhausted"
    assert (host.wakes, backend.told()) == ([], [])
    assert len(backend.journal("heartbeat")) == 2
    backend.change_agent("tired", status="idle")
    host.ok("release", "--all")
    assert host.tick().actions == {"developer": "dispatched", "tired": "dispatched"}


@pytest.mark.promise_4
def test_a_failed_wake_is_tried_again_as_it_was_after_a_pause(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Aborted here alone; the next best may go; after 5 s the same key and message again."""
    backend = make_backend(
        agents=["developer", "operator"],
        slots=[
            {"agent": "developer", "id": 4, "priority": 90},
            {"agent": "developer", "id": 5},
            {"agent": "operator", "id": 6},
        ],
    )
    host = make_host(backend, "developer", "operator")
    host.on_wake('case $HFCAL_SLOT in 4|6) echo "no agent here"; exit 7;; esac')
    result = host.tick()
    assert result.code == 1
    for name, slot in (("developer", "4"), ("operator", "6")):
        agent = result.agents[name]
        assert (agent["ok"], agent["action"], agent["slot"]) == (False, "wake_failed", slot)
        assert agent["error"]["kind"] == "wake_failed"
        assert agent["error"]["http_status"] is None
        assert "exited with 7" in agent["error"]["message"]
        assert "no agent here" in agent["error"]["message"]
    assert (backend.journal("update"), backend.journal("status")) == ([], [])
    failed_at = time.time()
    result = host.tick()
    assert result.agents["developer"]["slot"] == "5"
    assert result.actions == {"developer": "dispatched", "operator": "skipped"}
    assert "wake" in result.agents["operator"]["reason"]
    backend.change_slot(6, estimated_duration=11, event_data={"new": True})
    wait_past(failed_at + 5.5)
    assert host.tick().actions["operator"] == "wake_failed"
    first, second = (wake for wake in host.wakes if wake.slot == "6")
    assert first.message == second.message
    assert first.env == second.env
    entries = [e for e in host.status()["history"] if e["agent_id"] == "operator"]
    assert len(entries) == 1
    assert (entries[0]["status"], entries[0]["outcome"]) == ("aborted", "local")
    assert entries[0]["reason"].startswith("wake failed: ")
    assert entries[0]["count"] == 2
    assert backend.told("operator") == []


def test_a_command_that_takes_too_long_is_a_failed_wake(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The time-out ends the command and what it started, and its message names `detach`."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend, wake={"timeout": 0.5})
    host.on_wake('sleep 60 & echo $! > "$1/child"; wait')
    result = host.tick()
    assert (result.code, result.actions) == (1, {"developer": "wake_failed"})
    assert "detach" in result.agents["developer"]["error"]["message"]
    wait_until(lambda: not is_alive(int((host.inbox / "child").read_text())))


def test_dry_run_changes_nothing(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """`--dry-run` only heartbeats: no file touched, nobody woken, nothing sent; also at first."""
    slots = [{"agent": "developer", "id": 4}, {"agent": "operator", "plan_id": 5}]
    backend = make_backend(agents=["developer", "operator"], slots=slots)
    host = make_host(backend, "developer", "operator", wake=None)
    before = (host.snapshot(), backend.slots)
    result = host.tick("--dry-run")
    assert result.code == 0
    assert result.json["dry_run"] is True
    assert result.actions == {"developer": "would_dispatch", "operator": "would_dispatch"}
    assert result.agents["developer"]["slot"] == "4"
    assert result.json["summary"]["dispatched"] == 0
    assert (host.snapshot(), backend.slots) == before
    assert not host.state_dir.exists()
    host.wake = {}
    host.configure(agents=["developer"])
    assert host.tick().code == 0
    backend.fault(path="update", status=503, count=0)
    host.ok("complete")
    host.configure(agents=["developer", "operator"])
    before = (host.snapshot(), backend.slots)
    seen = backend.state["journal"]["newest"]
    result = host.tick("--dry-run")
    assert result.actions == {"developer": "idle", "operator": "would_dispatch"}
    assert result.json["summary"]["queued"] == 1
    assert result.json["deliveries"] == []
    assert {e["kind"] for e in backend.journal(since=seen)} == {"heartbeat"}
    assert (host.snapshot(), backend.slots) == before
    assert len(host.wakes) == 1


def test_each_fault_of_the_backend_has_its_kind_and_stays_with_its_agent(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """One agent for each fault: kinds, HTTP status, exit 1, and the well one is dispatched."""
    faults: dict[str, tuple[dict[str, object], str, int | None]] = {
        "busy5": ({"status": 503, "body": '{"detail": "over load"}'}, "server_error", 503),
        "key401": ({"status": 401}, "unauthorized", 401),
        "key403": ({"status": 403}, "unauthorized", 403),
        "bad422": ({"status": 422}, "rejected", 422),
        "text": ({"body": "<html>"}, "bad_response", 200),
        "list": ({"body": "[]"}, "bad_response", 200),
        "bare": ({"body": "{}"}, "bad_response", 200),
        "odd": ({"body": '{"slots": 5}'}, "bad_response", 200),
        "gone": ({"drop_before": True}, "unreachable", None),
        "slow": ({"hang": 30}, "timeout", None),
        "loose": ({"status": 404}, "not_bound", 404),
    }
    backend = make_backend(
        agents=[*faults, "developer"],
        slots=[{"agent": "developer", "id": 4}],
        faults=[{"path": "heartbeat", "agent": a, **f[0]} for a, f in faults.items()],
    )
    host = make_host(backend, *faults, "developer", settings={"request_timeout": 1})
    result = host.tick()
    assert result.code == 1
    assert {
        a: (r["error"]["kind"], r["error"]["http_status"])
        for a, r in result.agents.items()
        if r["error"]
    } == {agent: (kind, status) for agent, (_, kind, status) in faults.items()}
    assert all(r["error"]["message"] for r in result.agents.values() if r["error"])
    assert result.actions == {**dict.fromkeys(faults, "error"), "developer": "dispatched"}
    assert "api_key" in result.agents["key401"]["error"]["message"]
    assert "over load" in result.agents["busy5"]["error"]["message"]
    summary = result.json["summary"]
    assert (summary["ok"], summary["failed"]) == (1, len(faults))
    entries = backend.journal()
    marked = next(e for e in entries if e["kind"] == "update")
    # Nobody waits for the slow one: the well one is marked before that time-out.
    slow = next(e for e in entries if e["agent"] == "slow")
    assert marked["received"] < slow["received"] + 1
    status = host.status()
    assert set(status["last_errors"]) == set(faults)
    assert set(status["last_good_heartbeats"]) == {"developer"}
    assert set(status["last_heartbeats"]) == {*faults, "developer"}
    assert status["stale"] == list(faults)


def test_only_a_backend_that_nobody_reaches_is_exit_4(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """4 when every agent was unreachable or timed out; 1 when it answered any, even with 500."""
    backend = make_backend(agents=["developer", "operator"])
    host = make_host(backend, "developer", "operator", settings={"request_timeout": "500ms"})
    cases: tuple[tuple[dict[str, object], int, str, tuple[str, ...]], ...] = (
        ({"drop_before": True}, 4, "unreachable", ("--dry-run",)),
        ({"drop_before": True}, 4, "unreachable", ()),
        ({"drop_before": True, "agent": "operator"}, 1, "unreachable", ()),
        ({"hang": 30}, 4, "timeout", ()),
        ({"status": 500}, 1, "server_error", ()),
    )
    for fault, code, kind, words in cases:
        backend.well()
        backend.fault(**fault, count=0)
        result = host.tick(*words)
        assert (result.code, result.agents["operator"]["error"]["kind"]) == (code, kind), fault


def test_a_refused_connection_names_the_url(make_host: MakeHost, dead_url: str) -> None:
    """Nobody listens there: unreachable, exit 4, and the message says where."""
    result = make_host(dead_url).tick()
    assert result.code == 4
    error = result.agents["developer"]["error"]
    assert error["kind"] == "unreachable"
    assert dead_url in error["message"]
    assert dead_url in result.stderr


@pytest.mark.promise_10
def test_an_odd_slot_spoils_neither_its_neighbours_nor_its_agent(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Unknown words, no ids, bad ids and a duplicate are warnings; the good slot is dispatched."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    good = backend.slot(4)
    backend.fault(
        path="heartbeat",
        body=heartbeat_of(
            {**good, "id": 90, "status": "sleeping", "priority": 99},
            {**good, "id": None, "priority": 99},
            {**good, "id": 0, "priority": 99},
            {**good, "id": 1 << 63, "priority": 99},
            {**good, "id": None, "virtual_id": "..", "priority": 99},
            {**good, "id": "7; rm -rf /", "priority": 99},
            "text",
            {**good, "slot_type": "party", "new_field": {"deep": [1]}},
            good,
        ),
    )
    host = make_host(backend)
    result = host.tick()
    agent = result.agents["developer"]
    assert (result.code, agent["action"], agent["slot"]) == (0, "dispatched", "4")
    said = [(w["slot"], w["message"]) for w in agent["warnings"]]
    assert sorted(str(slot) for slot, _ in said) == ["4", "90", *["None"] * 6]
    assert any("sleeping" in message for _, message in said)
    assert any("party" in message for _, message in said)
    assert host.status()["active"][0]["slot"]["new_field"] == {"deep": [1]}
    assert len(backend.told()) == 1


def test_a_slot_that_ended_here_is_not_dispatched_again(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Ended but not yet told: skipped. Told, and then reopened by a person: a new run, new key."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    backend.fault(path="update", status=503, count=0, retry_after=0)
    first = host.tick()
    assert (first.code, first.actions) == (1, {"developer": "dispatched"})
    assert first.json["deliveries"][0]["error"]["kind"] == "server_error"
    assert first.json["summary"]["queued"] == 1
    assert host.ok("complete", "--json").json["delivered"] is False
    agent = host.tick().agents["developer"]
    assert (agent["action"], agent["slot"], agent["ok"]) == ("skipped", "4", True)
    backend.well()
    assert host.tick().json["summary"]["queued"] == 0
    assert backend.told() == [("4", "ongoing"), ("4", "finished")]
    assert len(host.wakes) == 1
    backend.change_slot(4, status="not_started")
    assert host.tick().actions == {"developer": "dispatched"}
    first_wake, second_wake = host.wakes
    assert first_wake.key != second_wake.key


@pytest.mark.promise_2
def test_a_tick_delivers_for_agents_that_are_no_longer_listed(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What an agent queued is sent although `agents` names it no more."""
    backend = make_backend(agents=["developer", "old"], slots=[{"agent": "old", "id": 4}])
    host = make_host(backend, "developer", "old")
    host.tick()
    backend.away()
    host.ok("complete", "--agent", "old")
    backend.well()
    host.configure(agents=["developer"])
    result = host.tick()
    assert (result.code, list(result.actions)) == (0, ["developer"])
    assert result.json["deliveries"] == [
        {"agent_id": "old", "slot": "4", "status": "finished", "delivered": True, "error": None}
    ]
    assert backend.slot(4)["status"] == "finished"


def test_a_held_agents_updates_are_delivered(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Hold stops dispatching alone: what is queued goes out."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}, {"agent": "developer", "id": 5}])
    host = make_host(backend)
    host.tick()
    backend.away()
    host.ok("complete")
    backend.well()
    host.ok("hold", "--all", "--reason", "patching")
    result = host.tick()
    assert [d["delivered"] for d in result.json["deliveries"]] == [True]
    assert result.agents["developer"]["reason"] == "hold"


@pytest.mark.promise_8
def test_a_refused_update_is_kept_and_frees_what_waits_behind_it(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """422 to `ongoing` is for good: exit 1, kept in refused and history, and not sent again."""
    backend = make_backend(
        slots=[{"agent": "developer", "id": 4}],
        faults=[{"path": "update", "status": 422, "body": '{"detail": "no such word"}'}],
    )
    host = make_host(backend)
    result = host.tick()
    assert result.code == 1
    delivery = result.json["deliveries"][0]
    assert (delivery["delivered"], delivery["error"]["kind"]) == (False, "rejected")
    assert delivery["error"]["http_status"] == 422
    assert "no such word" in delivery["error"]["message"]
    status = host.status()
    assert [(r["ident"], r["status"]) for r in status["refused"]] == [("4", "ongoing")]
    assert "no such word" in status["refused"][0]["error"]
    assert RFC3339.fullmatch(status["refused"][0]["at"])
    assert [(e["status"], e["outcome"]) for e in status["history"]] == [("ongoing", "refused")]
    assert [a["ident"] for a in status["active"]] == ["4"]
    assert host.tick().code == 0
    assert len(backend.journal("update")) == 1
    assert host.ok("complete", "--json").json["delivered"] is True
    assert backend.told() == [("4", "finished")]


@pytest.mark.promise_9
def test_the_api_key_is_sent_and_shown_nowhere(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The key reaches the backend, and no output, file or wake holds it."""
    key = "s3cret-key-1"
    backend = make_backend(slots=[{"agent": "developer", "id": 4}], api_key=key)
    host = make_host(backend)
    refused = host.tick()
    assert refused.agents["developer"]["error"]["kind"] == "unauthorized"
    env = {"HFCAL_API_KEY": key}
    results = [host.tick("-v", env=env), host.ok("complete", "-v", env=env)]
    assert backend.slot(4)["status"] == "finished"
    shown = [*(r.stdout + r.stderr for r in results), *map(str, host.wakes)]
    shown += [content.decode() for content, _, _ in host.snapshot().values()]
    assert not [text for text in shown if key in text]


def test_a_key_that_is_a_token_is_sent_as_one(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`eyJ` and two dots: as Bearer, here from `api_key_file`."""
    key = "eyJhb.eyJzd.s3cret"
    host = make_host(make_backend(api_key=key))
    (host.root / "key").write_text(key + "\n", encoding="utf-8")
    host.configure(api_key_file=str(host.root / "key"))
    assert host.tick().actions == {"developer": "idle"}


@pytest.mark.promise_9
def test_files_and_directories_are_private(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """The state, its locks and their directories are for their user alone."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    host.tick()
    files, folders = modes(host.state_dir)
    assert host.state in files
    assert set(files.values()) == {0o600}
    assert host.state_dir in folders
    assert set(folders.values()) == {0o700}


@pytest.mark.parametrize(
    ("command", "settings", "wake", "named"),
    [
        ("tick", {"backend_url": None}, {}, "HFCAL_BACKEND_URL"),
        ("watch", {"agents": None}, {}, "HFCAL_AGENTS"),
        ("tick", {}, None, "[wake]"),
        ("watch", {}, {"adapter": "pigeon"}, "pigeon"),
        ("tick", {}, {"comand": ["x"]}, "did you mean command"),
    ],
)
def test_what_is_missing_in_the_settings_is_named(
    command: str,
    settings: dict[str, object],
    wake: dict[str, object] | None,
    named: str,
    make_host: MakeHost,
    dead_url: str,
) -> None:
    """`tick` and `watch` need a backend, agents and a way to wake: exit 5, and what to set."""
    host = make_host(dead_url, settings=settings, wake=wake)
    result = host.run(command, "--json")
    assert (result.code, result.error["kind"]) == (5, "config")
    assert named in result.error["message"]
    assert not host.state.exists()


def test_a_long_tick_on_a_terminal_shows_how_far_it_is(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """After a second, on stderr, and nothing of it stays; elsewhere never."""
    backend = make_backend(agents=["developer", "slow"])
    host = make_host(backend, "developer", "slow")
    backend.fault(path="heartbeat", agent="slow", hang=60)
    with host.terminal("tick", env={"HFCAL_REQUEST_TIMEOUT": "3s"}) as terminal:
        terminal.shows("1 of 2 agents, 0 failing, 0 dispatched")
        backend.well()
        assert terminal.end() == 1
        assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l") >= 0
    backend.fault(path="heartbeat", agent="slow", hang=60)
    tick = host.tick(env={"HFCAL_REQUEST_TIMEOUT": "2s"})
    assert tick.code == 1
    assert " of 2 agents" not in tick.stderr + tick.stdout


@pytest.mark.promise_2
@pytest.mark.promise_3
@pytest.mark.parametrize("word", ["ongoing", "paused"])
def test_what_waits_does_not_reopen_a_slot_that_ended_on_the_server(
    word: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Nothing more of it is sent; what waited is kept as refused."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    if word == "paused":
        host.tick()
    backend.fault(path="update", status=503, retry_after=0)
    host.run(*(("tick",) if word == "ongoing" else ("pause",)))
    backend.change_slot(4, status="aborted")
    backend.fault(path="update", status=503, count=1)
    over = json.dumps({"slots": [{"id": 4, "status": "aborted"}], "agent_status": "busy"})
    backend.fault(path="heartbeat", status=200, body=over)
    assert host.tick().actions == {"developer": "resolved"}
    for _ in range(2):
        host.tick()
    assert backend.slot(4)["status"] == "aborted"
    status = host.status()
    assert status["queued"] == []
    assert [r["status"] for r in status["refused"]] == [word]


def test_agents_that_hang_do_not_starve_the_others(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Who waited in vain comes last the next time; who was not even asked does not."""
    hanging = [f"x{n}" for n in range(8)]
    backend = make_backend(agents=[*hanging, "y"])
    host = make_host(backend, *hanging, "y")
    host.configure(concurrency=8, request_timeout="300ms")
    host.tick()
    backend.add_slots({"agent": "y", "id": 4})
    for agent in hanging:
        backend.fault(path="heartbeat", agent=agent, hang=30, count=0)
    assert host.tick().agents["y"]["error"]["message"].endswith("(not asked)")
    assert host.tick().actions["y"] == "dispatched"


def test_a_backend_without_sync_is_asked_once_a_day(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Also when a real id is missing."""
    backend = make_backend(
        slots=[{"agent": "developer", "plan_id": 7}],
        switches={"virtual_answer": "ok", "sync": "absent"},
    )
    host = make_host(backend)
    for _ in range(3):
        host.tick()
    assert len(backend.journal("sync")) == 1


def test_two_copies_of_a_slot_tell_their_ids_together(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The real id of one, the plan and date of the other."""
    backend = make_backend(slots=[{"agent": "developer", "id": 50}])
    day = datetime.now(UTC).date().isoformat()
    copies = [
        {"virtual_id": f"plan-3-{day}", "plan_id": 3, "date": day, "status": "not_started"},
        {"id": 50, "plan_id": 3, "date": day, "status": "not_started"},
    ]
    backend.fault(path="heartbeat", status=200, body=json.dumps({"slots": copies}))
    host = make_host(backend)
    assert host.tick().code == 0
    assert backend.told() == [("50", "ongoing")]
    (active,) = host.status()["active"]
    assert active["idents"] == [f"plan-3-{day}", "50"]


def test_an_agent_that_speaks_during_its_wake_is_reported_busy(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """And its wake counts."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.on_wake(f'"{sys.executable}" -m hfcal pause --agent developer >/dev/null')
    host.tick()
    assert backend.agent("developer")["status"] == "busy"
    assert "hfcal_wakes_total 1" in host.ok("metrics").stdout


def test_a_repeated_state_that_the_backend_has_is_no_refusal(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It lists the slot as pending and says 409 to `ongoing`: an echo."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    listed = json.dumps({"slots": [{"id": 4, "status": "not_started"}], "agent_status": "busy"})
    backend.fault(path="heartbeat", status=200, body=listed)
    backend.fault(path="update", status=409, body='{"detail": "already ongoing"}')
    assert host.tick().code == 0
    assert host.status()["refused"] == []


def test_a_status_that_is_owed_is_posted_for_an_agent_that_is_no_longer_listed(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As its updates are."""
    backend = make_backend(
        agents=["developer", "operator"], slots=[{"agent": "developer", "id": 4}]
    )
    host = make_host(backend, "developer", "operator")
    host.tick()
    backend.fault(path="status", status=500)
    host.ok("complete")
    assert backend.agent("developer")["status"] == "busy"
    host.configure(agents=["operator"])
    host.tick()
    assert backend.agent("developer")["status"] == "idle"


def test_what_names_the_work_is_kept_of_a_slot_that_is_too_large(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The message's first line depends on it."""
    data = {"type": "review", "code": "HF-42", "notes": "x" * 17_000}
    slot = {"agent": "developer", "id": 4, "event_type": "job", "event_data": data}
    host = make_host(make_backend(slots=[slot]))
    host.tick()
    (wake,) = host.wakes
    assert wake.lines[0] == "[calendar job review/HF-42] please handle this"


def test_a_tick_that_was_stopped_says_so_in_its_document(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With the signal, and of each agent that had not had its turn."""
    backend = make_backend(faults=[{"path": "heartbeat", "hang": 30}])
    host = make_host(backend)
    tick = host.start("tick", "--json")
    wait_until(lambda: backend.state["faults"] == [])
    tick.send(signal.SIGTERM)
    end = tick.end()
    assert (end.code, end.error["kind"]) == (143, "interrupted")
    assert end.agents["developer"]["reason"] == "stopped before it was done"


def test_a_dry_run_does_not_ask_a_backend_that_is_away_for_everybody(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As a tick doesn't."""
    names = [f"a{n:02}" for n in range(40)]
    backend = make_backend(agents=names, faults=[{"hang": 30, "count": 0}])
    host = make_host(backend, *names)
    host.configure(concurrency=8, request_timeout="300ms")
    agents = host.tick("--dry-run").agents.values()
    assert sum(a["error"]["message"].endswith("(not asked)") for a in agents) == 32
