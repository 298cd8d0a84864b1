"""`hfcal service` prints what really runs; `watch` tells systemd how it is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.needs import needs
from tests.rig.waiting import DEADLINE, wait_until


def odd_host(make_backend: MakeBackend, make_host: MakeHost) -> Host:
    """A host whose paths hold what a shell, cron and systemd treat specially."""
    return make_host(make_backend(), name="a 100% $odd place")


def test_the_cron_line_runs_as_cron_runs_it(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """By /bin/sh, with next to no environment, from another folder."""
    host = odd_host(make_backend, make_host)
    text = host.ok("service", "cron", "--config", str(host.config), "--state", str(host.state))
    lines = [line for line in text.stdout.splitlines() if not line.startswith("#")]
    (line,) = lines
    assert line.startswith("* * * * * ")
    # cron ends a command at a bare percent sign, and turns the escaped one into a plain one.
    command = re.sub(r"\\%", "%", line.removeprefix("* * * * * "))
    assert not re.search(r"(?<!\\)%", line)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"HOME": str(host.home), "PATH": "/usr/bin:/bin", "LOGNAME": "me"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert host.status()["last_good_heartbeats"].keys() == {"developer"}


@pytest.mark.parametrize("words", [(), ("--watch",)])
@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_systemd_takes_the_units(
    words: tuple[str, ...],
    scope: str,
    make_backend: MakeBackend,
    make_host: MakeHost,
    tmp_path: Path,
) -> None:
    """`systemd-analyze verify` has nothing to say of them."""
    analyze = needs("systemd-analyze")
    host = odd_host(make_backend, make_host)
    text = host.ok("service", "systemd", scope, *words).stdout
    parts = re.split(r"^# \S+/(hfcal\.(?:service|timer))$", text, flags=re.M)
    units = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(units) == ({"hfcal.service"} if words else {"hfcal.service", "hfcal.timer"})
    for name, unit in units.items():
        (tmp_path / name).write_text(unit, encoding="utf-8")
    done = subprocess.run(
        [analyze, scope, "verify", *(str(tmp_path / name) for name in units)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "hfcal." in line]
    assert said == []


def test_options_and_variables_are_printed_as_such(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What the printing command was told, the printed one is told as well."""
    host = make_host(make_backend())
    words = ("--concurrency", "7", "--agent", "developer", "--agent", "op", "--claw", "srv2")
    env = {"HFCAL_REQUEST_TIMEOUT": "20s", "HFCAL_LOG_FILE": "logs 5%"}
    unit = host.ok("service", "systemd", *words, env=env).stdout
    line = " --claw srv2 --agent developer --agent op --concurrency 7\n"
    assert f"--state {host.state}{line}" in unit
    assert 'Environment="HFCAL_REQUEST_TIMEOUT=20.0"\n' in unit
    assert f'Environment="HFCAL_LOG_FILE={host.root}/logs 5%%"\n' in unit
    cron = host.ok("service", "cron", *words, env=env).stdout
    variables = rf"HFCAL_REQUEST_TIMEOUT=20.0 HFCAL_LOG_FILE='{host.root}/logs 5\%' "
    assert f"* * * * * {variables}/" in cron
    assert cron.endswith(line)


@pytest.mark.parametrize("kind", ["systemd", "cron"])
def test_a_key_from_the_environment_is_not_printed(
    kind: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """It would be readable by whoever reads units; without it nothing would run."""
    host = make_host(make_backend())
    done = host.run("service", kind, env={"HFCAL_API_KEY": "s3cret"})
    assert done.code == 5
    assert "s3cret" not in done.stdout + done.stderr
    assert "api_key_file" in done.stderr


def test_limits_follow_the_longest_timeouts(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """No pass that gets on is ended by systemd."""
    host = make_host(make_backend(), wake={"timeout": "30m"})
    host.configure(request_timeout="100s")
    unit = host.ok("service", "systemd", "--watch").stdout
    # 50 s in which wakes start, 1800 s and 4 s for the command, three requests, 60 s besides.
    assert "\nWatchdogSec=2214s\n" in unit
    assert "\nTimeoutStartSec=2214s\n" in unit
    assert "\nTimeoutStopSec=2164s\n" in unit
    assert "\nTimeoutStartSec=2214s\n" in host.ok("service", "systemd").stdout


def test_each_unit_is_written_to_its_file(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Whole, for all to read, with what to type next."""
    host = make_host(make_backend())
    units = host.home / ".config" / "systemd" / "user"
    done = host.ok("service", "systemd", "--user", "--output-dir", str(units))
    assert done.stdout.splitlines() == [
        f"wrote {units}/hfcal.service",
        f"wrote {units}/hfcal.timer",
        "next: systemctl --user daemon-reload && systemctl --user enable --now hfcal.timer",
        "next: loginctl enable-linger    # to run while nobody is logged in",
    ]
    assert sorted(p.name for p in units.iterdir()) == ["hfcal.service", "hfcal.timer"]
    assert {p.stat().st_mode & 0o777 for p in units.iterdir()} == {0o644}
    text = host.ok("service", "systemd", "--user").stdout
    for unit in units.iterdir():
        assert unit.read_text(encoding="utf-8") in text
    assert "[Timer]" not in (units / "hfcal.service").read_text(encoding="utf-8")

    elsewhere = host.root / "a b"
    words = ("service", "systemd", "--system", "--watch", "--output-dir", str(elsewhere))
    wanted = f"next: install -D -m 644 -t /etc/systemd/system '{elsewhere}/hfcal.service'\n"
    assert host.ok(*words, "--json").json == {"files": [f"{elsewhere}/hfcal.service"]}
    assert wanted in host.ok(*words).stdout

    (host.root / "file").touch()
    refused = host.run("service", "systemd", "--output-dir", str(host.root / "file"))
    assert refused.code == 5
    assert "cannot write into" in refused.stderr


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    """systemd's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.bind(path)
        own.settimeout(DEADLINE)
        yield own


@pytest.mark.parametrize("abstract", [False, True])
def test_watch_tells_systemd(
    abstract: bool, make_backend: MakeBackend, make_host: MakeHost, tmp_path: Path
) -> None:
    """READY after the first pass, a status, the watchdog fed, STOPPING; agents inherit nothing."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.on_wake(f'env > "{tmp_path}/environment"')
    path = f"\0hfcal-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(path) as own:
        env = {"NOTIFY_SOCKET": path.replace("\0", "@"), "WATCHDOG_USEC": "400000"}
        watch = host.start("watch", "--interval", "60s", env=env)
        first = own.recv(1000).decode().splitlines()
        assert first == ["READY=1", "WATCHDOG=1", "STATUS=1 agents, 0 failing"]
        assert backend.journal("heartbeat")
        assert [own.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        watch.send(signal.SIGTERM)
        last = b""
        while last != b"STOPPING=1":
            last = own.recv(1000)
        assert watch.end().code == 0
        own.setblocking(False)
        with pytest.raises(BlockingIOError):
            own.recv(1000)
    wait_until((tmp_path / "environment").exists)
    assert "NOTIFY_SOCKET" not in (tmp_path / "environment").read_text(encoding="utf-8")


def test_a_pass_that_hangs_starves_the_watchdog(
    make_backend: MakeBackend, make_host: MakeHost, tmp_path: Path
) -> None:
    """Nothing is told while it lasts."""
    backend = make_backend()
    host = make_host(backend)
    backend.fault(path="heartbeat", hang=60)
    with listening(str(tmp_path / "notify")) as own:
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        watch = host.start("watch", "--interval", "60s", env=env)
        wait_until(lambda: backend.state["faults"] == [])
        own.settimeout(1.0)
        with pytest.raises(TimeoutError):
            own.recv(1000)
        watch.send(signal.SIGKILL)
