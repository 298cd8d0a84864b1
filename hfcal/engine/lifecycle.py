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

if TYPE_CHECKING:
    from hfcal.backend.bridge import Bridge

T = TypeVar("T")


class Lifecycle:
    """Carries out one command of an agent: accept, deliver, judge.

    Args:
        state_file: The shared state; it exists.
        settings: What of them could be read; what the last tick noted stands in for the backend.
        timeout: Seconds for all of the delivery.
    """

    def __init__(self, state_file: StateFile, settings: Settings, timeout: float) -> None:
        self.state_file = state_file
        self._settings = settings
        self._backend = _Backend(settings)
        self._ends_at = time.monotonic() + timeout
        self._accepted: AcceptedCommand | None = None
        self._saved = False
        self._lock_fault: Fault | None = None
        self._tried: set[int] = set()
        self._deliveries: list[Delivery] = []

    def run(self, command: AgentCommand) -> AcceptedCommand:
        """Accept, deliver, judge.

        Raises:
            NoActiveSlotError: The agent has no active slot.
            AmbiguousAgentError: Several agents are active and none is named.
            WrongSlotError: `slot` isn't the active one.
            StateError: It could not be saved, so it is not accepted.
        """
        agent_id = command.agent_id or find_agent(self.state_file.peek(), command.slot)
        try:
            self._accept(agent_id, command)
            while self._has_more(agent_id) and time.monotonic() < self._ends_at:
                if not self._deliver(agent_id, lambda _: None):
                    break
            assert self._accepted is not None
            return self._judge(self._accepted)
        except StateError as error:
            if self._accepted is None or not self._saved:
                raise
            # Accepted it stays, though what came of it could not be noted: it is sent again.
            self._accepted.delivered = False
            self._accepted.fault = Fault("state", error.message)
            return self._accepted

    def _accept(self, agent_id: str, command: AgentCommand) -> None:
        """Save the command; whoever holds the agent's lock sends it, here or elsewhere."""

        def accept(state: State) -> None:
            self._accepted = apply(state, agent_id, command, now())
            if not self._reports_status(state):
                state.agent(agent_id).unsent_agent_status = None

        if not self._deliver(agent_id, accept):
            self._commit(accept)

    def _deliver(self, agent_id: str, first: Callable[[State], None]) -> bool:
        """Make a change and send what waits, if the agent's lock is free; returns whether it is."""
        try:
            lock = self.state_file.agent_locks.try_take(agent_id)
        except StateError as error:  # no reason to lose an agent's word: the next tick says it too
            self._lock_fault = Fault("state", error.message)
            return False
        if lock is None:
            return False
        try:
            sender = OutboxSender(
                agent_id,
                self._backend.connect,
                self._commit,
                respect_pauses=False,
                report_status=True,
                tried=self._tried,
                backend_known=self._backend.known,
                ends_at=self._ends_at,
            )
            sender.deliver(first)
            self._tried = sender.tried
            self._deliveries += sender.deliveries
            return True
        finally:
            lock.release()

    def _commit(self, change: Callable[[State], T]) -> T:
        with self.state_file.transaction() as state:
            result = change(state)
        self._saved = True
        return result

    def _reports_status(self, state: State) -> bool:
        """By the settings; where they don't say, by those of the last tick."""
        if "report_agent_status" in self._settings.sources:
            return self._settings.report_agent_status
        return state.report_agent_status

    def _has_more(self, agent_id: str) -> bool:
        if not self._backend.url:
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
            accepted.fault = self._lock_fault or self._why_waiting(agent, waiting)
            accepted.busy = accepted.fault is None
        return accepted

    def _why_waiting(self, agent: AgentState, waiting: Update) -> Fault | None:
        if not self._backend.url:
            return Fault("config", "no backend_url is known here")
        if waiting.ref.unresolved:
            return Fault("rejected", "waits until the slot's real id is found")
        ahead = [d for d in self._deliveries if not d.delivered]
        if ahead and any(u.ref.same(waiting.ref) for u in agent.queue if u is not waiting):
            return ahead[-1].fault
        return None


class _Backend:
    """Where the backend is, by the settings; where they don't say, by the last tick's word.

    Attributes:
        url: Its URL, empty as long as nothing says where it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.backend_url
        self._settings = settings
        self._claw_identifier = settings.claw_identifier
        self._bridge: Bridge | None = None

    def known(self, state: State) -> bool:
        """Whether anything says where it is."""
        self.url = self._settings.backend_url or state.backend_url
        if "claw_identifier" not in self._settings.sources and state.claw_identifier:
            self._claw_identifier = state.claw_identifier
        return bool(self.url)

    def connect(self) -> Bridge:
        """The way there, made when it is asked for first."""
        if self._bridge is None:
            from hfcal.backend.bridge import Bridge

            self._bridge = Bridge(
                self.url,
                self._claw_identifier,
                api_key=self._settings.api_key,
                timeout=self._settings.request_timeout,
            )
        return self._bridge
