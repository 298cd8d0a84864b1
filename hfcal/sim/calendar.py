"""The calendar: agents, slots and the rules of docs/protocol.md, without HTTP.

Its one lock is reentrant and open to callers: who wants to look, act and note as one step
holds `calendar.lock` around all of it.
"""

import itertools
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from hfcal.sim.clock import SimClock
from hfcal.sim.scenario import AgentSpec, Scenario, ScenarioError, SlotSpec
from hfcal.sim.slots import StoredSlot
from hfcal.sim.words import RUNNING, TAKEN_WHEN_LOCKED, TERMINAL

OFFLINE_AFTER = timedelta(seconds=120)


class RefusalError(Exception):
    """The backend answers with this status and `detail`, and nothing has changed."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail


@dataclass(slots=True)
class Agent:
    """An agent of the claw.

    Attributes:
        last_seen: from when its silence counts: its last heartbeat, or when it was added.
        last_heartbeat: None before its first.
    """

    agent_id: str
    bound: bool
    status: str
    last_seen: datetime
    last_heartbeat: datetime | None = None


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """The body of an agent update; `started_at` is `HH:MM:SS`, `actual_duration` minutes."""

    status: str
    started_at: str | None = None
    actual_duration: int | None = None


class Calendar:
    """The backend's memory and rules. Safe to use from any thread.

    Raises:
        ScenarioError: when two of the scenario's slots have the same id or virtual id.
    """

    def __init__(self, scenario: Scenario, clock: SimClock) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.claw_identifier = scenario.claw_identifier
        self.switches = scenario.switches
        self._agents: dict[str, Agent] = {}
        self._slots: dict[str, list[StoredSlot]] = {}
        self._by_id: dict[int, StoredSlot] = {}
        self._by_virtual_id: dict[str, StoredSlot] = {}
        self._new_ids = itertools.count(1)
        for agent in scenario.agents:
            self.put_agent(agent)
        self.add_slots(scenario.slots)

    # What agents ask, each under docs/protocol.md's heading of that name.

    def heartbeat(self, agent_id: str, claw: str) -> tuple[list[StoredSlot], str]:
        """Stamp the agent alive; return its listed slots and its status (Heartbeat)."""
        with self.lock:
            agent = self._agent(agent_id, claw)
            agent.last_seen = agent.last_heartbeat = self.clock.now()
            if agent.status == "offline":
                agent.status = "idle"
            return [slot for slot in self._of_today(agent_id) if self._listed(slot)], agent.status

    def update(
        self, agent_id: str, claw: str, ident: int | str, update: UpdateRequest
    ) -> StoredSlot:
        """Apply an agent's update to the slot with this id or virtual id (Updates).

        Repeating the status of a slot changes none of its values.
        """
        with self.lock:
            self._agent(agent_id, claw)
            slot = self._present(agent_id, ident)
            self._check(slot, update.status)
            if slot.virtual_id is not None:
                self._make_real(slot)
            if slot.spec.status != update.status:
                started = update.started_at or slot.spec.started_at
                slot.spec = replace(
                    slot.spec,
                    status=update.status,
                    started_at=started,
                    attended=slot.spec.attended or update.status == "ongoing",
                    actual_duration=update.actual_duration or slot.spec.actual_duration,
                )
            return slot

    def agent_status(self, agent_id: str, claw: str) -> str:
        """Return the agent's status (Agent status)."""
        with self.lock:
            return self._agent(agent_id, claw).status

    def set_agent_status(self, agent_id: str, claw: str, status: str) -> bool:
        """Change the agent's status; return whether it is another one (Agent status)."""
        with self.lock:
            agent = self._agent(agent_id, claw)
            if agent.status == status:
                return False
            if status in ("busy", "on_call") and agent.status != "idle":
                raise RefusalError(
                    409, f"Agent {agent_id} is {agent.status}; expected one of [idle]"
                )
            agent.status = status
            return True

    def sync(self, claw: str) -> dict[str, list[StoredSlot]]:
        """Make today's admin-made slots; return today's slots by agent (Sync).

        Another claw has no bound agents, so its answer is empty.
        """
        with self.lock:
            if claw != self.claw_identifier:
                return {}
            today = self.clock.now().date()
            for slot in self.slots():
                if slot.day == today:
                    slot.made = True
            pending_only = self.switches.sync == "pending"
            return {
                agent.agent_id: [
                    slot
                    for slot in self._of_today(agent.agent_id)
                    if slot.pending or not pending_only
                ]
                for agent in self._agents.values()
                if agent.bound
            }

    # What the control endpoints do.

    def agents(self) -> list[Agent]:
        """Return all agents, with those that have fallen silent set offline."""
        with self.lock:
            for agent in self._agents.values():
                self._notice_silence(agent)
            return list(self._agents.values())

    def slots(self) -> list[StoredSlot]:
        """Return all slots, also those that no sync has brought out yet."""
        with self.lock:
            return [slot for slots in self._slots.values() for slot in slots]

    def find(self, ident: int | str) -> StoredSlot | None:
        """Return the slot that has, or once had, this id or virtual id."""
        with self.lock:
            if isinstance(ident, int):
                return self._by_id.get(ident)
            return self._by_virtual_id.get(ident)

    def put_agent(self, spec: AgentSpec) -> None:
        """Add an agent, or change the one that is there."""
        with self.lock:
            agent = self._agents.get(spec.agent_id)
            if agent is None:
                now = self.clock.now()
                agent = Agent(spec.agent_id, spec.bound, spec.status or "idle", now)
                self._agents[spec.agent_id] = agent
                self._slots[spec.agent_id] = []
            agent.bound = spec.bound
            agent.status = spec.status or agent.status

    def add_slots(self, specs: Iterable[SlotSpec]) -> list[StoredSlot]:
        """Add slots, all or none.

        Raises:
            ScenarioError: when an id or a virtual id is taken, now or in the past.
        """
        with self.lock:
            today = self.clock.now().date()
            new = [_new_slot(spec, spec.day or today) for spec in specs]
            ids, virtual_ids = set(self._by_id), set(self._by_virtual_id)
            for slot in new:
                if slot.spec.id in ids or slot.virtual_id in virtual_ids:
                    raise ScenarioError(
                        f"slots: {slot.spec.id or slot.virtual_id} is taken by another slot"
                    )
                if slot.spec.id is not None:
                    ids.add(slot.spec.id)
                if slot.virtual_id is not None:
                    virtual_ids.add(slot.virtual_id)
            for slot in new:
                self._slots[slot.spec.agent].append(slot)
                if slot.spec.id is not None:
                    self._by_id[slot.spec.id] = slot
                if slot.virtual_id is not None:
                    self._by_virtual_id[slot.virtual_id] = slot
            for slot in new:
                if slot.spec.id is None and slot.virtual_id is None:
                    self._give_id(slot)
            return new

    def change_slot(self, slot: StoredSlot, spec: SlotSpec) -> None:
        """Give a slot other values, as a person does on the server; bound by no rule.

        A virtual slot whose new values say `virtual` false becomes real.
        """
        with self.lock:
            if slot.virtual_id is not None and not spec.virtual:
                self._make_real(slot)
            slot.spec = replace(spec, id=slot.spec.id, virtual=slot.virtual_id is not None)
            slot.day = spec.day or slot.day

    def remove_slot(self, slot: StoredSlot) -> None:
        """Take a slot out for good; its ids answer 404 and are never given out again."""
        with self.lock:
            self._slots[slot.spec.agent].remove(slot)
            slot.made = False

    # The rules.

    def _agent(self, agent_id: str, claw: str) -> Agent:
        agent = self._agents.get(agent_id)
        if agent is None or not agent.bound or claw != self.claw_identifier:
            raise RefusalError(404, "Agent not found")
        self._notice_silence(agent)
        return agent

    def _notice_silence(self, agent: Agent) -> None:
        if self.clock.now() - agent.last_seen > OFFLINE_AFTER:
            agent.status = "offline"

    def _of_today(self, agent_id: str) -> list[StoredSlot]:
        today = self.clock.now().date()
        slots = [slot for slot in self._slots[agent_id] if slot.made and slot.day == today]
        return sorted(slots, key=lambda slot: -slot.spec.priority)

    def _listed(self, slot: StoredSlot) -> bool:
        if slot.spec.status == "ongoing":
            return self.switches.lists_ongoing
        if self.switches.lists == "due" and slot.spec.scheduled_at > f"{self.clock.now():%H:%M:%S}":
            return False
        return slot.pending

    def _present(self, agent_id: str, ident: int | str) -> StoredSlot:
        slot = self.find(ident)
        if (
            slot is None
            or not slot.made
            or slot.spec.agent != agent_id
            or (isinstance(ident, str) and slot.virtual_id != ident)
        ):
            raise RefusalError(404, "Slot not found")
        return slot

    def _check(self, slot: StoredSlot, status: str) -> None:
        present = slot.spec.status
        if slot.day < self.clock.now().date() and not self.switches.updates_past_days:
            raise RefusalError(422, "Slots of past days can't be updated")
        locked = slot.spec.is_admin_locked and not self.switches.older_backend
        if locked and status not in TAKEN_WHEN_LOCKED:
            raise RefusalError(
                423, f"Slot is locked by an admin; it does not take the status {status}"
            )
        if status == present:
            if self.switches.repeat == "conflict":
                raise RefusalError(409, f"Slot is already {present}")
        elif present in TERMINAL:
            raise RefusalError(409, f"Slot is {present}, which is final")
        elif (
            self.switches.finish_from == "ongoing"
            and status == "finished"
            and present not in RUNNING
        ):
            raise RefusalError(409, f"Slot is {present}; expected one of [ongoing, paused]")

    def _make_real(self, slot: StoredSlot) -> None:
        slot.former_virtual_id, slot.virtual_id = slot.virtual_id, None
        self._give_id(slot)

    def _give_id(self, slot: StoredSlot) -> None:
        new_id = next(number for number in self._new_ids if number not in self._by_id)
        slot.spec = replace(slot.spec, id=new_id, virtual=False)
        self._by_id[new_id] = slot


def _new_slot(spec: SlotSpec, day: date) -> StoredSlot:
    virtual_id = f"plan-{spec.plan_id}-{day}" if spec.virtual else None
    return StoredSlot(spec, day, virtual_id, made=not spec.admin_made)
