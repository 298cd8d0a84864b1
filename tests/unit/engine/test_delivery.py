"""hfcal.engine.delivery: an outbox on its way, and promises 2 to 4 under random failures."""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hfcal.clock import Moment
from hfcal.core import commands, memory, transitions
from hfcal.core.commands import AgentCommand, apply
from hfcal.core.ids import SlotRef
from hfcal.core.outbox import enqueue, learn, unresolved
from hfcal.core.protocol import Heartbeat, parse_slots
from hfcal.core.records import State, Wake
from hfcal.core.scheduler import Action, Policy, decide
from hfcal.engine import delivery, lifecycle
from hfcal.engine.delivery import OutboxSender
from hfcal.errors import BridgeError, Fault, HfcalError
from hfcal.state.codec import decode_state, encode_state
from tests.unit.support import NOON, TODAY, an_active, at, ref

T = TypeVar("T")

UNREACHABLE = Fault("unreachable", "cannot connect")
TIMEOUT = Fault("timeout", "waited 10 s", maybe_done=True)
BUSY = Fault("server_error", "answered 503", 503, maybe_done=True)
REFUSED = Fault("rejected", "answered 422", 422)
CONFLICT = Fault("rejected", "answered 409", 409)


class Disk:
    """A state that survives only as what was committed."""

    def __init__(self) -> None:
        self.content = encode_state(State(NOON))
        self.saves = 0
        self.between: Callable[[], None] = lambda: None

    def commit(self, change: Callable[[State], T]) -> T:
        """Apply a change; it is there for good once this returns, or `between` raises."""
        state = decode_state(self.content)
        result = change(state)
        self.content = encode_state(state)
        self.saves += 1
        self.between()
        return result

    @property
    def state(self) -> State:
        """What a process that starts now would read."""
        return decode_state(self.content)


@dataclass
class FakeBridge:
    """Answers in the order that a test says, and then accepts."""

    answers: list[Fault | int | None] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    timeout: float = 10.0
    look: Callable[[], None] = lambda: None

    def update(self, agent_id: str, slot: SlotRef, body: dict[str, object]) -> int | None:
        """One update."""
        self.told.append((slot.ident, str(body["status"])))
        return self._answer()

    def post_status(self, agent_id: str, status: str) -> None:
        """One agent status."""
        self.told.append(("status", status))
        self._answer()

    def _answer(self) -> int | None:
        self.look()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Fault):
            raise BridgeError(answer)
        return answer


def sender_of(disk: Disk, bridge: object, **more: Any) -> OutboxSender:
    """A sender for agent a."""
    options: dict[str, Any] = {"respect_pauses": True, "report_status": True, **more}
    return OutboxSender("a", lambda: bridge, disk.commit, **options)  # type: ignore[arg-type, return-value]


def queue(disk: Disk, *updates: tuple[SlotRef, str]) -> None:
    """Have these updates wait."""

    def change(state: State) -> None:
        for slot, status in updates:
            enqueue(state, "a", slot, status, at())

    disk.commit(change)


def waiting(disk: Disk) -> list[tuple[str, str]]:
    """What waits on disk."""
    return [(u.ref.ident, u.status) for u in disk.state.agent("a").queue]


BOTH = [(ref(1), "ongoing"), (ref(1), "finished"), (ref(2), "ongoing")]


def test_all_that_waits_is_sent_in_the_order_of_each_slot():
    """One pass sends a slot's first update, and the next one once it is accepted."""
    disk, bridge = Disk(), FakeBridge()
    queue(disk, *BOTH)
    sender = sender_of(disk, bridge)
    sender.deliver()
    assert bridge.told == [("1", "ongoing"), ("2", "ongoing"), ("1", "finished")]
    assert waiting(disk) == []
    assert [d.delivered for d in sender.deliveries] == [True] * 3


def test_each_try_is_on_disk_before_it_is_sent():
    """Whenever a process is killed, what may have been sent is known, and nothing is lost."""
    disk, bridge = Disk(), FakeBridge()
    queue(disk, *BOTH[:2])
    seen = []
    bridge.look = lambda: seen.append(
        [(u.status, u.may_have_applied) for u in disk.state.agent("a").queue]
    )
    sender_of(disk, bridge).deliver()
    assert seen == [[("ongoing", True), ("finished", False)], [("finished", True)]]


@pytest.mark.parametrize("fault", [UNREACHABLE, TIMEOUT])
def test_a_backend_that_is_away_is_asked_once(fault):
    """The rest waits without having been tried."""
    disk, bridge = Disk(), FakeBridge([fault])
    queue(disk, *BOTH)
    sender = sender_of(disk, bridge)
    sender.deliver()
    assert bridge.told == [("1", "ongoing")]
    assert waiting(disk) == [("1", "ongoing"), ("1", "finished"), ("2", "ongoing")]
    assert [u.attempts for u in disk.state.agent("a").queue] == [1, 0, 0]
    assert [u.may_have_applied for u in disk.state.agent("a").queue] == [
        fault is TIMEOUT,
        False,
        False,
    ]


def test_a_slot_in_trouble_holds_up_no_other():
    """After 503 for one slot the others are sent."""
    disk, bridge = Disk(), FakeBridge([BUSY])
    queue(disk, *BOTH)
    sender_of(disk, bridge).deliver()
    assert bridge.told == [("1", "ongoing"), ("2", "ongoing")]
    assert waiting(disk) == [("1", "ongoing"), ("1", "finished")]


def test_a_refusal_frees_what_waits_behind_it():
    """In the same pass."""
    disk, bridge = Disk(), FakeBridge([REFUSED])
    queue(disk, *BOTH[:2])
    sender = sender_of(disk, bridge)
    sender.deliver()
    assert bridge.told == [("1", "ongoing"), ("1", "finished")]
    assert [(d.delivered, d.refused) for d in sender.deliveries] == [(False, True), (True, False)]


def test_an_update_is_tried_once_in_a_pass_whatever_the_pause():
    """A command tries in spite of pauses, and once."""
    disk, bridge = Disk(), FakeBridge([BUSY, BUSY, BUSY])
    queue(disk, *BOTH[:1])
    for respect_pauses in (True, True, False):
        sender_of(disk, bridge, respect_pauses=respect_pauses).deliver()
    assert bridge.told == [("1", "ongoing")] * 2
    assert disk.state.agent("a").queue[0].attempts == 2


def test_what_is_accepted_is_saved_before_anything_is_sent():
    """The agent's word is on disk even if the process dies at its first request."""
    disk, bridge = Disk(), FakeBridge()
    seen = []
    bridge.look = lambda: seen.append(waiting(disk))

    def accept(state: State) -> None:
        enqueue(state, "a", ref(1), "finished", at())

    sender_of(disk, bridge).deliver(accept)
    assert seen[0] == [("1", "finished")]
    assert bridge.told == [("1", "finished")]


@pytest.mark.parametrize(
    "why",
    [{"offline": UNREACHABLE}, {"backend_known": lambda _: False}, {"ends_at": 0.0}],
    ids=["away", "unknown", "late"],
)
def test_what_cannot_be_sent_now_is_accepted_all_the_same(why):
    """With no backend known, none reachable, or no time left, it waits untried."""
    disk, bridge = Disk(), FakeBridge()

    def accept(state: State) -> None:
        enqueue(state, "a", ref(1), "finished", at())

    sender_of(disk, bridge, **why).deliver(accept)
    assert bridge.told == []
    assert waiting(disk) == [("1", "finished")]
    assert [(u.attempts, u.may_have_applied) for u in disk.state.agent("a").queue] == [(0, False)]


def test_requests_get_no_more_time_than_is_left():
    """A command's own limit bounds each of its requests."""
    disk, bridge = Disk(), FakeBridge()
    queue(disk, *BOTH)
    sender_of(disk, bridge, ends_at=time.monotonic() + 2).deliver()
    assert 0 < bridge.timeout <= 2


# The agent's status


def owe(disk: Disk, status: str = "idle") -> None:
    """The backend has yet to be told this agent status."""
    disk.commit(lambda state: setattr(state.agent("a"), "unsent_agent_status", status))


def test_idle_is_told_after_the_end():
    """The agent isn't idle for the backend before its slot is over."""
    disk, bridge = Disk(), FakeBridge()
    queue(disk, *BOTH[:2])
    owe(disk)
    sender_of(disk, bridge).deliver()
    assert bridge.told == [("1", "ongoing"), ("1", "finished"), ("status", "idle")]
    assert disk.state.agent("a").unsent_agent_status is None


@pytest.mark.parametrize("answer", [None, CONFLICT, REFUSED, Fault("rejected", "404", 404)])
def test_an_owed_status_is_settled_by_a_final_answer(answer):
    """2xx, 409, or another final 4xx."""
    disk, bridge = Disk(), FakeBridge([answer])
    owe(disk)
    sender_of(disk, bridge).deliver()
    assert bridge.told == [("status", "idle")]
    assert disk.state.agent("a").unsent_agent_status is None


@pytest.mark.parametrize(
    "answer",
    [
        UNREACHABLE,
        TIMEOUT,
        BUSY,
        *(Fault("x", "m", code) for code in (401, 403, 408, 425, 429)),
    ],
)
def test_an_owed_status_is_posted_again_until_then(answer):
    """Once a pass; a fault of it fails nothing else."""
    disk, bridge = Disk(), FakeBridge([answer])
    owe(disk)
    sender = sender_of(disk, bridge)
    sender.deliver()
    assert bridge.told == [("status", "idle")]
    assert disk.state.agent("a").unsent_agent_status == "idle"
    assert sender.deliveries == []
    sender_of(disk, bridge).deliver()
    assert disk.state.agent("a").unsent_agent_status is None


def test_a_newer_status_replaces_an_older_one():
    """One that is owed meanwhile isn't taken for told."""
    disk, bridge = Disk(), FakeBridge()
    owe(disk, "busy")
    bridge.look = lambda: owe(disk, "idle") if len(bridge.told) == 1 else None
    sender_of(disk, bridge).deliver()
    assert bridge.told == [("status", "busy"), ("status", "idle")]
    assert disk.state.agent("a").unsent_agent_status is None


def test_no_status_is_reported_where_that_is_turned_off():
    """report_agent_status = false tells nothing, and owes nothing later."""
    disk, bridge = Disk(), FakeBridge()
    owe(disk)
    sender_of(disk, bridge, report_status=False).deliver()
    assert bridge.told == []
    assert disk.state.agent("a").unsent_agent_status is None


# The agent's word, twice


@pytest.mark.parametrize("verb", ["complete", "abort"])
@pytest.mark.parametrize("delivered", [True, False])
def test_an_end_that_is_said_again_is_sent_once(verb, delivered):
    """Also of a slot whose uncertain wake was given up: a second ongoing would reopen it."""
    disk, bridge = Disk(), FakeBridge([] if delivered else [UNREACHABLE])
    disk.commit(lambda state: setattr(state.agent("a"), "active", an_active(woken=False)))
    disk.commit(lambda state: transitions.abort_uncertain(state, "a", at(60)))
    said = []
    for _ in range(2):
        sender_of(disk, bridge, respect_pauses=False).deliver(
            lambda state: said.append(
                apply(state, "a", AgentCommand(verb, "a", "12"), at()).already
            )
        )
    end = commands.STATUS[verb]
    assert said == [False, True]
    assert bridge.told.count(("12", end)) == 1
    assert ("12", "ongoing") not in bridge.told[bridge.told.index(("12", end)) :]
    assert waiting(disk) == []


# Promises 2, 3 and 4 under random failures


class KilledError(BaseException):
    """The process dies here; only what was committed is left."""


@dataclass
class ServerSlot:
    """A slot as a strict backend keeps it."""

    plan: int
    real: int | None
    status: str = "not_started"
    run: int = 1
    virtual: bool = False
    ended: dict[int, str] = field(default_factory=dict)
    first: dict[int, str] = field(default_factory=dict)

    @property
    def alias(self) -> str:
        """The virtual id."""
        return f"plan-{self.plan}-{TODAY}"

    def listed(self) -> dict[str, Any]:
        """As a heartbeat or a sync shows it."""
        ids = {"virtual_id": self.alias} if self.virtual else {"id": self.real}
        return {**ids, "plan_id": self.plan, "date": TODAY, "status": self.status}


class Backend:
    """A strict backend: first ongoing, then the end; a repeat is a conflict."""

    def __init__(self) -> None:
        self.timeout = 10.0
        self.slots = [ServerSlot(1, 11), ServerSlot(2, None, virtual=True), ServerSlot(3, 13)]
        self.faults: list[str] = []
        self.tells_id = True
        self.lists_running = False

    def listed(self) -> list[object]:
        """What a heartbeat lists."""
        shown = {"not_started"} | ({"ongoing", "paused"} if self.lists_running else set())
        return [slot.listed() for slot in self.slots if slot.status in shown]

    def update(self, agent_id: str, slot: SlotRef, body: dict[str, object]) -> int | None:
        """One update, with what goes wrong."""
        fault = self.faults.pop(0) if self.faults else "none"
        if fault == "killed before":
            raise KilledError
        if fault == "refused":
            raise BridgeError(UNREACHABLE)
        if fault == "lost":
            raise BridgeError(TIMEOUT)
        if fault == "busy":
            raise BridgeError(BUSY)
        real_id = self._apply(slot, str(body["status"]))
        if fault == "killed after":
            raise KilledError
        if fault == "answer lost":
            raise BridgeError(TIMEOUT)
        if fault == "busy after":
            raise BridgeError(BUSY)
        return real_id

    def post_status(self, agent_id: str, status: str) -> None:
        """Always fine."""

    def make_real(self, slot: ServerSlot) -> None:
        """Give a virtual slot its real id."""
        if slot.virtual:
            slot.virtual, slot.real = False, 10 + slot.plan

    def _apply(self, named: SlotRef, status: str) -> int | None:
        slot = self._find(named)
        if slot is None:
            raise BridgeError(Fault("rejected", "answered 404", 404))
        allowed = {
            "not_started": {"ongoing"},
            "ongoing": {"paused", "finished", "aborted"},
            "paused": {"ongoing", "finished", "aborted"},
        }
        if status not in allowed.get(slot.status, set()):
            raise BridgeError(CONFLICT)
        self.make_real(slot)
        slot.status = status
        slot.first.setdefault(slot.run, status)
        if status in {"finished", "aborted"}:
            slot.ended[slot.run] = status
        return slot.real if self.tells_id else None

    def _find(self, named: SlotRef) -> ServerSlot | None:
        if named.real:
            return next((s for s in self.slots if s.real == named.real[-1]), None)
        virtual = (s for s in self.slots if s.virtual and s.alias == named.virtual[0])
        return next(virtual, None)


FAULTS = ["none", "refused", "lost", "answer lost", "busy", "busy after"]
DEATHS = ["killed before", "killed after"]
faults = st.lists(st.sampled_from([*FAULTS, *DEATHS]), max_size=3)
outcomes = st.sampled_from(["made", "answered", "failed", *DEATHS])
numbers = st.sampled_from([0, 1, 2])
# What happens after a tick's first commits: a pass makes up to about nine.
events = st.dictionaries(
    st.integers(1, 9), st.sampled_from(["killed", "complete", "pause", "resume"]), max_size=2
)


class Host(RuleBasedStateMachine):
    """One agent's host: ticks, the agent's words, deaths, and a backend with moods of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.backend = Backend()
        self.seconds = 0.0
        self.wakes: Counter[tuple[int, int]] = Counter()
        self.deaths: Counter[tuple[int, int]] = Counter()
        self.keys: dict[tuple[int, int], set[str]] = {}
        self.woken: dict[int, str] = {}
        self.promised: dict[tuple[int, int], str] = {}
        self.clocks = [patch.object(module, "now", self.now) for module in (delivery, lifecycle)]
        for clock in self.clocks:
            clock.start()

    def teardown(self) -> None:
        """Heal the backend, and see that every promise is kept in the end."""
        try:
            self.backend.faults = []
            for _ in range(12):
                self.tick(faults=[], wake="made", hidden=False)
                self.wait(700)
            for number, slot in enumerate(self.backend.slots):
                for run in range(1, slot.run + 1):
                    promised = self.promised.get((number, run))
                    assert promised is None or slot.ended.get(run) == promised
        finally:
            for clock in self.clocks:
                clock.stop()

    def now(self) -> Moment:
        """The host's clock, which goes on a little at each look."""
        self.seconds += 0.01
        return at(self.seconds)

    @initialize(tells_id=st.booleans(), lists_running=st.booleans(), wake=outcomes)
    def begin(self, wake: str, *, tells_id: bool, lists_running: bool) -> None:
        """Some backends tell the new real id, some list what runs, some don't."""
        self.backend.tells_id, self.backend.lists_running = tells_id, lists_running
        self.tick(faults=[], wake=wake, hidden=False)

    @rule(faults=faults, wake=outcomes, hidden=st.booleans(), happens=events)
    def tick_among_others(
        self, faults: list[str], wake: str, happens: dict[int, str], *, hidden: bool
    ) -> None:
        """A pass that dies after some commit, or after which an agent's word is accepted."""
        began = self.disk.saves

        def between() -> None:
            event = happens.get(self.disk.saves - began)
            if event == "killed":
                raise KilledError
            if event in commands.STATUS and self.woken:
                self.disk.between = lambda: None
                number = max(self.woken)
                request = AgentCommand(event, "a", self.woken[number])
                with suppress(HfcalError):
                    self._hear(request, self.disk.commit)
                self.disk.between = between

        self.disk.between = between
        try:
            self.tick(faults=faults, wake=wake, hidden=hidden)
        finally:
            self.disk.between = lambda: None

    @rule(faults=faults, wake=outcomes, hidden=st.booleans())
    def tick(self, faults: list[str], wake: str, *, hidden: bool) -> None:
        """One pass of hfcal tick; `hidden` is a heartbeat that lists nothing."""
        self.backend.faults = list(faults)
        with suppress(KilledError):
            sender = sender_of(self.disk, self.backend)
            sender.deliver()
            if unresolved(self.disk.state.agent("a")):
                self.disk.commit(self._learn_all)
            asked = self.now()
            listed = Heartbeat(tuple(parse_slots([] if hidden else self.backend.listed())[0]))
            remembered = self.disk.commit(lambda state: self._reconcile(state, listed, asked))
            reason = None if remembered is None else self._wake(remembered, wake)

            def note(state: State) -> None:
                if remembered is None:
                    return
                if reason is None or not transitions.note_wake_failed(
                    state, "a", remembered.key, reason, self.now()
                ):
                    transitions.note_woken(state, "a", remembered.key, self.now())

            sender.deliver(note)
        self.backend.faults = []

    @precondition(lambda self: self.woken)
    @rule(
        data=st.data(),
        verb=st.sampled_from(["complete", "abort", "pause", "resume"]),
        named=st.booleans(),
        faults=faults,
    )
    def say(self, data: st.DataObject, verb: str, faults: list[str], *, named: bool) -> None:
        """The agent says something of a slot that it was woken for."""
        number = data.draw(st.sampled_from(sorted(self.woken)))
        self.backend.faults = list(faults)
        sender = sender_of(self.disk, self.backend, respect_pauses=False)
        with suppress(KilledError, HfcalError):
            self._hear(
                AgentCommand(verb, "a", self.woken[number] if named else None), sender.deliver
            )
        self.backend.faults = []

    @rule(seconds=st.sampled_from([5, 30, 700]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.seconds += seconds

    @rule(number=numbers)
    def become_real(self, number: int) -> None:
        """Somebody else touches a virtual slot."""
        self.backend.make_real(self.backend.slots[number])

    @rule(number=numbers)
    def reopen(self, number: int) -> None:
        """A person opens an ended slot again."""
        slot = self.backend.slots[number]
        heard = not any(self._number(u.ref) == number for u in self.disk.state.agent("a").queue)
        if slot.status in {"finished", "aborted"} and heard:
            slot.status, slot.run = "not_started", slot.run + 1
            self.woken.pop(number, None)

    @invariant()
    def nothing_is_woken_twice(self) -> None:
        """A wake that was made is made again, the same, only after a death before it was noted."""
        for run, count in self.wakes.items():
            assert count <= 1 + self.deaths[run]
            assert len(self.keys[run]) == 1

    @invariant()
    def every_run_begins_with_ongoing_and_ends_once(self) -> None:
        """No word of a run reaches the backend before its ongoing, and none is refused."""
        for slot in self.backend.slots:
            assert set(slot.first.values()) <= {"ongoing"}
        assert self.disk.state.agent("a").refused == []

    def _hear(
        self, request: AgentCommand, save: Callable[[Callable[[State], None]], object]
    ) -> None:
        """Accept the agent's word, and remember what it was promised."""

        def accept(state: State) -> None:
            active = state.agent("a").active
            named = self.woken.items() if request.slot else ()
            number = next((n for n, ident in named if ident == request.slot), None)
            if number is None and active is not None:
                number = self._number(active.ref)
            accepted = apply(state, "a", request, self.now())
            if accepted.update is not None and request.verb in {"complete", "abort"}:
                assert number is not None
                run = self.backend.slots[number].run
                self.promised.setdefault((number, run), commands.STATUS[request.verb])

        save(accept)

    def _number(self, named: SlotRef) -> int:
        aliases = [slot.alias for slot in self.backend.slots]
        return next(n for n, alias in enumerate(aliases) if alias in named.virtual)

    def _learn_all(self, state: State) -> None:
        for slot in parse_slots([s.listed() for s in self.backend.slots])[0]:
            learn(state.agent("a"), slot.ref)

    def _reconcile(self, state: State, heartbeat: Heartbeat, asked: Moment) -> Wake | None:
        moment = self.now()
        agent = state.agent("a")
        memory.note_listed(state, "a", heartbeat.slots, moment)
        decision = decide(agent, heartbeat, asked, moment, Policy())
        if decision.action is Action.DISPATCHED:
            assert decision.slot is not None
            if agent.active is not None:
                return agent.active.wake
            failed = memory.failed_wake(agent, decision.slot.ref)
            fresh = Wake(f"key-{self.seconds}", decision.slot.ident, "", "", {})
            wake = failed.wake if failed else fresh
            transitions.remember(agent, decision.slot, wake, moment)
            return wake
        if decision.lost:
            transitions.abort_uncertain(state, "a", moment)
        elif decision.action is Action.RESOLVED and decision.slot and decision.slot.status:
            transitions.resolve(state, "a", decision.slot.status, moment)
        elif decision.again:
            transitions.requeue_state(state, "a", moment)
        elif decision.action is Action.ADOPTED and decision.slot:
            transitions.adopt(state, "a", decision.slot, moment)
        elif decision.woken and agent.active and decision.slot and decision.slot.status:
            transitions.mark_woken_by_backend(agent.active, decision.slot.status, moment)
        return None

    def _wake(self, wake: Wake, outcome: str) -> str | None:
        if outcome == "killed before":
            raise KilledError
        if outcome == "failed":
            return "exited with 1"
        active = self.disk.state.agent("a").active
        assert active is not None
        number = self._number(active.ref)
        run = (number, self.backend.slots[number].run)
        self.woken[number] = wake.slot
        self.wakes[run] += 1
        self.keys.setdefault(run, set()).add(wake.key)
        if outcome == "killed after":
            self.deaths[run] += 1
            raise KilledError
        if outcome == "answered":  # while the wake still runs
            self._hear(AgentCommand("complete", "a", wake.slot), self.disk.commit)
        return None


def test_every_accepted_word_arrives_in_order_whatever_fails_or_dies():
    """Promises 2, 3 and 4 with lost answers, outages, deaths and a server that changes its mind."""
    run_state_machine_as_test(
        Host,
        settings=settings(
            max_examples=100,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
