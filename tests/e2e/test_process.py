"""hfcal as a process: how it starts, its streams, signals, and several at once."""

from __future__ import annotations

import fcntl
import json
import pwd
import re
import signal
import sys
from os import getuid
from pathlib import Path

import pytest

from hfcal import __version__
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.process import is_alive
from tests.rig.waiting import wait_until

# A user without an entry in the password file.
NOBODY = """\
import pwd, sys
def entry_of(_): raise KeyError
pwd.getpwuid = entry_of
from hfcal.cli import main
sys.exit(main())
"""
# Runs hfcal and then tells what was imported on the way.
IMPORTS = """\
import json, sys
from hfcal.cli import main
code = main(sys.argv[1:])
tops = {name.partition(".")[0] for name in sys.modules}
mine = {name for name in sys.modules if name.startswith("hfcal.")}
print("\\n" + json.dumps([code, sorted(tops | mine)]))
"""


def test_version_and_help(lone_host: Host) -> None:
    """By script and by module; help has an example for each command; nothing asked is help."""
    script = Path(sys.executable).with_name("hfcal")
    assert lone_host.ok("--version").stdout == f"hfcal {__version__}\n"
    by_script = lone_host.shell(f'"{script}" --version')
    assert by_script.stdout == f"hfcal {__version__}\n"
    overview = lone_host.ok("--help").stdout
    assert lone_host.run().stdout == overview
    commands = ["tick", "watch", "complete", "abort", "pause", "resume", "hold", "release"]
    assert all(f" {name} " in overview for name in [*commands, "status", "sim", "demo"])
    for name in ("tick", "complete", "status", "sim"):
        text = lone_host.ok(name, "--help").stdout
        assert "Example" in text
        assert "--json" in text


def test_without_home_the_password_file_says_where(lone_host: Host) -> None:
    """HOME unset, empty or relative: the user's home by its entry, never a relative path."""
    home = pwd.getpwuid(getuid()).pw_dir
    for value in (None, "", "somewhere"):
        path = lone_host.ok("config", "path", env={"HOME": value}).stdout.strip()
        assert path.startswith(f"{home}/") or path == "/etc/hfcal/config.toml", value
    result = lone_host.run("complete", "--json", "--agent", "nobody", env={"HOME": None})
    assert result.code == 3


def test_without_home_and_entry_a_state_must_be_named(lone_host: Host) -> None:
    """Exit 5 naming HFCAL_STATE, whatever is asked; with one, all is well."""
    for words in (("status",), ("tick", "--dry-run"), ("complete", "--agent", "nobody")):
        result = lone_host.python(NOBODY, *words, "--json", env={"HOME": None})
        assert (result.code, result.error["kind"]) == (5, "config"), words
        assert "HFCAL_STATE" in result.error["message"]
    state: dict[str, str | None] = {"HOME": None, "HFCAL_STATE": str(lone_host.root / "s.json")}
    assert lone_host.python(NOBODY, "status", "--json", env=state).code == 0
    assert lone_host.python(NOBODY, "complete", "--json", env=state).code == 3
    assert [path.name for path in lone_host.root.rglob("*.json*")] == []


def test_closed_streams_change_no_exit_code(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """As cron or a daemon may start it: no traceback, and the work is done all the same."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    for closed, code, words in (
        (">&- 2>&- <&-", 0, ("tick",)),
        (">&-", 0, ("status",)),
        ("2>&-", 0, ("tick", "--json")),
        (">&-", 0, ("complete", "--json")),
        ("2>&-", 3, ("complete",)),
        (">&- 2>&-", 2, ("nosuch", "--json")),
    ):
        result = host.shell(f'"$@" {closed}', *words)
        assert (result.code, "Traceback" in result.stderr) == (code, False), (words, result)
    assert len(host.wakes) == 1
    assert backend.slot(4)["status"] == "finished"
    # A closed stream must not be taken by the state file, which would then get the output.
    assert json.loads(host.state.read_bytes())["schema"] == 1


def test_a_reader_that_goes_away_is_no_bug(lone_host: Host) -> None:
    """Broken pipe: no traceback and no 70, for answers and errors, buffered or not."""
    for unbuffered, verb in (("", "status"), ("", "nosuch"), ("1", "status"), ("1", "nosuch")):
        script = '{ "$@"; echo "code $?" >&2; } | true'
        ended = lone_host.shell(script, verb, "--json", env={"PYTHONUNBUFFERED": unbuffered})
        assert "Traceback" not in ended.stderr, (unbuffered, verb)
        assert "code 70" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_an_answer_that_cannot_be_written_is_a_failure_and_no_bug(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A full disk behind stdout: exit 1 and one line that says so; what was accepted stays."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    for unbuffered, code, words in (
        ("", 1, ("status",)),
        ("", 1, ("pause", "--json")),
        ("", 2, ("nosuch", "--json")),
        ("1", 1, ("--help",)),
        ("1", 1, ("complete", "--json")),
        ("1", 2, ("nosuch", "--json")),
    ):
        full = host.shell('"$@" > /dev/full', *words, env={"PYTHONUNBUFFERED": unbuffered})
        assert (full.code, "Traceback" in full.stderr) == (code, False), (words, full)
        if code == 1:
            assert "No space left on device" in full.stderr
            assert full.stderr.count("\n") == 1, full.stderr
    assert [word for _, word in backend.told()] == ["ongoing", "paused", "finished"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_note_that_cannot_be_written_changes_no_exit_code(
    make_backend: MakeBackend, make_host: MakeHost, dead_url: str
) -> None:
    """A full disk behind stderr, as cron's log may be: the work and its exit code are the same."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    host.tick()
    away = {"HFCAL_BACKEND_URL": dead_url}
    queued = host.shell('"$@" 2> /dev/full', "complete", "--json", env=away)
    assert (queued.code, queued.json["delivered"]) == (0, False)
    again = host.shell('"$@" 2> /dev/full', "complete", "--json")
    assert (again.code, again.error["kind"]) == (3, "no_active_slot")
    assert host.shell('"$@" 2> /dev/full', "tick", env=away).code == 4
    assert host.tick().json["summary"]["delivered"] == 1


def test_any_locale_and_encoding_will_do(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """With ASCII streams, what can't be shown is replaced, and files stay as they are."""
    backend = make_backend(
        slots=[
            {
                "agent": "developer",
                "id": 4,
                "event_type": "system_event",
                "event_data": {"event": "Überblick"},
            }
        ]
    )
    host = make_host(backend, wake={"adapter": "print", "command": None})
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    first = host.ok("tick", "-v", env=ascii_only)
    assert "[calendar system_event] ?berblick" in first.stdout
    host.ok("complete", "--summary", "fertig — grün", env=ascii_only)
    assert host.ok("status", env=ascii_only).stdout.isascii()
    assert host.status()["history"][0]["summary"] == "fertig — grün"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_tick_told_to_stop_ends_a_hanging_wake_and_saves(
    number: signal.Signals, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """143 or 130 within seconds; the wake has failed, its processes are gone, all is saved."""
    backend = make_backend(agents=["a1", "a2"], slots=[{"agent": "a1", "id": 4}])
    host = make_host(backend, "a1", "a2")
    host.on_wake('sleep 60 & echo $! > "$1/child"; wait')
    tick = host.start("tick", "--json")
    child = host.inbox / "child"
    wait_until(lambda: child.exists() and child.read_text().strip())
    tick.send(number)
    end = tick.end(8)
    assert end.code == 128 + number
    assert end.json["agents"][0]["action"] == "wake_failed"
    assert not is_alive(int(child.read_text()))
    status = host.status()
    assert (status["active"], status["queued"]) == ([], [])
    (entry,) = status["history"]
    assert (entry["status"], entry["outcome"]) == ("aborted", "local")
    assert entry["reason"].startswith("wake failed: ")
    assert backend.told() == []


@pytest.mark.promise_2
def test_a_command_told_to_stop_keeps_what_it_accepted(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """SIGTERM while it delivers: 143, and the next tick sends it; `--json` says `interrupted`."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", hang=60)
    complete = host.start("complete", "--json")
    wait_until(lambda: backend.state["faults"] == [])
    complete.send(signal.SIGTERM)
    end = complete.end(5)
    assert (end.code, end.error["kind"]) == (143, "interrupted")
    assert "Traceback" not in end.stderr
    assert host.tick().code == 0
    assert backend.slot(4)["status"] == "finished"


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="Linux tells who waits for a lock")
def test_a_tick_that_waits_for_the_state_heeds_a_signal(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """SIGTERM ends it within seconds, not after `--lock-timeout`; nothing was begun."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    locks = host.state.with_name("state.json.locks")
    locks.mkdir(parents=True)
    with (locks / "state.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tick = host.start("tick", "--json", "--lock-timeout", "60s")
        waits = re.compile(rf"-> FLOCK .* {tick.process.pid} ")
        locked = Path("/proc/locks")
        wait_until(lambda: waits.search(locked.read_text()) is not None, what="waiting")
        tick.send(signal.SIGTERM)
        end = tick.end(8)
    assert (end.code, end.error["kind"]) == (143, "interrupted")
    assert backend.journal("heartbeat") == []
    assert host.tick().actions == {"developer": "dispatched"}


@pytest.mark.promise_4
def test_a_wake_is_noted_once_the_disk_has_room_again(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What was done can't be undone, so a save that fails is tried again for a while."""
    backend = make_backend(agents=["a1", "a2"], slots=[{"agent": "a1", "id": 4}])
    host = make_host(backend, "a1", "a2")
    obstacle = host.state.with_name(f".{host.state.name}.new")
    host.on_wake(f'mkdir "{obstacle}"; (sleep 1; rmdir "{obstacle}") > /dev/null 2>&1 &')
    tick = host.tick()
    assert tick.code == 6, tick
    assert str(host.state) in tick.error["message"]
    host.on_wake("")
    assert [a["state"] for a in host.status()["active"]] == ["ongoing"]
    assert host.tick().actions == {"a1": "busy", "a2": "idle"}
    assert len(host.wakes) == 1
    host.ok("complete", "--agent", "a1")
    assert backend.told() == [("4", "ongoing"), ("4", "finished")]


@pytest.mark.promise_1
def test_nobody_is_woken_who_could_not_be_remembered(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A save that fails after the heartbeat: exit 6, no wake, the old state as it was."""
    backend = make_backend()
    host = make_host(backend)
    host.tick()
    backend.add_slots({"agent": "developer", "id": 4})
    before = host.state.read_bytes()
    backend.fault(path="heartbeat", latency=1.0)
    tick = host.start("tick", "--json")
    wait_until(lambda: backend.state["faults"] == [])
    obstacle = host.state.with_name(f".{host.state.name}.new")
    obstacle.mkdir()
    end = tick.end()
    assert (end.code, end.error["kind"]) == (6, "state")
    assert (host.wakes, host.state.read_bytes() == before) == ([], True)
    obstacle.rmdir()
    assert host.tick().actions == {"developer": "dispatched"}


@pytest.mark.promise_4
@pytest.mark.promise_5
def test_six_ticks_at_once_dispatch_once(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """One speaks for each agent, the others skip it, well; one wake and one update for each."""
    names = [f"a{n}" for n in range(4)]
    backend = make_backend(
        agents=names, slots=[{"agent": a, "id": n} for n, a in enumerate(names, 1)]
    )
    host = make_host(backend, *names)
    host.on_wake("sleep 0.3")
    ends = [tick.end() for tick in [host.start("tick", "--json") for _ in range(6)]]
    assert [end.code for end in ends] == [0] * 6
    actions = [action for end in ends for action in end.actions.values()]
    assert actions.count("dispatched") == 4
    assert set(actions) <= {"dispatched", "skipped", "busy"}
    assert sorted(wake.agent_id for wake in host.wakes) == names
    assert sorted(backend.told()) == [(str(n), "ongoing") for n in range(1, 5)]
    skipped = [a for end in ends for a in end.agents.values() if a["action"] == "skipped"]
    assert all(a["ok"] and a["reason"] for a in skipped)


@pytest.mark.promise_2
def test_twelve_completes_at_once_are_all_delivered(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Different agents of one state file don't hinder each other."""
    names = [f"a{n:02}" for n in range(1, 13)]
    backend = make_backend(
        agents=names, slots=[{"agent": a, "id": n} for n, a in enumerate(names, 1)]
    )
    host = make_host(backend, *names)
    assert host.tick().json["summary"]["dispatched"] == 12
    running = [host.start("complete", "--agent", name, "--json") for name in names]
    ends = [one.end() for one in running]
    assert [(end.code, end.json["delivered"]) for end in ends] == [(0, True)] * 12
    assert {slot["status"] for slot in backend.slots} == {"finished"}
    status = host.status()
    assert (status["active"], status["queued"]) == ([], [])
    assert {e["outcome"] for e in status["history"]} == {"delivered"}


def test_no_command_imports_what_it_does_not_need(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Every import is paid at each start: status none of httpx and rich, tick no rich."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)

    def imports(*words: str, code: int = 0) -> set[str]:
        result = host.python(IMPORTS, *words)
        found, names = json.loads(result.stdout.splitlines()[-1])
        assert found == code, result
        return set(names)

    never = {"asyncio", "pydantic"}
    tick = imports("tick", "--json")
    assert tick & {*never, "rich", "hfcal.sim", "hfcal.demo"} == set()
    status = imports("status", "--json")
    assert status & {*never, "rich", "httpx", "httpcore", "hfcal.http", "hfcal.sim"} == set()
    complete = imports("complete", "--json")
    assert complete & {*never, "rich", "hfcal.sim", "hfcal.engine.tick"} == set()
    refused = imports("complete", "--json", code=3)
    assert refused & {*never, "rich", "httpx", "httpcore", "hfcal.http"} == set()
    assert imports("status") & {*never, "httpx", "httpcore"} == set()


def test_odd_places_and_closed_input_are_no_bugs(lone_host: Host) -> None:
    """Each is told, with the exit code that fits."""
    closed = 'exec "$@" <&-'
    gone = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    for script, words, code in (
        (closed, ("forget", "developer"), 1),
        (closed, ("config", "init"), 5),
        (gone, ("status", "--state", "state.json"), 5),
        (gone, ("config", "path", "--config", "c.toml"), 5),
        ('exec "$@"', ("tick", "--backend-url", "http://[::1"), 2),
        ('exec "$@"', ("tick", "--backend-url", "http://host:99999"), 2),
        ('exec "$@"', ("metrics", "--textfile", "/"), 1),
    ):
        done = lone_host.shell(script, *words)
        assert done.code == code, (words, done)
        assert "Traceback" not in done.stderr


def test_doctor_that_is_stopped_says_so(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """It is no finding of its own."""
    backend = make_backend(faults=[{"path": "status", "hang": 30}])
    host = make_host(backend)
    doctor = host.start("doctor", "--json")
    wait_until(lambda: backend.state["faults"] == [])
    doctor.send(signal.SIGINT)
    end = doctor.end()
    assert (end.code, end.error["kind"]) == (130, "interrupted")
