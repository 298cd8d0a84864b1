"""The JSON documents (docs/json.md). Fields may be added, never renamed; lists are never null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcal.clock import Moment, rfc3339
from hfcal.core.health import hold_in_force, is_overdue, stale_agents

if TYPE_CHECKING:
    # `status` is to start fast, so it doesn't load what only the other documents are made of.
    from hfcal.core.commands import AcceptedCommand
    from hfcal.core.ids import JsonObject
    from hfcal.core.outbox import Delivery
    from hfcal.core.records import Active, HistoryEntry, Refusal, State, Update
    from hfcal.core.report import AgentReport, TickReport
    from hfcal.errors import Fault

SCHEMA = 1


def tick_document(report: TickReport) -> JsonObject:
    """`tick --json`."""
    return {
        "schema": SCHEMA,
        "started_at": rfc3339(report.started),
        "duration_ms": round(report.seconds * 1000),
        "dry_run": report.dry_run,
        "claw_identifier": report.claw_identifier,
        "agents": [_agent(agent) for agent in report.agents],
        "deliveries": [_delivery(delivery) for delivery in report.deliveries],
        "summary": {
            "agents": len(report.agents),
            "ok": len(report.agents) - report.failed,
            "failed": report.failed,
            "dispatched": report.dispatched,
            "delivered": report.delivered,
            "queued": report.queued,
        },
    }


def lifecycle_document(accepted: AcceptedCommand) -> JsonObject:
    """`complete|abort|pause|resume --json`."""
    document: JsonObject = {
        "agent_id": accepted.agent_id,
        "slot": accepted.slot,
        "status": accepted.status,
        "actual_duration": accepted.duration,
        "delivered": accepted.delivered,
        "error": _fault(accepted.fault),
    }
    if accepted.already:
        document["already"] = True
    return document


def status_document(state: State, now: Moment) -> JsonObject:
    """`status --json`."""
    agents = state.agents
    return {
        "schema": SCHEMA,
        "enabled": True,
        "heartbeat_every": state.heartbeat_every,
        "claw_identifier": state.claw_identifier,
        "backend_url": state.backend_url,
        "last_heartbeats": {a: rfc3339(s.heartbeat) for a, s in agents.items() if s.heartbeat},
        "last_good_heartbeats": {
            a: rfc3339(s.good_heartbeat) for a, s in agents.items() if s.good_heartbeat
        },
        "last_errors": {a: s.error for a, s in agents.items() if s.error},
        "stale": stale_agents(state, now),
        "warnings": [trouble.message for trouble in state.troubles.values()],
        "active": [
            _active(agent_id, agent.active, agent.heartbeat, now)
            for agent_id, agent in agents.items()
            if agent.active is not None
        ],
        "next": [
            {"agent_id": a, "ident": s.next.ident, "due_at": _time(s.next.due_at)}
            for a, s in agents.items()
            if s.next is not None
        ],
        "held": [
            {"agent_id": a, "until": _time(hold.until), "reason": hold.reason}
            for a, s in agents.items()
            if (hold := hold_in_force(s, now)) is not None
        ],
        "queued": [queued(a, update) for a, s in agents.items() for update in s.queue],
        "refused": [_refused(a, refusal) for a, s in agents.items() for refusal in s.refused],
        "history": [_history(entry) for entry in state.history],
    }


def queue_document(state: State) -> JsonObject:
    """`queue list --json`."""
    agents = state.agents.items()
    return {
        "schema": SCHEMA,
        "queued": [queued(a, update) for a, s in agents for update in s.queue],
        "refused": [_refused(a, refusal) for a, s in agents for refusal in s.refused],
    }


def error_document(kind: str, message: str) -> JsonObject:
    """What stands on stdout when a command with `--json` fails."""
    return {"error": {"kind": kind, "message": message or kind}}


def queued(agent_id: str, update: Update) -> JsonObject:
    """One update that waits."""
    return {
        "agent_id": agent_id,
        "ident": update.ref.ident,
        "status": update.status,
        "since": rfc3339(update.since),
        "attempts": update.attempts,
        "error": update.error,
    }


def _refused(agent_id: str, refusal: Refusal) -> JsonObject:
    return {
        "agent_id": agent_id,
        "ident": refusal.update.ref.ident,
        "status": refusal.update.status,
        "at": rfc3339(refusal.at),
        "error": refusal.error,
        "count": refusal.count,
    }


def _agent(agent: AgentReport) -> JsonObject:
    document: JsonObject = {
        "agent_id": agent.agent_id,
        "ok": agent.ok,
        "agent_status": agent.agent_status,
        "slots": agent.slots,
        "action": agent.action.value,
        "slot": agent.slot,
        "error": _fault(agent.error),
        "warnings": [{"slot": w.slot, "message": w.message} for w in agent.warnings],
    }
    if agent.reason:
        document["reason"] = agent.reason
    if agent.due_at is not None:
        document["due_at"] = rfc3339(agent.due_at)
    return document


def _delivery(delivery: Delivery) -> JsonObject:
    return {
        "agent_id": delivery.agent_id,
        "slot": delivery.slot,
        "status": delivery.status,
        "delivered": delivery.delivered,
        "error": _fault(delivery.fault),
    }


def _active(agent_id: str, active: Active, heartbeat: float | None, now: Moment) -> JsonObject:
    document: JsonObject = {
        "agent_id": agent_id,
        "ident": active.ref.ident,
        "idents": active.ref.idents,
        "state": active.state.value,
        "started_at": rfc3339(active.start.wall),
        "last_heartbeat": _time(heartbeat),
        "overdue": is_overdue(active, now),
        "slot": active.slot,
    }
    if active.paused is not None:
        document["reason"] = active.reason
    return document


def _history(entry: HistoryEntry) -> JsonObject:
    return {
        "ident": entry.ident,
        "agent_id": entry.agent_id,
        "status": entry.status,
        "resolved_at": rfc3339(entry.at),
        "reason": entry.reason,
        "summary": entry.summary,
        "outcome": entry.outcome.value,
        "count": entry.count,
    }


def _fault(fault: Fault | None) -> dict[str, Any] | None:
    return None if fault is None else fault.document()


def _time(wall: float | None) -> str | None:
    return None if wall is None else rfc3339(wall)
