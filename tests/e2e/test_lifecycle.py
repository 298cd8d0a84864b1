"""`hfcal complete`, `abort`, `pause`, `resume`: what agents say, and how it reaches the backend."""

from __future__ import annotations

import getpass
import json
import time

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.waiting import wait_past

ONE_SLOT = [{"agent": "developer", "id": 4}]


def test_complete_tells_the_backend_and_keeps_the_history(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The document, `finished` with whole minutes, the agent idle again, and the summary kept."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    result = host.ok("complete", "--summary", "merged\nthe fix", "--json")
    assert result.json == {
        "agent_id": "developer",
        "slot": "4",
        "status": "finished",
        "actual_duration": 1,
        "delivered": True,
        "error": None,
    }
    assert result.stderr == ""
    slot = backend.slot(4)
    assert (slot["status"], slot["actual_duration"]) == ("finished", 1)
    assert [e["body"] for e in backend.journal("update")][1] == {
        "status": "finished",
        "actual_duration": 1,
    }
    assert backend.agent("developer")["status"] == "idle"
    status = host.status()
    assert (status["active"], status["queued"], status["refused"]) == ([], [], [])
    (entry,) = status["history"]
    assert (entry["ident"], entry["agent_id"], entry["status"]) == ("4", "developer", "finished")
    assert (entry["summary"], entry["reason"]) == ("merged the fix", "")
    assert entry["outcome"] == "delivered"
    assert entry["resolved_at"].endswith("Z")
    again = host.ok("complete", "--agent", "developer", "--slot", "4", "--json").json
    assert again == {**result.json, "already": True}
    assert len(backend.journal("update")) == 2
    other = host.run("abort", "--agent", "developer", "--slot", "4", "--json")
    assert (other.code, other.error["kind"]) == (3, "no_active_slot")
    assert "finished" in other.error["message"]


def test_complete_takes_the_agents_word_for_the_duration(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`--duration` in whole minutes from 1 to 1440 is sent as it is; anything else is usage."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    for text in ("0", "1441", "1.5"):
        refused = host.run("complete", "--duration", text, "--json")
        assert (refused.code, refused.error["kind"]) == (2, "usage"), text
    result = host.ok("complete", "--duration", "17")
    assert "17 min" in result.stdout
    assert backend.slot(4)["actual_duration"] == 17


def test_abort_tells_the_backend_and_keeps_the_reason(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`aborted` without a duration; the slot is not dispatched again."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    result = host.ok("abort", "--reason", "no access", "--slot", "4", "--json")
    assert result.json == {
        "agent_id": "developer",
        "slot": "4",
        "status": "aborted",
        "actual_duration": None,
        "delivered": True,
        "error": None,
    }
    assert backend.slot(4)["status"] == "aborted"
    assert backend.agent("developer")["status"] == "idle"
    (entry,) = host.status()["history"]
    assert (entry["status"], entry["reason"]) == ("aborted", "no access")
    assert host.ok("abort", "--agent", "developer", "--slot", "4", "--json").json["already"] is True


def test_pause_and_resume_keep_the_slot_active(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Told as `paused` and `ongoing`; said again, nothing is sent; nothing else is dispatched."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    backend.add_slots({"agent": "developer", "id": 5, "priority": 99})
    for verb, status in (("pause", "paused"), ("resume", "ongoing")):
        result = host.ok(verb, "--reason", "review", "--json")
        assert result.json == {
            "agent_id": "developer",
            "slot": "4",
            "status": status,
            "actual_duration": None,
            "delivered": True,
            "error": None,
        }
        assert backend.slot(4)["status"] == status
    again = host.ok("resume", "--json").json
    assert (again["already"], again["status"]) == (True, "ongoing")
    assert [word for _, word in backend.told()] == ["ongoing", "paused", "ongoing"]
    host.ok("pause")
    assert host.tick().actions == {"developer": "busy"}
    host.ok("complete")
    assert backend.slot(4)["status"] == "finished"
    assert backend.slot(5)["status"] == "not_started"


def test_which_agent_a_call_is_for(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """`--agent`, HFCAL_AGENT_ID, AGENT_ID, else the only active one; else exit 3 with the list."""
    names = ["a1", "a2", "a3", "a4"]
    backend = make_backend(
        agents=[*names, "lazy"],
        slots=[{"agent": a, "id": n} for n, a in enumerate(names, 1)],
    )
    host = make_host(backend, *names, "lazy")
    host.tick()
    for verb in ("complete", "pause"):
        unclear = host.run(verb, "--json")
        assert (unclear.code, unclear.error["kind"]) == (3, "ambiguous_agent")
        assert all(name in unclear.error["message"] for name in names)
        assert "lazy" not in unclear.error["message"]
    both = {"HFCAL_AGENT_ID": "a2", "AGENT_ID": "a3"}
    assert host.ok("complete", "--agent", "a1", "--json", env=both).json["agent_id"] == "a1"
    assert host.ok("complete", "--json", env=both).json["agent_id"] == "a2"
    empty = {"HFCAL_AGENT_ID": "", "AGENT_ID": "a3"}
    assert host.ok("complete", "--json", env=empty).json["agent_id"] == "a3"
    assert host.ok("complete", "--json", env={"AGENT_ID": ""}).json["agent_id"] == "a4"
    for words in ((), ("--agent", "nobody")):
        none = host.run("complete", *words, "--json")
        assert (none.code, none.error["kind"]) == (3, "no_active_slot")
    assert sorted(slot["status"] for slot in backend.slots) == ["finished"] * 4


def test_the_slot_option_guards_against_ending_another_one(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not the active one: exit 3, both are named, and nothing has changed."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    before = host.state.read_bytes()
    for verb in ("complete", "resume"):
        wrong = host.run(verb, "--slot", "5", "--json")
        assert (wrong.code, wrong.error["kind"]) == (3, "wrong_slot")
        assert "4" in wrong.error["message"]
        assert "5" in wrong.error["message"]
    assert host.state.read_bytes() == before
    assert backend.told() == [("4", "ongoing")]


def test_in_a_young_state_an_unknown_slot_can_be_completed(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The state may be new: `finished` alone is told, beside the active slot; never `aborted`."""
    backend = make_backend(
        slots=[
            {"agent": "developer", "id": 4},
            {"agent": "developer", "id": 9, "status": "ongoing"},
            {"agent": "developer", "id": 10, "status": "ongoing"},
        ],
        switches={"sync": "absent"},
    )
    host = make_host(backend)
    host.tick()
    result = host.ok("complete", "--agent", "developer", "--slot", "9", "--json")
    assert (result.json["slot"], result.json["delivered"]) == ("9", True)
    assert backend.told() == [("4", "ongoing"), ("9", "finished")]
    assert [a["ident"] for a in host.status()["active"]] == ["4"]
    assert host.run("abort", "--agent", "developer", "--slot", "10").code == 3
    host.ok("complete", "--agent", "developer", "--slot", "4")
    host.ok("complete", "--agent", "developer", "--slot", "10")
    assert backend.told()[-1] == ("10", "finished")


def test_an_agent_needs_the_state_file_alone(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """No config or a broken one never refuses an agent: the state knows backend and claw."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()

    def says(verb: str, **env: str | None) -> None:
        assert host.ok(verb, "--json", env=env).json["delivered"] is True

    host.write_config("backend_url = [")
    says("pause", HFCAL_STATE=str(host.state))
    host.configure(backend_ulr="x", concurrency=-1)
    says("resume")
    host.settings = {}
    host.configure(api_key_file="/nonexistent/key")
    says("pause")
    odd = {"HFCAL_BACKEND_URL": "nonsense", "HFCAL_REQUEST_TIMEOUT": "x", "HFCAL_CONFIG": "/x"}
    says("resume", **odd, HFCAL_STATE=str(host.state))
    host.config.unlink()
    says("complete", PATH=None, HOME=str(host.root / "no"), HFCAL_STATE=str(host.state))
    assert [word for _, word in backend.told()] == [
        *("ongoing", "paused", "ongoing", "paused", "ongoing", "finished")
    ]


@pytest.mark.promise_2
def test_an_agent_without_the_key_is_accepted_and_the_tick_delivers(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """401 keeps the update queued; cron has the key and sends it."""
    backend = make_backend(slots=ONE_SLOT, api_key="k1")
    host = make_host(backend)
    host.tick(env={"HFCAL_API_KEY": "k1"})
    result = host.ok("complete", "--json")
    queued_at = time.time()
    assert result.json["delivered"] is False
    assert result.json["error"]["kind"] == "unauthorized"
    assert result.stderr.startswith("hfcal: ")
    (waiting,) = host.status()["queued"]
    assert set(waiting) >= {"agent_id", "ident", "status", "since", "attempts", "error"}
    assert (waiting["agent_id"], waiting["ident"], waiting["status"]) == (
        "developer",
        "4",
        "finished",
    )
    assert waiting["attempts"] == 1
    assert "401" in waiting["error"]
    wait_past(queued_at + 5.1)
    tick = host.tick(env={"HFCAL_API_KEY": "k1"})
    assert (tick.code, tick.json["deliveries"][0]["delivered"]) == (0, True)


def test_without_a_state_file_the_path_and_the_user_are_named(lone_host: Host) -> None:
    """Most often it is another user than tick's: exit 3 with both, and no file is made."""
    for verb in ("complete", "pause"):
        result = lone_host.run(verb, "--json")
        assert (result.code, result.error["kind"]) == (3, "no_active_slot")
        before, path, after = result.error["message"].partition(str(lone_host.state))
        assert path
        # Without the path, which may hold the user's name as well.
        assert getpass.getuser() in before + after
        assert "is this the user that runs tick?" in result.error["message"]
    assert not lone_host.state_dir.exists()


@pytest.mark.promise_2
def test_while_the_backend_is_away_words_are_queued_and_go_out_in_order(
    make_backend: MakeBackend, make_host: MakeHost, dead_url: str
) -> None:
    """Exit 0, `delivered` false, a line on stderr; the next tick sends all, in order."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    away = {"HFCAL_BACKEND_URL": dead_url}
    for verb in ("pause", "complete"):
        result = host.ok(verb, "--json", env=away)
        assert result.json["delivered"] is False
        assert result.json["error"]["kind"] == "unreachable"
        assert dead_url in result.json["error"]["message"]
        assert result.stderr.count("\n") == 1
    status = host.status()
    assert [u["status"] for u in status["queued"]] == ["paused", "finished"]
    assert status["history"][0]["outcome"] == "queued"
    again = host.ok("complete", "--agent", "developer", "--slot", "4", "--json", env=away)
    assert (again.json["already"], again.json["delivered"]) == (True, False)
    result = host.tick()
    assert [(d["status"], d["delivered"]) for d in result.json["deliveries"]] == [
        ("paused", True),
        ("finished", True),
    ]
    assert (result.code, result.json["summary"]["delivered"]) == (0, 2)
    assert [word for _, word in backend.told()] == ["ongoing", "paused", "finished"]
    assert backend.agent("developer")["status"] == "idle"
    assert host.status()["history"][0]["outcome"] == "delivered"


def test_a_silent_backend_holds_an_agent_up_no_longer_than_the_timeout(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`--timeout` bounds the whole delivery; `request_timeout` does without it."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend, settings={"request_timeout": 30})
    host.tick()
    backend.fault(hang=60, count=0)
    result = host.ok("pause", "--timeout", "700ms", "--json")
    assert (result.json["delivered"], result.json["error"]["kind"]) == (False, "timeout")
    assert result.seconds < 3
    result = host.ok("complete", "--json", env={"HFCAL_REQUEST_TIMEOUT": "0.5"})
    assert result.json["delivered"] is False
    assert result.seconds < 3
    backend.well()
    assert host.tick().code == 0
    assert backend.slot(4)["status"] == "finished"


def test_require_delivery_exits_with_4_and_keeps_it_queued(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Whatever kept it from the backend; with the command's own document and `undelivered`."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=503, retry_after=0)
    result = host.run("complete", "--require-delivery", "--json")
    assert result.code == 4
    assert result.json["agent_id"] == "developer"
    assert (result.json["status"], result.json["delivered"]) == ("finished", False)
    assert result.error["kind"] == "undelivered"
    assert result.error["message"]
    assert [u["status"] for u in host.status()["queued"]] == ["finished"]
    assert host.tick().json["summary"]["queued"] == 0
    assert backend.slot(4)["status"] == "finished"


@pytest.mark.promise_2
@pytest.mark.promise_8
def test_an_end_that_is_refused_for_good_is_kept_as_refused(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Exit 1 with the reason, in refused and history; the agent is free; said again, 1 again."""
    backend = make_backend(slots=[*ONE_SLOT, {"agent": "developer", "id": 5, "priority": 1}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=422, body='{"detail": "too late"}')
    result = host.run("complete", "--summary", "done", "--json")
    assert result.code == 1
    assert (result.json["slot"], result.json["delivered"]) == ("4", False)
    assert (result.error["kind"], result.error["http_status"]) == ("rejected", 422)
    assert "too late" in result.error["message"]
    status = host.status()
    assert (status["active"], status["queued"]) == ([], [])
    (refused,) = status["refused"]
    assert set(refused) >= {"agent_id", "ident", "status", "at", "error"}
    assert (refused["ident"], refused["status"]) == ("4", "finished")
    assert "too late" in refused["error"]
    (entry,) = status["history"]
    assert (entry["status"], entry["outcome"]) == ("finished", "refused")
    again = host.run("complete", "--agent", "developer", "--slot", "4", "--json")
    assert (again.code, again.json["already"]) == (1, True)
    told = host.run("complete", "--agent", "developer", "--slot", "4")
    assert told.stdout == "agent developer: finished of slot 4 was refused by the backend\n"
    assert "too late" in again.error["message"]
    assert len(backend.journal("update")) == 2
    assert host.tick().agents["developer"]["slot"] == "5"


def test_a_pause_that_was_refused_is_told_as_such_when_it_is_said_again(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Exit 1 with the refusal, both times, and it is sent once; the slot stays active."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=422, body='{"detail": "no pauses"}')
    for already in (None, True):
        result = host.run("pause", "--json")
        assert (result.code, result.json.get("already")) == (1, already)
        assert (result.json["delivered"], result.error["kind"]) == (False, "rejected")
        assert "no pauses" in result.error["message"]
    assert len(backend.journal("update")) == 2
    assert host.status()["active"][0]["state"] == "paused"


@pytest.mark.promise_2
@pytest.mark.promise_3
@pytest.mark.parametrize("repeat", ["ok", "conflict"])
def test_a_lost_answer_is_repeated_and_never_reopens(
    repeat: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Applied but not answered: sent again, 200 or 409 is as good, and the order is kept."""
    backend = make_backend(slots=ONE_SLOT, switches={"repeat": repeat})
    host = make_host(backend)
    backend.fault(path="update", drop_after=True)
    assert host.tick().code == 1
    assert host.ok("complete", "--json").json["delivered"] is True
    words = [e["body"]["status"] for e in backend.journal("update")]
    assert words == ["ongoing", "ongoing", "finished"]
    assert backend.slot(4)["status"] == "finished"
    status = host.status()
    assert (status["refused"], status["queued"]) == ([], [])


@pytest.mark.promise_1
@pytest.mark.parametrize(
    ("verb", "status", "exits"), [("complete", "finished", 0), ("abort", "aborted", 9)]
)
def test_the_woken_command_may_end_its_slot_before_it_exits(
    verb: str, status: str, exits: int, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It is accepted while the tick waits, sent by the tick in order, whatever the wake returns."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    line = f'line=$(grep " {verb} --agent " "$1/$(ls "$1" | grep ^wake)/message")'
    run = f'eval "$line --json --require-delivery" > "$1/said"; echo $? > "$1/code"; exit {exits}'
    host.on_wake(f"{line}\n{run}\n")
    result = host.tick()
    assert result.code == 0
    assert result.actions == {"developer": "dispatched"}
    assert (host.inbox / "code").read_text() == "4\n"
    said = json.loads((host.inbox / "said").read_text())
    assert (said["status"], said["delivered"]) == (status, False)
    assert said["error"]["kind"] == "undelivered"
    assert [(d["status"], d["delivered"]) for d in result.json["deliveries"]] == [
        ("ongoing", True),
        (status, True),
    ]
    assert [word for _, word in backend.told()] == ["ongoing", status]
    assert backend.agent("developer")["status"] == "idle"
    assert host.status()["active"] == []
    assert host.tick().actions == {"developer": "idle"}
    assert len(host.wakes) == 1


def test_a_slot_whose_wake_was_reported_failed_can_be_completed(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The agent's word counts: the slot ends, `ongoing` is told first, and no try follows."""
    backend = make_backend(slots=ONE_SLOT, switches={"finish_from": "ongoing"})
    host = make_host(backend)
    host.on_wake("exit 1")
    assert host.tick().actions == {"developer": "wake_failed"}
    result = host.ok("complete", "--agent", "developer", "--slot", "4", "--json")
    assert result.json["delivered"] is True
    assert [word for _, word in backend.told()] == ["ongoing", "finished"]
    assert host.tick().actions == {"developer": "idle"}
    assert len(host.wakes) == 1


def test_an_agent_does_not_end_the_slot_of_another(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A slot that another agent is at, or was, is none that nobody knows."""
    backend = make_backend(agents=["a", "b"], slots=[{"agent": "b", "id": 12}])
    host = make_host(backend, "a", "b")
    host.tick()
    for _ in range(2):
        done = host.run("complete", "--agent", "a", "--slot", "12", "--json")
        assert (done.code, done.error["kind"]) == (3, "wrong_slot")
        assert "agent b's" in done.error["message"]
        host.ok("complete", "--agent", "b", "--slot", "12")
    assert [e["agent"] for e in backend.journal("update")] == ["b", "b"]


def test_a_repeat_needs_no_agent(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """The slot names it, also while another agent is at work."""
    backend = make_backend(agents=["a", "b"], slots=[{"agent": "a", "id": 5}])
    host = make_host(backend, "a", "b")
    host.tick()
    host.ok("complete", "--slot", "5")
    assert host.ok("complete", "--slot", "5", "--json").json["already"] is True
    backend.add_slots({"agent": "b", "id": 6})
    host.tick()
    assert host.ok("complete", "--slot", "5", "--json").json["agent_id"] == "a"


def test_what_was_dropped_is_not_called_delivered(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The agent that says it again is told so, and may require more."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    host.tick()
    backend.away()
    host.ok("complete")
    host.ok("queue", "drop", "4", "--yes")
    backend.well()
    words = ("complete", "--agent", "developer", "--slot", "4")
    again = host.ok(*words, "--json")
    assert (again.json["already"], again.json["delivered"]) == (True, False)
    assert "dropped by hand" in again.stderr
    assert host.run(*words, "--require-delivery").code == 4


@pytest.mark.promise_8
def test_what_was_refused_is_not_sent_again_for_that_slot(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """However often the agent pauses and resumes."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend)
    backend.fault(path="update", status=422, count=1)
    host.tick()
    for _ in range(2):
        host.run("pause")
        host.run("resume")
    assert [e["body"]["status"] for e in backend.journal("update")].count("ongoing") == 1


def test_why_an_agent_paused_is_in_the_history(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With what became of it; without a reason there is nothing to keep."""
    host = make_host(make_backend(slots=ONE_SLOT))
    host.tick()
    host.ok("pause", "--reason", "waits for a review")
    host.ok("resume")
    (entry,) = host.status()["history"]
    assert (entry["status"], entry["reason"]) == ("paused", "waits for a review")
    assert entry["outcome"] == "delivered"


def test_a_bad_option_is_told_though_a_bad_setting_is_passed_over(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Whoever types it can type it better."""
    host = make_host(make_backend(slots=ONE_SLOT))
    host.tick()
    for words in (("pause", "--backend-url", "junk"), ("status", "--concurrency", "zz")):
        assert host.run(*words).code == 2
    host.configure(concurrency="zz")
    assert host.ok("pause").stderr == ""


def test_statuses_are_reported_as_the_ticks_settings_say(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """An agent's command has no config; the state tells."""
    backend = make_backend(slots=ONE_SLOT)
    host = make_host(backend, settings={"report_agent_status": False})
    host.tick()
    host.config.unlink()
    host.ok("complete")
    assert backend.journal("status") == []
