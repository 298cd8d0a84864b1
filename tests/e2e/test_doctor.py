"""`hfcal doctor`: finds what is wrong, says how to fix it, changes nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import hfcal.doctor
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.hostile import TRICKS

DOCS = Path(__file__).parents[2] / "docs" / "doctor.md"
SOURCES = Path(hfcal.doctor.__file__).parent


def found(host: Host, *words: str) -> dict[str, dict[str, Any]]:
    """What is not well, by code."""
    done = host.run("doctor", "--json", *words)
    findings = done.json["findings"]
    bad = [f for f in findings if f["severity"] in {"warning", "error"}]
    assert done.code == bool(bad), done
    assert done.json["ok"] == (not bad)
    return {f["code"]: f for f in findings if f["severity"] != "ok"}


def test_a_healthy_host_is_well_and_left_as_it_is(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Exit 0; no file is changed, nobody is woken, nobody is stamped alive."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    before, asked, wakes = host.snapshot(), len(backend.journal("heartbeat")), len(host.wakes)
    assert found(host) == {}
    done = host.ok("doctor")
    assert "all is well" in done.stdout
    assert host.ok("doctor", "--quiet").stdout == ""
    assert host.snapshot() == before
    assert (len(backend.journal("heartbeat")), len(host.wakes)) == (asked, wakes)


def _broken_config(host: Host) -> None:
    host.write_config("backend_url = [")


def _no_agents(host: Host) -> None:
    host.configure(agents=[])


def _no_backend(host: Host) -> None:
    host.configure(backend_url=None)


def _open_config(host: Host) -> None:
    host.configure(api_key="secret-key")
    host.config.chmod(0o644)


def _open_key(host: Host) -> None:
    key = host.root / "key"
    key.write_text("secret-key", encoding="utf-8")
    key.chmod(0o644)
    host.configure(api_key_file=str(key))


def _plain_http(host: Host) -> None:
    host.configure(api_key="secret-key", backend_url="http://192.0.2.1:9", request_timeout="100ms")
    host.config.chmod(0o600)


def _open_state(host: Host) -> None:
    host.state.chmod(0o644)


def _damaged(host: Host) -> None:
    host.state.write_text("{", encoding="utf-8")


def _no_state(host: Host) -> None:
    host.state.unlink()


def _late(host: Host) -> None:
    _edit(host, r'heartbeat":\d{10}', 'heartbeat":1700000000')


def _wake(**table: Any) -> Callable[[Host], None]:
    def change(host: Host) -> None:
        host.wake = {"command": None, **table}
        host.configure()

    return change


def _missing(host: Host) -> None:
    host.wake = {"command": ["/no/such/program"]}
    host.configure()


def _odd_path(host: Host) -> None:
    """A program that only this PATH has."""
    program = host.root / "my-own-agent"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    host.env["PATH"] = f"{host.root}:/usr/bin:/bin"
    host.wake = {"command": ["my-own-agent"]}
    host.configure()


def _relative(host: Host) -> None:
    host.wake = {"command": ["./agent"]}
    host.configure()


def _odd_agents(host: Host) -> None:
    host.env["HFCAL_AGENTS"] = "no agent's id"


def _no_host_name(host: Host) -> None:
    """A check that can't be made keeps no other from being made."""
    host.wake = {"command": None, "adapter": "webhook", "url": f"http://{'x' * 70}.example/"}
    host.configure()


def _stranger(host: Host) -> None:
    host.configure(agents=["developer", "stranger"])


def _gone(host: Host) -> None:
    host.configure(agents=["developer", "operator"])
    host.tick()
    host.configure(agents=["developer"])


def _never(host: Host) -> None:
    host.state.unlink()
    host.ok("hold", "--agent", "developer")


def _edit(host: Host, pattern: str, replacement: str) -> None:
    text = host.state.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text)
    assert changed != text
    host.state.write_text(changed, encoding="utf-8")


def _other_version(host: Host) -> None:
    _edit(host, r'"version":"[^"]+"', '"version":"0.0.9"')


def _misspelt(host: Host) -> None:
    """The rest of the config counts all the same."""
    host.configure(concurency=3, log_file=str(host.root / "logs" / "hfcal.log"))


def _nothing_set(host: Host) -> None:
    host.config.unlink()


def _roots_lock(host: Host) -> None:
    """As one `sudo hfcal tick` leaves behind."""
    if os.geteuid():
        pytest.skip("only root can give a file away")
    (lock,) = host.state.with_name("state.json.locks").glob("agent-*.lock")
    os.chown(lock, 12345, -1)


def _open_directory(host: Host) -> None:
    host.state_dir.chmod(0o777)


def _no_secret(host: Host) -> None:
    host.wake = {"command": None, "adapter": "webhook", "url": host.backend_url}
    host.configure()
    with host.config.open("a", encoding="utf-8") as config:
        config.write("[wake.headers]\nAuthorization = { env = 'NO_SUCH_VARIABLE' }\n")


def _secret_header(host: Host) -> None:
    host.wake = {"command": None, "adapter": "webhook", "url": host.backend_url}
    host.configure()
    with host.config.open("a", encoding="utf-8") as config:
        config.write("[wake.headers]\nAuthorization = 'secret-key'\n")
    host.config.chmod(0o644)


def _others_state(host: Host) -> None:
    """Whoever that is: doctor must not go on as root would."""
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(host.state, 12345, -1)


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (_broken_config, "config-invalid"),
        (_no_agents, "agents-unset"),
        (_no_backend, "backend-unset"),
        (_open_config, "config-readable"),
        (_open_key, "key-readable"),
        (_plain_http, "plain-http"),
        (_open_state, "state-readable"),
        (_damaged, "state-unusable"),
        (_no_state, "state-missing"),
        (_late, "tick-late"),
        (_missing, "wake-command-missing"),
        (_odd_path, "wake-command-path"),
        (_relative, "wake-command-path"),
        (_odd_agents, "config-invalid"),
        (_no_host_name, "check-failed"),
        (_wake(adapter="nonsense"), "wake-invalid"),
        (_wake(adapter="webhook", url="http://127.0.0.1:1/x"), "wake-unreachable"),
        (_wake(adapter="spool", dir="/proc/1/no"), "wake-spool-closed"),
        (_stranger, "agent-unbound"),
        (_gone, "agent-gone"),
        (_never, "tick-never"),
        (_other_version, "other-version"),
        (_others_state, "state-owner"),
        (_roots_lock, "state-owner"),
        (_misspelt, "config-invalid"),
        (_nothing_set, "config-missing"),
        (_open_directory, "state-readable"),
        (_no_secret, "wake-secret"),
        (_secret_header, "config-readable"),
    ],
)
def test_what_is_wrong_is_found(
    harm: Callable[[Host], None], code: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Each with its fix in the docs; a person sees it too, and no secret."""
    backend = make_backend(agents=["developer"])
    host = make_host(backend)
    host.tick()
    harm(host)
    before = host.snapshot()
    assert code in found(host)
    text = host.run("doctor")
    assert f"doctor.md#{code}" in text.stdout
    assert "secret-key" not in text.stdout + text.stderr
    assert host.snapshot() == before


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"drop_before": True}, "backend-unreachable"),
        ({"hang": 60}, "backend-timeout"),
        ({"status": 500}, "backend-status"),
        ({"status": 401}, "backend-unauthorized"),
        ({"status": 302, "body": ""}, "backend-odd"),
        ({"status": 200, "body": "log in first"}, "backend-odd"),
        ({"trick": "garbage"}, "backend-bad-response"),
    ],
)
def test_what_the_backend_does_is_told(
    fault: dict[str, Any], code: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Within the time-out."""
    backend = make_backend(tricks=TRICKS)
    host = make_host(backend)
    host.configure(request_timeout="500ms")
    host.tick()
    backend.fault(path="status", count=0, **fault)
    assert code in found(host)


@pytest.mark.parametrize("older", [False, True])
def test_each_agents_binding_is_told(
    older: bool, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By asking what the agents are doing; an older backend tells it with the heartbeats alone."""
    agents = ["developer", {"id": "loose", "bound": False}]
    backend = make_backend(agents=agents, switches={"older_backend": older})
    host = make_host(backend, "developer", "loose")
    first = found(host)
    if older:
        assert "agent-unbound" not in first
        assert "developer, loose" in first["binding-unknown"]["message"]
    else:
        assert "loose" in first["agent-unbound"]["message"]
        assert "binding-unknown" not in first
    assert backend.journal("heartbeat") == backend.journal("sync") == []
    host.tick()
    second = found(host)
    assert "loose" in second["agent-unbound"]["message"]
    assert "binding-unknown" not in second
    assert "agent-failing" not in second


@pytest.mark.parametrize("key", ["plain-key", "eyJhbGciOi.eyJzdWIi.c2lnbmVk"])
def test_the_key_goes_as_heartbeats_send_it(
    key: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A backend that wants one finds the right header; one without is told so."""
    backend = make_backend(api_key=key)
    host = make_host(backend)
    assert "api_key" in found(host)["backend-unauthorized"]["message"]
    host.env["HFCAL_API_KEY"] = key
    host.tick()
    assert found(host) == {}


def test_what_waits_or_was_refused_is_told(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """With the command that fixes it."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=422)
    host.run("complete")
    assert found(host)["update-refused"]["fix"] == "hfcal queue retry --agent developer 4"


def test_an_agent_whose_heartbeats_fail_is_told(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With what the last one failed by."""
    backend = make_backend()
    host = make_host(backend)
    backend.fault(path="heartbeat", status=503)
    host.tick()
    assert "503" in found(host)["agent-failing"]["message"]


def test_what_waits_for_long_is_told(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """With the reason."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=503, count=1)
    host.ok("complete")
    assert "updates-wait" not in found(host)
    _edit(host, r'"since":\d{10}', '"since":1700000000')
    assert "503" in found(host)["updates-wait"]["message"]


def test_slots_that_are_listed_before_their_time_are_told(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """As a note, for it may be meant so; not with `due_check`, which waits for them."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    backend = make_backend(slots=[{"agent": "developer", "id": i} for i in (4, 5)])
    host = make_host(backend)
    listed = [{"id": i, "status": "not_started", "date": tomorrow} for i in (4, 5)]
    early_ones = [{**slot, "scheduled_at": "12:00:00"} for slot in listed]
    backend.fault(path="heartbeat", status=200, body=json.dumps({"slots": early_ones}))
    host.tick()
    early = [f for f in host.run("doctor", "--json").json["findings"] if f["code"] == "slot-early"]
    assert [f["severity"] for f in early] == ["note", "note"]
    assert ["slot 4" in early[0]["message"], "slot 5" in early[1]["message"]] == [True, True]
    assert "due_check" in early[0]["fix"]
    host.configure(due_check=True)
    assert "slot-early" not in found(host)


@pytest.mark.parametrize(("ahead", "severity"), [(30, "warning"), (-600, "error")])
def test_a_clock_that_differs_is_told(ahead: int, severity: str, make_host: MakeHost) -> None:
    """By the backend's `Date`; nothing real has a wrong one, so a server here makes it up."""

    class Answering(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() - ahead, usegmt=True)

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        off = found(make_host(f"http://127.0.0.1:{server.server_port}"))["clock-off"]
        server.shutdown()
    assert off["severity"] == severity
    assert ("ahead of" if ahead > 0 else "behind") in off["message"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("shutil.disk_usage = lambda _: shutil._ntuple_diskusage(9, 9, 1)", "disk-full"),
        ("hfcal.config.risks.network_file_system = lambda _: 'nfs4'", "network-file-system"),
    ],
)
def test_what_no_test_can_have_here_is_found(
    change: str, code: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A full disk, and a network's: what tells of them is made up."""
    host = make_host(make_backend())
    host.tick()
    lines = ["import shutil, sys, hfcal.config.risks", "from hfcal.cli.app import main", change]
    done = host.python("\n".join([*lines, "sys.exit(main(['doctor', '--json']))"]))
    assert done.code == 1
    assert code in {f["code"] for f in done.json["findings"]}


def test_without_a_home(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """No traceback, and what can be found is."""
    host = make_host(make_backend())
    done = host.run("doctor", "--json", env={"HOME": None})
    assert done.code == 1
    assert done.json["findings"]


def test_the_fix_names_config_and_state_as_they_were_given(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """So it fixes what was looked at; and it is a command that can be run as it stands."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=422, count=1)
    host.run("complete")
    given = ("--config", str(host.config), "--state", str(host.state))
    fix = found(host, *given)["update-refused"]["fix"]
    retry = ["hfcal", "queue", "retry", "--agent", "developer", "4"]
    assert shlex.split(fix) == [*retry, *given]
    host.ok(*shlex.split(fix)[1:], "--yes")
    host.tick()
    assert found(host) == {}


def test_all_that_is_wrong_with_the_config_is_told(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Not the first fault alone, and the rest is looked at; no log is begun."""
    host = make_host(make_backend())
    host.tick()
    host.configure(concurency=3, request_timeout="soon", log_file=str(host.root / "l" / "log"))
    findings = host.run("doctor", "--json").json["findings"]
    wrong = [f["message"] for f in findings if f["code"] == "config-invalid"]
    assert ["concurency" in wrong[0], "request_timeout" in wrong[1]] == [True, True]
    assert {"state", "backend", "binding"} <= {f["code"] for f in findings}
    assert not (host.root / "l").exists()


def test_an_agent_that_is_named_makes_no_other_one_gone(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Whoever looks at one agent must not be told to forget the rest."""
    host = make_host(make_backend(agents=["developer", "operator"]), "developer", "operator")
    host.tick()
    assert found(host, "--agent", "developer") == {}


def test_each_code_stands_in_the_docs() -> None:
    """With an anchor of its own."""
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    codes = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source)) | {"plain-http"}
    codes |= {"backend-unreachable", "backend-timeout", "backend-bad-response"}
    codes |= {"backend-unauthorized", "network-file-system", "key-readable"}
    well = {"config", "state", "tick", "disk", "backend", "binding", "clock"}
    well |= {"wake-command", "wake-url", "wake-spool", "log"}
    text = DOCS.read_text(encoding="utf-8")
    assert codes - well == set(re.findall(r"^### ([a-z-]+)$", text, re.M))
