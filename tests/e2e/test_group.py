"""Several users share one state by the setting `group`."""

from __future__ import annotations

import codecs
import json
import os
import pkgutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hfcal
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.rig.backend import CLAW, Backend

GROUP, ANOTHER = 61_100, 61_200
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


class Place:
    """A state in a directory of its own, and the config of the user that ticks.

    Args:
        root: A directory that other users can reach.
        backend: What the config leads to.
    """

    def __init__(self, root: Path, backend: Backend) -> None:
        self.backend = backend
        self.output = root / "output"
        self.config = root / "config.toml"
        self.state = root / "hfcal" / "state.json"
        self.locks = self.state.with_name("state.json.locks")

    def configure(self, *agents: str, group: int | None) -> None:
        """Write the config of the user that ticks."""
        shared = "" if group is None else f"group = {group}\n"
        self.config.write_text(
            f'backend_url = "{self.backend.url}"\nclaw_identifier = "{CLAW}"\n'
            f'agents = {json.dumps(agents)}\n{shared}state_file = "{self.state}"\n'
            '[wake]\nadapter = "print"\n',
            encoding="utf-8",
        )

    def run(self, user: int, *words: str, groups: tuple[int, ...] = ()) -> int:
        """Run hfcal as an agent's user, without a config."""
        words = (*words, "--state", str(self.state))
        return as_user(user, *words, groups=groups, output=self.output)

    def own(self, *words: str, groups: tuple[int, ...] = (GROUP,)) -> int:
        """Run hfcal as the user that ticks, with the config."""
        words = (*words, "--config", str(self.config))
        return as_user(OWNER, *words, groups=groups, output=self.output)

    def tick(self, groups: tuple[int, ...] = (GROUP,)) -> None:
        """A tick, which is well."""
        assert self.own("tick", groups=groups) == 0, self.text

    def complete(self, user: int, *groups: int, agent: str = "developer") -> int:
        """An agent's command, by any user."""
        words = ("complete", "--agent", agent, "--require-delivery")
        return self.run(user, *words, groups=groups)

    @property
    def text(self) -> str:
        """What the last command printed."""
        return self.output.read_text(encoding="utf-8")

    @property
    def findings(self) -> dict[str, dict[str, Any]]:
        """What the last `doctor --json` found that is not ok."""
        found = json.loads(self.text)["findings"]
        return {finding["code"]: finding for finding in found if finding["severity"] != "ok"}


@pytest.fixture
def make_place(make_backend: MakeBackend, place: Path) -> Callable[..., Place]:
    """Makes the place, with slots of these agents on the backend."""

    def make(*agents: str) -> Place:
        slots = [{"agent": agent, "id": 4 + n} for n, agent in enumerate(agents)]
        return Place(place, make_backend(slots=slots, agents=sorted(set(agents))))

    return make


def fix(command: str) -> None:
    """Run a command that fixes something, as a person would paste it; we are root already."""
    subprocess.run(["/bin/sh", "-ec", command.replace("sudo ", "")], check=True)


def test_an_agent_of_another_user_completes(make_place: Callable[..., Place]) -> None:
    """The tick's user owns the state, the agent's user is in the group; each replaces the file."""
    host = make_place("developer", "developer")
    state, locks = host.state, host.locks
    host.configure("developer", group=GROUP)
    host.tick()
    assert [mode(p) for p in (state.parent, locks, state)] == [0o2770, 0o2770, 0o660]
    assert {mode(lock) for lock in locks.iterdir()} == {0o660}
    assert host.complete(STRANGER) == 6, host.text
    assert all(word in host.text for word in (str(state), f"#{OWNER}", "sudo -u", "group"))
    assert host.complete(OTHER, GROUP) == 0, host.text
    facts = state.stat()
    assert (facts.st_uid, facts.st_gid, mode(state)) == (OTHER, GROUP, 0o660)
    leftover = state.with_name(".state.json.new")
    leftover.write_text("left by a kill", encoding="utf-8")
    os.chown(leftover, OTHER, GROUP)
    host.tick()
    assert state.stat().st_uid == OWNER
    assert [status for _, status in host.backend.told()] == ["ongoing", "finished", "ongoing"]


@pytest.mark.promise_9
def test_a_state_that_is_there_is_shared_with_all_its_locks(
    make_place: Callable[..., Place],
) -> None:
    """Also those that the tick doesn't take; and again when the setting names another group."""
    host = make_place("developer", "operator")
    host.configure("developer", "operator", group=None)
    host.tick(groups=())
    for group in (GROUP, ANOTHER):
        host.configure("developer", group=group)
        host.tick(groups=(GROUP, ANOTHER))
        files = [host.state, *host.locks.iterdir()]
        assert len(files) == 4
        assert {(p.stat().st_gid, mode(p)) for p in files} == {(group, 0o660)}
        directories = (host.state.parent, host.locks)
        assert {(p.stat().st_gid, mode(p)) for p in directories} == {(group, 0o2770)}
    assert host.complete(OTHER, ANOTHER) == 0, host.text
    assert host.complete(OTHER, ANOTHER, agent="operator") == 0, host.text


def test_no_directory_that_holds_more_than_a_state_is_shared(
    make_place: Callable[..., Place],
) -> None:
    """Such as HOME: the group could put files of its own in the place of what is there."""
    host = make_place("developer")
    host.configure("developer", group=GROUP)
    host.state.parent.mkdir()
    os.chown(host.state.parent, OWNER, OWNER)
    (host.state.parent / ".bashrc").touch()
    before = host.state.parent.stat().st_mode
    assert host.own("tick") == 6
    assert "it holds .bashrc" in host.text
    assert str(host.state.parent / "hfcal" / "state.json") in host.text
    assert (host.state.parent.stat().st_mode, host.state.exists()) == (before, False)


def test_what_root_does_once_shuts_nobody_out(make_place: Callable[..., Place]) -> None:
    """A command under sudo, also the very first one: what it makes is the directory's owner's."""
    host = make_place("developer", "operator")
    host.configure("developer", "operator", group=None)
    host.state.parent.mkdir()
    for path in (host.state.parent, host.config):
        os.chown(path, OWNER, OWNER)
    assert as_user(0, "hold", "--all", "--config", str(host.config), output=host.output) == 0
    assert host.own("release", "--all", groups=()) == 0, host.text
    host.tick(groups=())
    assert host.run(0, "complete", "--agent", "operator") == 0, host.text
    change = ("config", "set", "request_timeout", "21s", "--config", str(host.config))
    assert as_user(0, *change, output=host.output) == 0
    host.tick(groups=())
    paths = [host.config, host.state.parent, *host.state.parent.rglob("*")]
    assert {path.name: path.stat().st_uid for path in paths if path.stat().st_uid != OWNER} == {}


def test_a_directory_of_another_user_is_named_with_the_fix(
    make_place: Callable[..., Place],
) -> None:
    """As `install -d -g GROUP -m 770` makes it: without setgid the state would stay private."""
    host = make_place("developer")
    host.configure("developer", group=GROUP)
    host.state.parent.mkdir(mode=0o770)
    os.chown(host.state.parent, OTHER, GROUP)
    host.state.parent.chmod(0o770)
    assert host.own("tick") == 6
    told = " ".join(host.text.split())
    assert f"it belongs to #{OTHER}" in told
    fix(told[told.index("sudo chgrp") : told.index(" does it")])
    host.tick()
    assert host.complete(OTHER, GROUP) == 0, host.text


@pytest.mark.promise_9
def test_a_state_is_open_to_another_group_before_its_next_save(
    make_place: Callable[..., Place],
) -> None:
    """A tick that fails to save has let the group in all the same."""
    host = make_place("developer")
    host.configure("developer", group=None)
    host.tick(groups=())
    host.configure("developer", group=GROUP)
    blocked = host.state.with_name(".state.json.new")
    blocked.mkdir()
    os.chown(blocked, OWNER, OWNER)
    assert host.own("tick", groups=(GROUP,)) == 6, host.text
    assert (host.state.stat().st_gid, mode(host.state)) == (GROUP, 0o660)


def test_a_lock_of_another_member_that_was_left_behind_is_named(
    make_place: Callable[..., Place],
) -> None:
    """It is not the owner's to give away: the error and doctor tell how root does."""
    host = make_place("developer", "operator")
    host.configure("developer", "operator", group=GROUP)
    host.tick()
    lock = host.locks / "agent-operator.lock"
    os.chown(lock, OTHER, GROUP)
    host.configure("developer", group=ANOTHER)
    host.tick(groups=(GROUP, ANOTHER))
    # The agent's word is taken all the same; it waits for the lock.
    assert host.complete(STRANGER, ANOTHER, agent="operator") == 4
    assert f"sudo chgrp {ANOTHER} {lock}" in host.text
    assert f"#{OTHER}" in host.text
    for groups in ((GROUP, ANOTHER), (ANOTHER,)):
        assert host.own("doctor", "--json", groups=groups) == 1
        assert str(lock) in host.findings["state-owner"]["message"]
    fix(host.findings["state-owner"]["fix"])
    host.tick(groups=(ANOTHER,))
    assert host.own("doctor", "--json", groups=(ANOTHER,)) == 0, host.text


def test_doctor_finds_what_is_still_shared(make_place: Callable[..., Place]) -> None:
    """After `group` was taken out of the config; its fix makes all private again."""
    host = make_place("developer")
    host.configure("developer", group=GROUP)
    host.tick()
    assert host.own("doctor", "--json") == 0, host.text
    host.configure("developer", group=None)
    host.tick()
    assert host.complete(OTHER, GROUP) == 0, "agents are not cut off unasked"
    os.chown(host.locks / "agent-developer.lock", OTHER, GROUP)
    assert host.run(OWNER, "doctor", "--json", groups=(GROUP,)) == 1, "no config, no opinion"
    assert "still-shared" not in host.findings
    assert host.own("doctor", "--json") == 1
    assert host.findings.keys() == {"still-shared"}
    fix(host.findings["still-shared"]["fix"])
    private = [host.state.parent, host.locks, host.state, *host.locks.iterdir()]
    assert [mode(p) for p in private] == [0o700, 0o700, *[0o600] * (len(private) - 2)]
    assert {p.stat().st_uid for p in private} == {OWNER}
    assert host.own("doctor", "--json", groups=()) == 0, host.text
    host.tick(groups=())
    assert host.complete(OTHER, GROUP) == 6


@pytest.mark.parametrize("begun", [False, True])
def test_a_user_that_is_not_in_the_group_cannot_share(
    begun: bool, make_place: Callable[..., Place]
) -> None:
    """The tick tells how to fix that, shares nothing by halves, and agents go on."""
    host = make_place("developer")
    host.configure("developer", group=None)
    host.tick(groups=())
    if begun:
        os.chown(host.state.parent, OWNER, GROUP)
        os.chown(host.locks, OWNER, GROUP)
    host.configure("developer", group=GROUP)
    assert host.own("tick", groups=()) == 6
    told = ("sudo usermod -aG", f"group {GROUP}", f"#{OWNER}", str(host.locks), "log-in")
    assert all(word in host.text for word in told), host.text
    assert [mode(host.state.parent), mode(host.locks)] == [0o700, 0o700]
    assert host.own("complete", "--agent", "developer", groups=()) == 0, host.text


def test_a_user_outside_the_group_is_told_to_join(make_place: Callable[..., Place]) -> None:
    """The setting is there, so it is not what is missing."""
    host = make_place("developer")
    host.configure("developer", group=GROUP)
    host.tick()
    assert host.complete(STRANGER) == 6
    told = (str(host.state), f"#{OWNER}", f"sudo -u '#{OWNER}'", f"group {GROUP}")
    assert all(word in host.text for word in told), host.text
    assert f"sudo usermod -aG {GROUP} '#{STRANGER}'" in host.text
    assert "setting" not in host.text
    assert host.run(STRANGER, "doctor", "--json") == 1
    finding = host.findings["state-owner"]
    assert finding["fix"] == f"sudo usermod -aG {GROUP} '#{STRANGER}'"
    assert all(word in finding["message"] for word in (f"#{OWNER}", f"group {GROUP}"))


def test_an_agents_user_needs_no_config(make_place: Callable[..., Place]) -> None:
    """So doctor finds nothing wrong with having none; it does with the one that ticks."""
    host = make_place("developer")
    host.configure("developer", group=GROUP)
    host.tick()
    assert host.run(OTHER, "doctor", "--json", groups=(GROUP,)) == 0, host.text
    assert host.findings["config-missing"]["severity"] == "note"
    assert host.run(OWNER, "doctor", "--json", groups=(GROUP,)) == 1
    assert host.findings["config-missing"]["severity"] == "error"


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
