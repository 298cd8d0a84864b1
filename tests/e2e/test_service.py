"""`hfcal service` prints what really runs; `watch` tells systemd how it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hfcal.service import Installed, crontab, timer
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.support import DEADLINE, Host, wait_until


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


def test_nothing_odd_ends_the_cron_line() -> None:
    """Each word is one word to the shell."""
    odd = Installed(
        ("/opt/it's 5%/hfcal",), Path("/etc/a b"), Path("/s/$x"), 30, "me", system=False
    )
    line = crontab(odd).splitlines()[-1]
    assert line.endswith(r"""'/opt/it'"'"'s 5\%/hfcal' tick --config '/etc/a b' --state '/s/$x'""")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
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
    host = odd_host(make_backend, make_host)
    text = host.ok("service", "systemd", scope, *words).stdout
    parts = re.split(r"^# \S+/(hfcal\.(?:service|timer))$", text, flags=re.M)
    units = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(units) == ({"hfcal.service"} if words else {"hfcal.service", "hfcal.timer"})
    for name, unit in units.items():
        (tmp_path / name).write_text(unit, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", scope, "verify", *(str(tmp_path / name) for name in units)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "hfcal." in line]
    assert said == []


def test_a_timer_is_no_faster_than_ten_seconds() -> None:
    """For less there is `watch`."""
    fast = Installed(("/opt/hfcal",), None, Path("/s"), 1.0, "me", system=True)
    assert "OnUnitActiveSec=10s" in timer(fast)


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
        watch.close()
