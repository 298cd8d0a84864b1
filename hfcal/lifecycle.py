"""complete, abort, pause, resume: accept an agent's word, queue it, deliver it if that can be now.

Accepted means on disk: nothing after that takes it back (docs/contract.md, promise 2).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hfcal import slots
from hfcal.clock import now, rfc3339
from hfcal.delivery import Courier
from hfcal.errors import (
    AmbiguousAgentError,
    Fault,
    NoActiveSlotError,
    StateError,
    WrongSlotError,
)
from hfcal.ids import SlotRef
from hfcal.outbox import Delivery, has_work, refused_before
from hfcal.settings import Settings
from hfcal.slots import Word
from hfcal.state.file import StateFile
from hfcal.state.locks import LockFile
from hfcal.state.records import AgentState, Ended, State, Update

if TYPE_CHECKING:
    from hfcal.bridge import Bridge

T = TypeVar("T")

YOUNG = 86_400.0  # seconds that a new state may not know what ran before it
STATUS = {"complete": "finished", "abort": "aborted", "pause": "paused", "resume": "ongoing"}


@dataclass(frozen=True)
class Request:
    """What an agent says.

    Attributes:
        verb: `complete`, `abort`, `pause` or `resume`.
        agent_id: Which agent says it, None for the only active one.
        slot: The slot's ident, to guard against ending another one.
        minutes: How long it took, by the agent's word.
        reason: Why, for the history.
        summary: What was done.
    """

    verb: str
    agent_id: str | None = None
    slot: str | None = None
    minutes: int | None = None
    reason: str = ""
    summary: str = ""


@dataclass
class Accepted:
    """What came of it.

    Attributes:
        agent_id: The agent.
        slot: The ident that the caller used, else the present one.
        status: The status told to the backend.
        duration: The `actual_duration` told.
        already: It had been said before; nothing is sent.
        update: The number of the queued update; None when nothing is sent.
        delivered: The backend has it.
        refused: The backend refused it for good.
        fault: Why it isn't delivered.
        busy: Another process speaks for the agent and sends it.
    """

    agent_id: str
    slot: str
    status: str
    duration: int | None = None
    already: bool = False
    update: int | None = None
    delivered: bool = False
    refused: bool = False
    fault: Fault | None = None
    busy: bool = False


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

    def run(self, request: Request) -> Accepted:
        """Accept, queue, deliver.

        Raises:
            NoActiveSlotError: The agent has no active slot.
            AmbiguousAgentError: Several agents are active and none is named.
            WrongSlotError: `slot` isn't the active one.
            StateError: It could not be saved, so it is not accepted.
        """
        ends_at = time.monotonic() + self._timeout
        agent_id = request.agent_id or _whose(self.state_file.peek(), request.slot)
        locks = self.state_file.agent_locks
        lock = locks.try_take(agent_id)
        accepted: Accepted | None = None

        def accept(state: State) -> None:
            nonlocal accepted
            accepted = _accept(state, agent_id, request)
            if not self._reports_status(state):
                state.agent(agent_id).status_owed = None

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
    def _unnoted(accepted: Accepted, error: StateError) -> Accepted:
        """Accepted it stays, though what came of it could not be noted: it is sent again."""
        accepted.delivered = False
        accepted.fault = Fault("state", error.message)
        return accepted

    def _deliver(self, agent_id: str, first: Callable[[State], None], ends_at: float) -> None:
        courier = Courier(
            agent_id,
            self._connect,
            self._commit,
            patient=False,
            report_status=True,
            tried=self._tried,
            able=self._knows_backend,
            ends_at=ends_at,
        )
        courier.deliver(first)
        self._tried = courier.tried
        self._deliveries += courier.deliveries

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
            from hfcal.bridge import Bridge

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

    def _judge(self, accepted: Accepted) -> Accepted:
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


def _whose(state: State, ident: str | None) -> str:
    """The only agent with an active slot; but whose slot ended as named, repeats itself."""
    said = [
        agent_id
        for agent_id, agent in state.agents.items()
        if ident and any(ended.ref.named(ident) for ended in agent.ended)
    ]
    if len(said) == 1 and not any(
        agent.active is not None and agent.active.ref.named(ident or "")
        for agent in state.agents.values()
    ):
        return said[0]
    active = [agent_id for agent_id, agent in state.agents.items() if agent.active is not None]
    if len(active) == 1:
        return active[0]
    if not active:
        raise NoActiveSlotError(
            "no agent has an active slot; name the agent with --agent if its slot ended already"
        )
    listed = ", ".join(
        f"{agent_id} (slot {agent.active.ref.ident})"
        for agent_id, agent in state.agents.items()
        if agent.active is not None
    )
    raise AmbiguousAgentError(
        f"several agents have an active slot: {listed}; say which with --agent or HFCAL_AGENT_ID"
    )


def _accept(state: State, agent_id: str, request: Request) -> Accepted:
    """Take the agent's word into the state, or raise what is wrong with it."""
    agent = state.agents.get(agent_id, AgentState())
    active = agent.active
    if active is not None and (request.slot is None or active.ref.named(request.slot)):
        if request.verb in {"complete", "abort"}:
            return _ended(
                request, agent_id, slots.end_active(state, agent_id, _word(request), now())
            )
        return _paused_or_resumed(state, agent_id, request, active.ref)
    if request.slot is not None and request.verb in {"complete", "abort"}:
        accepted = _accept_other(state, agent_id, agent, request, request.slot)
        if accepted is not None:
            return accepted
    raise _not_active(state, agent_id, agent, request)


def _accept_other(
    state: State, agent_id: str, agent: AgentState, request: Request, ident: str
) -> Accepted | None:
    """The end of a slot that isn't active: true all the same, or known already."""
    failed = next((f for f in agent.failed if f.ref.named(ident)), None)
    if failed is not None:
        ref = failed.ref
        word = _word(request)
        return _ended(
            request, agent_id, slots.end_other(state, agent_id, ref, word, now(), announce=True)
        )
    ended = next((e for e in agent.ended if e.ref.named(ident)), None)
    if ended is not None and ended.uncertain:
        ref, word = ended.ref, _word(request)
        return _ended(
            request, agent_id, slots.end_other(state, agent_id, ref, word, now(), announce=True)
        )
    if ended is not None:
        return _said_before(agent, agent_id, ended, request)
    for other, theirs in state.agents.items():
        if other != agent_id and _knows(theirs, ident):
            raise WrongSlotError(
                f"slot {ident} is agent {other}'s, not {agent_id}'s; nothing was changed"
            )
    young = 0 <= now().wall - state.created < YOUNG
    if request.verb != "complete" or not young or request.agent_id is None:
        return None
    try:
        ref = SlotRef.from_ident(ident)
    except ValueError:
        return None
    word = Word("finished", request.minutes, "not known here; by the agent's word", request.summary)
    return _ended(
        request, agent_id, slots.end_other(state, agent_id, ref, word, now(), announce=False)
    )


def _knows(agent: AgentState, ident: str) -> bool:
    """Whether the agent is, or was, at this slot, by any id that it has had."""
    refs = [update.ref for update in agent.queue] + [failed.ref for failed in agent.failed]
    refs += [ended.ref for ended in agent.ended]
    if agent.active is not None:
        refs.append(agent.active.ref)
    return any(ref.named(ident) for ref in refs)


def _said_before(
    agent: AgentState, agent_id: str, ended: Ended, request: Request
) -> Accepted | None:
    if ended.status != STATUS[request.verb]:
        return None
    said = _already(agent, agent_id, ended.ref, request)
    said.duration = ended.duration
    if said.delivered and ended.accepted is None:
        said.delivered = False
        said.fault = Fault("undelivered", "it was dropped by hand, so the backend is never told")
    return said


def _already(agent: AgentState, agent_id: str, ref: SlotRef, request: Request) -> Accepted:
    """What became of the same word, said before: it waits, was refused, or arrived."""
    status = STATUS[request.verb]
    refusal = refused_before(agent, ref, status)
    said = [u.number for u in agent.queue if u.ref.same(ref) and u.status == status]
    return Accepted(
        agent_id,
        request.slot or ref.ident,
        status,
        already=True,
        update=said[-1] if said else None,
        delivered=not said and refusal is None,
        refused=refusal is not None,
        fault=Fault("rejected", refusal.error) if refusal else None,
    )


def _paused_or_resumed(state: State, agent_id: str, request: Request, ref: SlotRef) -> Accepted:
    agent = state.agent(agent_id)
    change = slots.pause if request.verb == "pause" else slots.resume
    update = change(state, agent_id, now(), request.reason)
    if update is None:
        return _already(agent, agent_id, ref, request)
    return Accepted(agent_id, request.slot or ref.ident, STATUS[request.verb], update=update.number)


def _ended(request: Request, agent_id: str, ending: slots.Ending) -> Accepted:
    return Accepted(
        agent_id,
        request.slot or ending.ident,
        ending.status,
        ending.duration,
        update=ending.update,
    )


def _word(request: Request) -> Word:
    return Word(STATUS[request.verb], request.minutes, request.reason, request.summary)


def _not_active(
    state: State, agent_id: str, agent: AgentState, request: Request
) -> NoActiveSlotError | WrongSlotError:
    active = agent.active
    ended = next((e for e in agent.ended if request.slot and e.ref.named(request.slot)), None)
    past = f"; {request.slot} {ended.status} here at {rfc3339(ended.at)}" if ended else ""
    if active is not None:
        return WrongSlotError(
            f"agent {agent_id} is at slot {active.ref.ident}, not at {request.slot}{past}; "
            f"nothing was changed"
        )
    others = [a for a, s in state.agents.items() if s.active is not None]
    hint = f"; active now: {', '.join(others)}" if others else ""
    if not past and not others:
        hint = "; hfcal status shows what there is"
    return NoActiveSlotError(f"agent {agent_id} has no active slot{past}{hint}")


def _release(lock: LockFile | None) -> None:
    if lock is not None:
        lock.release()
