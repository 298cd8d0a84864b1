"""One agent's part of a tick: deliver, ask, decide, wake, deliver; reads top to bottom.

`begin` and `after_wake` run on workers and may block; the functions given to the group commit run
on the thread that owns the state, inside a transaction or after it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from hfcal.backend.bridge import Bridge
from hfcal.clock import Moment, now
from hfcal.core import memory, transitions
from hfcal.core.notices import Notice, record_fault, record_recovery
from hfcal.core.protocol import Heartbeat, Slot, SlotType
from hfcal.core.records import Active, AgentState, State, Wake
from hfcal.core.report import AgentReport
from hfcal.core.scheduler import Action, Decision, Warn, decide
from hfcal.engine.context import TickContext
from hfcal.engine.delivery import OutboxSender
from hfcal.errors import BridgeError, Fault, StateError, docs_link
from hfcal.system.locks import LockFile
from hfcal.wake.adapter import WakeError
from hfcal.wake.message import new_wake

_MOST_WARNINGS = 100  # about one answer; a backend could list any number of odd slots
_MOST_REMEMBERED = 20  # of those, reported once
T = TypeVar("T")

TAKEN = "another hfcal is at it"
_log = logging.getLogger("hfcal")
_log.addHandler(logging.NullHandler())  # without a log nothing is printed in its place


class AgentPass:
    """What one tick does about one agent.

    Args:
        tick: The tick it is part of.
        agent_id: The agent.
        asks: Whether it heartbeats, or only delivers.
        tried: Numbers of the updates that were tried already in this tick.
    """

    def __init__(
        self, tick: TickContext, agent_id: str, *, asks: bool, tried: Iterable[int] = ()
    ) -> None:
        self.agent_id = agent_id
        self.report = AgentReport(agent_id)
        self.news: list[Notice] = []
        self.sender: OutboxSender | None = None
        self._tick = tick
        self.asks = asks
        self._tried = set(tried)
        self._lock: LockFile | None = None
        self._heartbeat = Heartbeat()
        self._asked: Moment | None = None
        self._wake: Wake | None = None
        self._woken = False
        self._wake_seconds: float | None = None
        self._has_permit = False
        self._wants_permit = False
        self.heartbeat_saved = False  # its heartbeat is answered and saved
        self.closed = False

    @property
    def tried(self) -> set[int]:
        """Numbers of the updates that were tried in this tick."""
        return self._tried if self.sender is None else self.sender.tried

    def all_news(self) -> list[Notice]:
        """What is worth telling of this pass, once it is over."""
        deliveries = [] if self.sender is None else self.sender.deliveries
        refused = [d for d in deliveries if d.refused and d.fault is not None]
        return self.news + [
            Notice(
                self.agent_id,
                f"slot {d.slot}: {d.status} was refused for good: {d.fault and d.fault.message}",
                docs_link("rejected"),
            )
            for d in refused
        ]

    def begin(self, bridge: Bridge) -> None:
        """Deliver what waits, ask the backend, and hand in what it said."""
        if self._tick.stopping:
            self.report.reason = "stopped before its turn"
            self._close_later()
            return
        if not self._take_lock():
            return
        if self._tick.has_work(self.agent_id):
            self._deliver(bridge)
        if not self.asks:
            self._close_later()
            return
        self.report.asked = True
        self._asked = now()
        try:
            self._heartbeat = self._tick.breaker.call(lambda: bridge.heartbeat(self.agent_id))
        except BridgeError as error:
            self._later(partial(self._note_failure, fault=error.fault), self._proceed)
        else:
            self._later(self._reconcile, self._proceed)

    def fail(self, error: Exception) -> None:
        """A bug ended the pass; the other agents go on."""
        facts = {"event": "bug", "agent_id": self.agent_id}
        _log.error("a bug in hfcal, at %s", self.agent_id, exc_info=error, extra={"facts": facts})
        message = f"a bug in hfcal: {type(error).__name__}: {error}"
        self.report.action = Action.ERROR
        self.report.error = Fault("internal", message)
        self._close_later()

    def try_again(self) -> None:
        """A permit to wake is free: acquire it and the lock, and decide again (owner thread)."""
        self._acquire_permit()
        self._wants_permit = False
        if self._take_lock():
            self._later(self._decide_again, self._proceed)

    def close(self) -> None:
        """Let go of the agent (owner thread)."""
        self.closed = True
        self.release_lock()
        self._tick.ended(self)
        self._release_permit()

    def release_lock(self) -> None:
        """Release the agent's lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _take_lock(self) -> bool:
        """Speak for the agent from here on; else the pass is at its end."""
        try:
            self._lock = self._tick.locks.try_take(self.agent_id)
        except StateError as error:  # this agent's file alone: the state's own lock was taken
            fault = Fault("state", error.message)
            self._later(partial(self._note_unusable_lock, fault=fault), lambda _: self.close())
            return False
        if self._lock is None:
            self.report.action, self.report.reason = Action.SKIPPED, TAKEN
            self._close_later()
        return self._lock is not None

    # Inside a transaction. A change may only set what it works out again each time.

    def _note_asked(self, state: State) -> tuple[AgentState, Moment]:
        """The lock could be used, and the backend was asked; returns whom it is about, and now."""
        moment = now()
        agent = state.agent(self.agent_id)
        agent.heartbeat = moment.wall
        self._tick.note(state)
        self._tell(record_recovery(agent.troubles, self.agent_id, "lock", moment.wall))
        return agent, moment

    def _note_failure(self, state: State, fault: Fault) -> None:
        agent, moment = self._note_asked(state)
        state.faults[fault.kind] = state.faults.get(fault.kind, 0) + 1
        agent.error, agent.error_kind = fault.message, fault.kind
        self.report.action, self.report.error = Action.ERROR, fault
        self._tell_fault(agent, "heartbeat", fault, moment)

    def _note_unusable_lock(self, state: State, fault: Fault) -> None:
        agent = state.agent(self.agent_id)
        self._tick.note(state)
        agent.error, agent.error_kind = fault.message, fault.kind
        for update in agent.queue:
            update.error = fault.message
        self._tried.update(update.number for update in agent.queue)  # as none of them can be now
        self.report.action, self.report.error = Action.ERROR, fault
        self._tell_fault(agent, "lock", fault, now())

    def _reconcile(self, state: State) -> None:
        agent, moment = self._note_asked(state)
        agent.good_heartbeat = moment.wall
        agent.error = agent.error_kind = ""
        self._tell(record_recovery(agent.troubles, self.agent_id, "heartbeat", moment.wall))
        if not agent.queue:  # a command may have delivered what a tick could not
            self._tell(record_recovery(agent.troubles, self.agent_id, "delivery", moment.wall))
        self._note_problems(agent, moment)
        memory.note_listed(state, self.agent_id, self._heartbeat.slots, moment)
        self._carry_out(state, self._decide(agent, moment), moment)
        memory.forget_old(agent, moment)
        tried = {_about_wake(failed.wake.slot) for failed in agent.failed_wakes}
        for about in [a for a in agent.troubles if a.startswith("wake") and a not in tried]:
            del agent.troubles[about]

    def _decide_again(self, state: State) -> None:
        """After waiting for a permit without the lock: only to wake, if that is still right."""
        moment = now()
        agent = state.agent(self.agent_id)
        assert self._asked is not None
        # Of what another process has remembered since, this heartbeat proves nothing.
        active = agent.active
        if active and (active.wake is None or self._asked.seconds_until(active.start) > 0):
            self._show(Decision(Action.BUSY), agent)
            return
        self._carry_out(state, self._decide(agent, moment), moment)

    def _decide(self, agent: AgentState, moment: Moment) -> Decision:
        assert self._asked is not None
        return decide(agent, self._heartbeat, self._asked, moment, self._tick.policy())

    def _carry_out(self, state: State, decision: Decision, moment: Moment) -> None:
        agent = state.agent(self.agent_id)
        agent.next = decision.next
        self._wants_permit = decision.action is Action.DISPATCHED
        if self._wants_permit:
            assert decision.slot is not None
            if not self._acquire_permit():
                self._show(
                    Decision(Action.SKIPPED, decision.slot, "waiting for a wake permit"), agent
                )
                return
            self._wake = self._remember(agent, decision.slot, moment)
        elif decision.action is Action.ADOPTED and decision.slot is not None:
            transitions.adopt(state, self.agent_id, decision.slot, moment)
        elif decision.lost:
            transitions.abort_uncertain(state, self.agent_id, moment)
            ident = state.history[-1].ident
            self.news.append(
                Notice(
                    self.agent_id, f"slot {ident}: {transitions.UNCERTAIN}", docs_link("uncertain")
                )
            )
        elif decision.action is Action.RESOLVED and decision.slot is not None:
            assert decision.slot.status is not None
            transitions.resolve(state, self.agent_id, decision.slot.status, moment)
        elif decision.again:
            transitions.requeue_state(state, self.agent_id, moment)
        elif decision.woken and decision.slot is not None and decision.slot.status is not None:
            assert agent.active is not None
            transitions.mark_woken_by_backend(agent.active, decision.slot.status, moment)
        self._show(decision, agent)

    def _remember(self, agent: AgentState, slot: Slot, moment: Moment) -> Wake:
        active = agent.active
        if active is not None and active.wake is not None:
            active.start = moment
            return active.wake
        failed = memory.failed_wake(agent, slot.ref)
        wake = failed.wake if failed else new_wake(self.agent_id, slot, self._tick.commands)
        transitions.remember(agent, slot, wake, moment)
        return wake

    def _note_wake(self, state: State, error: WakeError | None) -> None:
        """The wake was made, or failed."""
        assert self._wake is not None
        moment = now()
        agent = state.agent(self.agent_id)
        if error is not None and transitions.note_wake_failed(
            state, self.agent_id, self._wake.key, str(error), moment, error.retry_after
        ):
            state.wakes_failed += 1
            fault = Fault("wake_failed", f"slot {self._wake.slot}: wake failed: {error}")
            self.report.action, self.report.error = Action.WAKE_FAILED, fault
            self._tell_fault(agent, _about_wake(self._wake.slot), fault, moment)
            return
        state.wakes_made += 1
        transitions.note_woken(state, self.agent_id, self._wake.key, moment)
        if agent.active is not None and agent.active.key == self._wake.key:
            agent.unsent_agent_status = _status_for(agent.active)
        about = _about_wake(self._wake.slot)
        self._tell(record_recovery(agent.troubles, self.agent_id, about, moment.wall))

    def _note_deliveries(self, state: State) -> None:
        assert self.sender is not None
        agent = state.agent(self.agent_id)
        wall = now().wall
        waiting = [d for d in self.sender.deliveries if not d.delivered and not d.refused]
        if waiting and waiting[0].fault is not None:
            fault = waiting[0].fault
            message = f"slot {waiting[0].slot}: {waiting[0].status} waits: {fault.message}"
            self._tell(
                record_fault(agent.troubles, self.agent_id, "delivery", fault.kind, message, wall)
            )
        elif not agent.queue:
            self._tell(record_recovery(agent.troubles, self.agent_id, "delivery", wall))

    def _note_problems(self, agent: AgentState, moment: Moment) -> None:
        """What was odd in the answer: reported when it begins, then remembered silently."""
        self.report.warnings = []
        gone = {about for about in agent.troubles if about.startswith("listing: ")}
        for place, problem in enumerate(self._heartbeat.problems[:_MOST_WARNINGS]):
            text = f"slot {problem.slot}: {problem.message}" if problem.slot else problem.message
            about = f"listing: {text}"
            gone.discard(about)
            known = about in agent.troubles or place >= _MOST_REMEMBERED
            self.report.warnings.append(Warn(problem.slot, problem.message, known=known))
            if not known:
                self._tell(
                    record_fault(
                        agent.troubles, self.agent_id, about, "odd_slot", text, moment.wall
                    )
                )
        for about in gone:
            del agent.troubles[about]

    # After a save, on the owner thread.

    def _proceed(self, _: None) -> None:
        self.heartbeat_saved = True
        if self._wake is not None and self._has_permit:
            wake = self._wake
            self._tick.submit_wake(self, lambda _: self._wake_agent(wake))
        elif self._wants_permit:
            self.release_lock()
            self._tick.permits.wait(self.try_again)
        elif self._tick.has_work(self.agent_id):
            self._tick.submit(self, self._deliver_and_end)
        else:
            self.close()

    # On workers.

    def _wake_agent(self, wake: Wake) -> None:
        if self._tick.wakes_ended:  # it was remembered, so the next tick wakes it
            self._close_later()
            return
        failed: WakeError | None = None
        began = time.monotonic()
        try:
            self._tick.wakers.of(self.agent_id).wake(self.agent_id, wake, self._tick.hurry)
        except WakeError as error:
            failed = error
        self._wake_seconds = time.monotonic() - began
        # Now, not when it is noted: so the next one is remembered in the same save.
        self._tick.commit.call_at_once(self._release_permit, self._not_saved)
        self._tick.submit(self, lambda bridge: self._after_wake(bridge, failed))

    def _after_wake(self, bridge: Bridge, failed: WakeError | None) -> None:
        self._deliver(bridge, failed, woken=True)
        self._close_later()

    def _deliver_and_end(self, bridge: Bridge) -> None:
        self._deliver(bridge)
        self._close_later()

    def _deliver(
        self, bridge: Bridge, failed: WakeError | None = None, *, woken: bool = False
    ) -> None:
        if self.sender is None:
            self.sender = OutboxSender(
                self.agent_id,
                lambda: bridge,
                self._save,
                respect_pauses=True,
                report_status=self._tick.settings.report_agent_status,
                tried=self._tried,
                offline=self._tick.breaker.fault,
            )
        self.sender.connect = lambda: bridge
        self._woken = woken

        def note(state: State) -> None:
            if woken:
                self._note_wake(state, failed)

        self.sender.deliver(note, self._note_deliveries)

    def _save(self, change: Callable[[State], T]) -> T:
        return self._tick.commit.commit(change, must_save=self._woken)

    def _later(self, change: Callable[[State], None], then: Callable[[None], None]) -> None:
        self._tick.commit.later(change, then, self._not_saved)

    def _close_later(self) -> None:
        self._tick.commit.call(self.close, self._not_saved)

    def _not_saved(self, error: BaseException) -> None:
        """A bug is this agent's alone; else the whole tick is at its end."""
        if isinstance(error, Exception) and not isinstance(error, StateError):
            self.fail(error)
        else:
            self.release_lock()
            self._release_permit()

    def _acquire_permit(self) -> bool:
        self._has_permit = self._has_permit or self._tick.permits.acquire()
        return self._has_permit

    def _release_permit(self) -> None:
        if self._has_permit:
            self._has_permit = False
            self._tick.permits.release(self._wake_seconds)

    def _show(self, decision: Decision, agent: AgentState) -> None:
        self.report.decided(decision, self._heartbeat, agent)
        if decision.action is Action.BUSY and self.agent_id in self._tick.adopted:
            self.report.action = Action.ADOPTED

    def _tell_fault(self, agent: AgentState, about: str, fault: Fault, moment: Moment) -> None:
        kind = fault.kind if fault.http_status is None else f"{fault.kind} {fault.http_status}"
        news = record_fault(agent.troubles, self.agent_id, about, kind, fault.message, moment.wall)
        self.report.known = news is None
        self._tell(news)

    def _tell(self, news: Notice | None) -> None:
        if news is not None:
            self.news.append(news)


def _about_wake(ident: str) -> str:
    return f"wake of slot {ident}"


def _status_for(active: Active) -> str:
    word = str(active.slot.get("slot_type") or "")
    on_call = "".join(c for c in word if c.isalnum()).lower() == "oncall"
    return SlotType.ON_CALL.value if on_call else "busy"
