"""A bug of hfcal's own ends what it must and nothing else, and never hangs."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host

# Runs a command in which the function of this name raises an error, as a bug would.
BROKEN = """\
import importlib, sys
from hfcal.cli import main
place, words = sys.argv[1], sys.argv[2:]
module, _, name = place.rpartition(".")
def bug(*_, **__): raise KeyError("a bug")
setattr(importlib.import_module(module), name, bug)
sys.exit(main(words))
"""


@pytest.fixture
def host(make_backend: MakeBackend, make_host: MakeHost) -> Host:
    """A slot for one of two agents, and a state that a tick has made."""
    backend = make_backend(
        agents=["developer", "operator"], slots=[{"agent": "developer", "id": 4}]
    )
    host = make_host(backend, "developer", "operator")
    host.ok("tick", "--agent", "operator")
    return host


@pytest.mark.timeout(20)
def test_a_bug_in_a_ticks_first_change_ends_it_at_once(host: Host) -> None:
    """It waited for ever: the error went to a callback that did nothing."""
    ended = host.python(BROKEN, "hfcal.core.memory.trim_history", "tick", "--json")
    assert ended.code == 70, ended
    assert ended.error["kind"] == "internal"
    assert "KeyError" in ended.stderr
    assert host.wakes == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "place",
    [
        "hfcal.core.memory.note_listed",  # in a heartbeat's change
        "hfcal.engine.agent_pass.decide",
        "hfcal.engine.agent_pass.new_wake",
    ],
)
def test_a_bug_at_an_agent_is_that_agents(host: Host, place: str) -> None:
    """The tick ends, says so, and wakes nobody by it."""
    ended = host.python(BROKEN, place, "tick", "--json")
    assert ended.code == 1, ended
    assert ended.agents["developer"]["error"]["kind"] == "internal"
    assert host.wakes == []
    assert host.ok("tick", "--json").actions["developer"] == "dispatched"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("place", ["hfcal.backend.bridge.Bridge.sync", "hfcal.core.sync.take_over"])
def test_a_bug_at_a_sync_is_told_and_the_heartbeats_go_on(host: Host, place: str) -> None:
    """On a new state, where the sync comes before all else."""
    host.state.unlink()
    broken = BROKEN.replace(
        "importlib.import_module(module)", '__import__("pkgutil").resolve_name(module)'
    )
    ended = host.python(broken, place, "tick", "--json")
    assert ended.code == 0, ended
    assert ended.actions["developer"] == "dispatched"
    assert "a bug in hfcal, at /calendar/sync: KeyError" in ended.stderr


@pytest.mark.parametrize("words", [("status",), ("tick", "--json")])
def test_a_signal_that_c_code_turns_into_another_error_is_no_bug(host: Host, words) -> None:
    """Python's own import of a C module does that."""
    code = """\
import os, signal, sys, hfcal.cli.app as app
def cut_off(*_, **__):
    try: os.kill(os.getpid(), signal.SIGTERM)
    except BaseException: raise ImportError("could not import module") from None
app.make_app = lambda: type("App", (), {"main": cut_off})()
sys.exit(app.main(sys.argv[1:]))
"""
    ended = host.python(code, *words)
    assert ended.code == 143, ended
    assert "stopped by SIGTERM" in ended.stderr
