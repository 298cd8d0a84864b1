"""What `tick` says when it is not on a terminal: cron mails it, so only news."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.result import Result


def said(result: Result) -> list[str]:
    """The lines that cron would mail."""
    return (result.stdout + result.stderr).splitlines()


def test_a_tick_without_news_prints_nothing(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Dispatched, busy, idle: silent; `-v` and a terminal print all of it."""
    backend = make_backend(
        agents=["developer", "operator"], slots=[{"agent": "developer", "id": 4}]
    )
    host = make_host(backend, "developer", "operator")
    assert said(host.ok("tick")) == []
    loud = host.ok("tick", "-v").stdout
    assert "developer" in loud
    assert "busy" in loud
    assert "operator" in loud
    with host.terminal("tick") as terminal:
        assert terminal.end() == 0
        assert "developer" in terminal.text
        assert "busy" in terminal.text


def test_a_fault_is_said_when_it_begins_changes_and_ends(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not at each tick, though the exit code says it each time; whether --json was asked or not."""
    backend = make_backend(agents=["developer", "operator"])
    host = make_host(backend, "developer", "operator")
    assert said(host.ok("tick")) == []

    def tick(code: int, *words: str) -> str:
        result = host.run("tick", *words)
        assert result.code == code, result
        return result.stderr if words else "\n".join(said(result))

    backend.fault(path="heartbeat", agent="operator", status=503, count=0)
    began = tick(1)
    assert "operator" in began
    assert "503" in began
    assert "developer" not in began
    assert tick(1) == ""
    assert tick(1, "--json") == ""
    backend.well()
    backend.fault(path="heartbeat", agent="operator", status=401, count=0)
    changed = tick(1)
    assert "operator" in changed
    assert "401" in changed
    assert tick(1) == ""
    backend.well()
    ended = tick(0)
    assert "operator" in ended
    assert "recovered" in ended
    assert tick(0) == ""


def test_a_failed_wake_is_said_once_and_so_is_its_end(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """While the slot pauses nothing is said, nor when another slot's wake is good."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.on_wake("echo out of order; exit 3")
    began = host.run("tick")
    assert began.code == 1
    assert len(said(began)) == 1
    assert "out of order" in said(began)[0]
    assert said(host.ok("tick")) == []
    host.on_wake("")
    backend.add_slots({"agent": "developer", "id": 5})
    assert said(host.ok("tick")) == []
    host.ok("complete")
    text = host.state.read_text("utf-8")
    host.state.write_text(re.sub(r'"not_before":[0-9.]+', '"not_before":1.0', text), "utf-8")
    ended = host.ok("tick")
    assert len(said(ended)) == 1
    assert "wake of slot 4 recovered" in said(ended)[0]
    assert said(host.ok("tick")) == []


def test_an_undelivered_update_is_said_once_and_so_is_its_end(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A delivery that waits is a fault that began, and ends with its delivery."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    backend.fault(path="update", drop_before=True, count=0)
    began = host.run("tick")
    assert began.code == 1
    assert len(said(began)) == 1
    assert "slot 4" in said(began)[0]
    again = host.run("tick")
    assert (again.code, said(again)) == (1, [])
    backend.well()
    ended = host.ok("tick")
    assert len(said(ended)) == 1
    assert "recovered" in said(ended)[0]


def test_a_delivery_by_the_agents_own_command_ends_the_fault_too(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Else a later fault of that kind would be taken for the same one, and not be said."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    backend.fault(path="update", drop_before=True)
    assert len(said(host.run("tick"))) == 1
    assert host.ok("complete", "--json").json["delivered"] is True
    ended = host.ok("tick")
    assert len(said(ended)) == 1
    assert "recovered" in said(ended)[0]


def test_a_refusal_of_what_an_agent_queued_is_news(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The agent got exit 0, so the tick that hears the refusal has to say it; exit 1."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.ok("tick")
    backend.fault(path="update", drop_before=True)
    host.ok("complete")
    backend.fault(path="update", status=422, body='{"detail": "no, never"}')
    refused = host.run("tick")
    assert refused.code == 1
    assert "no, never" in "\n".join(said(refused))
    assert said(host.ok("tick")) == []


def test_a_refusal_is_news(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """An update refused for good is said when it happens, with the backend's reason."""
    backend = make_backend(
        slots=[{"agent": "developer", "id": 4}],
        faults=[{"path": "update", "status": 422, "body": '{"detail": "no, never"}'}],
    )
    host = make_host(backend)
    refused = host.run("tick")
    assert refused.code == 1
    assert "no, never" in said(refused)[0]
    assert said(host.ok("tick")) == []


@pytest.mark.promise_7
def test_lost_state_is_said_loudly_kept_and_rebuilt(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A damaged file is kept beside the new one, and what runs is taken over from the backend."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.ok("tick")
    host.state.write_bytes(b'{"schema": 1, "agents": ')
    lost = host.run("tick")
    assert lost.code == 0
    assert str(host.state) in lost.stderr
    files = [path for path in host.state_dir.iterdir() if path.is_file()]
    kept = [path for path in files if path.read_bytes() == b'{"schema": 1, "agents": ']
    assert len(kept) == 1
    assert kept[0].name in lost.stderr
    assert [a["ident"] for a in host.status()["active"]] == ["4"]
    assert said(host.ok("tick")) == []
    assert len(host.wakes) == 1


def test_a_backend_that_is_away_is_said_once(lone_host: Host) -> None:
    """A backend that is away is said once, with its URL; the exit code stays 4."""
    first = lone_host.run("tick")
    assert first.code == 4
    assert lone_host.backend_url in said(first)[0]
    second = lone_host.run("tick")
    assert (second.code, said(second)) == (4, [])
