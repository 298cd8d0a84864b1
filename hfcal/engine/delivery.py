"""Delivering one agent's outbox, by whoever holds that agent's lock.

The same loop serves a tick and a command: they differ in how a change is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from hfcal.clock import now
from hfcal.core.outbox import NOT_FOR_GOOD, Delivery, Result, Sending, begin, settle
from hfcal.core.records import State
from hfcal.errors import BridgeError, Fault

if TYPE_CHECKING:
    # Importing it costs as much as all the rest, so a command accepts first and connects then.
    from hfcal.backend.bridge import Bridge

T = TypeVar("T")


class Commit(Protocol):
    """Applies a change to the state and returns its result once it is on disk."""

    def __call__(self, change: Callable[[State], T]) -> T:
        """Apply and save."""


@dataclass
class OutboxSender:
    """Delivers for one agent during one pass.

    Attributes:
        agent_id: Whose outbox.
        connect: Gives the way to the backend; asked for once something is to be sent.
        commit: How changes are saved.
        respect_pauses: Whether pauses are kept to.
        report_status: Whether the backend is told the agent's status.
        tried: Numbers of updates tried in this pass.
        deliveries: What came of the tries.
        offline: Why the backend can't be reached; nothing more is sent then.
        backend_known: Whether the backend is known at all, by the state.
        ends_at: When all of it must be over, by the monotonic clock; None for no such time.
    """

    agent_id: str
    connect: Callable[[], Bridge]
    commit: Commit
    respect_pauses: bool
    report_status: bool
    tried: set[int] = field(default_factory=set)
    deliveries: list[Delivery] = field(default_factory=list)
    offline: Fault | None = None
    backend_known: Callable[[State], bool] = lambda _: True
    ends_at: float | None = None
    _told: set[str] = field(default_factory=set)

    def deliver(
        self,
        first: Callable[[State], None] = lambda _: None,
        last: Callable[[State], None] = lambda _: None,
    ) -> None:
        """Send what waits, one at a time for each slot, until nothing may be sent now.

        Args:
            first: A change that is saved together with the beginning of the first tries.
            last: A change that is saved together with what came of the last ones.
        """
        results: list[Result] = []
        posted: str | None = None
        while True:
            sendings, owed = self.commit(self._round(first, results, posted, last))
            if not sendings and owed is None:
                return
            first, posted = _nothing, None
            results = [self._send(sending) for sending in sendings]
            if owed is not None and not self.offline:
                posted = self._post_status(owed)

    def _round(
        self,
        first: Callable[[State], None],
        results: list[Result],
        posted: str | None,
        last: Callable[[State], None],
    ) -> Callable[[State], tuple[list[Sending], str | None]]:
        """Note what was sent, and begin what comes next: updates, and a status to post."""
        tried = set(self.tried)

        def change(state: State) -> tuple[list[Sending], str | None]:
            first(state)
            moment = now()
            settled = [settle(state, self.agent_id, result, moment) for result in results]
            agent = state.agent(self.agent_id)
            if posted is not None and agent.unsent_agent_status == posted:
                agent.unsent_agent_status = None
            if not self.report_status:
                agent.unsent_agent_status = None
            # A change may be applied again, so what it tells is kept apart until it is saved.
            again = set(tried)
            known = self.offline is None and self.backend_known(state)
            sendings = (
                begin(agent, moment, again, respect_pauses=self.respect_pauses) if known else []
            )
            self.tried = again
            self.deliveries = [
                d for d in self.deliveries if d.number not in {s.number for s in settled}
            ] + settled
            begun = {s.number for s in sendings}
            # The status comes after the last update of a slot, not between two.
            more = any(
                u.number not in begun
                for u in agent.queue
                if any(u.ref.same(s.ref) for s in sendings)
            )
            owed = agent.unsent_agent_status if known and not more else None
            if owed in self._told:
                owed = None
            if not sendings and owed is None:
                last(state)
            return sendings, owed

        return change

    def _send(self, sending: Sending) -> Result:
        if self.offline is None and self._out_of_time():
            self.offline = Fault("timeout", "no time was left to send it")
        if self.offline is not None:
            return Result(sending, self.offline, sent=False)
        try:
            real_id = self._bridge().update(self.agent_id, sending.ref, sending.body)
        except BridgeError as error:
            if error.fault.kind in {"unreachable", "timeout"}:
                self.offline = error.fault
            return Result(sending, error.fault)
        return Result(sending, real_id=real_id)

    def _post_status(self, status: str) -> str | None:
        """Tell the agent's status; returns it when the backend needs to be told no more."""
        self._told.add(status)
        if self._out_of_time():
            return None
        try:
            self._bridge().post_status(self.agent_id, status)
        except BridgeError as error:
            code = error.fault.http_status
            final = code is not None and 400 <= code < 500 and code not in NOT_FOR_GOOD
            return status if final else None
        return status

    def _bridge(self) -> Bridge:
        bridge = self.connect()
        if self.ends_at is not None:
            bridge.timeout = max(0.01, min(bridge.timeout, self.ends_at - time.monotonic()))
        return bridge

    def _out_of_time(self) -> bool:
        return self.ends_at is not None and time.monotonic() >= self.ends_at


def _nothing(_: State) -> None:
    """No change."""
