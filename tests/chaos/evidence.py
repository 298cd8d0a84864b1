"""What is known of a chaos run when it is over: the journal, the wakes, the agents' words."""

from __future__ import annotations

import signal
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from hfcal.sim.journal import Entry
from hfcal.sim.server import Simulator
from tests.chaos.host import VERBS, Host, Ran


@dataclass(frozen=True)
class Word:
    """Something that an agent said, or tried to say.

    Attributes:
        place: The slot that was named, or that hfcal said it was; None when nobody knows.
        sure: hfcal took it, and said so.
        new: It was not said before.
        arrived: hfcal said that the backend has it.
    """

    verb: str
    agent: str
    place: int | None
    started: float
    ended: float
    sure: bool
    new: bool = True
    arrived: bool = False


class Evidence:
    """All that is known of a run when it is over and quiet."""

    def __init__(self, host: Host, backend: Simulator) -> None:
        self.host = host
        self.slots = backend.calendar.slots()
        self.switches = backend.calendar.switches
        self.idents = {
            str(ident): place
            for place, slot in enumerate(self.slots)
            for ident in (slot.spec.id, slot.virtual_id, slot.former_virtual_id)
            if ident
        }
        self.entries: dict[int, list[tuple[int, Entry]]] = defaultdict(list)
        for number, entry in backend.journal.since(0):
            if entry.kind == "update" and entry.slot in self.idents:
                self.entries[self.idents[entry.slot]].append((number, entry))
        self.wakes = host.wakes()
        for wake in self.wakes:
            wake["place"] = self.idents[wake["slot"]]

    @cached_property
    def words(self) -> list[Word]:
        # With 3 and 6 it was surely not taken, with all else that isn't 0 or 4 it may have been.
        ran = [r for r in self.host.ran if r.verb in VERBS and r.code not in {3, 6}]
        by_command = [_word(self, r) for r in ran]
        at_once = [
            Word(s["verb"], s["agent"], self.idents[s["slot"]], s["started"], s["ended"] or 1e18,
                 sure=s["code"] == 0)
            for s in self.host.said()
        ]  # fmt: skip
        return by_command + at_once

    @cached_property
    def clean(self) -> set[int]:
        """Processes that could end all that they had begun: they have no excuse."""
        stopped = {r.pid for r in self.host.ran if r.verb == "watch" and r.code == 0}
        return {r.pid for r in self.host.ran if r.unharmed} | stopped

    @cached_property
    def died(self) -> dict[int, float]:
        """When processes were told to die."""
        return {r.pid: r.told for r in self.host.ran if r.told is not None}

    @cached_property
    def hurried(self) -> set[int]:
        """Processes that end their wake commands before they go themselves."""
        return {r.pid for r in self.host.ran if r.told and r.fate.signal is signal.SIGTERM}

    def name(self, place: int) -> str:
        slot = self.slots[place]
        return f"slot {slot.spec.id or slot.virtual_id} ({slot.former_virtual_id or 'real'})"

    def story(self, place: int) -> str:
        """All that was said of one slot, for whoever looks into it."""
        lines = [
            f"    {e.monotonic:.3f} journal {n}: {e.path} {e.body} {e.before}->{e.after} "
            f"{e.answer} {e.fault or ''}"
            for n, e in self.entries[place]
        ]
        lines += [
            f"    {w['at']:.3f} wake {w['key'][:6]} of {w['slot']} by {w['parent']}"
            f"{' failed' if w['failed'] else ''}{'' if w['parent'] in self.clean else ' (harmed)'}"
            for w in self.wakes
            if w["place"] == place
        ]
        agent = self.slots[place].spec.agent
        lines += [
            f"    {w.started:.3f} to {w.ended:.3f} {w.verb}{' taken' if w.sure else ''}"
            f"{' again' if not w.new else ''}"
            for w in self.words
            if w.place == place or (w.place is None and w.agent in {agent, ""})
        ]
        return "\n".join(sorted(lines))


def _word(evidence: Evidence, ran: Ran) -> Word:
    named = dict(zip(ran.words, ran.words[1:], strict=False))
    document = ran.document if ran.accepted and ran.stdout else {}
    slot, agent = document.get("slot", named.get("--slot")), document.get("agent_id")
    return Word(
        ran.verb,
        agent or named.get("--agent", ""),
        evidence.idents[slot] if slot else None,
        ran.started,
        ran.ended,
        sure=ran.accepted,
        new=not document.get("already", False),
        arrived=document.get("delivered", False),
    )
