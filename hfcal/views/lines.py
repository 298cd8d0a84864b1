"""What people read of a tick and of the agent's commands, in plain lines."""

from __future__ import annotations

from hfcal.clock import rfc3339
from hfcal.core.commands import AcceptedCommand
from hfcal.core.report import AgentReport, TickReport
from hfcal.core.scheduler import Action
from hfcal.text import one_line

_WORDS = {
    Action.IDLE: "idle, no slots listed",
    Action.DISPATCHED: "dispatched",
    Action.BUSY: "busy",
    Action.ADOPTED: "adopted, the backend says it is running",
    Action.WOULD_DISPATCH: "would be dispatched",
}


def tick_lines(report: TickReport) -> list[str]:
    """All that a tick did: a line for each agent, for each update, and the sum."""
    width = max((len(agent.agent_id) for agent in report.agents), default=0)
    lines = []
    for agent in report.agents:
        lines.append(f"{agent.agent_id:<{width}}  {agent_words(agent)}")
        lines += [
            f"{'':<{width}}  note: {_about(w.slot)}{one_line(w.message)}" for w in agent.warnings
        ]
    for delivery in report.deliveries:
        outcome = "delivered"
        if delivery.fault is not None:
            kept = "refused for good" if delivery.refused else "waits"
            outcome = f"{kept}: {one_line(delivery.fault.message)}"
        lines.append(
            f"{delivery.agent_id:<{width}}  slot {delivery.slot} {delivery.status}: {outcome}"
        )
    lines.append(tick_sum(report))
    return lines


def tick_sum(report: TickReport) -> str:
    """A tick in one line."""
    parts = [f"{len(report.agents)} agents" if len(report.agents) != 1 else "1 agent"]
    for count, word in (
        (report.count(Action.DISPATCHED), "dispatched"),
        (report.count(Action.WOULD_DISPATCH), "would be dispatched"),
        (report.count(Action.BUSY), "busy"),
        (report.count(Action.ADOPTED), "adopted"),
        (report.delivered, "delivered"),
        (report.queued, "waiting to be sent"),
        (report.failed, "failed"),
    ):
        if count:
            parts.append(f"{count} {word}")
    dry = "dry run: " if report.dry_run else ""
    return f"{dry}{', '.join(parts)} in {report.seconds:.1f} s"


def agent_words(agent: AgentReport) -> str:
    """What a tick did about one agent."""
    if agent.error is not None:
        return f"{agent.error.kind}: {one_line(agent.error.message, 500)}"
    slot = f"slot {agent.slot} " if agent.slot else ""
    if agent.action is Action.WAITING and agent.due_at is not None:
        return f"{slot}waits until {rfc3339(agent.due_at)}"
    if agent.action is Action.SKIPPED:
        return f"{slot}skipped: {agent.reason}"
    if agent.action is Action.RESOLVED:
        return f"{slot}is over: {agent.reason}"
    return f"{slot}{_WORDS.get(agent.action, agent.action.value)}"


def accepted_line(accepted: AcceptedCommand) -> str:
    """What came of an agent's word."""
    if accepted.refused:
        return (
            f"agent {accepted.agent_id}: {accepted.status} of slot {accepted.slot} was refused "
            "by the backend"
        )
    what = f"agent {accepted.agent_id}: slot {accepted.slot} {accepted.status}"
    if accepted.already:
        return f"{what} already"
    if accepted.duration is not None:
        what += f" after {accepted.duration} min"
    return what


def undelivered_line(accepted: AcceptedCommand) -> str:
    """Why an accepted word isn't with the backend yet, and what happens next."""
    if accepted.busy:
        return "queued: another hfcal speaks for this agent and sends it"
    why = one_line(accepted.fault.message, 500) if accepted.fault else "it waits in the queue"
    if accepted.update is None:
        return f"not delivered: {why}"
    return f"queued, not delivered yet: {why}; the next tick sends it"


def _about(slot: str | None) -> str:
    return f"slot {slot} " if slot else ""
