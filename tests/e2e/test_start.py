"""What each command loads: every import is paid at every start (docs/performance.md)."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host

_LOADED = """
import sys
from hfcal.cli import main
main(sys.argv[1:])
print("LOADED", *sys.modules)
"""
_HTTP = {
    "httpx",
    "httpcore",
    "h11",
    "ssl",
    "logging",
    "email",
    "hfcal.http",
    "hfcal.backend.bridge",
}
_TICK = {
    "hfcal.engine.tick",
    "hfcal.backend.pool",
    "hfcal.wake.message",
    "hfcal.core.scheduler",
    "hfcal.core.protocol",
}
_SHOWN = {"rich.console", "rich.table", "hfcal.views.tables", "hfcal.views.live"}
_NEVER = {
    "asyncio",
    "click",
    "concurrent.futures",
    "httpx._main",
    "importlib.metadata",
    "logging.handlers",
    "pydantic",
    "secrets",
}
_NEITHER = _NEVER | _HTTP | _TICK | _SHOWN


def loaded(host: Host, *words: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    done = host.python(_LOADED, *words)
    assert done.code == 0, done.stderr
    found = set(done.stdout[done.stdout.rindex("LOADED") :].split()[1:])
    # One that may not be imported is there as well, as None.
    return found - {"httpx._main"}


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("--help",),
        ("status", "--json"),
        ("status", "--check"),
        ("hold", "--reason", "x"),
        ("release",),
        ("config", "path"),
        ("_complete", "agents"),
        ("_complete", "active", "--agent=developer"),
    ],
)
def test_who_asks_nobody_and_draws_nothing_loads_neither(
    words: tuple[str, ...], make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """No HTTP, no scheduling, no rich."""
    host = make_host(make_backend())
    host.tick()
    if words[0] in {"hold", "release"}:
        words = (*words, "--agent", "developer")
    assert not loaded(host, *words) & _NEITHER


def test_a_tick_loads_no_more_than_it_uses(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """HTTP without certificates, the one adapter it has, nothing that draws."""
    host = make_host(make_backend())
    found = loaded(host, "tick")
    assert not found & (_NEVER | _SHOWN)
    others = {
        "hfcal.wake.webhook",
        "hfcal.wake.openclaw",
        "hfcal.wake.spool",
        "hfcal.engine.dry_run",
    }
    assert not found & others
    assert found >= {"hfcal.engine.tick", "hfcal.http"}


def test_complete_loads_no_tick(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """It delivers, and neither schedules nor wakes."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    host.tick()
    found = loaded(host, "complete")
    assert not found & (
        _NEVER | _SHOWN | {"hfcal.engine.tick", "hfcal.backend.pool", "hfcal.engine.agent_pass"}
    )
    assert "hfcal.http" in found


def test_nothing_is_asked_so_no_http_is_loaded(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A repeated `complete` is answered from the state file."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    host.tick()
    host.ok("complete")
    assert not loaded(host, "complete", "--agent", "developer", "--slot", "4") & (_HTTP | _SHOWN)
