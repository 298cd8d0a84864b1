"""complete, abort, pause, resume: accept an agent's word, queue it, deliver it if that can be now.

Accepted means on disk: nothing after that takes it back (docs/contract.md, promise 2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from hfcal.clock import now
from hfcal.config.settings import Settings
from hfcal.core.commands import AcceptedCommand, AgentCommand, apply, find_agent
from hfcal.core.outbox import Delivery, has_work
from hfcal.core.records import AgentState, State, Update
from hfcal.engine.delivery import OutboxSender
from hfcal.errors import Fault, StateError
from hfcal.state.file import StateFile
from hfcal.system.locks import LockFile

if TYPE_CHECKING:
    from hfcal.backend.bridge import Bridge

T = TypeVar("T")


class Lifecycle:
    """Carries out one request.

    Args:
        state_file: The shared state; it exists.
        settings: What of them could be read; what the last tick noted stands in for the backend.
        timeout: Seconds for all of the delivery.
    """

    def __init__(self, state_file: StateFile, settings: Settings, timeout: float) -> None:
        self.state_file = state_file
        self._settings = settings
        self._timeout = timeout
        self._backend_url = settings.backend_url
        self._claw_identifier = settings.claw_identifier
        self._bridge: Bridge | None = None
        self._saved = False
        self._tried: set[int] = set()
        self._deliveries: list[Delivery] = []

    def run(self, request: AgentCommand) -> AcceptedCommand:
        """Accept, queue, deliver.

        Raises:
            NoActiveSlotError: The agent has no active slot.
            AmbiguousAgentError: Several agents are active and none is named.
            WrongSlotError: `slot` isn't the active one.
            StateError: It could not be saved, so it is not accepted.
        """
        ends_at = time.monotonic() + self._timeout
        agent_id = request.agent_id or find_agent(self.state_file.peek(), request.slot)
        locks = self.state_file.agent_locks
        lock = locks.try_take(agent_id)
        accepted: AcceptedCommand | None = None

        def accept(state: State) -> None:
            nonlocal accepted
            accepted = apply(state, agent_id, request, now())
            if not self._reports_status(state):
                state.agent(agent_id).unsent_agent_status = None

        try:
            if lock is None:
                # Its holder sends what is queued, before or after it lets go.
                self._commit(accept)
            else:
                self._deliver(agent_id, accept, ends_at)
        except StateError as error:
            if accepted is None or not self._saved:
                raise
            return self._unnoted(accepted, error)
        finally:
            _release(lock)
        assert accepted is not None
        try:
            while self._has_more(agent_id) and time.monotonic() < ends_at:
                lock = locks.try_take(agent_id)
                if lock is None:
                    break
                try:
                    self._deliver(agent_id, lambda _: None, ends_at)
                finally:
                    _release(lock)
            return self._judge(accepted)
        except StateError as error:
            return self._unnoted(accepted, error)

    def _commit(self, change: Callable[[State], T]) -> T:
        with self.state_file.transaction() as state:
            result = change(state)
        self._saved = True
        return result

    @staticmethod
    def _unnoted(accepted: AcceptedCommand, error: StateError) -> AcceptedCommand:
        """Accepted it stays, though what came of it could not be noted: it is sent again."""
        accepted.delivered = False
        accepted.fault = Fault("state", error.message)
        return accepted

    def _deliver(self, agent_id: str, first: Callable[[State], None], ends_at: float) -> None:
        sender = OutboxSender(
            agent_id,
            self._connect,
            self._commit,
            respect_pauses=False,
            report_status=True,
            tried=self._tried,
            backend_known=self._knows_backend,
            ends_at=ends_at,
        )
        sender.deliver(first)
        self._tried = sender.tried
        self._deliveries += sender.deliveries

    def _reports_status(self, state: State) -> bool:
        """By the settings; where they don't say, by those of the last tick."""
        if "report_agent_status" in self._settings.sources:
            return self._settings.report_agent_status
        return state.report_agent_status

    def _knows_backend(self, state: State) -> bool:
        """Whether anything says where the backend is; the last tick's word stands in."""
        self._backend_url = self._settings.backend_url or state.backend_url
        if "claw_identifier" not in self._settings.sources and state.claw_identifier:
            self._claw_identifier = state.claw_identifier
        return bool(self._backend_url)

    def _connect(self) -> Bridge:
        if self._bridge is None:
            from hfcal.backend.bridge import Bridge

            self._bridge = Bridge(
                self._backend_url,
                self._claw_identifier,
                api_key=self._settings.api_key,
                timeout=self._settings.request_timeout,
            )
        return self._bridge

    def _has_more(self, agent_id: str) -> bool:
        if not self._backend_url:
            return False
        agent = self.state_file.peek().agents.get(agent_id)
        return agent is not None and has_work(agent, now(), self._tried)

    def _judge(self, accepted: AcceptedCommand) -> AcceptedCommand:
        """Whether the update that was accepted has arrived."""
        if accepted.update is None:
            return accepted
        accepted.delivered = False
        mine = [d for d in self._deliveries if d.number == accepted.update]
        if mine:
            last = mine[-1]
            accepted.delivered, accepted.refused = last.delivered, last.refused
            accepted.fault = last.fault if not last.delivered else None
            return accepted
        agent = self.state_file.peek().agents.get(accepted.agent_id, AgentState())
        waiting = next((u for u in agent.queue if u.number == accepted.update), None)
        refusal = next((r for r in agent.refused if r.update.number == accepted.update), None)
        if refusal is not None:
            accepted.refused, accepted.fault = True, Fault("rejected", refusal.error)
        elif waiting is None:
            accepted.delivered = True  # by the process that held the agent's lock
        else:
            accepted.fault = self._why_waiting(agent, waiting)
            accepted.busy = accepted.fault is None
        return accepted

    def _why_waiting(self, agent: AgentState, waiting: Update) -> Fault | None:
        if not self._backend_url:
            return Fault("config", "no backend_url is known here")
        if waiting.ref.unresolved:
            return Fault("rejected", "waits until the slot's real id is found")
        ahead = [d for d in self._deliveries if not d.delivered]
        if ahead and any(u.ref.same(waiting.ref) for u in agent.queue if u is not waiting):
            return ahead[-1].fault
        return None


def _release(lock: LockFile | None) -> None:
    if lock is not None:
        lock.release()
