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
from hfcal.report import TickReport
from hfcal.text import one_line

log = logging.getLogger("hfcal")

STDERR = Path("-")
_FOLDED = 4  # agents with the same error, from which on it is one line
_NAMED = 100  # of them


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
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
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


def _fold(report: TickReport) -> set[str]:
    """Log each error that several agents share once; returns whose errors are told by that."""
    sharing: dict[tuple[str, str], list[str]] = {}
    for agent in report.agents:
        if agent.error is not None:
            key = (agent.error.kind, agent.error.message.removesuffix(" (not asked)"))
            sharing.setdefault(key, []).append(agent.agent_id)
    told: set[str] = set()
    for (kind, message), agents in sharing.items():
        if len(agents) < _FOLDED:
            continue
        told.update(agents)
        named = f"{', '.join(agents[:3])} and {len(agents) - 3} more"
        facts = {
            "event": "heartbeat_failed",
            "kind": kind,
            "count": len(agents),
            "agent_ids": agents[:_NAMED],
        }
        log.warning(f"calendar heartbeat failed: {named}: {message}", extra={"facts": facts})
    return told


def log_tick(report: TickReport) -> None:
    """Log a tick: each agent's outcome, each update, the sum."""
    folded = _fold(report)
    for agent in report.agents:
        if agent.agent_id in folded:
            continue
        facts = {"agent_id": agent.agent_id, "action": agent.action.value, "slot": agent.slot}
        if agent.error is not None:
            message = f"calendar heartbeat failed: {agent.agent_id}: {agent.error.message}"
            log.warning(message, extra={"facts": {**facts, "event": "heartbeat_failed"}})
        else:
            message = f"calendar heartbeat ok: {agent.agent_id}: {agent.action} {agent.slot or ''}"
            log.info(message, extra={"facts": {**facts, "event": "heartbeat_ok"}})
        for warning in agent.warnings:
            about = f"slot {warning.slot} " if warning.slot else ""
            facts = {"agent_id": agent.agent_id, "slot": warning.slot, "event": "odd_slot"}
            log.warning(f"{agent.agent_id}: {about}{warning.message}", extra={"facts": facts})
    for delivery in report.deliveries:
        outcome = (
            "delivered"
            if delivery.delivered
            else f"waits: {delivery.fault.message if delivery.fault else ''}"
        )
        facts = {"agent_id": delivery.agent_id, "slot": delivery.slot, "event": "update"}
        message = f"update {delivery.agent_id} slot {delivery.slot} {delivery.status} {outcome}"
        log.log(20 if delivery.delivered else 30, message, extra={"facts": facts})
    count = len(report.agents)
    sums = {"event": "tick", "agents": count, "failed": report.failed, "queued": report.queued}
    log.info(f"calendar tick: {count} agents, {report.failed} failed", extra={"facts": sums})
