"""`hfcal watch`: when it ticks, what it shows, and how it stops."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.rig.waiting import wait_until


def test_watch_ticks_at_once_and_then_every_interval(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`--json`: one document a line, one per tick; SIGTERM ends it with 0 while it waits."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend, settings={"heartbeat_interval": 60})
    watch = host.start("watch", "--interval", "1s", "--json")
    documents = [json.loads(watch.line()) for _ in range(3)]
    watch.send(signal.SIGTERM)
    end = watch.end(3)
    assert (end.code, end.stdout, end.stderr) == (0, "", "")
    assert [d["agents"][0]["action"] for d in documents] == ["dispatched", "busy", "busy"]
    assert all(d["schema"] == 1 and d["deliveries"] is not None for d in documents)
    times = [e["received"] for e in backend.journal("heartbeat")]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.7 < gap < 1.6 for gap in gaps), gaps
    assert host.status()["heartbeat_every"] == 1.0


def test_watch_prints_what_is_new_and_goes_on_while_the_backend_is_away(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not on a terminal: a line per tick with news; a fault is no end; SIGINT ends it with 0."""
    backend = make_backend()
    backend.away()
    host = make_host(backend, env={"HFCAL_HEARTBEAT_INTERVAL": "1"})
    watch = host.start("watch")
    assert re.search(r"Z tick: 1 agent, 1 failed in .* s; developer: .* closed", watch.line())
    backend.well()
    assert re.search(r"Z tick: 1 agent in .* s; developer: heartbeat recovered", watch.line())
    # Nothing happens, so nothing is printed.
    asked = len(backend.journal("heartbeat"))
    wait_until(lambda: len(backend.journal("heartbeat")) >= asked + 2)
    watch.send(signal.SIGINT)
    end = watch.end(3)
    assert (end.code, end.stdout, end.stderr) == (0, "", "")


def test_a_tick_longer_than_the_interval_is_neither_overlapped_nor_made_up(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The next tick begins at the next whole beat, and no burst follows."""
    backend = make_backend(faults=[{"path": "heartbeat", "latency": 1.3, "count": 1}])
    host = make_host(backend)
    watch = host.start("watch", "--interval", "1s", "--json")
    documents = [json.loads(watch.line()) for _ in range(3)]
    watch.send(signal.SIGTERM)
    assert watch.end(3).code == 0
    assert documents[0]["duration_ms"] >= 1300
    first, second, third = (e["received"] for e in backend.journal("heartbeat"))
    assert 1.6 < second - first < 2.7
    assert 0.7 < third - second < 1.6


def test_no_heartbeat_waits_for_a_wake(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """The passes go on beside it, wake no more agents at once than `parallel`, and nobody twice."""
    backend = make_backend(
        agents=["developer", "operator", "tester"],
        slots=[{"agent": "developer", "id": 4}, {"agent": "operator", "id": 5}],
    )
    host = make_host(backend, "developer", "operator", "tester", wake={"parallel": 1})
    go = host.root / "go"
    host.on_wake(f"for n in $(seq 200); do [ -e '{go}' ] && break; sleep 0.05; done")
    watch = host.start("watch", "--interval", "300ms", "--json")
    open_files = []
    for _ in range(8):
        passed = json.loads(watch.line())
        actions = {agent["agent_id"]: agent["action"] for agent in passed["agents"]}
        assert actions == {"developer": "skipped", "operator": "skipped", "tester": "idle"}
        reasons = {agent.get("reason") for agent in passed["agents"]}
        assert reasons >= {"another hfcal is at it", "as many wakes as may be are under way"}
        open_files.append(len(list(Path(f"/proc/{watch.process.pid}/fd").glob("*"))))
    assert max(open_files[4:]) <= max(open_files[:4]) + 1, open_files
    assert len(host.wakes) == 1
    go.touch()
    wait_until(lambda: (watch.line(), len(backend.told()) == 2)[1])
    watch.send(signal.SIGTERM)
    assert watch.end(3).code == 0
    assert sorted(backend.told()) == [("4", "ongoing"), ("5", "ongoing")]
    assert sorted(wake.slot for wake in host.wakes) == ["4", "5"]


def test_a_reader_that_goes_costs_no_wake(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """The wake under way is noted before watch ends, so nobody is woken a second time."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    go = host.root / "go"
    host.on_wake(f"for n in $(seq 200); do [ -e '{go}' ] && break; sleep 0.05; done")
    watch = host.start("watch", "--interval", "300ms", "--json")
    watch.line()
    assert watch.process.stdout is not None
    watch.process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        watch.process.wait(1.0)  # time for the next passes to find out
    go.touch()
    wait_until(lambda: watch.process.poll() is not None)
    assert host.status()["active"][0]["state"] == "ongoing"
    assert host.tick().actions == {"developer": "busy"}
    assert len(host.wakes) == 1


def test_watch_told_to_stop_lets_the_running_pass_end(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Every agent still has its heartbeat, what waits is sent, nobody is woken, exit 0."""
    backend = make_backend(
        agents=["developer", "operator", "tester"],
        slots=[{"agent": "developer", "id": 4}],
        faults=[{"path": "heartbeat", "latency": 1.2, "count": 2}],
    )
    host = make_host(backend, "developer", "operator", "tester")
    watch = host.start("watch", "--interval", "30s", "--concurrency", "1", "--json")
    wait_until(lambda: [f["left"] for f in backend.state["faults"]] == [1])
    watch.send(signal.SIGTERM)
    end = watch.end(6)
    assert end.code == 0
    assert end.actions == {"developer": "skipped", "operator": "idle", "tester": "idle"}
    assert sorted(host.status()["last_good_heartbeats"]) == ["developer", "operator", "tester"]
    assert (host.wakes, backend.told()) == ([], [])
    assert host.tick().actions["developer"] == "dispatched"


def test_watch_on_a_terminal_is_a_live_view(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """It shows the agents and the next tick; Ctrl-C exits 0 and gives the cursor back."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    with host.terminal("watch", "--interval", "20s") as terminal:
        terminal.shows("developer", "ongoing", "next pass")
        terminal.type(b"\x03")
        assert terminal.end() == 0
        shown, hidden = (terminal.text.rfind(code) for code in ("\x1b[?25h", "\x1b[?25l"))
    assert shown > hidden >= 0
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_gives_the_terminal_back(
    number: int, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Exit 0, also when the terminal says that it goes."""
    host = make_host(make_backend())
    with host.terminal("watch", "--interval", "60s") as terminal:
        terminal.shows("next pass")
        terminal.send(number)
        assert terminal.end() == 0
    assert terminal.text.rfind("\x1b[?1049l") > terminal.text.rfind("\x1b[?1049h")


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The shell has its own screen and cursor meanwhile; then the view is drawn again."""
    host = make_host(make_backend())
    with host.terminal("watch", "--interval", "60s") as terminal:
        terminal.shows("next pass")
        terminal.send(signal.SIGTSTP)
        terminal.shows("\x1b[?1049l\x1b[?25h")
        terminal.send(signal.SIGCONT)
        terminal.shows("\x1b[?1049l\x1b[?25h\x1b[?1049h\x1b[?25l")
        terminal.type(b"\x03")
        assert terminal.end() == 0


def test_ctrl_c_during_a_pass_says_what_it_does(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Or a person would press it again, which ends all at once."""
    backend = make_backend(faults=[{"path": "heartbeat", "latency": 4, "count": 1}])
    host = make_host(backend)
    with host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows("0 of 1 agents")
        terminal.type(b"\x03")
        terminal.shows("stops after it")
        assert terminal.end() == 0


def test_the_live_view_tells_what_happened_to_whom(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What the pass did, what an agent said meanwhile, and what there was before the view."""
    backend = make_backend(slots=[{"agent": "developer", "id": i} for i in (4, 5)])
    host = make_host(backend)
    host.tick()
    host.ok("complete", "--summary", "the first")
    with host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows("developer: slot 4 finished: the first", "developer: slot 5 dispatched")
        host.ok("complete", "--summary", "the second")
        terminal.shows("developer: slot 5 finished: the second")


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_the_live_view_tells_a_long_error_whole(
    columns: int, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """In the row or below; the foot is always there, and nothing is wider than the screen."""
    backend = make_backend(
        agents=["developer", {"id": "frontend-developer", "bound": False}],
        slots=[{"agent": "developer", "plan_id": 98765}],
    )
    host = make_host(backend, "developer", "frontend-developer")
    host.on_wake("echo the gateway is away, start it with my-gateway --now >&2; exit 7")
    with host.terminal("watch", "--interval", "60s", columns=columns) as terminal:
        terminal.shows("frontend-developer", "next pass in")
        terminal.end_of_screen()
        shown = terminal.screen()
    assert max(map(len, shown)) <= columns
    flat = " ".join(" ".join(shown).split())
    assert "start it with my-gateway --now" in flat
    assert "hf user bind-agent" in flat
    assert "next pass in" in shown[-1]


def test_the_foot_stays_on_a_small_screen(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """With a damaged state as well, which is told on top."""
    names = [f"agent-{n:02}" for n in range(40)]
    host = make_host(make_backend(agents=names), *names)
    with host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows("next pass in")
        host.state.write_text("{", encoding="utf-8")
        terminal.resize(120, 6)
        terminal.shows("damaged", "next pass in")
        terminal.end_of_screen()
        assert "next pass in" in terminal.screen()[-1]


def test_watch_outlives_a_state_file_that_cannot_be_used_for_a_while(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A newer hfcal's file is left alone and said; once it is gone, watch goes on."""
    host = make_host(make_backend())
    host.state_dir.mkdir(parents=True)
    newer = b'{"schema": 99}'
    host.state.write_bytes(newer)
    watch = host.start("watch", "--interval", "1s", "--json")
    failed = json.loads(watch.line())
    assert failed["error"]["kind"] == "state"
    assert host.state.read_bytes() == newer
    host.state.unlink()
    assert wait_until(lambda: "agents" in json.loads(watch.line()))
    watch.send(signal.SIGTERM)
    assert watch.end(3).code == 0


def test_the_live_view_has_room_for_a_thousand_agents(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What matters first, the rest counted; nothing scrolls."""
    names = [f"agent-{n:04}" for n in range(1000)]
    backend = make_backend(agents=names, slots=[{"agent": "agent-0900", "id": 4}])
    host = make_host(backend, *names)
    with host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows("agent-0900", "ongoing", "agents more: ", "next pass in")
        terminal.type(b"\x03")
        assert terminal.end() == 0
    last = terminal.text[terminal.text.rfind("heartbeat") :]
    assert 0 < last.count("agent-0") < 40
    assert last.index("agent-0900") < last.index("agent-0000")


def test_the_live_view_goes_on_during_a_long_pass_and_follows_the_size(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It says how far the pass is, on a screen of its own that is given back."""
    backend = make_backend(faults=[{"path": "heartbeat", "latency": 4, "count": 1}])
    host = make_host(backend)
    with host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows("\x1b[?1049h", "pass under way: 0 of 1 agents")
        terminal.shows("last pass", "next pass in")
        terminal.resize(60, 12)
        terminal.shows("developer", "next pass in")
        drawn = terminal.text[terminal.text.rfind("\x1b[H") :]
        assert drawn.count("\n") < 12
        terminal.type(b"\x03")
        assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.text
    assert "last pass" in terminal.text[terminal.text.rfind("\x1b[?1049l") :]


def test_what_is_printed_meanwhile_is_an_event_of_the_live_view(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The print adapter's message would be drawn over."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend, wake={"adapter": "print", "command": None})
    with host.terminal("watch", "--interval", "60s", columns=200) as terminal:
        terminal.shows("Z  --- wake developer (calendar:4)", "hfcal complete", "slot 4 dispatched")


def test_a_dumb_terminal_gets_lines(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Nothing is drawn there."""
    host = make_host(make_backend())
    with host.terminal("watch", "--interval", "60s", env={"TERM": "dumb"}) as terminal:
        terminal.shows("Z tick: 1 agent in")
        terminal.type(b"\x03")
        assert terminal.end() == 0
    assert "\x1b" not in terminal.text


def test_watch_logs_a_pass_that_could_not_be_made(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As `tick_failed`, with its kind."""
    host = make_host(make_backend())
    host.configure(log_file=str(host.root / "log"), log_format="json")
    host.state_dir.mkdir(parents=True)
    host.state.write_bytes(b'{"schema": 99}')
    host.start("watch", "--interval", "1s")
    wait_until((host.root / "log").exists)
    event = json.loads((host.root / "log").read_text("utf-8").splitlines()[0])
    assert (event["event"], event["kind"], event["level"]) == ("tick_failed", "state", "error")
    assert "newer hfcal" in event["message"]


def test_a_key_that_was_fixed_is_used_by_a_watch_that_runs(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As the message of the 401 tells a person to do."""
    host = make_host(make_backend(api_key="the-right-key"))
    key = host.root / "key"
    key.write_text("a-wrong-key", encoding="utf-8")
    key.chmod(0o600)
    host.configure(api_key_file=str(key))
    watch = host.start("watch", "--interval", "300ms", "--json")
    assert json.loads(watch.line())["agents"][0]["error"]["kind"] == "unauthorized"
    key.write_text("the-right-key", encoding="utf-8")
    wait_until(lambda: json.loads(watch.line())["summary"]["ok"] == 1)
