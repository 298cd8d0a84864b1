"""complete, abort, pause, resume: an agent's word, on disk and then with the backend."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.host import HFCAL, scene

WORK = {"slot_type": "work", "scheduled_at": "00:00"}


def one_slot(**more: Any) -> dict[str, Any]:
    return {"agents": ["dev"], "slots": [{"agent": "dev", "id": 3, **WORK}], **more}


def test_complete_frees_the_agent_and_tells_the_backend(tmp_path: Path) -> None:
    """The document is the contract's, the history keeps the summary, the status goes to idle."""
    with scene(tmp_path, one_slot()) as (backend, host):
        host.run("tick")
        done = host.run("complete", "--summary", "merged", "--duration", "17", "--json")
        assert done.code == 0
        assert done.json == {
            "agent_id": "dev",
            "slot": "3",
            "status": "finished",
            "actual_duration": 17,
            "delivered": True,
            "error": None,
        }
        assert backend.slots()["3"]["actual_duration"] == 17
        (entry,) = host.status()["history"]
        assert (entry["status"], entry["summary"], entry["outcome"]) == (
            "finished",
            "merged",
            "delivered",
        )
        assert backend.ask("/_sim/state")["agents"][0]["status"] == "idle"
        again = host.run("complete", "--agent", "dev", "--slot", "3", "--json")
        assert (again.code, again.json["already"]) == (0, True)
        assert backend.words(3) == ["ongoing", "finished"]
        assert host.run("tick", "--json").json["agents"][0]["action"] == "idle"


def test_a_word_that_can_not_be_delivered_waits_on_disk(tmp_path: Path) -> None:
    """Exit 0, a line on stderr, within --timeout; the next tick delivers it, in order."""
    with scene(tmp_path, one_slot()) as (backend, host):
        host.run("tick")
        backend.fault(path="any", hang=30, count=0)
        began = time.monotonic()
        done = host.run("complete", "--timeout", "1s")
        assert time.monotonic() - began < 5
        assert done.code == 0
        assert "queued, not delivered yet" in done.err
        status = host.status()
        assert status["active"] == []
        assert (status["queued"][0]["ident"], status["queued"][0]["attempts"]) == ("3", 1)
        backend.well()
        document = host.run("tick", "--json").json
        assert document["deliveries"] == [
            {
                "agent_id": "dev",
                "slot": "3",
                "status": "finished",
                "delivered": True,
                "error": None,
            }
        ]
        assert backend.status(3) == "finished"


def test_require_delivery_is_exit_4_and_keeps_it_queued(tmp_path: Path) -> None:
    """For scripts that want to know: 4, `undelivered`, and it is queued all the same."""
    with scene(tmp_path, one_slot()) as (backend, host):
        host.run("tick")
        backend.fault(path="any", status=503, count=0)
        done = host.run("complete", "--require-delivery", "--json")
        assert (done.code, done.json["error"]["kind"]) == (4, "undelivered")
        assert host.status()["queued"][0]["status"] == "finished"


def test_a_refusal_for_good_is_exit_1_and_is_kept(tmp_path: Path) -> None:
    """It moves to `refused` and the history, and the agent is free."""
    with scene(tmp_path, one_slot()) as (backend, host):
        host.run("tick")
        backend.fault(path="update", status=422)
        done = host.run("complete", "--json")
        assert (done.code, done.json["error"]["http_status"]) == (1, 422)
        status = host.status()
        assert (status["active"], status["queued"]) == ([], [])
        assert status["refused"][0]["ident"] == "3"
        assert status["history"][0]["outcome"] == "refused"
        assert host.run("complete", "--agent", "dev", "--slot", "3").code == 1


def test_complete_from_inside_the_wake_command(tmp_path: Path) -> None:
    """It finds the slot, doesn't deadlock, and the backend hears ongoing before finished."""
    with scene(tmp_path, one_slot(), command=[*HFCAL, "complete", "--slot", "{slot}"]) as (
        backend,
        host,
    ):
        assert host.run("tick", "--json").code == 0
        assert backend.words(3) == ["ongoing", "finished"]
        assert host.status()["queued"] == []


def test_a_wake_that_fails_after_the_agents_word_counts_as_made(tmp_path: Path) -> None:
    """The agent ended the slot while the wake ran: whatever the command returns."""
    line = f"{sys.executable} -m hfcal complete --slot 3; exit 9"
    with scene(tmp_path, one_slot(), command=["sh", "-c", line]) as (backend, host):
        document = host.run("tick", "--json").json
        assert document["agents"][0]["ok"] is True
        assert backend.words(3) == ["ongoing", "finished"]


def test_pause_and_resume(tmp_path: Path) -> None:
    """The slot stays the agent's active one, and nothing else is dispatched meanwhile."""
    scenario = one_slot()
    scenario["slots"].append({"agent": "dev", "id": 4, **WORK})
    with scene(tmp_path, scenario) as (backend, host):
        host.run("tick")
        assert host.run("pause", "--reason", "review").code == 0
        assert host.run("pause", "--json").json["already"] is True
        assert host.status()["active"][0]["state"] == "paused"
        assert host.run("tick", "--json").json["agents"][0]["action"] == "busy"
        assert host.run("resume").code == 0
        assert host.run("abort", "--reason", "gone").code == 0
        told = backend.words(3) + backend.words(4)
        assert told == ["ongoing", "paused", "ongoing", "aborted"]


def test_which_agent_a_call_is_for(tmp_path: Path) -> None:
    """--agent, HFCAL_AGENT_ID, AGENT_ID, the only active one; else exit 3 with the list."""
    names = ["a", "b", "c", "d"]
    slots = [{"agent": a, "id": n, **WORK} for n, a in enumerate(names, 1)]
    with scene(tmp_path, {"agents": names, "slots": slots}) as (backend, host):
        nobody = host.run("complete", "--json")
        assert nobody.code == 3
        host.run("tick")
        unclear = host.run("complete", "--json")
        assert (unclear.code, unclear.json["error"]["kind"]) == (3, "ambiguous_agent")
        assert all(a in unclear.json["error"]["message"] for a in names)
        assert host.run("complete", env={"HFCAL_AGENT_ID": "a", "AGENT_ID": "b"}).code == 0
        assert host.run("complete", env={"HFCAL_AGENT_ID": "", "AGENT_ID": "b"}).code == 0
        assert host.run("complete", "--agent", "c", env={"AGENT_ID": "d"}).code == 0
        assert host.run("complete").code == 0
        assert [backend.status(n) for n in (1, 2, 3, 4)] == ["finished"] * 4


def test_the_wrong_slot_is_refused(tmp_path: Path) -> None:
    """--slot guards against ending another slot than the caller means."""
    scenario = one_slot()
    scenario["slots"].append({"agent": "dev", "id": 4, "priority": 1, **WORK})
    with scene(tmp_path, scenario) as (_, host):
        host.run("tick")
        host.run("complete", "--slot", "3")
        host.run("tick")
        done = host.run("abort", "--slot", "3", "--json")
        assert (done.code, done.json["error"]["kind"]) == (3, "wrong_slot")


def test_no_config_is_needed_to_end_a_slot(tmp_path: Path) -> None:
    """An agent lacks cron's environment: the state file knows the backend."""
    with scene(tmp_path, one_slot()) as (backend, host):
        host.run("tick")
        host.config.write_text("this is = no [toml")
        env = {"HFCAL_STATE": str(host.state_path)}
        done = host.run("complete", "--json", env=env)
        assert (done.code, done.json["delivered"]) == (0, True)
        assert backend.status(3) == "finished"
        assert host.run("tick").code == 5


def test_no_state_file_is_exit_3_with_path_and_user(tmp_path: Path) -> None:
    """Most often it is another user than the one that runs tick."""
    with scene(tmp_path, one_slot()) as (_, host):
        done = host.run("complete", "--agent", "dev")
        assert done.code == 3
        assert str(host.state_path) in done.err
        assert "is this the user that runs tick?" in done.err


def test_an_unknown_slot_is_taken_at_its_word_while_the_state_is_young(tmp_path: Path) -> None:
    """A lost state may have known it: `finished` alone is told, since `ongoing` might reopen it."""
    scenario = one_slot()
    scenario["slots"][0]["status"] = "ongoing"
    scenario["switches"] = {"sync": "absent"}
    with scene(tmp_path, scenario) as (backend, host):
        host.run("tick")
        assert host.run("complete", "--agent", "dev", "--slot", "3").code == 0
        assert backend.words(3) == ["finished"]
        state = json.loads(host.state_path.read_text())
        state["created"] -= 86_500
        host.state_path.write_text(json.dumps(state))
        assert host.run("complete", "--agent", "dev", "--slot", "77").code == 3


def test_twelve_completes_at_once(tmp_path: Path) -> None:
    """Each is accepted, and all arrive, though they share one state file."""
    names = [f"a{n}" for n in range(12)]
    slots = [{"agent": a, "id": n, **WORK} for n, a in enumerate(names, 1)]
    with scene(tmp_path, {"agents": names, "slots": slots}) as (backend, host):
        host.run("tick")
        running = [host.start("complete", "--agent", a) for a in names]
        for process in running:
            process.communicate(timeout=60)
        assert [process.returncode for process in running] == [0] * 12
        host.run("tick")
        assert all(s["status"] == "finished" for s in backend.slots().values())


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["complete", "--agent", "a\nb"], {}),
        (["complete", "--agent", "a" * 129], {}),
        (["complete"], {"HFCAL_AGENT_ID": "two words"}),
        (["complete", "--duration", "0"], {}),
        (["tick", "--concurrency", "many"], {}),
        (["complete", "--bogus"], {}),
        (["nonsense"], {}),
        (["tick"], {"HFCAL_AGENTS": "ok,not ok"}),
    ],
)
def test_wrong_usage_is_exit_2(tmp_path: Path, words: list[str], env: dict[str, str]) -> None:
    """One line that says what is wrong, and one JSON document with --json."""
    with scene(tmp_path, one_slot()) as (_, host):
        done = host.run(*words, "--json", env=env)
        assert (done.code, done.json["error"]["kind"]) == (2, "usage")
        assert done.json["error"]["message"]
