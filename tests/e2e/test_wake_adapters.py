"""Wakes by other ways than a command, and `wake test`, in real processes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import CLAW
from tests.rig.process import is_alive
from tests.rig.raw_server import RawRequest, RawServer, answering, raw_answer, read_request
from tests.rig.waiting import wait_past, wait_until

SECRET = "s3cret-0123456789"
NO_WAKE = {"wake": None}
PAUSE = re.compile(r'"not_before": ?([0-9.]+)')


def configured(host: Host, wake: str, *agents: str) -> Host:
    """The host with these tables in its config, and agents if there are any."""
    lines = [f"claw_identifier = {json.dumps(CLAW)}"]
    if agents:
        lines += [f"backend_url = {json.dumps(host.backend_url)}"]
        lines += [f"agents = {json.dumps(list(agents))}"]
    host.write_config("\n".join([*lines, wake, ""]))
    return host


def webhook(url: str) -> str:
    """A `[wake]` table with secrets in its headers; the environment holds AGENTS_TOKEN."""
    return (
        f'[wake]\nadapter = "webhook"\nurl = "{url}"\ntimeout = "30s"\n[wake.headers]\n'
        f'Authorization = {{env = "AGENTS_TOKEN"}}\nX-Plain = "plain-{SECRET}"\n'
    )


TOKEN = {"AGENTS_TOKEN": f"Bearer {SECRET}"}


# hfcal wake test


def test_wake_test_posts_one_marked_message(lone_host: Host) -> None:
    """By the real adapter, with neither backend nor agents, and whatever the state holds."""
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        host = configured(lone_host, webhook(f"{server.url}/wake/?x=1"))
        host.state.parent.mkdir(parents=True)
        host.state.write_text("no state of ours", encoding="utf-8")
        before = host.snapshot()
        result = host.run("wake", "test", "--agent", "anybody", "--json", env=TOKEN)
        assert (result.code, result.stderr) == (0, "")
        assert result.json["agent_id"] == "anybody"
        assert (result.json["ok"], result.json["error"]) == (True, None)
        assert isinstance(result.json["duration_ms"], int)
        again = host.ok("wake", "test", env={**TOKEN, "HFCAL_AGENT_ID": "anybody"})
        assert "anybody" in again.stdout
        assert host.snapshot() == before
    first, second = seen
    assert first.line == "POST /wake/?x=1 HTTP/1.1"
    assert first.headers["authorization"] == f"Bearer {SECRET}"
    body = json.loads(first.body)
    assert body["agent_id"] == "anybody"
    assert "test" in body["message"].splitlines()[0]
    assert "hfcal complete" not in body["message"]
    keys = {request.headers["idempotency-key"] for request in (first, second)}
    assert len(keys) == 2, "the second test would be taken for a repetition of the first"
    assert SECRET not in result.stdout + again.stdout + again.stderr


@pytest.mark.parametrize("adapter", ["command", "spool", "print"])
def test_wake_test_uses_the_adapter_of_that_agent(lone_host: Host, adapter: str) -> None:
    """Its own table before the common one; no state appears."""
    host = lone_host
    command = json.dumps(["/bin/sh", str(host.root / "wake.sh"), str(host.inbox)])
    tables = {
        "command": f'adapter = "command"\ncommand = {command}',
        "spool": f'adapter = "spool"\ndir = "{host.root}/spool"',
        "print": 'adapter = "print"',
    }
    configured(host, f'[agent.dev.wake]\n{tables[adapter]}\n[wake]\nadapter = "print"')
    before = host.snapshot()
    result = host.ok("wake", "test", "--agent", "dev")
    if adapter == "command":
        (wake,) = host.wakes
        assert (wake.agent_id, wake.lines[0]) == ("dev", wake.message.split("\n")[0])
        message = wake.message
    elif adapter == "spool":
        (file,) = (host.root / "spool").rglob("*.json")
        message = json.loads(file.read_bytes())["message"]
    else:
        message = result.stdout
    assert "wake test" in message
    assert "dev" in message
    assert host.snapshot() == before


def test_wake_test_that_fails_tells_why(lone_host: Host) -> None:
    """Exit 1; an OpenClaw gateway's 404 prints the mapping that is missing, whole."""
    secret = lone_host.root / "token"
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    answer = raw_answer(b"Not Found", "404 Not Found", Content_Type="text/plain")
    with RawServer(answering(answer)) as server:
        host = configured(
            lone_host,
            f'[wake]\nadapter = "openclaw"\nurl = "{server.url}"\ntoken_file = "{secret}"',
        )
        result = host.run("wake", "test", "--agent", "dev/ops", "--json")
    assert result.code == 1
    assert result.json["ok"] is False
    assert result.error["kind"] == "wake_failed"
    reason = result.error["message"]
    for part in ('agentId: "dev/ops"', 'path: "hfcal/dev%2Fops"', '"{{message}}"', "}"):
        assert part in reason
        assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert SECRET not in result.stdout + result.stderr
    assert not host.state.exists()


@pytest.mark.parametrize(
    ("wake", "words", "code", "told"),
    [
        ('[wake]\nadapter = "print"', [], 2, "--agent"),
        ('[wake]\nadapter = "print"', ["--agent", "a", "--agent", "b"], 2, "one --agent"),
        ("", ["--agent", "dev"], 5, "wake"),
        (f'[wake]\nadapter = "webhook"\nurl = "x/{SECRET}"', ["--agent", "dev"], 5, "wake.url"),
        ('[wake]\nadapter = "spool"\ndir = "~no-such/x"', ["--agent", "dev"], 5, "wake.dir"),
    ],
    ids=["nobody", "two", "no table", "url", "home"],
)
def test_wake_test_that_cannot_be_tried(
    lone_host: Host, wake: str, words: list[str], code: int, told: str
) -> None:
    """Usage is 2, the config 5; with --json that is a document too."""
    result = configured(lone_host, wake).run("wake", "test", "--json", *words)
    assert result.code == code
    assert result.error["kind"] == {2: "usage", 5: "config"}[code]
    assert told in result.error["message"]
    assert SECRET not in result.stdout + result.stderr


def test_config_show_tells_no_secret_of_a_wake_table(lone_host: Host) -> None:
    """Neither headers nor the path of a URL; where a secret comes from is shown."""
    more = f'[agent.dev.wake]\nadapter = "webhook"\nurl = "https://h/{SECRET}?k={SECRET}"\n'
    host = configured(lone_host, webhook(f"http://127.0.0.1:1/{SECRET}") + more)
    result = host.ok("config", "show", env=TOKEN)
    assert SECRET not in result.stdout + result.stderr
    assert "AGENTS_TOKEN" in result.stdout
    assert "http://127.0.0.1:1" in result.stdout


# hfcal tick


class Receiver(RawServer):
    """A receiver of webhooks.

    Attributes:
        seen: The bodies so far.
        requests: The requests so far.
        poisoned: Slots whose wakes are answered with 503, Retry-After and all that was sent.
        open: While it is not set, nobody is answered.
    """

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.requests: list[RawRequest] = []
        self.poisoned: set[str] = set()
        self.open = threading.Event()

    @property
    def seen(self) -> list[Any]:
        """The bodies so far."""
        return [json.loads(request.body) for request in self.requests]

    def _talk(self, connection: socket.socket) -> None:
        request = read_request(connection)
        if request is None:
            return
        self.requests.append(request)
        self.open.wait(60)
        if json.loads(request.body)["slot"] in self.poisoned:
            echo = json.dumps(request.headers).encode()
            connection.sendall(raw_answer(echo, "503 Busy", Retry_After="3600"))
        else:
            connection.sendall(raw_answer())


def test_hanging_webhooks_hold_up_no_heartbeat(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With every place to wake taken, all agents are asked; then those who waited are woken."""
    slow = [f"slow{n}" for n in range(9)]
    agents = [*slow, "idle1", "idle2"]
    backend = make_backend(
        agents=agents, slots=[{"agent": a, "id": n} for n, a in enumerate(slow, 1)]
    )
    with Receiver() as receiver:
        host = make_host(backend, **NO_WAKE)
        configured(host, f"concurrency = 4\n{webhook(receiver.url)}", *agents)
        running = host.start("tick", "--json", env=TOKEN)
        wait_until(lambda: len(receiver.requests) == 8)
        wait_until(lambda: {e["agent"] for e in backend.journal("heartbeat")} == set(agents))
        assert len(receiver.requests) == 8, "more wakes at once than `parallel`"
        shown = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(running.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "tick" in shown.stdout
        assert SECRET not in shown.stdout
        receiver.open.set()
        result = running.end()
        assert result.code == 0
        expected = dict.fromkeys(slow, "dispatched") | {"idle1": "idle", "idle2": "idle"}
        assert result.actions == expected
        assert sorted(body["agent_id"] for body in receiver.seen) == slow


@pytest.mark.promise_9
def test_a_poisoned_slot_starves_nobody_and_tells_no_secret(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Its agent's next slot has its turn, and it waits as long as asked, at most 10 minutes."""
    backend = make_backend(
        agents=["a1", "a2"],
        slots=[
            {"agent": "a1", "id": 1, "priority": 90},
            {"agent": "a1", "id": 2, "priority": 10},
            {"agent": "a2", "id": 3},
        ],
    )
    with Receiver() as receiver:
        receiver.open.set()
        receiver.poisoned = {"1"}
        host = make_host(backend, **NO_WAKE)
        log = host.root / "log" / "hfcal.log"
        path = f"/hook/{SECRET}?k={SECRET}"
        table = webhook(receiver.url + path).replace("[wake]", "[wake]\nparallel = 1", 1)
        configured(host, f'log_file = "{log}"\nlog_level = "debug"\n{table}', "a1", "a2")
        first = host.tick("-v", env=TOKEN)
        assert first.code == 1
        assert first.actions == {"a1": "wake_failed", "a2": "dispatched"}
        assert "answered 503" in first.agents["a1"]["error"]["message"]
        (pause,) = PAUSE.findall(host.state.read_text(encoding="utf-8"))
        assert 590 < float(pause) - time.time() <= 600
        second = host.tick("-v", env=TOKEN)
        assert second.actions == {"a1": "dispatched", "a2": "busy"}
        assert second.code == 0
        assert [body["slot"] for body in receiver.seen if body["agent_id"] == "a1"] == ["1", "2"]
    assert len(backend.told("a1")) == 1
    told = [first.stdout, first.stderr, second.stdout, second.stderr, log.read_text("utf-8")]
    told += [file.read_bytes().decode() for file in host.state_dir.rglob("*") if file.is_file()]
    assert not any(SECRET in text for text in told)
    assert {log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777} == {0o600, 0o700}


def test_a_tick_that_is_stopped_does_not_wait_for_a_silent_receiver(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """SIGTERM ends it within seconds; the wake is made again, byte for byte, with its key."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    with Receiver() as receiver:
        host = make_host(backend, **NO_WAKE)
        configured(host, webhook(receiver.url), "developer")
        running = host.start("tick", env=TOKEN)
        wait_until(lambda: receiver.requests)
        running.send(signal.SIGTERM)
        result = running.end()
        assert result.code == 143
        assert result.seconds < 10
        receiver.open.set()
        for pause in PAUSE.findall(host.state.read_text(encoding="utf-8")):
            wait_past(float(pause))
        assert host.tick(env=TOKEN).actions == {"developer": "dispatched"}
        first, second = receiver.requests
        assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
        assert first.body == second.body
    assert backend.told() == [("4", "ongoing")]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a look at open files")
def test_a_detached_command_inherits_nothing_and_its_log_stays_small(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """No lock, connection, state or key; the next tick cuts the log while the command writes."""
    backend = make_backend(api_key="k1-s3cret", slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend, env={"HFCAL_API_KEY": "k1-s3cret"}, wake={"mode": "detach"})
    write = "head -c 3000000 /dev/zero | tr '\\0' x"
    until = f'until [ -f "$1/go" ]; do sleep 0.05; done; {write}; touch "$1/done"'
    until += '; until [ -f "$1/end" ]; do sleep 0.05; done'
    host.on_wake(f'ls -l /proc/$$/fd > "$1/fds"; {write}; {until}')
    try:
        assert host.tick().actions == {"developer": "dispatched"}
        (wake,) = host.wakes
        assert "HFCAL_API_KEY" not in wake.env
        assert "k1-s3cret" not in wake.env.values()
        open_files = (host.inbox / "fds").read_text(encoding="utf-8")
        for word in ("lock", "state.json", "socket:", str(host.config)):
            assert word not in open_files
        log = host.state_dir / "log" / "developer" / "4.log"
        (host.inbox / "go").touch()
        wait_until((host.inbox / "done").exists)
        assert log.stat().st_size > 3_000_000
        assert host.tick().actions == {"developer": "busy"}
        assert log.stat().st_size <= 1024 * 1024
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        (host.inbox / "go").touch()
        (host.inbox / "end").touch()


def test_wake_test_that_is_stopped_ends_what_it_started(lone_host: Host) -> None:
    """Ctrl-C: exit 130, and the command is gone."""
    note = lone_host.root / "pid"
    script = 'echo $$ > "$0.new"; mv "$0.new" "$0"; sleep 60'
    command = json.dumps(["/bin/sh", "-c", script, str(note)])
    host = configured(lone_host, f'[wake]\nadapter = "command"\ncommand = {command}')
    test = host.start("wake", "test", "--agent", "dev/ops", "--json")
    wait_until(note.exists)
    test.send(signal.SIGINT)
    end = test.end()
    assert (end.code, end.error["kind"]) == (130, "interrupted")
    wait_until(lambda: not is_alive(int(note.read_text())))
