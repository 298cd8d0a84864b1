"""Wrong usage, a state that can't be used, and shared options on both sides of the command.

What holds for every command alike is in test_command_results.py.
"""

from __future__ import annotations

import fcntl

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.result import Result


def assert_failed(result: Result, code: int, kind: str) -> None:
    """One document with an error, the exit code, and a line for people."""
    assert result.code == code, result
    error = result.error
    assert error["kind"] == kind
    assert isinstance(error["message"], str)
    assert error["message"].strip()
    assert result.stderr.startswith("hfcal: ")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--json"],
        ["nosuch", "--json"],
        ["--json", "--nosuch"],
        ["tick", "--nosuch", "--json"],
        ["--json", "tick", "extra"],
        ["--json", "watch", "--interval"],
        ["--json", "complete", "--timeout", "soon"],
        ["--json", "--lock-timeout", "soon", "status"],
        ["--json", "complete", "--agent", "a", "--agent", "b"],
        ["--json", "hold"],
        ["--json", "config"],
        ["--json", "config", "nosuch"],
        ["--json", "sim", "--scenario", "nowhere.toml"],
        ["--json", "sim", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_document_and_exit_2(words: list[str], lone_host: Host) -> None:
    """Unknown commands and options, missing and bad values: kind `usage`."""
    assert_failed(lone_host.run(*words), 2, "usage")


def test_wrong_usage_without_json_leaves_stdout_empty(lone_host: Host) -> None:
    """The message is for people, on stderr, with where to find help and the closest name."""
    for words, part in ((["compleet"], "complete"), (["tick", "--dry-ran"], "--dry-run")):
        result = lone_host.run(*words)
        assert (result.code, result.stdout) == (2, "")
        assert part in result.stderr
        assert "--help" in result.stderr


@pytest.mark.parametrize("damage", ["newer", "directory"])
def test_an_unusable_state_file_is_exit_6(damage: str, lone_host: Host) -> None:
    """Every command that needs it says so with kind `state`, and leaves it as it is."""
    host = lone_host
    host.state_dir.mkdir(parents=True)
    if damage == "newer":
        host.state.write_text('{"schema": 2}', encoding="utf-8")
    else:
        host.state.mkdir()
    rest = ["complete"], ["status"], ["hold", "--all"]
    for words in (["tick"], ["tick", "--dry-run"], *(rest if damage == "newer" else ())):
        result = host.run(*words, "--json")
        assert_failed(result, 6, "state")
        assert str(host.state) in result.error["message"]
    if damage == "newer":
        assert host.state.read_text(encoding="utf-8") == '{"schema": 2}'
        assert "newer" in result.error["message"]


def test_a_locked_state_is_waited_for_and_then_exit_6(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`--lock-timeout` bounds the waiting; reading needs no lock."""
    host = make_host(make_backend(slots=[{"agent": "developer", "id": 4}]))
    host.tick()
    with (host.state_dir / "state.json.locks" / "state.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for verb in ("tick", "complete"):
            result = host.run(verb, "--json", "--lock-timeout", "300ms")
            assert_failed(result, 6, "locked")
            assert 0.3 <= result.seconds < 3
        assert host.ok("status", "--json").json["active"]
    assert host.ok("complete", "--json").json["delivered"] is True


def test_shared_options_work_before_and_after_the_command(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Each of them on either side of the subcommand, and of both."""
    backend = make_backend(agents=["a1", "a2"])
    host = make_host(backend, wake=None)
    host.config.unlink()
    shared = ["--backend-url", backend.url, "--claw", "srv1", "--agent", "a1", "--json", "-q"]
    shared += ["--concurrency", "2", "--lock-timeout", "5", "--log-format", "json"]
    shared += ["--state", "here/state.json"]
    for words in (
        [*shared, "tick", "--dry-run"],
        ["tick", "--dry-run", *shared],
        [*shared[:8], "tick", *shared[8:], "--dry-run"],
    ):
        result = host.ok(*words)
        assert (list(result.actions), result.json["claw_identifier"]) == (["a1"], "srv1")
    both = host.ok(*shared, "tick", "--agent", "a2", "--dry-run")
    assert list(both.actions) == ["a1", "a2"]
    (host.root / "c.toml").write_text('agents = ["a2"]\n', encoding="utf-8")
    for words in (
        ["--config", "c.toml", "config", "show"],
        ["config", "show", "--config", "c.toml"],
    ):
        assert host.ok("--json", *words).json["settings"]["agents"]["value"] == ["a2"]
