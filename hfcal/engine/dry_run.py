"""`tick --dry-run`: heartbeats, and says what a tick would do.

It wakes nobody, sends no update, takes no lock and writes no state; the heartbeats still stamp
the agents alive.
"""

from __future__ import annotations

import queue
import time
from functools import partial

from hfcal.backend.breaker import Breaker
from hfcal.backend.bridge import Bridge
from hfcal.backend.pool import make_workers
from hfcal.clock import Moment, now, zone_of
from hfcal.config.settings import Settings
from hfcal.core.protocol import Heartbeat
from hfcal.core.records import AgentState, State
from hfcal.core.report import AgentReport, TickReport
from hfcal.core.scheduler import Action, Policy, Warn, decide
from hfcal.errors import BridgeError, Fault

_Answer = tuple[str, Moment, Heartbeat | Fault]


def dry_run(settings: Settings, state: State | None) -> TickReport:
    """Ask for every agent and decide, changing nothing.

    Args:
        settings: With agents and backend.
        state: What is remembered, None when there is nothing yet.
    """
    began = time.monotonic()
    known = state or State(created=now().wall)
    report = TickReport(now().wall, settings.claw_identifier, dry_run=True)
    report.queued = sum(len(agent.queue) for agent in known.agents.values())
    policy = Policy(settings.due_check, zone_of(settings.calendar_timezone))
    workers, breaker = make_workers(settings), Breaker()
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    for agent_id in settings.agents:
        workers.submit(partial(_ask, answers, breaker, agent_id))
    found: dict[str, AgentReport] = {}
    for _ in settings.agents:
        agent_id, asked, answer = answers.get()
        agent = known.agents.get(agent_id, AgentState())
        found[agent_id] = _report(agent_id, agent, asked, answer, policy)
    workers.close()
    report.agents = [found[agent_id] for agent_id in settings.agents]
    report.seconds = time.monotonic() - began
    return report


def _ask(
    answers: queue.SimpleQueue[_Answer], breaker: Breaker, agent_id: str, bridge: Bridge
) -> None:
    asked = now()
    answer: Heartbeat | Fault
    try:
        answer = breaker.call(lambda: bridge.heartbeat(agent_id))
    except BridgeError as error:
        answer = error.fault
    except Exception as error:  # one agent's bug is not another's
        answer = Fault("internal", f"a bug in hfcal: {type(error).__name__}: {error}")
    answers.put((agent_id, asked, answer))


def _report(
    agent_id: str, agent: AgentState, asked: Moment, answer: Heartbeat | Fault, policy: Policy
) -> AgentReport:
    report = AgentReport(agent_id, asked=True)
    if isinstance(answer, Fault):
        report.action, report.error = Action.ERROR, answer
        return report
    report.warnings = [Warn(p.slot, p.message) for p in answer.problems]
    report.decided(decide(agent, answer, asked, now(), policy), answer, agent)
    if report.action is Action.DISPATCHED:
        report.action = Action.WOULD_DISPATCH
    return report
