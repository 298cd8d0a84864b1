"""The log: one event a line, as text or JSON, in a file of its own (docs/operating.md, Log).

Nobody imports logging's handlers unless a log file is set.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from hfcal.clock import rfc3339
from hfcal.errors import ConfigError
from hfcal.files import make_private
from hfcal.news import grouped, names
from hfcal.outbox import Delivery
from hfcal.report import AgentReport, TickReport
from hfcal.scheduler import Action
from hfcal.text import one_line

log = logging.getLogger("hfcal")

STDERR = Path("-")
_NAMED = 100  # agents, of those that share a failure


class _Lines(logging.Formatter):
    """One line for each event; what came from elsewhere can't break out of it."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._json = form == "json"

    def format(self, record: logging.LogRecord) -> str:
        message = one_line(record.getMessage(), 2000)
        time, level = rfc3339(record.created), record.levelname.lower()
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        if not self._json:
            return f"{time} {level} {message}" + (f"\n{trace}" if trace else "")
        event: dict[str, object] = {"time": time, "level": level, "message": message}
        event |= getattr(record, "facts", {})
        if trace:
            event["traceback"] = trace
        return json.dumps(event)


class _Stderr(logging.Handler):
    """Prints on what stderr is by then, since a live view puts itself there."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class _File(logging.Handler):
    """Appends to a file that is opened for each event, so a rotation needs no signal."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.write(descriptor, (self.format(record) + "\n").encode("utf-8", "replace"))
            finally:
                os.close(descriptor)
        except OSError as error:
            # A full disk must not stop the work; it is said where somebody may see it.
            print(f"hfcal: cannot log to {self._path}: {error.strerror}", file=sys.stderr)


def open_log(path: Path, level: str, form: str) -> None:
    """Log to `path`, 0600, in a directory made 0700; to stderr if it is `-`.

    Raises:
        ConfigError: The directory can't be made.
    """
    handler: logging.Handler = _Stderr()
    if path != STDERR:
        try:
            make_private(path.parent)
        except OSError as error:
            raise ConfigError(f"log_file {path}: {error.strerror}") from error
        handler = _File(path)
    handler.setFormatter(_Lines(form))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())


def log_tick(report: TickReport) -> None:
    """Log a tick: each agent's outcome, each update, the sum."""
    for agent in report.agents:
        _log_agent(agent)
    failed = [agent for agent in report.agents if agent.error is not None]
    for heartbeat in (True, False):
        _log_failed([a for a in failed if (a.action is not Action.WAKE_FAILED) is heartbeat])
    for delivery in report.deliveries:
        _log_update(delivery)
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
    if agent.error is None or agent.action is Action.WAKE_FAILED:
        message = f"calendar heartbeat ok: {who}: {agent.action} {slot or ''}".rstrip()
        facts = {"agent_id": who, "action": agent.action.value, "slot": slot}
        _log(logging.INFO, message, event="heartbeat_ok", **facts)
    if agent.action is Action.DISPATCHED:
        message = f"calendar wake made: {who}: slot {slot}"
        _log(logging.INFO, message, event="wake_made", agent_id=who, slot=slot)
    for warning in agent.warnings:
        about = f"slot {warning.slot} " if warning.slot else ""
        message = f"{who}: {about}{warning.message}"
        _log(logging.WARNING, message, event="odd_slot", agent_id=who, slot=warning.slot)


def _log_failed(agents: list[AgentReport]) -> None:
    """What failed, in one line for all that share it."""
    by_id = {agent.agent_id: agent for agent in agents}
    told = ((a.agent_id, a.error.message) for a in agents if a.error is not None)
    for message, who in grouped(told):
        first = by_id[who[0]]
        assert first.error is not None
        wake = first.action is Action.WAKE_FAILED
        facts: dict[str, object] = {"kind": first.error.kind}
        if len(who) == 1:
            facts |= {"agent_id": who[0], "action": first.action.value, "slot": first.slot}
        else:
            facts |= {"count": len(who), "agent_ids": who[:_NAMED]}
        what = "wake" if wake else "heartbeat"
        line = f"calendar {what} failed: {names(who)}: {message}"
        _log(logging.WARNING, line, event=f"{what}_failed", **facts)


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
    _log(logging.WARNING, line, event=f"update_{outcome}", **facts)


def _log(level: int, message: str, **facts: object) -> None:
    log.log(level, message, extra={"facts": facts})
