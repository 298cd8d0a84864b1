"""`hfcal hold`, `release` and `status`: what an operator says and sees."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from hfcal.clock import Moment, now
from hfcal.core.ids import SlotRef
from hfcal.core.records import Active, ActiveState, AgentState, HistoryEntry, State, Update
from hfcal.state.codec import encode_state
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.terminal import ESCAPE
from tests.rig.waiting import wait_past

KEYS = ("former_virtual_id", "id")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)[;m]")


def seconds_of(text: str) -> float:
    """A time of the JSON documents, as seconds since 1970."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def test_hold_and_release(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """By name or all, for a time or until released, with a reason that status shows."""
    backend = make_backend(agents=["a1", "a2"], slots=[{"agent": "a1", "id": 1}])
    host = make_host(backend, "a1", "a2")
    host.ok("hold", "--agent", "a1", "--for", "2h", "--reason", "patching\nit")
    (held,) = host.status()["held"]
    assert (held["agent_id"], held["reason"]) == ("a1", "patching it")
    assert abs(seconds_of(held["until"]) - time.time() - 7200) < 60
    assert host.tick().actions == {"a1": "skipped", "a2": "idle"}
    host.ok("hold", "--all")
    assert host.ok("release", "--agent", "a2", "--json").json["released"] == ["a2"]
    assert [(h["agent_id"], h["until"]) for h in host.status()["held"]] == [("a1", None)]
    assert host.ok("release", "--all", "--json").json["released"] == ["a1"]
    host.ok("hold", "--agent", "a1", "--for", "500ms")
    wait_past(time.time() + 0.6)
    assert host.tick("--dry-run").actions["a1"] == "would_dispatch"
    assert host.tick().actions["a1"] == "dispatched"
    assert host.status()["held"] == []
    for words in (("--all", "--agent", "a1"), ("--all", "--for", "soon")):
        assert host.run("hold", *words, "--json").error["kind"] == "usage"
    assert "not known here yet: a3" in host.ok("hold", "--agent", "a3").stderr


def test_status_tells_all_there_is_from_the_file_alone(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Every field of the contract's document, without a request, with a broken config too."""
    backend = make_backend(
        agents=["developer", "operator", "paused", {"id": "loose", "bound": False}],
        slots=[
            {"agent": "developer", "plan_id": 7, "priority": 90, "note": "kept"},
            {"agent": "developer", "id": 5},
            {"agent": "operator", "id": 9},
            {"agent": "paused", "id": 12},
        ],
    )
    host = make_host(backend, "developer", "operator", "paused", "loose")
    before = time.time()
    host.tick()
    host.ok("pause", "--agent", "paused")
    backend.away()
    host.ok("complete", "--agent", "operator", "--summary", "all done")
    backend.well()
    requests = backend.state["journal"]["newest"]
    host.write_config("nonsense")
    status = host.ok("status", "--json").json
    assert backend.state["journal"]["newest"] == requests
    assert set(status) >= {
        *("schema", "enabled", "heartbeat_every", "last_heartbeats", "last_good_heartbeats"),
        *("last_errors", "stale", "active", "next", "held", "queued", "refused", "history"),
    }
    assert (status["schema"], status["enabled"], status["heartbeat_every"]) == (1, True, 30.0)
    assert sorted(status["last_heartbeats"]) == sorted(host.agents)
    assert sorted(status["last_good_heartbeats"]) == ["developer", "operator", "paused"]
    assert list(status["last_errors"]) == ["loose"]
    assert "hf user bind-agent" in status["last_errors"]["loose"]
    assert status["stale"] == ["loose"]
    active = {a["agent_id"]: a for a in status["active"]}
    assert sorted(active) == ["developer", "paused"]
    developer = active["developer"]
    virtual, real = (backend.slot("plan-7-" + developer["slot"]["date"])[k] for k in KEYS)
    assert set(developer) >= {
        *("agent_id", "ident", "idents", "state", "started_at", "last_heartbeat"),
        *("overdue", "slot"),
    }
    assert (developer["ident"], developer["idents"]) == (str(real), [virtual, str(real)])
    assert (developer["state"], active["paused"]["state"]) == ("ongoing", "paused")
    assert developer["overdue"] is False
    assert developer["slot"]["note"] == "kept"
    for moment in (developer["started_at"], developer["last_heartbeat"]):
        assert before - 1 <= seconds_of(moment) <= time.time()
    (coming,) = status["next"]
    assert (coming["agent_id"], coming["ident"]) == ("developer", "5")
    assert coming["due_at"].endswith("T00:00:00Z")
    (queued,) = status["queued"]
    assert queued["agent_id"] == "operator"
    assert (queued["ident"], queued["status"], queued["attempts"]) == ("9", "finished", 1)
    assert queued["since"].endswith("Z")
    assert queued["error"]
    (entry,) = status["history"]
    assert entry["resolved_at"].endswith("Z")
    assert {
        k: entry[k] for k in ("ident", "agent_id", "status", "reason", "summary", "outcome")
    } == {
        "ident": "9",
        "agent_id": "operator",
        "status": "finished",
        "reason": "",
        "summary": "all done",
        "outcome": "queued",
    }
    assert (status["held"], status["refused"]) == ([], [])


def test_status_before_the_first_tick_has_empty_lists(lone_host: Host) -> None:
    """No state file is no failure of status; it says so on stderr, and makes none."""
    result = lone_host.ok("status", "--json")
    lists = ("stale", "active", "next", "held", "queued", "refused", "history")
    assert all(result.json[name] == [] for name in lists)
    assert str(lone_host.state) in result.stderr
    assert lone_host.ok("status").stderr
    assert not lone_host.state_dir.exists()


def test_status_check_is_for_monitoring(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """0 when all heartbeats are good, 1 when an agent has none or no tick has run; with --json."""
    backend = make_backend(agents=["developer", {"id": "loose", "bound": False}])
    host = make_host(backend)
    assert host.run("status", "--check").code == 1
    host.tick()
    well = host.ok("status", "--check", "--json")
    assert well.json["stale"] == []
    host.configure(agents=["developer", "loose"])
    host.tick()
    late = host.run("status", "--check", "--json")
    assert (late.code, late.json["stale"]) == (1, ["loose"])
    shown = host.run("status", "--check")
    assert shown.code == 1
    assert shown.stdout.startswith("no good heartbeat ever: loose (agent loose is not bound")
    assert shown.stdout.count("\n") == 1


def test_status_check_says_what_is_late_since_when_and_why(lone_host: Host) -> None:
    """On one line; what is merely refused or overdue is named, and no failure."""
    moment = now()
    wall = moment.wall
    developer = AgentState(heartbeat=wall, good_heartbeat=wall)
    developer.active = Active(
        SlotRef(real=[12]),
        ActiveState.ONGOING,
        Moment(wall - 7200, "", 0.0),
        "key",
        slot={"id": 12, "estimated_duration": 5},
    )
    state = State(wall, agents={"developer": developer}, configured=["developer"])

    def check(code: int) -> str:
        lone_host.state_dir.mkdir(parents=True, exist_ok=True)
        lone_host.state.write_bytes(encode_state(state))
        done = lone_host.run("status", "--check")
        assert (done.code, done.stdout.count("\n")) == (code, 1)
        return done.stdout.strip()

    assert check(0) == "heartbeats and deliveries are in time; 1 overdue"
    for ident, status, since in ((9, "finished", wall - 600), (10, "ongoing", wall)):
        update = Update(state.take_number(), SlotRef(real=[ident]), status, since)
        update.error = "answered 503"
        developer.queue.append(update)
    waits = "developer: finished of slot 9 waits for 10 min (answered 503), with 1 more; 1 overdue"
    assert check(1) == waits
    developer.queue, developer.active, developer.error = [], None, "answered 401"
    developer.good_heartbeat = wall - 3 * 86_400
    assert check(1) == "no good heartbeat for 3 d: developer (answered 401)"


def test_an_agent_that_nobody_knows_is_told(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """A misspelt one is no quiet one; an id that can't be is a wrong use, as everywhere."""
    host = make_host(make_backend())
    host.tick()
    for words in (("status",), ("status", "--check")):
        done = host.run(*words, "--agent", "develper", "--json")
        assert (done.code, done.error["kind"]) == (1, "unknown_agent")
    for words in (("status",), ("queue", "list"), ("tick",), ("metrics",)):
        done = host.run(*words, "--agent", "two words", "--json")
        assert (done.code, done.error["kind"]) == (2, "usage")


def test_the_table_fits_a_narrow_terminal(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """At 60 columns no line is longer; nothing from elsewhere acts on the terminal; NO_COLOR."""
    long = "agent-with-a-name-that-is-longer-than-a-narrow-terminal-is-wide"
    backend = make_backend(
        agents=["developer", long, {"id": "loose", "bound": False}],
        slots=[{"agent": "developer", "plan_id": 7}, {"agent": long, "id": 9}],
    )
    host = make_host(backend, "developer", long, "loose")
    host.tick()
    host.ok("complete", "--agent", "developer", "--summary", "evil\x1b]0;title\x07 [red]text")
    for env in ({}, {"NO_COLOR": "1"}):
        with host.terminal("status", columns=60, env=env) as terminal:
            assert terminal.end() == 0
            shown = terminal.text
        plain = ESCAPE.sub("", shown)
        assert "\x1b" not in plain
        assert "\x07" not in plain
        assert bool(COLOUR.search(shown)) == (not env)
        lines = [line.rstrip("\r") for line in plain.split("\n")]
        assert max(map(len, lines)) <= 60
        assert "developer" in plain
        assert "[red]" in plain
    assert "\x1b" not in host.ok("status").stdout


def test_where_only_ascii_is_sure_there_is_nothing_else(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By locale or by terminal; with a locale that can, lines are drawn."""
    host = make_host(make_backend())
    host.tick()
    for env in ({"LC_ALL": "C"}, {"LANG": "POSIX"}, {"PYTHONIOENCODING": "latin-1"}, {}):
        assert host.ok("status", env=env).stdout.isascii(), env
    assert not host.ok("status", env={"LANG": "C.UTF-8"}).stdout.isascii()
    with host.terminal("status", env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
    assert terminal.text.isascii()


def test_what_is_no_terminal_gets_whole_lines(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """So that grep finds what is there; and no colour, whoever forces it on others."""
    long = "build-and-release-engineer-of-the-whole-department"
    plan = {"agent": long, "plan_id": 98765}
    host = make_host(make_backend(agents=[long], slots=[plan]), long)
    host.tick()
    host.ok("complete", "--summary", "words " * 40)
    shown = host.ok("status", env={"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}).stdout
    assert "\x1b" not in shown
    (row,) = [line for line in shown.splitlines() if "finished" in line]
    assert long in row
    assert "words " * 30 in row
    assert row == row.rstrip()


def test_ids_are_never_cut_on_a_terminal(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Where the columns have no room there is a line for each agent."""
    backend = make_backend(
        agents=["frontend-developer"], slots=[{"agent": "frontend-developer", "plan_id": 98765}]
    )
    host = make_host(backend, "frontend-developer")
    backend.fault(path="update", status=503, count=0)
    host.tick()
    ident = host.status()["active"][0]["ident"]
    for columns in (60, 80, 100):
        with host.terminal("status", columns=columns) as terminal:
            assert terminal.end() == 0
        lines = ESCAPE.sub("", terminal.text).splitlines()
        assert max(map(len, lines)) <= columns
        assert any("frontend-developer" in line and ident in line for line in lines), lines


def test_what_is_not_shown_is_counted_by_what_matters(lone_host: Host) -> None:
    """An agent that fails counts as failing though it has a slot."""
    moment = now()
    state = State(created=moment.wall, configured=[f"agent-{n:02}" for n in range(60)])
    for agent_id in state.configured:
        agent = state.agent(agent_id)
        agent.heartbeat = agent.good_heartbeat = moment.wall
        agent.error, agent.error_kind = "answered 503", "server_error"
        agent.active = Active(SlotRef(real=[12]), ActiveState.ONGOING, moment, "key")
    lone_host.state_dir.mkdir(parents=True)
    lone_host.state.write_bytes(encode_state(state))
    with lone_host.terminal("watch", "--interval", "60s", columns=100) as terminal:
        terminal.shows(" server error")


def crowded(host: Host, count: int) -> None:
    """A state of many agents: one fails, one is active, the others are free and well."""
    moment = now()
    state = State(created=moment.wall, configured=[f"agent-{n:04}" for n in range(count)])
    for agent_id in state.configured:
        agent = state.agent(agent_id)
        agent.heartbeat = agent.good_heartbeat = moment.wall
    state.agents["agent-0700"].error = "the backend answered 503"
    state.agents["agent-0900"].active = Active(
        SlotRef(real=[12]), ActiveState.ONGOING, moment, "key", slot={"id": 12}
    )
    host.state_dir.mkdir(parents=True, exist_ok=True)
    host.state.write_bytes(encode_state(state))


def test_of_a_thousand_agents_those_that_matter_come_first(lone_host: Host) -> None:
    """The free and well ones are counted; `-v` and `--agent` show them."""
    crowded(lone_host, 1000)
    lines = lone_host.ok("status").stdout.splitlines()
    rows = [line for line in lines if "agent-" in line]
    assert len(rows) == 30
    assert "agent-0700" in rows[0]
    assert "agent-0900" in rows[1]
    assert "and 970 agents more: 970 free" in lines
    assert (
        len([x for x in lone_host.ok("status", "-v").stdout.splitlines() if "agent-" in x]) == 1000
    )
    assert "agent-0042" in lone_host.ok("status", "--agent", "agent-0042").stdout


def test_as_much_history_as_is_asked_for(lone_host: Host) -> None:
    """For people ten entries, for programs all, either way the last N."""
    host, wall = lone_host, now().wall
    past = [HistoryEntry("developer", str(n), "finished", wall) for n in range(1, 13)]
    host.state_dir.mkdir(parents=True)
    host.state.write_bytes(
        encode_state(State(wall, agents={"developer": AgentState()}, history=past))
    )
    shown = host.ok("status").stdout
    assert shown.count("finished") == 10
    assert host.ok("status", "--history", "3").stdout.count("finished") == 3
    assert "finished" not in host.ok("status", "--history", "0").stdout
    assert len(host.status()["history"]) == 12
    last = host.ok("status", "--json", "--history", "1").json["history"]
    assert [entry["ident"] for entry in last] == ["12"]
    assert host.run("status", "--history", "-1").code == 2


def test_an_agent_whose_wake_fails_is_not_shown_as_free(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With the reason, and when it is tried again; first, as it matters most."""
    backend = make_backend(
        agents=["well", "developer", {"id": "loose", "bound": False}],
        slots=[{"agent": "developer", "id": 4}],
    )
    host = make_host(backend, "well", "developer", "loose")
    host.on_wake("exit 3")
    host.tick()
    shown = host.ok("status", env={"LANG": "C.UTF-8"}).stdout
    lines = [line.split() for line in shown.splitlines()]
    (row,) = [line for line in lines if line[:3] == ["developer", "wake", "fails"]]
    assert row[3] == "4"
    assert "again in" in shown
    assert re.search(r"^ *loose +not bound", shown, re.M)
    assert shown.index("developer") < shown.index("well")
    assert ["well", "free"] in [line[:2] for line in lines]
    backend.change_slot(4, status="finished")
    host.tick()
    assert "wake fails" not in host.ok("status").stdout


def test_status_says_why_an_agent_paused_what_is_next_and_who_is_held(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """In the table as in the document; a resume takes the reason away."""
    backend = make_backend(
        agents=["developer", "operator"],
        slots=[
            {"agent": "developer", "id": 4, "priority": 90},
            {"agent": "developer", "id": 5},
            {"agent": "operator", "id": 6},
        ],
    )
    host = make_host(backend, "developer", "operator")
    host.ok("hold", "--agent", "operator", "--reason", "patching")
    host.tick()
    host.ok("pause", "--agent", "developer", "--reason", "waits for a review")

    def row(agent_id: str) -> str:
        (found,) = [x for x in host.ok("status").stdout.splitlines() if x.startswith(agent_id)]
        return found

    assert re.search(
        r"developer +\| paused .*paused: waits for a review; .*next: 5", row("developer")
    )
    assert re.search(r"operator +\| held .*next: 6; held: patching", row("operator"))
    assert host.status()["active"][0]["reason"] == "waits for a review"
    host.ok("resume", "--agent", "developer")
    assert "review" not in row("developer")
    assert "reason" not in host.status()["active"][0]
    host.ok("pause", "--agent", "developer")
    assert host.status()["active"][0]["reason"] == ""


def test_an_agent_that_was_never_asked_has_a_row(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It is configured, and no record of it is there."""
    host = make_host(make_backend())
    host.tick()
    text = host.state.read_text("utf-8")
    assert '"configured":["developer"]' in text
    text = text.replace('"configured":["developer"]', '"configured":["developer","newcomer"]')
    host.state.write_text(text, encoding="utf-8")
    assert re.search(r"newcomer +\| not asked yet", host.ok("status").stdout)


def test_a_dumb_terminal_is_as_wide_as_it_is(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not 80 columns, and without control sequences."""
    long = "agent-" + "x" * 60
    host = make_host(make_backend(agents=[{"id": long, "bound": False}]), long)
    host.tick()
    with host.terminal("status", columns=200, env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
    assert "\x1b" not in terminal.text
    assert max(map(len, terminal.text.splitlines())) > 150


def test_check_names_few_of_many(make_host: MakeHost, dead_url: str) -> None:
    """One line stays one that can be read."""
    host = make_host(dead_url, *[f"agent-{n:03}" for n in range(200)])
    host.tick()
    done = host.run("status", "--check")
    assert done.code == 1
    assert "agent-000, agent-001, agent-002 and 197 more" in done.stdout
    assert len(done.stdout) < 200
