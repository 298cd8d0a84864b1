"""The log: one event a line, many agents' same error in one."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from typing import Any

import pytest

from hfcal.errors import StateError
from hfcal.views.screens import LineScreen
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.waiting import wait_past, wait_until


def logged(host: Host) -> list[dict[str, Any]]:
    """All events so far; the log is emptied."""
    lines = (host.root / "log").read_text("utf-8").splitlines()
    (host.root / "log").unlink()
    return [json.loads(line) for line in lines]


def all_logged(host: Host) -> None:
    """Have the host log everything, as JSON."""
    host.configure(log_file=str(host.root / "log"), log_format="json", log_level="info")


def test_an_error_that_many_share_is_one_line(make_host: MakeHost, dead_url: str) -> None:
    """It names the first few and counts the others; what differs has a line of its own."""
    names = [f"agent-{n:03}" for n in range(50)]
    log = "tick.log"
    host = make_host(dead_url, *names)
    host.configure(log_file=str(host.root / log), log_format="json", log_level="info")
    host.tick()
    events = [json.loads(line) for line in (host.root / log).read_text("utf-8").splitlines()]
    failed = [e for e in events if e["event"] == "heartbeat_failed"]
    assert [(e["count"], len(e["agent_ids"]), e["kind"]) for e in failed] == [
        (50, 50, "unreachable")
    ]
    assert "agent-000, agent-001, agent-002 and 47 more" in failed[0]["message"]
    assert [e["failed"] for e in events if e["event"] == "tick"] == [50]


def test_to_stderr(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """As lines of text; what one agent's error says stays its own."""
    backend = make_backend(agents=["developer", {"id": "loose", "bound": False}])
    host = make_host(backend, "developer", "loose")
    host.configure(log_file="-", log_level="info")
    lines = host.tick().stderr.splitlines()
    assert sum("info calendar heartbeat ok: developer" in line for line in lines) == 1
    assert sum("warning calendar heartbeat failed: loose" in line for line in lines) == 1
    assert sum("info calendar tick: 2 agents, 1 failed" in line for line in lines) == 1


def test_errors_that_differ_by_the_agent_only_are_one_line(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Each says its own name, and all are the same."""
    names = [f"a{n}" for n in range(6)]
    backend = make_backend(agents=[{"id": name, "bound": False} for name in names])
    host = make_host(backend, *names)
    all_logged(host)
    done = host.tick()
    (failed,) = [e for e in logged(host) if e["event"] == "heartbeat_failed"]
    assert (failed["kind"], failed["count"]) == ("not_bound", 6)
    assert "a0, a1, a2 and 3 more: the agent is not bound to claw srv1" in failed["message"]
    (told,) = done.stderr.splitlines()
    assert told.startswith("hfcal: a0, a1, a2 and 3 more: the agent is not bound")


def test_a_wake_and_its_failure_have_events_of_their_own(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A failed wake is no failed heartbeat."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    all_logged(host)
    host.on_wake("exit 3")
    host.tick()
    heartbeat, wake, tick = logged(host)
    assert [e["event"] for e in (heartbeat, wake, tick)] == ["heartbeat_ok", "wake_failed", "tick"]
    assert (wake["agent_id"], wake["slot"], wake["kind"]) == ("developer", "4", "wake_failed")
    assert wake["message"].startswith("calendar wake failed: developer: slot 4: wake failed: ")
    backend.add_slots({"agent": "developer", "id": 5})
    host.on_wake("")
    host.tick()
    events = [e["event"] for e in logged(host)]
    assert events == ["heartbeat_ok", "wake_made", "update_delivered", "tick"]


def test_an_update_that_waits_is_told_from_one_that_is_refused(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Each with its kind."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    all_logged(host)
    backend.fault(path="update", status=503, count=1)
    host.tick()
    (waits,) = [e for e in logged(host) if e["event"].startswith("update_")]
    assert (waits["event"], waits["kind"], waits["status"]) == (
        "update_waits",
        "server_error",
        "ongoing",
    )
    host.ok("queue", "retry", "4", "--yes")
    backend.fault(path="update", status=422, count=1)
    host.tick()
    (refused,) = [e for e in logged(host) if e["event"].startswith("update_")]
    assert (refused["event"], refused["kind"]) == ("update_refused", "rejected")


def test_lost_state_is_logged(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """And said on stderr."""
    host = make_host(make_backend())
    all_logged(host)
    host.state_dir.mkdir(parents=True)
    host.state.write_text("{", encoding="utf-8")
    assert "was damaged" in host.tick().stderr
    (lost,) = [e for e in logged(host) if e["event"] == "state_lost"]
    assert "was damaged" in lost["message"]


def test_a_failure_that_lasts_is_said_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a quiet journal is not ambiguous."""
    screen = LineScreen()
    shown = []
    for second in (0.0, 30.0, 59.0, 60.0, 90.0):
        monkeypatch.setattr("hfcal.views.screens.time.monotonic", lambda now=second: now)
        screen.failed(StateError("the disk is full"))
        shown.append(capsys.readouterr().out.count("failure: the disk is full"))
    assert shown == [1, 0, 0, 1, 0]


def test_a_failure_that_lasts_is_a_warning_once(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Of a heartbeat, an update or an odd slot; at info it is told each time."""
    backend = make_backend(
        agents=["developer", {"id": "loose", "bound": False}],
        slots=[{"agent": "developer", "id": 4}],
    )
    host = make_host(backend, "developer", "loose")
    all_logged(host)
    host.tick()
    logged(host)
    backend.fault(path="update", drop_before=True, count=0)
    odd = json.dumps({"slots": [{"id": 5, "status": "strange"}], "agent_status": "busy"})
    backend.fault(path="heartbeat", status=200, body=odd, count=0, agent="developer")
    host.ok("complete")
    lasting = {"heartbeat_failed", "update_waits", "odd_slot"}
    levels = []
    for _ in range(2):
        host.tick()
        levels.append({e["event"]: e["level"] for e in logged(host) if e["event"] in lasting})
    assert levels[0] == {
        "heartbeat_failed": "info",  # it began in the first tick
        "update_waits": "info",  # `complete` itself told it
        "odd_slot": "warning",
    }
    assert levels[1] == dict.fromkeys(lasting, "info")
    host.configure(log_level="warning")
    host.tick()
    assert not (host.root / "log").exists()


def test_the_end_of_a_failure_is_logged_as_loudly_as_its_beginning(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """At the default level, and once; many agents' same recovery is one line."""
    backend = make_backend(agents=["a", "b"], slots=[{"agent": "a", "id": 4}])
    host = make_host(backend, "a", "b")
    host.configure(log_file=str(host.root / "log"), log_format="json")
    backend.away()
    host.tick()
    assert [(e["event"], e["level"]) for e in logged(host)] == [("heartbeat_failed", "warning")]
    backend.well()
    host.on_wake("exit 3")
    host.tick()
    well = {e["event"]: e for e in logged(host)}["well_again"]
    assert (well["level"], well["about"], well["agent_ids"]) == ("warning", "heartbeat", ["a", "b"])
    assert well["message"].startswith("a, b: heartbeat recovered after ")
    host.on_wake("")
    wait_past(time.time() + 5.1)  # the pause after a failed wake
    host.tick()
    (well,) = logged(host)
    assert (well["event"], well["about"]) == ("well_again", "wake of slot 4")
    assert well["agent_id"] == "a"
    host.tick()
    assert not (host.root / "log").exists()


def test_watch_logs_that_passes_can_be_made_again(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As an error, since that it could not was one."""
    host = make_host(make_backend())
    host.configure(log_file=str(host.root / "log"), log_format="json")
    host.state_dir.mkdir(parents=True)
    host.state.write_bytes(b'{"schema": 99}')
    watch = host.start("watch", "--interval", "100ms", "--json")
    watch.line()
    host.state.unlink()
    wait_until(lambda: "agents" in json.loads(watch.line()))
    watch.line()
    events = [(e["event"], e["level"], e.get("about")) for e in logged(host)]
    assert events == [("tick_failed", "error", None), ("well_again", "error", "tick")]


def test_watch_logs_a_pass_that_cannot_be_made_once(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not each time, as it would fill a disk."""
    host = make_host(make_backend())
    all_logged(host)
    host.state_dir.mkdir(parents=True)
    host.state.write_bytes(b'{"schema": 99}')
    watch = host.start("watch", "--interval", "100ms", "--json")
    for _ in range(5):
        assert "error" in watch.line()
    assert [e["event"] for e in logged(host)] == ["tick_failed"]


def test_an_agent_that_was_not_asked_has_no_good_heartbeat(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Another hfcal is at it."""
    host = make_host(make_backend())
    all_logged(host)
    host.tick()
    logged(host)
    lock = host.state.with_name("state.json.locks") / "agent-developer.lock"
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        host.tick()
    assert [e["event"] for e in logged(host)] == ["heartbeat_skipped", "tick"]


def test_a_log_that_cannot_be_written_stops_nothing(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It is said once; a pipe that nobody reads holds up nobody."""
    host = make_host(make_backend(agents=["a", "b", "c"]), "a", "b", "c")
    os.mkfifo(host.root / "fifo")
    for path in ("/dev/full", "/proc/no/such/log", str(host.root / "fifo")):
        host.configure(log_file=path, log_level="info")
        done = host.tick()
        assert (done.code, done.stderr.count("cannot log to")) == (0, 1), path


@pytest.mark.promise_9
def test_the_log_is_private_and_v_tells_no_less(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Also one that was there, with another mode."""
    host = make_host(make_backend())
    host.configure(log_file=str(host.root / "log"), log_level="debug")
    (host.root / "log").touch(0o644)
    host.tick("-v")
    assert stat.S_IMODE((host.root / "log").stat().st_mode) == 0o600


def test_a_bug_that_one_agent_meets_is_an_event(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With its traceback; without a log nothing of that is printed."""
    host = make_host(make_backend())
    lines = [
        "import sys, hfcal.backend.bridge",
        "from hfcal.cli.app import main",
        "hfcal.backend.bridge.Bridge.heartbeat = lambda *_: 1 / 0",
        "sys.exit(main(['tick', '--json']))",
    ]
    assert "Traceback" not in host.python("\n".join(lines)).stderr
    all_logged(host)
    host.python("\n".join(lines))
    (bug,) = [e for e in logged(host) if e["event"] == "bug"]
    assert bug["agent_id"] == "developer"
    assert "ZeroDivisionError" in bug["traceback"]
