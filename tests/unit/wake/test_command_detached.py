"""The `command` adapter in mode `detach`: the command outlives the tick."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from hfcal.core.records import Wake
from hfcal.wake.adapter import WakeError
from hfcal.wake.command import CommandAdapter
from tests.rig.waiting import wait_until

WAKE = Wake("key-1", "12", "calendar:12", "read me\n", {"slot_id": "12"})


def detached(tmp_path: Path, *command: str) -> Path:
    """Wake by `command`; returns its log."""
    adapter = CommandAdapter(command, tmp_path / "log", detach=True)
    adapter.wake("dev", WAKE, threading.Event())
    return tmp_path / "log" / "dev" / "12.log"


def until(path: Path, text: str) -> None:
    """Wait until a log has this text."""
    wait_until(lambda: text in path.read_text(), what=f"{text!r} in {path}")


def test_it_goes_on_in_a_session_of_its_own(tmp_path: Path) -> None:
    """The wake is made while the command still runs; its output goes on into the log, 0600."""
    line = "echo $$; cat; sleep 1.3; echo later"
    log = detached(tmp_path, "sh", "-c", line)
    assert "later" not in log.read_text()
    pid = int(log.read_text().split()[0])
    assert os.getsid(pid) == pid != os.getsid(0)
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700
    until(log, "read me\nlater")


def test_a_failure_within_a_second_is_a_failed_wake(tmp_path: Path) -> None:
    """The reason has the exit code and the end of the output."""
    with pytest.raises(WakeError, match="exited with 3: no such agent"):
        detached(tmp_path, "sh", "-c", "echo no such agent; exit 3")


def test_an_early_success_is_a_success(tmp_path: Path) -> None:
    """A command that hands over and exits with 0 was a messenger after all."""
    until(detached(tmp_path, "cat"), "read me")
