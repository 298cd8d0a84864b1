"""The log: one event a line, many agents' same error in one."""

from __future__ import annotations

import json

from tests.e2e.conftest import MakeBackend, MakeHost


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
