"""hfcal.config.risks: what works but is risky; said once, and again after it was fixed."""

from pathlib import Path
from typing import Any

import pytest

from hfcal.backend.pool import make_workers
from hfcal.config.risks import RISKS, risks_of
from hfcal.config.settings import Settings
from hfcal.core.report import TickReport
from hfcal.engine.tick import Tick
from hfcal.state.file import StateFile
from hfcal.wake.message import Commands
from hfcal.wake.wakers import Wakers

KEY = "s3cret-0123456789"
AWAY = "http://backend.invalid:8000"  # a name that is nobody's, and never will be


def settings(tmp_path: Path, url: str = AWAY, **more: Any) -> Settings:
    """Settings with a key and this backend."""
    fields = {"agents": ("dev",), "api_key": KEY, "request_timeout": 0.3, **more}
    state = tmp_path / "state" / "state.json"
    return Settings(None, state, backend_url=url, wake={"adapter": "print"}, **fields)


def key_file(tmp_path: Path, mode: int) -> Path:
    """A file with the key."""
    file = tmp_path / "key"
    file.write_text(KEY, encoding="utf-8")
    file.chmod(mode)
    return file


def found(given: Settings) -> dict[str, str]:
    """The risks but the file system's, which is this machine's business."""
    risks = risks_of(given, given.state_file)
    return {risk.about: risk.message for risk in risks if risk.about != "file system"}


def tick(given: Settings) -> list[str]:
    """The news of a whole tick that are about no single agent."""
    state_file = StateFile(given.state_file)
    workers = make_workers(given)
    wakers = Wakers(given, answer_on_stdout=False)
    commands = Commands(("/bin/hfcal",), given.state_file, None)
    report: TickReport = Tick(given, state_file, wakers, commands, workers, wakes=1).run()
    workers.close()
    return [news.message for news in report.news if not news.agent_id]


# What is risky


@pytest.mark.parametrize(
    "url",
    [
        AWAY,
        "HTTP://backend.invalid",
        "http://192.168.1.5:8000",
        "http://[fe80::1]:8000",
        "http://localhost.example.net",
        "http://127.0.0.1.example.net",
        "http://my-localhost",
        "http://128.0.0.1",
        "http://0.0.0.0:8000/prefix",
    ],
)
def test_a_key_over_plain_http_is_risky(tmp_path, url):
    """To any host but this one; the message names the address and the fix, not the key."""
    message = found(settings(tmp_path, url))["plain http"]
    assert url in message
    assert "https" in message
    assert KEY not in message


@pytest.mark.parametrize(
    "url",
    [
        "https://backend.invalid",
        "HTTPS://backend.invalid:8000",
        "http://127.0.0.1:8000",
        "http://127.8.9.10",
        "http://localhost:8000/prefix",
        "http://LocalHost",
        "http://[::1]:8000",
        "",
    ],
)
def test_https_and_loopback_are_not(tmp_path, url):
    """Nobody listens there."""
    assert found(settings(tmp_path, url)) == {}


def test_without_a_key_there_is_nothing_to_read(tmp_path):
    """Not of the network."""
    assert found(settings(tmp_path, api_key="")) == {}


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o755, 0o444])
def test_a_key_file_that_everybody_may_read_is_risky(tmp_path, mode):
    """The message names the file and the fix, not the key."""
    file = key_file(tmp_path, mode)
    message = found(settings(tmp_path, "https://b.invalid", api_key_file=file))["key file"]
    assert f"chmod 600 {file}" in message
    assert KEY not in message


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o660])
def test_a_key_file_of_owner_and_group_is_not(tmp_path, mode):
    """A group is made for that."""
    file = key_file(tmp_path, mode)
    assert found(settings(tmp_path, "https://b.invalid", api_key_file=file)) == {}


def test_a_link_to_a_key_file_is_judged_by_the_file(tmp_path):
    """A link has all permissions."""
    link = tmp_path / "link"
    link.symlink_to(key_file(tmp_path, 0o600))
    assert found(settings(tmp_path, "https://b.invalid", api_key_file=link)) == {}


def test_a_key_file_that_has_gone_is_no_risk(tmp_path):
    """It is another fault, told elsewhere."""
    missing = tmp_path / "missing"
    assert found(settings(tmp_path, "https://b.invalid", api_key_file=missing)) == {}


def test_each_risk_has_a_name_that_ticks_know(tmp_path):
    """Else it would never be told."""
    given = settings(tmp_path, api_key_file=key_file(tmp_path, 0o644))
    assert set(found(given)) == {"plain http", "key file"} <= set(RISKS)


# How often it is said


def test_a_risk_is_said_once_and_again_when_it_comes_back(tmp_path):
    """Several ticks apart, each with a state that it reads again."""
    file = key_file(tmp_path, 0o644)
    given = settings(tmp_path, api_key_file=file)
    first = tick(given)
    assert sum("unencrypted" in line for line in first) == 1
    assert sum("chmod 600" in line for line in first) == 1
    for _ in range(2):
        assert not [line for line in tick(given) if "unencrypted" in line or "chmod" in line]
    file.chmod(0o600)
    assert not [line for line in tick(given) if "unencrypted" in line or "chmod" in line]
    file.chmod(0o644)
    again = tick(given)
    assert sum("chmod 600" in line for line in again) == 1
    assert not [line for line in again if "unencrypted" in line]
    tick(settings(tmp_path, "http://127.0.0.1:9", api_key_file=file))
    again = tick(given)
    assert sum("unencrypted" in line for line in again) == 1
    assert not [line for line in again if "chmod" in line]
    assert KEY not in given.state_file.read_text(encoding="utf-8")


def test_another_host_is_another_risk(tmp_path):
    """It is said at once, though the one before was said already."""
    tick(settings(tmp_path))
    other = tick(settings(tmp_path, "http://other.invalid"))
    assert sum("http://other.invalid" in line for line in other) == 1
