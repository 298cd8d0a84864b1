"""The log: one event a line, as text or JSON, in a file of its own (docs/operating.md, Log).

Nobody imports logging's handlers unless a log file is set.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import sys
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from hfcal.clock import now, rfc3339
from hfcal.config.values import STDERR
from hfcal.core.notices import (
    ABOUT_LOG,
    REPEAT_AFTER,
    Notice,
    group_alike,
    names,
    record_fault,
    record_recovery,
)
from hfcal.core.outbox import Delivery
from hfcal.core.report import AgentReport, TickReport
from hfcal.core.scheduler import Action
from hfcal.system.files import make_private, open_or_make
from hfcal.text import one_line

if TYPE_CHECKING:
    from hfcal.state.file import StateFile

log = logging.getLogger("hfcal")

LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_PAGE = "docs/doctor.md#log-closed"
_NAMED = 100  # agents, of those that share a failure


class _Lines(logging.Formatter):
    """One line for each event; what came from elsewhere can't break out of it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(record.getMessage(), 2000)
        at, level = rfc3339(record.created), record.levelname.lower()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if not self._json:
            return f"{at} {level} {message}" + (f"\n{trace}" if trace else "")
        event: dict[str, object] = {"time": at, "level": level, "message": message}
        event |= getattr(record, "facts", {})
        if trace:
            event["traceback"] = trace
        return json.dumps(event)


class _Stderr(logging.Handler):
    """Prints on what stderr is by then, since a live view puts itself there."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _File(logging.Handler):
    """Appends to a file that is opened for each event, so a rotation needs no signal.

    Attributes:
        keeps_fault: Why it can't be written is kept for the caller to tell.
        fault: Why it can't be written, by the last try.
        tried: Whether there was one.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.keeps_fault = False
        self.fault = ""
        self.tried = False
        self._path = path
        self._silent_until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        self.write((self.format(record) + "\n").encode("utf-8", "replace"))

    def write(self, line: bytes) -> None:
        """Append a line; none only tries whether there could be one."""
        self.tried, self.fault = True, ""
        try:
            descriptor = open_or_make(self._path, LOG_FLAGS)  # no FIFO holds it up
            try:
                facts = os.fstat(descriptor)
                if stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o077:
                    os.fchmod(descriptor, 0o600)
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.fault = f"cannot log to {self._path}: {error.strerror}"
            self.say()

    def say(self) -> None:
        """A log that can't be written stops no work; it is said where somebody may see it."""
        if self.keeps_fault or time.monotonic() < self._silent_until:
            return
        self._silent_until = time.monotonic() + REPEAT_AFTER
        print(f"hfcal: {self.fault}", file=sys.stderr)


def open_log(path: Path, level: str, form: str) -> None:
    """Log to `path`, 0600, in a directory made 0700; to stderr if it is `-`."""
    handler: logging.Handler = _Stderr()
    if path != STDERR:
        with contextlib.suppress(OSError):  # the first event says why it can't be written
            make_private(path.parent)
        handler = _File(path)
    handler.setFormatter(_Lines(form))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())


def keep_fault() -> None:
    """Say nothing of a log that can't be written before `tell_fault`."""
    for handler in log.handlers:
        if isinstance(handler, _File):
            handler.keeps_fault = True


def tell_fault(state_file: StateFile | None) -> Notice | None:
    """Tell what is new of a log that can't be written, and note it in the state.

    Args:
        state_file: Where to note it; None says it in any case.

    Raises:
        StateError: It can't be noted.
    """
    handler = next((h for h in log.handlers if isinstance(h, _File)), None)
    if state_file is None:
        return Notice("", handler.fault, _PAGE) if handler and handler.fault else None
    known = ABOUT_LOG in state_file.peek().troubles
    if handler is not None and known and not handler.tried:
        handler.write(b"")
    fault = "" if handler is None else handler.fault
    if not fault and not known:
        return None
    wall = now().wall
    with state_file.transaction() as state:
        if not fault:
            return record_recovery(state.troubles, "", ABOUT_LOG, wall)
        news = record_fault(state.troubles, "", ABOUT_LOG, fault, fault, wall)
    return news and replace(news, page=_PAGE)


def log_tick(report: TickReport) -> None:
    """Log a tick: each agent's outcome, each update, the sum."""
    for agent in report.agents:
        _log_agent(agent)
    failed = [agent for agent in report.agents if agent.error is not None]
    for known, wake in product((False, True), repeat=2):
        _log_failed(
            [a for a in failed if (a.known, a.action is Action.WAKE_FAILED) == (known, wake)]
        )
    for delivery in report.deliveries:
        _log_update(delivery)
    _log_over([news for news in report.news if news.recovered])
    count = len(report.agents)
    _log(
        logging.INFO,
        f"calendar tick: {count} agents, {report.failed} failed",
        event="tick",
        agents=count,
        failed=report.failed,
        queued=report.queued,
    )


def log_failure(kind: str, message: str) -> None:
    """Log a tick that could not be made."""
    _log(logging.ERROR, f"calendar tick failed: {message}", event="tick_failed", kind=kind)


def log_well() -> None:
    """Log that ticks can be made again, as loudly as that they could not."""
    _log(logging.ERROR, "calendar tick recovered", event="well_again", about="tick")


def log_lost(message: str) -> None:
    """Log that the state was damaged, and what was saved of it."""
    _log(logging.ERROR, message, event="state_lost")


def log_bug(error: Exception) -> None:
    """Log a bug of hfcal's own with its traceback, if there is a log."""
    if log.handlers:
        log.error("a bug in hfcal", exc_info=error, extra={"facts": {"event": "bug"}})


def _log_agent(agent: AgentReport) -> None:
    """What went well for an agent, and what was odd."""
    who, slot = agent.agent_id, agent.slot
    if not agent.asked:
        message = f"calendar heartbeat skipped: {who}: {agent.reason}"
        _log(logging.INFO, message, event="heartbeat_skipped", agent_id=who)
    elif agent.error is None or agent.action is Action.WAKE_FAILED:
        message = f"calendar heartbeat ok: {who}: {agent.action} {slot or ''}".rstrip()
        facts = {"agent_id": who, "action": agent.action.value, "slot": slot}
        _log(logging.INFO, message, event="heartbeat_ok", **facts)
    if agent.action is Action.DISPATCHED:
        message = f"calendar wake made: {who}: slot {slot}"
        _log(logging.INFO, message, event="wake_made", agent_id=who, slot=slot)
    for warning in agent.warnings:
        about = f"slot {warning.slot} " if warning.slot else ""
        message = f"{who}: {about}{warning.message}"
        level = _level(known=warning.known)
        _log(level, message, event="odd_slot", agent_id=who, slot=warning.slot)


def _log_failed(agents: list[AgentReport]) -> None:
    """What failed, in one line for all that share it."""
    by_id = {agent.agent_id: agent for agent in agents}
    told = ((a.agent_id, a.error.message) for a in agents if a.error is not None)
    for message, who in group_alike(told):
        first = by_id[who[0]]
        assert first.error is not None
        wake = first.action is Action.WAKE_FAILED
        facts = {"kind": first.error.kind} | _whose(who)
        if len(who) == 1:
            facts |= {"action": first.action.value, "slot": first.slot}
        what = "wake" if wake else "heartbeat"
        line = f"calendar {what} failed: {names(who)}: {message}"
        _log(_level(known=first.known), line, event=f"{what}_failed", **facts)


def _log_update(delivery: Delivery) -> None:
    what = f"update {delivery.agent_id} slot {delivery.slot} {delivery.status}"
    facts: dict[str, object] = {"agent_id": delivery.agent_id, "slot": delivery.slot}
    facts["status"] = delivery.status
    if delivery.fault is None:
        _log(logging.INFO, f"{what} delivered", event="update_delivered", **facts)
        return
    outcome = "refused" if delivery.refused else "waits"
    facts["kind"] = delivery.fault.kind
    line = f"{what} {outcome}: {delivery.fault.message}"
    _log(_level(known=delivery.known), line, event=f"update_{outcome}", **facts)


def _log_over(over: list[Notice]) -> None:
    """What recovered, as loudly as it began, so that no failure is left without its end."""
    about = {news.message: news.about for news in over}
    for message, who in group_alike((news.agent_id, news.message) for news in over):
        facts = _whose(who) | {"about": about[message]}
        _log(logging.WARNING, f"{names(who)}: {message}", event="well_again", **facts)


def _whose(agents: list[str]) -> dict[str, object]:
    """The facts that name the agents that share an event."""
    if len(agents) == 1:
        return {"agent_id": agents[0]}
    return {"count": len(agents), "agent_ids": agents[:_NAMED]}


def _level(*, known: bool) -> int:
    """What lasts is a warning when it begins and once an hour; besides it is how a tick went."""
    return logging.INFO if known else logging.WARNING


def _log(level: int, message: str, **facts: object) -> None:
    log.log(level, message, extra={"facts": facts})
