"""One pass over every agent: deliver what is queued, heartbeat, reconcile, choose, wake, mark.

This thread owns the state and applies what workers hand in; each agent's own course is in
`agent_pass`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from hfcal import __version__
from hfcal.backend.breaker import Breaker
from hfcal.backend.bridge import Bridge, make_bridge
from hfcal.backend.pool import Workers
from hfcal.clock import now, zone_of
from hfcal.config.risks import RISKS, risks_of
from hfcal.config.settings import Settings
from hfcal.core import memory, sync, transitions
from hfcal.core.health import hold_in_force
from hfcal.core.notices import Notice
from hfcal.core.outbox import has_work
from hfcal.core.protocol import Slot
from hfcal.core.records import State, Trouble
from hfcal.core.report import Progress, TickReport
from hfcal.core.scheduler import WAKES_UNTIL, Action, Policy
from hfcal.engine.agent_pass import AgentPass
from hfcal.engine.context import Pass
from hfcal.engine.permits import WakePermits
from hfcal.errors import (
    NOT_ASKED,
    BridgeError,
    Fault,
    InterruptedByUserError,
    StateError,
    docs_link,
)
from hfcal.state.commit import GroupCommit
from hfcal.state.file import StateFile
from hfcal.wake.message import Commands
from hfcal.wake.wakers import Wakers

STOP_PATIENCE = 5.0  # seconds that a tick which is to stop waits for what is under way


class Tick:
    """One pass over every agent.

    Args:
        settings: With agents and backend.
        state_file: The shared state.
        wakers: How agents are woken.
        commands: How agents call back.
        workers: Threads for requests, which outlive this tick.
        wakes: How many agents it may wake at once; fewer than `[wake] parallel` while those of
            an earlier tick are under way.

    Attributes:
        file: The state file.
    """

    def __init__(
        self,
        settings: Settings,
        state_file: StateFile,
        wakers: Wakers,
        commands: Commands,
        workers: Workers,
        wakes: int,
    ) -> None:
        self.settings = settings
        self.wakers = wakers
        self.commands = commands
        self.commit = GroupCommit(state_file, settings.concurrency)
        self.locks = state_file.agent_locks
        self.breaker = Breaker()
        self.permits = WakePermits(wakes, lambda: self.commit.gap)
        self.stopping = False  # no new agents are taken
        self.wakes_ended = False  # no new wakes are started
        self.adopted: set[str] = set()  # by a sync, before their own heartbeats
        self.hurry = threading.Event()
        self.file = state_file
        self._workers = workers
        self._wakes = wakes
        self._wake_workers = Workers(wakes, lambda: make_bridge(settings))
        self._running: set[Pass] = set()
        self._passes: list[AgentPass] = []
        self._released: dict[str, set[int]] = {}
        self._zone = zone_of(settings.calendar_timezone)
        self._started = time.monotonic()
        self._number = 0
        self._stop_by: float | None = None
        self._signal: int | None = None
        self._error: Exception | None = None
        self._sync_asked = False
        self._sync_pending = False
        self._first_news: list[Notice] = []
        self._news: list[Notice] = []

    def run(self) -> TickReport:
        """Do it.

        Raises:
            StateError: The state can't be read or saved; what was under way is decided by the next
                tick.
            InterruptedByUserError: The same, and a signal had told it to stop.
        """
        report = TickReport(now().wall, self.settings.claw_identifier)
        try:
            self._run()
        except StateError as error:
            if self._signal is None:
                raise
            raise InterruptedByUserError(self._signal) from error
        finally:
            # What is still under way on workers ends by itself and lets go of its agent.
            self.stopping = self.wakes_ended = True
            self.commit.close(StateError("the tick is over"))
            self._wake_workers.close()
        report.seconds = time.monotonic() - self._started
        by_id = {p.agent_id: p.report for p in self._passes if p.asks}
        report.agents = [by_id[a] for a in self.settings.agents if a in by_id]
        report.news = self._first_news + self._news
        for agent_pass in self._passes:
            report.news += agent_pass.all_news()
            if agent_pass.sender is not None:
                report.deliveries += agent_pass.sender.deliveries
        queues = [agent.queue for agent in self.file.peek().agents.values()]
        report.queued = sum(map(len, queues))
        report.at_fault = sum(1 for queue in queues for update in queue if update.error)
        report.interrupted = self._signal
        for agent_pass in self._passes:
            if not agent_pass.closed and not agent_pass.report.reason:
                agent_pass.report.reason = "stopped before it was done"
        return report

    def stop(self, signal_number: int) -> None:
        """Take no new agents, end the wake commands, all within 5 s; called by a signal handler."""
        self._stop_by = self.file.give_up_at = time.monotonic() + STOP_PATIENCE
        self.stopping = True
        self.end_wakes(signal_number)
        self.hurry.set()
        alarm = threading.Timer(STOP_PATIENCE, self.commit.recheck)
        alarm.daemon = True
        alarm.start()
        self.commit.recheck()

    def end_wakes(self, signal_number: int) -> None:
        """Start no more wakes, and do all else; called by a signal handler."""
        self.wakes_ended = True
        self._signal = signal_number

    def note(self, state: State) -> None:
        """Count this tick, and how long it has taken so far (with a heartbeat's own change)."""
        state.ticks = max(state.ticks, self._number)
        state.tick_seconds = round(time.monotonic() - self._started, 3)

    def progress(self) -> Progress:
        """How far it is; any thread may ask."""
        over = [p.report for p in self._passes if p.asks and p.closed]
        return Progress(
            agents=len(self.settings.agents),
            done=len(over),
            failing=sum(1 for report in over if not report.ok),
            dispatched=sum(1 for report in over if report.action is Action.DISPATCHED),
        )

    @property
    def heartbeats_done(self) -> bool:
        """Whether each agent had its heartbeat, so that the next tick need not wait for this one.

        What is left are wakes and deliveries, under the locks of their agents; any thread may ask.
        """
        passes = self._passes
        asked = bool(passes) and not self._sync_pending
        return asked and all(p.heartbeat_saved or p.closed for p in passes if p.asks)

    def policy(self) -> Policy:
        """What decisions need to know of the settings and the time left."""
        no_wake = ""
        if self.wakes_ended or time.monotonic() - self._started >= WAKES_UNTIL:
            no_wake = "no time left in this tick"
        elif self._wakes < 1:
            no_wake = "as many wakes as may be are under way"
        return Policy(self.settings.due_check, self._zone, no_wake)

    def has_work(self, agent_id: str) -> bool:
        """Whether the agent's outbox, or its owed status, is worth a look under its lock.

        Cheap while nobody else writes: else the answer is yes, and the look decides.
        """
        state = self.file.known()
        if state is None:
            return True
        agent = state.agents.get(agent_id)
        return agent is not None and (
            has_work(agent, now(), set()) or agent.unsent_agent_status is not None
        )

    def submit(self, agent_pass: Pass, job: Callable[[Bridge], None]) -> None:
        """Have a worker do a part of an agent's pass."""
        self._submit(self._workers, partial(self._guarded, agent_pass, job))

    def submit_wake(self, agent_pass: Pass, job: Callable[[Bridge], None]) -> None:
        """Have a wake worker do a part of an agent's pass."""
        self._submit(self._wake_workers, partial(self._guarded, agent_pass, job))

    def ended(self, agent_pass: Pass) -> None:
        """The pass is over and its lock released (owner thread)."""
        self._running.discard(agent_pass)
        self._released[agent_pass.agent_id] = agent_pass.tried

    def _run(self) -> None:
        self.commit.later(self._prepare, lambda _: None, self._give_up)
        if self._ask_first():
            self._submit_sync()
        self._work(lambda: bool(self._passes) and not self._sync_pending)
        for agent_pass in self._passes:
            self._start(agent_pass)
        if self._sync_is_due():
            self._submit_sync()
        self._work(lambda: not self._running and not self._sync_pending)
        state = self.file.peek()
        if not self._sync_asked and sync.id_missing(state, now().wall):
            self._submit_sync()
            self._work(lambda: not self._sync_pending)
        # Whoever found a lock taken left its update to the holder: look once more.
        self._send_left_overs(self.file.peek())
        self._work(lambda: not self._running)
        agents = self.file.peek().agents
        self.wakers.tidy(a for a in self.settings.agents if a in agents and agents[a].active)

    def _ask_first(self) -> bool:
        """Whether `/calendar/sync` has to be asked before anything else."""
        return not self.file.exists() or sync.comes_first(self.file.peek(), now().wall)

    def _prepare(self, state: State) -> None:
        """The first change: whom to expect, what ended by itself, who is asked in which order."""
        settings = self.settings
        moment = now()
        state.backend_url = settings.backend_url
        state.claw_identifier = settings.claw_identifier
        state.version = __version__
        state.heartbeat_every = settings.heartbeat_interval
        state.report_agent_status = settings.report_agent_status
        self._number = state.ticks + 1
        state.configured = _configured(settings, state)
        self._first_news = []
        for agent_id, agent in state.agents.items():
            ending = transitions.abandon_if_overdue(state, agent_id, settings.abandon_after, moment)
            if ending is not None:
                reason = state.history[-1].reason
                self._first_news.append(
                    Notice(agent_id, f"slot {ending.ident} {reason}", docs_link("abandoned"))
                )
            agent.hold = hold_in_force(agent, moment)
        self._warn(state, moment.wall)
        memory.trim_history(state, settings.history_cap)
        others = [
            agent_id
            for agent_id, agent in state.agents.items()
            if agent_id not in settings.agents and (agent.queue or agent.unsent_agent_status)
        ]
        # Who waited in vain comes last; who was not even asked doesn't.
        timed_out = {
            agent_id
            for agent_id, agent in state.agents.items()
            if agent.error_kind == "timeout" and not agent.error.endswith(NOT_ASKED)
        }
        order = sorted(settings.agents, key=lambda a: a in timed_out)
        self._passes = [AgentPass(self, a, asks=True) for a in order]
        self._passes += [AgentPass(self, a, asks=False) for a in others]

    def _warn(self, state: State, wall: float) -> None:
        """Warn of what is risky here; each is said once, and again after it was fixed."""
        risks = {risk.about: risk for risk in risks_of(self.settings, self.file.path)}
        for about in RISKS:
            risk, known = risks.get(about), state.troubles.get(about)
            if risk is None:
                state.troubles.pop(about, None)
            elif known is None or known.kind != risk.kind:
                state.troubles[about] = Trouble(risk.kind, risk.message, wall, wall)
                self._first_news.append(Notice("", risk.message, f"docs/doctor.md#{risk.code}"))

    def _sync_is_due(self) -> bool:
        return not self._sync_asked and sync.is_due(self.file.peek(), now().wall)

    def _start(self, agent_pass: AgentPass) -> None:
        self._running.add(agent_pass)
        self.submit(agent_pass, agent_pass.begin)

    def _work(self, done: Callable[[], bool]) -> None:
        """Apply and save what is handed in until `done()`, or until it is time to stop."""

        def enough() -> bool:
            late = self._stop_by is not None and time.monotonic() >= self._stop_by
            if self._failed() is None:
                return done() or late
            self.stopping = self.wakes_ended = True
            # What is under way is noted if that can be, or it would be done twice.
            return late or not (self._running and self.commit.busy)

        self.commit.run(enough, self._send_left_overs)
        failed = self._failed()
        if failed is not None:
            raise failed

    def _give_up(self, error: BaseException) -> None:
        """Without the first change there is no tick."""
        if isinstance(error, Exception):
            self._error = self._error or error

    def _failed(self) -> Exception | None:
        return self.commit.error or self._error

    def _send_left_overs(self, state: State) -> None:
        """Deliver what others queued while the agent's lock was held here."""
        if self.breaker.fault is not None:
            return
        moment = now()
        for agent_id, tried in list(self._released.items()):
            agent = state.agents.get(agent_id)
            if agent is None or self.stopping or not has_work(agent, moment, tried):
                continue
            del self._released[agent_id]
            more = AgentPass(self, agent_id, asks=False, tried=tried)
            self._passes.append(more)
            self._start(more)

    def _submit(self, workers: Workers, job: Callable[[Bridge], None]) -> None:
        def counted(bridge: Bridge) -> None:
            try:
                job(bridge)
            finally:
                self.commit.stop_work()
                self.commit.recheck()

        self.commit.start_work()
        workers.submit(counted)

    def _guarded(self, agent_pass: Pass, job: Callable[[Bridge], None], bridge: Bridge) -> None:
        try:
            job(bridge)
        except StateError as error:
            self._error = self._error or error
            agent_pass.release_lock()
        except Exception as error:  # one agent's bug is not another's
            agent_pass.fail(error)

    def _submit_sync(self) -> None:
        self._sync_asked = self._sync_pending = True
        self._submit(self._workers, self._ask_sync)

    def _ask_sync(self, bridge: Bridge) -> None:
        change: Callable[[State], None]
        try:
            schedules = self.breaker.call(bridge.sync)
        except BridgeError as error:
            change = partial(_note_no_sync, fault=error.fault)
        except Exception as error:  # a bug; the heartbeats go on without
            self.commit.call(partial(self._sync_failed, error), self._sync_failed)
            return
        else:
            change = partial(self._take_over, schedules=schedules)
        self.commit.later(change, self._sync_ended, self._sync_failed)

    def _sync_ended(self, _: None) -> None:
        self._sync_pending = False

    def _sync_failed(self, error: BaseException) -> None:
        """A bug at a sync is reported; a save that failed ends the tick by itself."""
        self._sync_pending = False
        if isinstance(error, Exception) and not isinstance(error, StateError):
            message = f"a bug in hfcal, at /calendar/sync: {error!r}"
            self._news.append(Notice("", message, docs_link("internal")))

    def _take_over(self, state: State, schedules: dict[str, list[Slot]]) -> None:
        ours = {*state.agents, *self.settings.agents}
        listed = {a: found for a, found in schedules.items() if a in ours}
        adopted, news = sync.take_over(state, listed, now())
        self.adopted.update(adopted)
        self._news += news


def _configured(settings: Settings, state: State) -> list[str]:
    """Whose heartbeats are to be expected; a tick for single agents doesn't end the others'."""
    if settings.sources.get("agents") != "option":
        return list(settings.agents)
    return list(dict.fromkeys([*state.configured, *settings.agents]))


def _note_no_sync(state: State, fault: Fault) -> None:
    sync.note_failed(state, fault, now().wall)
