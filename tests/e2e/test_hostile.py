"""A backend that means harm: every trick of tests/hostile (docs/security.md)."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hfcal.backend.bridge import Bridge
from hfcal.errors import BridgeError
from hfcal.sim.faults import parse_fault
from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from tests.e2e.host import Host
from tests.hostile import TRICKS
from tests.hostile.sizes import SIZE_TRICKS
from tests.hostile.texts import PAYLOADS, TEXT_TRICKS
from tests.rig.backend import CLAW
from tests.rig.result import Result

KEY = "s3cret-Key.0123456789"
MOST_MB = 120
KINDS = {
    *("unreachable", "timeout", "not_bound", "unauthorized", "rejected", "server_error"),
    *("bad_response", "wake_failed"),
}
SLOW = ("tiny_chunks", "drip", "slow_headers", "flood_1xx")
FAST = tuple(name for name in TRICKS if name not in SLOW)

# What becomes of a heartbeat; the others are read, and harm nobody.
ENDS = {
    **dict.fromkeys(SLOW, "timeout"),
    **dict.fromkeys(("http09", "early_close"), "unreachable"),
    **dict.fromkeys(("huge", "endless", "gzip_bomb", "transfer_gzip"), "bad_response"),
    **dict.fromkeys(("many_headers", "trailers", "garbage", "switching"), "bad_response"),
    **dict.fromkeys(("length_short", "length_long", "length_twice"), "bad_response"),
    **dict.fromkeys(("length_huge", "lines_error"), "bad_response"),
    **dict.fromkeys(
        ("bad_utf8", "html", "deep", "many_values", "nan", "huge_float", "huge_int"), "bad_response"
    ),
    **dict.fromkeys(("redirect", "location"), "bad_response"),
    **dict.fromkeys(
        ("echo_key_port", "echo_key_location", "echo_key_encoding", "echo_key_line"), "bad_response"
    ),
    **dict.fromkeys(("odd_status", "two_answers", "retry_after", "long_detail"), "server_error"),
    **dict.fromkeys((n for n in TEXT_TRICKS if n.endswith("_error")), "rejected"),
    **dict.fromkeys(("deep_detail", "proxy_auth"), "rejected"),
    "challenge": "unauthorized",
    "lines_error": "bad_response",
}
# What is cut before it is parsed, because reading it would take many times as much.
TOO_MUCH = ("many_values", "many_keys", "many_agents", "many_slots")

# The peak of a child that a large process forks is that of the large one, so a small one does.
MEASURE = """\
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""

RECORD = """\
at="$INBOX/$HFCAL_AGENT_ID"
printf '%s\\0' "$@" > "$at.args"
env -0 > "$at.env"
cat > "$at.stdin"
"""
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def dangers(text: str) -> set[str]:
    """The characters that no text from a backend may bring along."""
    odd = {c for c in set(text) if unicodedata.category(c) in UNSAFE}
    return odd - {"\n", "\t"}


class World:
    """A hostile backend, another host that nobody may call, and a host whose agents it is to wake.

    Agents are named by what is played to them: `hb.TRICK.N` gets it for heartbeats, `up.TRICK.N`
    for its updates and status.
    """

    def __init__(self, root: Path, *agents: str) -> None:
        self.root = root
        self._elsewhere = socket.create_server(("127.0.0.1", 0))
        self._elsewhere.setblocking(False)
        self.elsewhere = f"http://127.0.0.1:{self._elsewhere.getsockname()[1]}"
        slots = [{"agent": a} for a in agents if a.startswith("up.")]
        scenario = {
            "claw_identifier": CLAW,
            "agents": list(agents),
            "slots": slots,
            "api_key": KEY,
            "faults": [fault for agent in agents for fault in self._faults(agent)],
        }
        self.sim = Simulator(parse_scenario(scenario, TRICKS))
        self.sim.start()
        folders = {name: root / name for name in ("inbox", "spool", "log", "tmp")}
        for folder in folders.values():
            folder.mkdir(mode=0o700)
        self.inbox, self.spool, self.log, self.tmp = folders.values()
        proxies = {f"{kind}_proxy": self.elsewhere for kind in ("http", "https", "all")}
        env = {"HFCAL_API_KEY": KEY, "TMPDIR": str(self.tmp), "INBOX": str(self.inbox), **proxies}
        self.host = Host(root / "host", self.sim.url, agents, env=env)
        (root / "record.sh").write_text(RECORD, encoding="utf-8")
        self.configure(agents)
        self._before = set(root.rglob("*"))

    def _faults(self, agent: str) -> Iterator[dict[str, object]]:
        how, _, trick = agent.partition(".")
        trick = trick.partition(".")[0]
        for path in ("heartbeat", "update", "status"):
            fault: dict[str, object] = {"agent": agent, "path": path, "count": 0}
            if (path == "heartbeat") == (how == "hb"):
                yield {**fault, "trick": trick, "to": self.elsewhere}
            elif how == "hb":
                yield {**fault, "body": "{}"}

    def configure(self, agents: Iterable[str]) -> None:
        """Write the config: some agents are started, some detached, some spooled."""
        record = ["/bin/sh", str(self.root / "record.sh"), "{agent_id}", "{slot}", "{source}"]
        log = str(self.log)
        started: dict[str, object] = {"adapter": "command", "command": [*record, "{message}"]}
        adapters: dict[str, dict[str, object]] = {
            "up": {"adapter": "print"},
            "path": {"adapter": "command", "command": record, "mode": "detach", "log_dir": log},
            "markup": {"adapter": "spool", "dir": str(self.spool)},
            "ansi": {"adapter": "spool", "dir": str(self.spool)},
        }
        tables: dict[str, dict[str, object]] = {"wake": started}
        for agent in agents:
            how, trick = agent.split(".")[:2]
            tables[f"agent.{json.dumps(agent)}.wake"] = adapters.get(
                "up" if how == "up" else trick, started
            )
        top: dict[str, object] = {
            "backend_url": self.sim.url,
            "claw_identifier": CLAW,
            "agents": list(agents),
        }
        top |= {"log_file": str(self.log / "hfcal.log"), "request_timeout": "30s"}
        lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        self.host.write_config("\n".join(lines) + "\n")

    def run(self, *words: str, **env: str) -> Result:
        """Run a command."""
        return self.host.run(*words, env=env)

    def measured(self, *words: str) -> tuple[Result, float]:
        """Run a command; also its peak of memory, in MB."""
        peak = self.tmp / "peak"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-S", "-c", MEASURE, peak, sys.executable, "-m", "hfcal", *words],
            env=self.host.environment(),
            cwd=self.host.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        spent = time.monotonic() - began
        units = 1024 if sys.platform == "linux" else 1024 * 1024
        size = int(peak.read_text(encoding="utf-8")) / units
        peak.unlink()
        return Result(words, done.returncode, done.stdout, done.stderr, spent), size

    def wake_of(self, agent: str) -> tuple[list[str], dict[str, str], str]:
        """The arguments, the environment and the stdin of the command that woke an agent."""
        parts = [
            (self.inbox / f"{agent}.{name}").read_bytes().decode()
            for name in ("args", "env", "stdin")
        ]
        env = dict(v.split("=", 1) for v in parts[1].split("\0") if "=" in v)
        return parts[0].split("\0")[:-1], env, parts[2]

    def check(self, *results: Result) -> None:
        """Nothing of the backend got where it may not."""
        for result in results:
            assert result.code != 70, result.stderr
            for text in (result.stdout, result.stderr):
                assert dangers(text) == set(), result.words
                assert KEY not in text, result.words
                assert "Traceback" not in text
        allowed = (self.host.state_dir, self.log, self.spool, self.inbox)
        new = set(self.root.rglob("*")) - self._before
        outside = {p for p in new if not any(p.is_relative_to(folder) for folder in allowed)}
        assert {p for p in outside if p not in self.host.state_dir.parents} == set()
        assert not Path("/hacked").exists()
        for path in (p for p in new if p.is_file()):
            text = path.read_bytes().decode()
            assert KEY not in text, path
            assert dangers(text) <= ({"\0"} if path.parent == self.inbox else set()), path
            assert path.name.isprintable()
        for path in self.inbox.glob("*.env"):
            assert "HFCAL_API_KEY" not in path.read_text(encoding="utf-8"), path
        with pytest.raises(BlockingIOError):  # nobody has connected
            self._elsewhere.accept()
        entries = [entry for _, entry in self.sim.journal.since(0)]
        assert {entry.cookie for entry in entries} <= {None}
        assert {entry.kind for entry in entries} <= {"heartbeat", "update", "status", "sync"}

    def close(self) -> None:
        self.host.close()
        self.sim.stop()
        self._elsewhere.close()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Any]:
    """Makes worlds."""
    with contextlib.ExitStack() as ends:

        def make(*agents: str) -> World:
            world = World(tmp_path, *agents)
            ends.callback(world.close)
            return world

        yield make


def agents_for(how: str, tricks: Iterable[str]) -> list[str]:
    """Agents for tricks; one for each ident of those that have several."""
    found = []
    for name in tricks:
        count = len(PAYLOADS[name].idents) if name in PAYLOADS else 0
        found += [f"{how}.{name}.{number}" for number in range(max(1, count))]
    return found


def errors(agents: dict[str, Any]) -> dict[str, str]:
    """How each agent's heartbeat failed; empty for one that didn't."""
    return {a: (d["error"] or {"kind": ""})["kind"] for a, d in agents.items()}


def expected(agents: Iterable[str]) -> dict[str, str]:
    return {agent: ENDS.get(agent.split(".")[1], "") for agent in agents}


@pytest.mark.promise_9
@pytest.mark.promise_10
def test_in_heartbeats(make_world: Any) -> None:
    """Each trick ends as a named error of its agent, or is read; a wake is made of plain text."""
    agents = agents_for("hb", (name for name in FAST if name not in TOO_MUCH))
    world: World = make_world(*agents)
    world.sim.faults.add([parse_fault({"path": "sync", "trick": "ansi_error"}, "sync", TRICKS)])
    tick = world.run("tick", "--json", "-vv")
    world.check(tick)
    assert tick.code == 1
    assert tick.seconds < 25
    found = errors(tick.agents)
    wrong = {a: tick.agents[a]["error"] for a, end in expected(agents).items() if found[a] != end}
    assert wrong == {}
    assert len(tick.stderr) < 200_000
    assert (world.log / "hfcal.log").stat().st_size < 1_000_000
    for agent in tick.agents.values():
        assert agent["ok"] == (agent["error"] is None)
        assert len(agent["warnings"]) <= 100
        assert all(0 < len(w["message"]) < 1000 for w in agent["warnings"])

    check_started(world, tick)
    check_detached(world, tick)
    check_spooled(world, tick)
    check_commands_of_messages(world)


def check_started(world: World, tick: Result) -> None:
    """A started command's arguments are what they are, whatever they say."""
    for name in ("shell", "flags", "format"):
        for number, ident in enumerate(PAYLOADS[name].idents):
            agent = f"hb.{name}.{number}"
            assert tick.agents[agent]["slot"] == ident
            arguments, env, stdin = world.wake_of(agent)
            assert arguments[:3] == [agent, ident, f"calendar:{ident}"]
            assert arguments[3].startswith("[calendar job ")
            assert len(arguments) == 4
            assert stdin == ""
            assert env["HFCAL_SLOT"] == ident
            assert json.loads(env["HFCAL_SLOT_JSON"])["slot_id"] == ident
    for name in ("lines", "bidi", "nul", "surrogate"):
        arguments, env, _ = world.wake_of(f"hb.{name}.0")
        lines = arguments[3].split("\n")
        assert lines[1] == lines[3] == ""
        assert json.loads(lines[2]) == json.loads(env["HFCAL_SLOT_JSON"])
        assert sum(" complete --agent " in line for line in lines) == 1


def check_detached(world: World, tick: Result) -> None:
    """An ident names a log of its agent's, and an endpoint of its own, and nothing else."""
    paths = {entry.path for _, entry in world.sim.journal.since(0)}
    for number, ident in enumerate(PAYLOADS["path"].idents[:6]):
        agent = f"hb.path.{number}"
        assert tick.agents[agent]["slot"] == ident
        assert len(list((world.log / agent).iterdir())) == 1
        arguments, _, stdin = world.wake_of(agent)
        assert arguments == [agent, ident, f"calendar:{ident}"]
        assert stdin.count(" complete --agent ") == 1
    assert "/calendar/slots/virtual/..%2F..%2Fhacked/agent-update" in paths
    assert "/calendar/slots/virtual/%252e%252e%252fhacked/agent-update" in paths


def check_spooled(world: World, tick: Result) -> None:
    """A spooled wake is one file in the folder of its agent."""
    for name in ("markup", "ansi"):
        agent = f"hb.{name}.0"
        assert tick.agents[agent]["action"] == "dispatched"
        (file,) = (world.spool / agent).iterdir()
        document = json.loads(file.read_text(encoding="utf-8"))
        assert set(document) >= {"agent_id", "slot", "message", "idempotency_key"}


def check_commands_of_messages(world: World) -> None:
    """The command in a message ends the slot when a shell reads it, and does nothing else."""
    for agent in ("hb.shell.0", "hb.shell.2", "hb.flags.0", "hb.flags.4", "hb.path.0"):
        arguments, _, stdin = world.wake_of(agent)
        message = stdin or arguments[3]
        (line,) = (line for line in message.split("\n") if " complete --agent " in line)
        words = shlex.split(line)
        assert words[words.index("--slot") + 1] == arguments[1]
        done = subprocess.run(
            ["/usr/bin/env", "-i", "/bin/sh", "-c", f"{line} --json"],
            cwd=world.host.root,
            capture_output=True,
            text=True,
            check=False,
        )
        result = Result((line,), done.returncode, done.stdout, done.stderr, 0.0)
        world.check(result)
        assert (result.code, result.json["slot"]) == (0, arguments[1])
        assert result.json["status"] == "finished"


@pytest.mark.promise_9
@pytest.mark.promise_10
def test_in_updates(make_world: Any) -> None:
    """An update that a trick answers is delivered, waits or is refused, each with a named kind."""
    agents = agents_for("up", FAST)
    world: World = make_world(*agents)
    tick = world.run("tick", "--json", "-vv")
    world.check(tick)
    assert tick.seconds < 25
    assert set(errors(tick.agents).values()) == {""}
    outcomes = {
        d["agent_id"]: (d["error"] or {"kind": ""})["kind"] for d in tick.json["deliveries"]
    }
    # An update's answer need not say anything, so what stands in it can't be wrong.
    assert outcomes == expected(agents)
    for trick in ("huge", "ansi_error", "echo_key_error", "markup", "echo_key_line"):
        done = world.run("complete", "--json", "--agent", f"up.{trick}.0")
        world.check(done)
        assert done.code in {0, 1}
        assert done.json["error"] is None or done.json["error"]["kind"] in KINDS
    check_views(world)


def check_views(world: World) -> None:
    """What is kept of it is shown as text."""
    plain = world.run("status")
    document = world.run("status", "--json")
    world.check(plain, document)
    assert plain.code == document.code == 0
    with world.host.terminal("status", columns=120) as terminal:
        assert terminal.end() == 0
        on_terminal(terminal.text)


def on_terminal(text: str) -> None:
    """Only our own colours act on a terminal."""
    assert dangers(COLOUR.sub("", text).replace("\r\n", "\n")) == set()
    assert KEY not in text


@pytest.mark.promise_10
def test_in_time(make_world: Any) -> None:
    """Slow answers end with the request's time, however busily they come."""
    agents = [*agents_for("hb", SLOW), *agents_for("up", SLOW), "hb.cookie"]
    world: World = make_world(*agents)
    tick = world.run("tick", "--json", HFCAL_REQUEST_TIMEOUT="1s")
    world.check(tick)
    assert tick.seconds < 6
    # The others' heartbeats are honest.
    ends = {agent: "timeout" if agent.split(".")[1] in SLOW else "" for agent in agents}
    assert errors(tick.agents) == {a: end if a.startswith("hb.") else "" for a, end in ends.items()}
    outcomes = {
        d["agent_id"]: (d["error"] or {"kind": ""})["kind"] for d in tick.json["deliveries"]
    }
    assert outcomes == {a: e for a, e in ends.items() if a.startswith("up.") or e == ""}
    done = world.run("complete", "--agent", "up.drip.0", HFCAL_REQUEST_TIMEOUT="1s")
    world.check(done)
    assert done.code == 0
    assert done.seconds < 4


@pytest.mark.promise_10
def test_on_a_terminal(make_world: Any) -> None:
    """A tick's lines and the tables are text: no markup, no control characters but our colours."""
    names = [
        *TEXT_TRICKS,
        "location",
        "garbage",
        "reason",
        "wrong_types",
        "large_ints",
        "long_text",
    ]
    world: World = make_world(*(f"hb.{name}.0" for name in names))
    with world.host.terminal("tick", "-vv", "--log-format", "json", columns=120) as terminal:
        assert terminal.end() == 1
        on_terminal(terminal.text)
        assert "[link=http://x]a[/link][/]" in terminal.text
    world.check()
    for line in (world.log / "hfcal.log").read_text(encoding="utf-8").splitlines():
        assert isinstance(json.loads(line), dict)
    check_views(world)


@pytest.mark.promise_10
@pytest.mark.parametrize("trick", ["huge", "many_values"])
def test_in_memory(make_world: Any, trick: str) -> None:
    """The peak is bounded; cookies are not kept from one request to the next."""
    others = [n for n in SIZE_TRICKS if n not in TOO_MUCH]
    tricks = ["cookie", "huge", "endless", "gzip_bomb", *others] if trick == "huge" else TOO_MUCH
    world: World = make_world(*agents_for("hb", tricks))
    world.sim.faults.add([parse_fault({"path": "sync", "trick": tricks[1]}, "sync", TRICKS)])
    tick, peak = world.measured("tick", "--json", "--concurrency", "1")
    world.check(tick)
    assert peak < MOST_MB
    assert tick.seconds < 25


@pytest.mark.promise_10
def test_what_is_kept_does_not_grow(make_world: Any) -> None:
    """A slot that has another id each time is known by a few of them."""
    world: World = make_world("hb.new_ids.0")
    watch = world.host.start("watch", "--interval", "0.1s", "--json")
    for _ in range(25):
        watch.line()
    watch.send(signal.SIGTERM)
    world.check(watch.end())
    (active,) = world.host.status()["active"]
    assert len(active["idents"]) < 20


@pytest.mark.promise_9
@pytest.mark.promise_10
def test_in_a_sync() -> None:
    """A sync that is no sync is a named fault; what can be read is read."""
    found = {}
    with Simulator(parse_scenario({"agents": ["dev"], "api_key": KEY}, TRICKS)) as sim:
        for trick in TRICKS:
            sim.faults.clear()
            sim.faults.add([parse_fault({"trick": trick}, trick, TRICKS)])
            seconds = 0.3 if trick in SLOW else 30
            bridge = Bridge(sim.url, "sim", api_key=KEY, timeout=seconds)
            try:
                bridge.sync()
                found[trick] = ""
            except BridgeError as error:
                found[trick] = error.fault.kind
                assert error.fault.message.isprintable()
                assert KEY not in error.fault.message
            finally:
                bridge.close()
    assert found == {trick: ENDS.get(trick, "") for trick in TRICKS}


@pytest.mark.promise_10
def test_an_answer_counts_for_its_own_request_alone() -> None:
    """What a backend sends behind an answer is no answer to the next request."""
    slots = [{"agent": "dev", "id": 1}]
    with Simulator(parse_scenario({"agents": ["dev"], "slots": slots}, TRICKS)) as sim:
        for trick in ("two_answers", "trailing", "length_short"):
            sim.faults.add([parse_fault({"trick": trick}, trick, TRICKS)])
            bridge = Bridge(sim.url, "sim", timeout=5)
            with contextlib.suppress(BridgeError):
                bridge.heartbeat("dev")
            assert [slot.ident for slot in bridge.heartbeat("dev").slots] == ["1"], trick
            bridge.close()
