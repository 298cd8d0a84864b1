"""A lock file of one agent that can't be used is that agent's fault alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import Backend


def _link(lock: Path) -> None:
    lock.symlink_to(lock.with_name("gone"))


def _folder(lock: Path) -> None:
    lock.mkdir()


@pytest.fixture
def backend(make_backend: MakeBackend) -> Backend:
    """A slot for each of two agents."""
    names = ["developer", "operator"]
    slots = [{"agent": name, "id": 4 + place} for place, name in enumerate(names)]
    return make_backend(agents=names, slots=slots)


@pytest.fixture
def host(backend: Backend, make_host: MakeHost) -> Host:
    """Both agents, and a state that a tick has made."""
    host = make_host(backend, "developer", "operator")
    host.ok("hold", "--all")
    host.ok("tick")
    host.ok("release", "--all")
    return host


def lock_of(host: Host, agent_id: str) -> Path:
    """Where an agent's lock file is."""
    return host.state.with_name("state.json.locks") / f"agent-{agent_id}.lock"


@pytest.mark.parametrize("put", [_link, _folder])
def test_one_agents_unusable_lock_stops_no_other(host: Host, put) -> None:
    """The other agent is woken; the fault is said once, with its fix, and so is its end."""
    lock = lock_of(host, "developer")
    lock.unlink()
    put(lock)
    ended = host.tick()
    assert ended.code == 1, ended
    assert ended.actions == {"developer": "error", "operator": "dispatched"}
    error = ended.agents["developer"]["error"]
    assert error["kind"] == "state"
    fix = error["message"].partition("Move it away: ")[2]
    assert fix.startswith("mv "), error
    assert error["message"] in ended.stderr
    again = host.tick()
    assert (again.code, again.stderr) == (1, "")
    assert host.status()["last_errors"] == {"developer": error["message"]}

    assert host.shell(fix).code == 0
    well = host.tick()
    assert well.code == 0, well
    assert well.actions == {"developer": "dispatched", "operator": "busy"}
    assert "developer: lock recovered" in well.stderr
    assert host.status()["last_errors"] == {}


@pytest.mark.parametrize("put", [_link, _folder])
def test_an_agents_word_is_accepted_though_its_lock_is_unusable(
    host: Host, backend: Backend, put
) -> None:
    """It waits on disk, which is said; the tick after the fix sends it."""
    host.ok("tick")
    lock = lock_of(host, "developer")
    lock.unlink()
    put(lock)
    done = host.run("complete", "--agent", "developer", "--json")
    assert done.code == 0, done
    assert done.json["delivered"] is False
    assert str(lock) in done.stderr
    assert host.tick().code == 1
    (waits,) = host.status()["queued"]
    assert str(lock) in waits["error"]
    assert backend.slot(4)["status"] == "ongoing"

    lock.rename(lock.with_name("away"))
    assert host.tick().code == 0
    assert backend.slot(4)["status"] == "finished"


def test_a_lock_recovers_whatever_the_heartbeat_comes_to(host: Host, backend: Backend) -> None:
    """Its end is said when it ends, also while the backend is away."""
    lock = lock_of(host, "developer")
    lock.unlink()
    _link(lock)
    assert host.tick().code == 1
    lock.unlink()
    backend.away()
    assert "developer: lock recovered" in host.tick().stderr


def test_an_agent_that_is_not_configured_any_more_is_told_of_as_well(
    host: Host, backend: Backend
) -> None:
    """What it has queued waits, and the exit code says so."""
    host.ok("tick")
    backend.away()
    host.ok("complete", "--agent", "developer")
    backend.well()
    host.agents = ("operator",)
    host.configure()
    lock = lock_of(host, "developer")
    lock.unlink()
    _link(lock)
    ended = host.tick()
    assert ended.code == 1, ended
    assert f"cannot lock {lock}" in ended.stderr
    assert ended.actions == {"operator": "busy"}
