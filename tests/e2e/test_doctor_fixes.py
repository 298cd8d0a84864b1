"""What doctor prints to fix things: it helps when it is run as it stands, and is told once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.e2e.test_doctor import found


def bad(host: Host, *words: str) -> list[tuple[str, str]]:
    """Code and fix of each finding that is to be fixed."""
    findings = host.run("doctor", "--json", *words).json["findings"]
    return [(f["code"], f["fix"]) for f in findings if f["severity"] in {"warning", "error"}]


def _no_toml(host: Host) -> None:
    host.write_config("backend_url = [")


def _no_text(host: Host) -> None:
    host.config.write_bytes(b"\xff\xfe")


def _directory(host: Host) -> None:
    host.config.unlink()
    host.config.mkdir()


def _fifo(host: Host) -> None:
    host.config.unlink()
    os.mkfifo(host.config)


def _device(host: Host) -> None:
    host.env["HFCAL_CONFIG"] = "/dev/zero"


@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("harm", [_no_toml, _no_text, _directory, _fifo, _device])
def test_what_follows_from_an_unreadable_config_is_not_told(
    harm: Callable[[Host], None], state: bool, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Only that it is, at once; no `config set` would write into it."""
    host = make_host(make_backend())
    if state:
        host.tick()
    harm(host)
    file = host.env.get("HFCAL_CONFIG", str(host.config))
    ((code, fix),) = bad(host)
    assert code == "config-invalid"
    assert fix in {f"${{EDITOR:-vi}} {file}", f"ls -ld {file}"}
    assert host.run("doctor").seconds < 5
    ticked = host.tick()
    assert (ticked.code, ticked.seconds < 5) == (5, True)


def test_a_pipe_is_no_config_to_write_to_either(make_host: MakeHost, dead_url: str) -> None:
    """And none to wait for; nor is one a key file."""
    host = make_host(dead_url)
    _fifo(host)
    done = host.run("config", "set", "request_timeout", "5s")
    assert (done.code, done.seconds < 5) == (5, True)
    assert "not a regular file" in done.stderr
    host.config.unlink()
    os.mkfifo(host.root / "key")
    host.configure(api_key_file=str(host.root / "key"))
    done = host.tick()
    assert (done.code, "not a regular file" in done.stderr) == (5, True)


def test_a_config_of_two_faults_is_edited(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """As `config set` would refuse to fix one beside the other."""
    host = make_host(make_backend())
    host.tick()
    host.configure(backend_url=None, concurency=3)
    edit = f"${{EDITOR:-vi}} {host.config}"
    assert bad(host) == [("config-invalid", edit), ("backend-unset", edit)]


def test_a_value_that_is_not_allowed_is_no_missing_one(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It is told once; one in a variable is fixed there."""
    host = make_host(make_backend())
    host.tick()
    host.configure(backend_url="ftp://x")
    assert [code for code, _ in bad(host)] == ["config-invalid"]
    host.configure(backend_url=host.backend_url)
    for name, value in (("HFCAL_BACKEND_URL", "ftp://x"), ("HFCAL_AGENTS", "no agent's id")):
        host.env = {name: value}
        assert bad(host) == [("config-invalid", f"unset {name}")]


def test_what_stands_for_a_value_is_refused(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Run as printed it sets nothing by that name."""
    host = make_host(make_backend())
    host.tick()
    for key in ("agents", "backend_url"):
        host.configure(agents=["developer"], backend_url=host.backend_url)
        host.configure(**{key: [] if key == "agents" else None})
        ((_, fix),) = bad(host)
        before = host.config.read_bytes()
        assert host.run(*shlex.split(fix)[1:]).code == 2
        assert host.config.read_bytes() == before


def test_a_program_of_this_path_is_set_by_its_absolute_one(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By a command that does it, of a table of one agent as well."""
    agent = "dev.eloper"
    host = make_host(make_backend(agents=[agent]), agent)
    program = host.root / "my-own-agent"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    host.env["PATH"] = f"{host.root}:/usr/bin:/bin"
    host.wake = {"command": ["my-own-agent", 'it\'s "{slot}"']}
    host.configure()
    with host.config.open("a", encoding="utf-8") as config:
        config.write(f'[agent."{agent}".wake]\nadapter="command"\ncommand=["my-own-agent"]\n')
    host.tick()
    wrong = bad(host)
    assert [code for code, _ in wrong] == ["wake-command-path"] * 2
    for _, fix in wrong:
        host.ok(*shlex.split(fix)[1:])
    assert bad(host) == []
    shown = host.ok("config", "show", "--json").json
    assert shown["wake"]["command"] == [str(program), 'it\'s "{slot}"']


def test_a_wake_that_is_not_allowed_is_edited(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Telling the file's path fixes nothing."""
    host = make_host(make_backend())
    host.tick()
    for table in ({"adapter": "nonsense", "command": None}, {"command": ["/no/such"]}):
        host.wake = table
        host.configure()
        ((_, fix),) = bad(host)
        assert fix == f"${{EDITOR:-vi}} {host.config}"


def test_a_newer_state_is_for_no_tick_to_fix(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A damaged one is."""
    host = make_host(make_backend())
    host.tick()
    host.state.write_text('{"schema": 99}', encoding="utf-8")
    newer = found(host)["state-unusable"]
    assert "Upgrade" in newer["message"]
    assert newer["fix"] == ""
    host.state.write_text("{", encoding="utf-8")
    assert found(host)["state-unusable"]["fix"] == "hfcal tick"
    host.tick()
    assert found(host) == {}


def test_what_can_not_be_sent_any_more_is_dropped(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Retrying it would be refused; an id that looks like an option is none."""
    backend = make_backend()
    host = make_host(backend)
    listed = json.dumps({"slots": [{"virtual_id": "-y", "status": "not_started"}]})
    backend.fault(path="heartbeat", status=200, body=listed)
    backend.fault(path="update", status=422, count=1)
    host.tick()
    assert shlex.split(found(host)["update-refused"]["fix"])[:3] == ["hfcal", "queue", "retry"]
    backend.fault(path="update", status=200, body="{}")
    host.ok("complete")
    refused = found(host)["update-refused"]
    assert "ended" in refused["message"]
    fix = shlex.split(refused["fix"])
    assert fix == ["hfcal", "queue", "drop", "--agent", "developer", "--", "-y"]
    host.ok("queue", "drop", "--yes", *fix[3:])
    assert found(host) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_hfcal_by_sudo_is_named_by_its_path(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """sudo has a PATH of its own."""
    host = make_host(make_backend())
    host.tick()
    os.chown(host.state, 12345, -1)
    words = shlex.split(found(host)["state-owner"]["fix"])
    assert words[:2] == ["sudo", "-u"]
    assert Path(words[3]).is_absolute()
    assert words[-1] == "doctor"


def test_a_wrong_path_of_the_backend_is_told(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Though the last tick was good; no agent is bound by that, and none is to be bound."""
    host = make_host(make_backend())
    host.tick()
    host.configure(backend_url=f"{host.backend_url}/api")
    for _ in range(2):
        told = host.run("doctor", "--json").json["findings"]
        codes = {f["code"]: f for f in told}
        assert "path of backend_url" in codes["backend-odd"]["message"]
        assert not {"backend", "binding", "agent-unbound"} & set(codes)
        ticked = host.tick()
        error = ticked.json["agents"][0]["error"]
        assert error["kind"] == "not_bound"
        assert "path of backend_url" in error["message"]


def _log_at(host: Host, path: str) -> None:
    host.configure(log_file=path, log_level="info")


def test_a_log_that_can_not_be_written_is_said_once_an_hour(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not by every tick of cron; doctor finds it, and its end is news."""
    host = make_host(make_backend())
    _log_at(host, "/proc/no-such-log")
    said = [host.run("tick").stderr for _ in range(3)]
    assert ["cannot log to" in text for text in said] == [True, False, False]
    assert "doctor.md#log-closed" in said[0]
    closed = found(host)["log-closed"]
    assert "cannot log to /proc/no-such-log" in closed["message"]
    assert closed["fix"] == "ls -ld /proc"
    text = host.state.read_text("utf-8")
    host.state.write_text(text.replace('"said":17', '"said":16'), encoding="utf-8")
    assert "still, for" in host.run("tick").stderr
    host.env["HFCAL_LOG_FILE"] = str(host.root)
    assert found(host)["log-closed"]["fix"] == "unset HFCAL_LOG_FILE"
    del host.env["HFCAL_LOG_FILE"]
    _log_at(host, str(host.root / "log"))
    assert "the log recovered" in host.run("tick").stderr
    assert found(host) == {}


def _document(host: Host, *words: str) -> Any:
    return host.run("status", "--check", "--json", *words).json["check"]


def test_check_says_in_its_document_what_is_wrong(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As its line does; a slot whose wake fails is named, and no failure."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    none = _document(host)
    assert none["ok"] is False
    assert str(host.state) in none["message"]
    host.on_wake("exit 3")
    host.tick()
    well = "heartbeats and deliveries are in time; 1 failing wake"
    assert _document(host) == {"ok": True, "message": well}
    assert host.ok("status", "--check").stdout.strip() == well
    assert "check" not in host.ok("status", "--json").json


def test_check_tells_the_first_error_of_several_whole(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Its end says what to do."""
    agents = [f"agent-{n}" for n in range(5)]
    host = make_host(make_backend(agents=[{"id": a, "bound": False} for a in agents]), *agents)
    host.tick()
    told = _document(host)["message"]
    assert "5 agents, agent-0, agent-1, agent-2 and 2 more (agent-0: agent agent-0" in told
    assert "hf user bind-agent" in told
