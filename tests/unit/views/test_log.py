"""hfcal.views.log: which events a tick makes, how loud they are; each stays in its line."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfcal.core.notices import ABOUT_LOG, Notice
from hfcal.core.outbox import Delivery
from hfcal.core.report import AgentReport, TickReport
from hfcal.core.scheduler import Action, Warn
from hfcal.errors import Fault
from hfcal.state.file import StateFile
from hfcal.views import log as module
from hfcal.views.log import keep_fault, log, log_bug, log_tick, open_log, tell_fault
from tests.unit.support import NOON

FAULT = Fault("timeout", "waited 10 s")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """The log is the process's own, so it is put back."""
    before = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate, log.level = before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "log" / "hfcal.log"


def events(file: Path, report: TickReport, level: str = "debug") -> list[dict[str, Any]]:
    """What is logged of a tick."""
    open_log(file, level, "json")
    log_tick(report)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def report(*agents: AgentReport, **more: Any) -> TickReport:
    """A tick about these agents."""
    return TickReport(NOON, "claw", agents=list(agents), **more)


def failing(agent_id: str, **more: Any) -> AgentReport:
    """An agent whose heartbeat failed."""
    usual = {"action": Action.ERROR, "asked": True, "error": FAULT}
    return AgentReport(agent_id, **{**usual, **more})


def test_each_agent_and_the_sum_are_an_event(file):
    """What went well is for who asks for it."""
    tick = report(
        AgentReport("a", Action.IDLE, asked=True),
        AgentReport("b", Action.DISPATCHED, asked=True, slot="12"),
        AgentReport("c", reason="another process speaks for it"),
    )
    found = events(file, tick)
    assert [(e["event"], e["level"], e.get("agent_id")) for e in found] == [
        ("heartbeat_ok", "info", "a"),
        ("heartbeat_ok", "info", "b"),
        ("wake_made", "info", "b"),
        ("heartbeat_skipped", "info", "c"),
        ("tick", "info", None),
    ]
    assert found[2]["slot"] == "12"
    assert (found[-1]["agents"], found[-1]["failed"]) == (3, 0)
    file.unlink()
    open_log(file, "warning", "json")
    log_tick(tick)
    assert not file.exists()


def test_agents_that_fail_alike_are_one_event(file):
    """With all their names, up to a hundred, and their number; one alone says more."""
    found = events(file, report(*(failing(f"a{n}") for n in range(150))), "warning")
    (event,) = found
    assert (event["event"], event["count"], len(event["agent_ids"])) == (
        "heartbeat_failed",
        150,
        100,
    )
    assert event["message"].startswith("calendar heartbeat failed: a0, a1, a2 and 147 more: ")
    file.unlink()
    (event,) = events(file, report(failing("a")), "warning")
    assert (event["agent_id"], event["kind"], event["action"]) == ("a", "timeout", "error")


def test_a_failure_that_lasts_is_no_warning_again(file):
    """New ones and lasting ones are apart, heartbeats and wakes as well."""
    agents = [
        failing("a"),
        failing("b", known=True),
        failing("c", action=Action.WAKE_FAILED, slot="4"),
        failing("d", action=Action.WAKE_FAILED, slot="5", known=True),
    ]
    found = [e for e in events(file, report(*agents)) if e["event"].endswith("_failed")]
    assert {(e["agent_id"], e["event"], e["level"]) for e in found} == {
        ("a", "heartbeat_failed", "warning"),
        ("b", "heartbeat_failed", "info"),
        ("c", "wake_failed", "warning"),
        ("d", "wake_failed", "info"),
    }


def test_a_failed_wake_came_after_a_good_heartbeat(file):
    """Which is an event of its own."""
    found = events(file, report(failing("a", action=Action.WAKE_FAILED, slot="4")))
    assert [e["event"] for e in found] == ["heartbeat_ok", "wake_failed", "tick"]


@pytest.mark.parametrize(
    ("more", "event", "level"),
    [
        ({"delivered": True}, "update_delivered", "info"),
        ({"fault": FAULT}, "update_waits", "warning"),
        ({"fault": FAULT, "known": True}, "update_waits", "info"),
        ({"fault": Fault("rejected", "no", 422), "refused": True}, "update_refused", "warning"),
    ],
)
def test_each_update_is_an_event(file, more, event, level):
    """Delivered, refused, or waiting; what waits for the same reason is no warning again."""
    delivery = Delivery("a", "12", "finished", 1, **{"delivered": False, **more})
    found = events(file, report(deliveries=[delivery]))[0]
    assert (found["event"], found["level"], found["slot"]) == (event, level, "12")


def test_the_end_of_a_failure_is_as_loud_as_its_beginning(file):
    """And the news of a beginning, which has its event already, is none."""
    news = [
        Notice(f"a{n}", "heartbeat recovered after 2 min", about="heartbeat", recovered=True)
        for n in (1, 2)
    ]
    news.append(Notice("b", "waited 10 s", about="heartbeat"))
    (event,) = events(file, report(news=news), "warning")
    assert (event["event"], event["agent_ids"]) == ("well_again", ["a1", "a2"])


def test_what_is_odd_about_a_slot_is_told_once_as_a_warning(file):
    """Each with its slot."""
    odd = [Warn("4", "a priority of x"), Warn(None, "not an object", known=True)]
    agent = AgentReport("a", Action.IDLE, asked=True, warnings=odd)
    found = [e for e in events(file, report(agent)) if e["event"] == "odd_slot"]
    assert [(e["level"], e["slot"], e["message"]) for e in found] == [
        ("warning", "4", "a: slot 4 a priority of x"),
        ("info", None, "a: not an object"),
    ]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("odd", ["a\nb", "a\r\n2026 error forged", "\x1b[2J", "\u2028"])
@pytest.mark.promise_10
def test_an_event_is_one_line_whatever_it_says(file, form, odd):
    """What came from elsewhere can't break out of it."""
    open_log(file, "debug", form)
    module.log_failure("timeout", odd)
    (line,) = file.read_text(encoding="utf-8").splitlines()
    text = json.loads(line)["message"] if form == "json" else line
    assert text.isprintable()


def test_a_bug_is_logged_with_its_traceback(file):
    """A line of its own in JSON, and below the event in text."""
    for form in ("json", "text"):
        open_log(file, "warning", form)
        try:
            raise ZeroDivisionError("by naught")
        except ZeroDivisionError as error:
            log_bug(error)
    first, *rest = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["event"] == "bug"
    assert "by naught" in json.loads(first)["traceback"]
    assert rest[0].endswith("error a bug in hfcal")
    assert rest[-1] == "ZeroDivisionError: by naught"


@pytest.mark.promise_9
def test_a_log_is_private_even_if_it_was_not(file):
    """0600 in a directory made 0700, with each event."""
    open_log(file, "info", "text")
    module.log_failure("timeout", "no")
    file.chmod(0o644)
    module.log_failure("timeout", "no")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_rotated_log_needs_no_signal(file):
    """It is opened for each event."""
    open_log(file, "info", "text")
    module.log_failure("timeout", "first")
    file.rename(file.with_suffix(".1"))
    module.log_failure("timeout", "second")
    assert "second" in file.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_said_once_and_so_is_its_end(file, tmp_path, capsys):
    """It stops no work; the state remembers, since each tick is another process."""
    state_file = StateFile(tmp_path / "state.json")
    file.mkdir(parents=True)
    open_log(file, "info", "text")
    keep_fault()
    module.log_failure("timeout", "no")
    assert capsys.readouterr().err == ""
    began = tell_fault(state_file)
    assert began is not None
    assert (began.about, began.page) == (ABOUT_LOG, "docs/doctor.md#log-closed")
    assert str(file) in began.message
    module.log_failure("timeout", "no")
    assert tell_fault(state_file) is None
    file.rmdir()
    open_log(file, "info", "text")
    ended = tell_fault(state_file)
    assert ended is not None
    assert ended.recovered
    assert state_file.peek().troubles == {}


def test_without_a_log_there_is_nothing_to_tell(tmp_path):
    """Nobody reads of a log that isn't kept."""
    log.handlers[:] = [logging.NullHandler()]
    assert tell_fault(StateFile(tmp_path / "state.json")) is None
