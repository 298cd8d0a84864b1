"""docs/troubleshooting.md: each of its messages, provoked, is printed as it stands there."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfcal.system.locks import LockFile
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import Backend
from tests.rig.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
_SECTION = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")

Told = Callable[[Backend, Host], str]
"""Provokes a message; returns what stood on stderr."""

FAULTS: dict[str, dict[str, Any]] = {
    "unreachable": {"drop_before": True},
    "timeout": {"hang": 60},
    "not_bound": {"status": 404, "body": '{"detail": "Agent not found"}'},
    "unauthorized": {"status": 401, "body": '{"detail": "invalid token"}'},
    "rejected": {"status": 422, "body": '{"detail": "claw_identifier is too long"}'},
    "server_error": {"status": 503},
    "bad_response": {"status": 200, "body": "<html>log in first</html>"},
    "odd_slot": {
        "status": 200,
        "body": '{"slots": [{"id": 12}]}',
    },
}


def _fault(kind: str) -> Told:
    def provoke(backend: Backend, host: Host) -> str:
        backend.fault(path="heartbeat", **FAULTS[kind])
        return host.run("tick").stderr

    return provoke


def _wake_failed(backend: Backend, host: Host) -> str:
    backend.add_slots({"agent": "developer", "id": 12})
    host.on_wake("echo no such model >&2; exit 3")
    return host.run("tick").stderr


def _busy(backend: Backend, host: Host) -> None:
    backend.add_slots({"agent": "developer", "id": 12})
    host.ok("tick")


def _refused(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    backend.fault(path="update", status=409, body='{"detail": "slot is skipped"}')
    return host.run("complete").stderr


def _undelivered(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    backend.away()
    return host.run("complete", "--require-delivery").stderr


def _abandoned(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    host.configure(abandon_after="1ms")
    return host.run("tick").stderr


def _uncertain(backend: Backend, host: Host) -> str:
    """The tick dies while it wakes, and the slot is gone before the next one."""
    backend.add_slots({"agent": "developer", "id": 12})
    host.on_wake("kill -9 $PPID")
    assert host.run("tick").code < 0
    host.on_wake("")
    backend.fault(path="heartbeat", status=200, body='{"slots": []}')
    return host.run("tick").stderr


def _adopted(backend: Backend, host: Host) -> str:
    slots = [{"agent": "developer", "id": i, "status": "ongoing"} for i in (12, 13)]
    backend.add_slots(*slots)
    return host.run("tick").stderr


def _said(*words: str, active: bool = False, code: int = 1) -> Told:
    def provoke(backend: Backend, host: Host) -> str:
        if active:
            _busy(backend, host)
        else:
            host.ok("tick")
        done = host.run(*words)
        assert done.code == code, done
        return done.stderr

    return provoke


def _ambiguous(backend: Backend, host: Host) -> str:
    backend.add_slots({"agent": "developer", "id": 12}, {"agent": "operator", "id": 13})
    host.ok("tick")
    return host.run("complete").stderr


def _wrong_slot(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    host.ok("complete")
    backend.add_slots({"agent": "developer", "id": 13})
    host.ok("tick")
    return host.run("abort", "--slot", "12").stderr


def _config(_: Backend, host: Host) -> str:
    host.configure(concurency=8)
    return host.run("tick").stderr


def _state(_: Backend, host: Host) -> str:
    host.state.parent.mkdir(parents=True)
    host.state.write_text('{"schema": 99}', encoding="utf-8")
    return host.run("tick").stderr


def _state_lost(_: Backend, host: Host) -> str:
    host.state.parent.mkdir(parents=True)
    host.state.write_text("{", encoding="utf-8")
    return host.run("tick").stderr


def _locked(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    lock = LockFile(host.state.with_name("state.json.locks") / "state.lock")
    lock.take(1.0)
    try:
        return host.run("complete", "--lock-timeout", "50ms").stderr
    finally:
        lock.release()


def _interrupted(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    backend.fault(path="update", hang=60)
    complete = host.start("complete")
    wait_until(lambda: backend.state["faults"] == [])
    complete.send(signal.SIGTERM)
    return complete.end().stderr


def _internal(_: Backend, host: Host) -> str:
    code = (
        "import sys, hfcal.state.file as file\n"
        "from hfcal.cli.app import main\n"
        "def broken(self): raise ValueError('odd')\n"
        "file.StateFile.read = broken\n"
        "sys.exit(main(['status']))\n"
    )
    return host.python(code).stderr


def _declined(backend: Backend, host: Host) -> str:
    _busy(backend, host)
    host.run("complete")
    host.ok("tick")
    with host.terminal("forget", "developer", columns=200) as terminal:
        terminal.shows("[y/N]")
        terminal.type(b"n\n")
        assert terminal.end() == 1
    return terminal.text


def _past(backend: Backend, host: Host) -> str:
    """`ongoing` is refused, the end isn't."""
    backend.add_slots({"agent": "developer", "id": 12})
    backend.fault(path="update", status=422, count=1)
    host.run("tick")
    host.ok("complete")
    return host.run("queue", "retry", "12", "--yes").stderr


PROVOKED: dict[str, Told] = {
    **{kind: _fault(kind) for kind in FAULTS},
    "rejected": _refused,
    "wake_failed": _wake_failed,
    "abandoned": _abandoned,
    "uncertain": _uncertain,
    "adopted": _adopted,
    "usage": _said("complete", "--duration", "soon", code=2),
    "no_active_slot": _said("complete", "--agent", "developer", code=3),
    "ambiguous_agent": _ambiguous,
    "wrong_slot": _wrong_slot,
    "undelivered": _undelivered,
    "config": _config,
    "state": _state,
    "state_lost": _state_lost,
    "locked": _locked,
    "internal": _internal,
    "interrupted": _interrupted,
    "not_queued": _said("queue", "drop", "99", "--yes"),
    "past": _past,
    "unknown_agent": _said("forget", "nobody", "--yes"),
    "in_use": _said("forget", "developer", "--yes", active=True),
    "declined": _declined,
    "unwritable": _said("metrics", "--textfile", "/no/such/directory/hfcal.prom"),
}


def examples() -> dict[str, str]:
    """The page's messages, by their headings."""
    found = {}
    for heading, section in _SECTION.findall(PAGE.read_text("utf-8")):
        example = _EXAMPLE.search(section)
        found[heading] = example.group(1) if example else ""
    return found


@pytest.mark.parametrize("kind", PROVOKED)
def test_the_message_is_as_the_page_has_it(
    kind: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Word by word, but for what the page leaves open by an ellipsis; it names its page."""
    backend = make_backend(agents=["developer", "operator"])
    agents = ["developer", "operator"] if kind == "ambiguous_agent" else ["developer"]
    host = make_host(backend, *agents)
    host.configure(request_timeout="1s")
    told = PROVOKED[kind](backend, host)
    example = " ".join(examples()[kind].split())
    pattern = ".*".join(map(re.escape, example.split("…")))
    assert re.search(pattern, " ".join(told.split())), f"{told}\n{example}"
    assert example.startswith(("hfcal: ", "…"))
    assert f"(docs/troubleshooting.md#{kind})" in told


def test_no_message_of_the_page_is_left_out() -> None:
    """Each section has an example, and each example is provoked."""
    assert set(examples()) == set(PROVOKED)
    assert all(examples().values())
