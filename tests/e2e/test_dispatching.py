"""Ticks: heartbeat, choose, wake, mark, reconcile."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.e2e.host import scene

WORK = {"slot_type": "work", "scheduled_at": "00:00"}


def test_the_highest_priority_wins_and_an_unbound_agent_stops_nobody(tmp_path: Path) -> None:
    """Each agent gets its best slot, ties in the backend's order; a 404 is one agent's fault."""
    slots = [
        {"agent": "dev", "id": 1, "priority": 5, **WORK},
        {"agent": "dev", "id": 2, "priority": 50, **WORK},
        {"agent": "ops", "id": 8, "priority": 7, **WORK},
        {"agent": "ops", "id": 9, "priority": 7, **WORK},
    ]
    agents = ["dev", {"id": "ghost", "bound": False}, "ops"]
    with scene(tmp_path, {"agents": agents, "slots": slots}) as (backend, host):
        listed = [s["id"] for s in _listed(backend, "ops")]
        done = host.run("tick", "--json")
        assert done.code == 1
        document = done.json
        assert [a["agent_id"] for a in document["agents"]] == ["dev", "ghost", "ops"]
        assert host.agent(document, "dev")["slot"] == "2"
        assert host.agent(document, "ops")["slot"] == str(listed[0])
        ghost = host.agent(document, "ghost")
        assert (ghost["action"], ghost["error"]["kind"]) == ("error", "not_bound")
        assert "hf user bind-agent" in ghost["error"]["message"]
        summary = document["summary"]
        assert (summary["agents"], summary["ok"], summary["failed"]) == (3, 2, 1)
        assert (summary["dispatched"], summary["queued"]) == (2, 0)
        assert backend.status(2) == "ongoing"
        assert backend.status(1) == "not_started"
        again = host.run("tick", "--json").json
        assert host.agent(again, "dev")["action"] == "busy"
        assert len(host.wakes()) == 2


def _listed(backend, agent_id):
    body = {"claw_identifier": "srv1", "agent_id": agent_id}
    import urllib.request

    request = urllib.request.Request(
        backend.url + "/calendar/agent/heartbeat",
        json.dumps(body).encode(),
        {
            "X-Agent-ID": agent_id,
            "X-Claw-Identifier": "srv1",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())["slots"]


def test_what_the_agent_is_told(tmp_path: Path) -> None:
    """Message, environment and source name the slot; its commands run as they stand, anywhere."""
    slot = {
        "agent": "dev",
        "id": 12,
        **WORK,
        "event_type": "job",
        "event_data": {"type": "re\nview", "code": "HF-1"},
    }
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}) as (backend, host):
        assert host.run("tick", env={"HFCAL_API_KEY": "s3cret"}).code == 0
        (wake,) = host.wakes()
        first, empty, facts, *rest = wake["message"].splitlines()
        assert first == "[calendar job re view/HF-1] please handle this"
        assert empty == ""
        assert json.loads(facts)["slot_id"] == "12"
        assert json.loads(facts)["event_data"]["code"] == "HF-1"
        assert (wake["AGENT_ID"], wake["SLOT"], wake["SOURCE"]) == ("dev", "12", "calendar:12")
        assert json.loads(wake["SLOT_JSON"]) == json.loads(facts)
        assert wake["API_KEY"] is None
        complete = next(line for line in rest if " complete " in line)
        words = shlex.split(complete)
        assert words[words.index("--state") + 1] == str(host.state_path)
        done = subprocess.run(["env", "-i", *words], cwd="/", capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert backend.status(12) == "finished"


@pytest.mark.parametrize("shape", ["slot", "wrapped", "slot_id", "ok", "empty"])
def test_a_virtual_slot_is_finished_by_its_real_id(tmp_path: Path, shape: str) -> None:
    """Every shape of answer leads to the real id: from the answer, or from /calendar/sync."""
    slot = {"agent": "dev", "plan_id": 7, **WORK}
    scenario = {"agents": ["dev"], "slots": [slot], "switches": {"virtual_answer": shape}}
    with scene(tmp_path, scenario) as (backend, host):
        virtual = next(iter(backend.slots()))
        # The first tick of a day has asked sync before its update, which proves nothing.
        assert host.run("tick").code == host.run("tick").code == 0
        (real,) = backend.slots()
        assert real != virtual
        (active,) = host.status()["active"]
        assert (active["ident"], active["idents"]) == (real, [virtual, real])
        done = host.run("complete", "--slot", virtual, "--json")
        assert (done.code, done.json["slot"], done.json["delivered"]) == (0, virtual, True)
        assert backend.words(real) == ["ongoing", "finished"]
        assert all(e["answer"] < 300 for e in backend.journal("update"))


def test_a_lost_first_answer_never_costs_the_completion(tmp_path: Path) -> None:
    """The slot became real and the answer was lost: the real id is found, the end arrives."""
    slot = {"agent": "dev", "plan_id": 7, **WORK}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}) as (backend, host):
        backend.fault(path="update", drop_after=True)
        assert host.run("tick").code == 1
        done = host.run("complete", "--json")
        assert (done.code, done.json["delivered"]) == (0, False)
        for _ in range(3):
            host.run("tick")
        assert [s["status"] for s in backend.slots().values()] == ["finished"]
        assert host.status()["queued"] == host.status()["refused"] == []


@pytest.mark.parametrize("casing", ["pascal", "kebab", "upper"])
def test_words_in_any_casing_are_understood(tmp_path: Path, casing: str) -> None:
    """`NotStarted` once made every slot of an earlier client wait for ever."""
    slot = {"agent": "dev", "id": 3, **WORK}
    scenario = {"agents": ["dev"], "slots": [slot], "switches": {"casing": casing}}
    with scene(tmp_path, scenario) as (_, host):
        (agent,) = host.run("tick", "--json").json["agents"]
        assert (agent["action"], agent["warnings"]) == ("dispatched", [])


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    """It says what would be done, and leaves state, backend and agent alone."""
    slot = {"agent": "dev", "id": 3, **WORK}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}) as (backend, host):
        done = host.run("tick", "--dry-run", "--json")
        assert (done.code, done.json["dry_run"]) == (0, True)
        assert done.json["agents"][0]["action"] == "would_dispatch"
        assert not host.state_path.parent.exists()
        assert backend.status(3) == "not_started"
        assert host.wakes() == []


def test_a_failed_wake_comes_back_the_same(tmp_path: Path) -> None:
    """The backend isn't told, the slot pauses, and the next try has the same key and message."""
    slot = {"agent": "dev", "id": 3, **WORK}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}) as (backend, host):
        done = host.run("tick", "--json", env={"WAKE_EXIT": "3"})
        assert done.code == 1
        (agent,) = done.json["agents"]
        assert (agent["action"], agent["error"]["kind"]) == ("wake_failed", "wake_failed")
        assert backend.words(3) == []
        (agent,) = host.run("tick", "--json").json["agents"]
        assert (agent["action"], agent["reason"]) == ("skipped", "pausing after failed wakes")
        _forget_pauses(host.state_path)
        assert host.run("tick").code == 0
        first, second = host.wakes()
        assert first == second
        assert host.status()["history"][0]["status"] == "aborted"
        assert backend.status(3) == "ongoing"


def _forget_pauses(state_path: Path) -> None:
    """As if the pause were over: cheaper than to wait for it."""
    state = json.loads(state_path.read_text())
    for agent in state["agents"].values():
        for failed in agent.get("failed", ()):
            failed["not_before"] = 1.0
    state_path.write_text(json.dumps(state))


def test_due_check_waits_for_the_slots_time(tmp_path: Path) -> None:
    """Without it what is listed is due, with a warning that names it; with it the slot waits."""
    slot = {"agent": "dev", "id": 3, "scheduled_at": "23:59:59"}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot], "now": _noon()}) as (_, host):
        (agent,) = host.run("tick", "--json", env={"HFCAL_DUE_CHECK": "true"}).json["agents"]
        assert agent["action"] == "waiting"
        assert agent["due_at"].endswith("T23:59:59Z")
        assert host.status()["next"][0]["ident"] == "3"
        (agent,) = host.run("tick", "--json").json["agents"]
        assert agent["action"] == "dispatched"
        assert "due_check" in agent["warnings"][0]["message"]


def _noon() -> str:
    """Today at noon, tomorrow's when today is nearly over."""
    from datetime import UTC, datetime, timedelta

    day = datetime.now(UTC)
    if day.hour == 23:
        day += timedelta(days=1)
    return day.strftime("%Y-%m-%dT12:00:00Z")


def test_what_the_backend_says_is_running_is_adopted(tmp_path: Path) -> None:
    """A host that lost its state takes over what runs, by the heartbeat or by sync."""
    slot = {"agent": "dev", "id": 3, "status": "ongoing", **WORK}
    other = {"agent": "dev", "id": 4, **WORK}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot, other]}) as (backend, host):
        (agent,) = host.run("tick", "--json").json["agents"]
        assert (agent["action"], agent["slot"]) == ("busy", "3")
        assert host.wakes() == []
        assert host.run("complete", "--slot", "3").code == 0
        assert backend.words(3) == ["finished"]


def test_hold_and_exhausted_keep_an_agent_from_being_woken(tmp_path: Path) -> None:
    """Heartbeats and deliveries go on; nothing is dispatched."""
    slots = [{"agent": a, "id": n, **WORK} for n, a in enumerate(("dev", "ops"), 1)]
    agents = ["dev", {"id": "ops", "status": "exhausted"}]
    with scene(tmp_path, {"agents": agents, "slots": slots}) as (_, host):
        assert host.run("hold", "--agent", "dev", "--for", "2h", "--reason", "patching").code == 0
        document = host.run("tick", "--json").json
        assert host.agent(document, "dev")["reason"] == "hold"
        assert host.agent(document, "ops")["reason"] == "exhausted"
        (held,) = host.status()["held"]
        assert (held["agent_id"], held["reason"]) == ("dev", "patching")
        assert host.run("release", "--all").code == 0
        assert host.agent(host.run("tick", "--json").json, "dev")["action"] == "dispatched"


def test_cron_is_told_news_only(tmp_path: Path) -> None:
    """No output when all is as before; a fault is said when it begins and when it ends."""
    slot = {"agent": "dev", "id": 3, **WORK}
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}) as (backend, host):
        quiet = host.run("tick")
        assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
        backend.fault(path="heartbeat", status=503, count=0)
        began, lasts = host.run("tick"), host.run("tick")
        assert (began.code, lasts.code) == (1, 1)
        assert "503" in began.err
        assert (lasts.out, lasts.err) == ("", "")
        assert "503" in host.run("tick", "-v").out
        backend.well()
        assert "well again" in host.run("tick").err
        assert host.run("tick").err == ""


def test_six_ticks_at_once_wake_once(tmp_path: Path) -> None:
    """One process at a time speaks for an agent; the others skip it, quietly, exit 0."""
    slots = [{"agent": f"a{n}", "id": n + 1, **WORK} for n in range(4)]
    names = [f"a{n}" for n in range(4)]
    with scene(tmp_path, {"agents": names, "slots": slots}) as (backend, host):
        ticks = [host.start("tick", "--json") for _ in range(6)]
        outputs = [json.loads(tick.communicate(timeout=60)[0]) for tick in ticks]
        assert [tick.returncode for tick in ticks] == [0] * 6
        assert sum(o["summary"]["dispatched"] for o in outputs) == 4
        assert len(host.wakes()) == 4
        assert all(backend.words(n + 1) == ["ongoing"] for n in range(4))


def test_a_backend_that_is_away_is_exit_4(tmp_path: Path) -> None:
    """Every agent unreachable: 4, each with the URL in its message."""
    with scene(tmp_path, {"agents": ["dev"], "slots": []}) as (_, host):
        done = host.run("tick", "--json", "--backend-url", "http://127.0.0.1:9")
        (agent,) = done.json["agents"]
        assert (done.code, agent["error"]["kind"]) == (4, "unreachable")
        assert "http://127.0.0.1:9" in agent["error"]["message"]


@pytest.mark.parametrize("body", ["no json", "[]", '{"slots": null}', '{"agent_status": "idle"}'])
def test_garbage_is_one_agents_bad_response(tmp_path: Path, body: str) -> None:
    """An answer that is no heartbeat's stops nobody else."""
    slots = [{"agent": "ops", "id": 1, **WORK}]
    with scene(tmp_path, {"agents": ["dev", "ops"], "slots": slots}) as (backend, host):
        backend.fault(path="heartbeat", agent="dev", body=body)
        document = host.run("tick", "--json").json
        assert host.agent(document, "dev")["error"]["kind"] == "bad_response"
        assert host.agent(document, "ops")["action"] == "dispatched"


def test_sigterm_ends_a_tick_and_its_waiting_wake(tmp_path: Path) -> None:
    """The wake command is ended as at its time-out, all is saved, exit 143."""
    slot = {"agent": "dev", "id": 3, **WORK}
    command = ["sh", "-c", "echo $$ > $0; exec sleep 60", str(tmp_path / "pid")]
    with scene(tmp_path, {"agents": ["dev"], "slots": [slot]}, command=command) as (_, host):
        tick = host.start("tick", "--json")
        from tests.e2e.host import until

        pid = until(lambda: _text(tmp_path / "pid"), "the wake command runs")
        tick.terminate()
        out, _ = tick.communicate(timeout=10)
        assert tick.returncode == 143
        assert json.loads(out)["agents"][0]["action"] == "wake_failed"
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
        assert host.status()["active"] == []


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
