"""Several users share one state by the setting `group`."""

from __future__ import annotations

import codecs
import os
import pkgutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import hfcal
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.support import CLAW

GROUP = 61_100
OWNER, OTHER, STRANGER = 61_001, 61_002, 61_003  # no entry in the password file is needed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can reach, as pytest's own can't be."""
    with tempfile.TemporaryDirectory(prefix="hfcal-group-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def as_user(user: int, *words: str, groups: tuple[int, ...] = (), output: Path) -> int:
    """Run hfcal as another user, and return its exit code.

    In a fork that has loaded everything, as the interpreter's files may be out of others' reach.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    try:
        for module in pkgutil.walk_packages(hfcal.__path__, "hfcal."):
            if not module.name.endswith("__main__"):
                __import__(module.name)
        for encoding in ("ascii", "idna", "latin-1", "utf-8"):
            codecs.lookup(encoding)
        os.environ.clear()
        os.environ["HOME"] = "/nonexistent"
        with output.open("w", encoding="utf-8") as written:
            output.chmod(0o666)
            for number in (1, 2):
                os.dup2(written.fileno(), number)
            sys.stdout = sys.stderr = written
            os.setgroups(groups)
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            from hfcal.cli import main

            code = main(words)
    finally:
        os._exit(code)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_agent_of_another_user_completes(
    make_backend: MakeBackend, make_host: MakeHost, place: Path
) -> None:
    """The tick's user owns the state, the agent's user is in the group; each replaces the file."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}, {"agent": "developer", "id": 5}])
    config = place / "config.toml"
    state = place / "hfcal" / "state.json"
    config.write_text(
        f'backend_url = "{backend.url}"\nclaw_identifier = "{CLAW}"\nagents = ["developer"]\n'
        f'group = {GROUP}\nstate_file = "{state}"\n[wake]\nadapter = "print"\n',
        encoding="utf-8",
    )
    output = place / "output"
    tick = ("tick", "--config", str(config))
    complete = ("complete", "--agent", "developer", "--state", str(state), "--require-delivery")
    assert as_user(OWNER, *tick, groups=(GROUP,), output=output) == 0, output.read_text()
    locks = state.with_name("state.json.locks")
    assert [mode(p) for p in (state.parent, locks, state)] == [0o2770, 0o2770, 0o660]
    assert {mode(lock) for lock in locks.iterdir()} == {0o660}
    assert as_user(STRANGER, *complete, output=output) == 6, output.read_text()
    text = output.read_text()
    assert all(word in text for word in (str(state), f"#{OWNER}", "sudo -u", "group")), text
    assert as_user(OTHER, *complete, groups=(GROUP,), output=output) == 0, output.read_text()
    facts = state.stat()
    assert (facts.st_uid, facts.st_gid, mode(state)) == (OTHER, GROUP, 0o660)
    leftover = state.with_name(".state.json.new")
    leftover.write_text("left by a kill", encoding="utf-8")
    os.chown(leftover, OTHER, GROUP)
    assert as_user(OWNER, *tick, groups=(GROUP,), output=output) == 0, output.read_text()
    assert state.stat().st_uid == OWNER
    assert [status for _, status in backend.told()] == ["ongoing", "finished", "ongoing"]


def test_doctor_finds_a_state_that_cannot_be_written_to(
    make_backend: MakeBackend, place: Path
) -> None:
    """As a tick would exit with 6; root could write all the same."""
    state = place / "hfcal" / "state.json"
    words = ("--backend-url", make_backend().url, "--agent", "developer", "--state", str(state))
    output = place / "output"
    assert as_user(OWNER, "hold", "--agent", "developer", *words, output=output) == 0
    state.parent.chmod(0o500)
    assert as_user(OWNER, "doctor", *words, output=output) == 1
    assert "doctor.md#state-closed" in output.read_text()
    assert as_user(STRANGER, "doctor", *words, output=output) == 1
    assert "doctor.md#state-owner" in output.read_text()


def test_a_config_that_may_not_be_looked_at_has_a_path_all_the_same(place: Path) -> None:
    """Its directory is another user's; init says why it can't write there."""
    closed, output = place / "closed", place / "output"
    closed.mkdir(mode=0o700)
    config = str(closed / "config.toml")
    assert as_user(OTHER, "config", "path", "--config", config, output=output) == 0
    assert output.read_text().strip() == config
    words = ("--backend-url", "http://127.0.0.1:1", "--agent", "a", "--wake-command", "/bin/true")
    assert as_user(OTHER, "config", "init", "--config", config, *words, output=output) == 5
    assert "Permission denied" in output.read_text()


def test_an_unknown_group_is_a_config_error(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """And it keeps no agent from completing."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    host.configure(group="no-such-group")
    assert host.tick().code == 5
    assert host.run("complete").code == 0
