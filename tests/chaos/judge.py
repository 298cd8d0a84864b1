"""What must hold after a chaos run, from the backend's journal and what the agents noted.

Each function checks one promise of docs/contract.md and yields what is broken.
"""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from hfcal.sim.journal import Entry
from hfcal.sim.server import Simulator
from hfcal.sim.switches import Switches
from tests.chaos.evidence import Evidence
from tests.chaos.host import READERS, VERBS, Host, Ran

ENDS = {"finished", "aborted"}


def judge(host: Host, backend: Simulator) -> list[str]:
    """All that is broken."""
    evidence = Evidence(host, backend)
    checks = (commands, files, leftovers, ends, order, arrivals, pauses, wakes, one_at_a_time)
    return [problem for check in checks for problem in check(evidence)]


def commands(evidence: Evidence) -> Iterator[str]:
    """Each command ended as it may, and in time."""
    for ran in evidence.host.ran:
        if ran.code not in _allowed(ran):
            yield str(ran)
        elif ran.unharmed and "--json" in ran.words and ran.verb != "watch":
            try:
                _ = ran.document
            except (ValueError, AssertionError):
                yield f"{ran}: stdout holds no JSON document: {ran.stdout[:200]!r}"
    for said in evidence.host.said():
        if said["code"] not in {0, None, 3}:
            yield f"a complete from within a wake: {said}"


def _allowed(ran: Ran) -> set[int]:
    if ran.code == -signal.SIGKILL or "not over" in ran.stderr:
        return {-signal.SIGKILL} if ran.fate.signal is signal.SIGKILL else set()
    codes = {0, 1, 4} if ran.verb in {"tick", "status"} | READERS else {0}
    if ran.verb in VERBS:  # 3: it has ended otherwise, or none is active, or none was named
        codes = {0, 3, 4} if "--require-delivery" in ran.words else {0, 3}
    if ran.fate.full_from:
        codes |= {1, 6}
    if ran.told is not None:  # before it has a handler, or after
        codes |= {-signal.SIGTERM, 128 + signal.SIGTERM}
    return codes


def files(evidence: Evidence) -> Iterator[str]:
    """6: no torn state; 9: nobody else reads it."""
    yield from evidence.host.torn[:3]
    directory = evidence.host.state_dir
    yield from (f"{path} was set aside" for path in directory.glob("*.corrupt-*"))
    for path in (directory, *directory.rglob("*")):
        if path.stat().st_mode & 0o077:
            yield f"{path} is open to others: {path.stat().st_mode:o}"


def leftovers(evidence: Evidence) -> Iterator[str]:
    """2: nothing waits and nothing was refused, as the backend refuses nothing that is true."""
    for name, agent in evidence.host.saved()["agents"].items():
        for refusal in agent.get("refused", ()):
            place = evidence.idents.get(str((refusal["update"]["ref"].get("real") or [0])[-1]))
            story = "" if place is None else "\n" + evidence.story(place)
            yield f"{name}: refused: {json.dumps(refusal)}{story}"
        for key in left_over(agent, evidence.switches):
            yield f"{name}: {key} is left: {agent[key]}"


def left_over(agent: dict[str, Any], switches: Switches) -> list[str]:
    """What an agent still has to do, or to tell."""
    keys = ["active", "queue"]
    if not switches.older_backend:  # there "idle" is refused for ever when it is idle
        keys.append("status_owed")
    return [key for key in keys if agent.get(key)]


def ends(evidence: Evidence) -> Iterator[str]:
    """2: each slot ended, as its agent was told that it would."""
    for place, slot in enumerate(evidence.slots):
        said = {VERBS[w.verb] for w in evidence.words if w.place == place and w.sure} & ENDS
        if slot.spec.status not in ENDS or said - {slot.spec.status}:
            yield (
                f"{evidence.name(place)} is {slot.spec.status}, said was {said}\n"
                f"{evidence.story(place)}"
            )


def order(evidence: Evidence) -> Iterator[str]:
    """3: first ongoing, and nothing that was sent after the end had arrived."""
    for place, entries in evidence.entries.items():
        _, first = entries[0]
        if _status(first) != "ongoing":
            yield f"{evidence.name(place)} began with {first.body}\n{evidence.story(place)}"
        end: Entry | None = None
        for number, entry in entries:
            # One that was on its way when its sender gave up may come late; then it is refused.
            late = end is not None and entry.received > end.monotonic
            if end is not None and late and _status(entry) != _status(end):
                yield f"{evidence.name(place)}: {number} is late\n{evidence.story(place)}"
            if entry.effect and _status(entry) in ENDS:
                end = entry


def arrivals(evidence: Evidence) -> Iterator[str]:
    """Delivered means that the backend had it when hfcal said so."""
    for word in evidence.words:
        if word.arrived and word.place is not None:
            had = any(
                entry.decision is not None
                and entry.after == VERBS[word.verb] == _status(entry)
                and entry.monotonic <= word.ended
                for _, entry in evidence.entries[word.place]
            )
            if not had:
                name = evidence.name(word.place)
                yield f"{word} was not delivered: {name}\n{evidence.story(word.place)}"


def pauses(evidence: Evidence) -> Iterator[str]:
    """2: no pause that was taken is left out, and none is made up."""
    for place, entries in evidence.entries.items():
        effects = [_status(entry) for _, entry in entries if entry.effect]
        runs = [status for status, _ in groupby(effects)]
        words = [w for w in evidence.words if w.verb == "pause" and w.place in {place, None}]
        sure = sum(w.sure and w.new and w.place == place for w in words)
        if not sure <= runs.count("paused") <= len(words):
            yield (
                f"{evidence.name(place)}: {sure} pauses were taken, {runs}\n{evidence.story(place)}"
            )


def wakes(evidence: Evidence) -> Iterator[str]:
    """4: a second wake of a slot only after a process that died or a wake that failed."""
    by_place: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for wake in evidence.wakes:
        by_place[wake["place"]].append(wake)
    for place, found in by_place.items():
        if len({(wake["key"], wake["message"]) for wake in found}) > 1:
            yield f"{evidence.name(place)} has several keys or messages: {found}"
        noted = [w for w in found if w["parent"] in evidence.clean and not w["failed"]]
        if noted and max(found, key=_at) is not min(noted, key=_at):
            yield f"{evidence.name(place)} was woken again\n{evidence.story(place)}"


def one_at_a_time(evidence: Evidence) -> Iterator[str]:
    """5: an agent is woken for another slot only after somebody said the end of the last one."""
    last: dict[str, dict[str, Any]] = {}
    for wake in sorted(evidence.wakes, key=_at):
        before, parent = last.get(wake["agent"]), wake["parent"]
        if parent not in evidence.clean and wake["at"] >= evidence.died.get(parent, 0.0):
            continue  # who started it was dead: it may have come late
        if before is not None and before["place"] != wake["place"]:
            told = any(
                w.verb in {"complete", "abort"}
                and w.place in {before["place"], None}
                and w.agent in {wake["agent"], ""}
                and w.started <= wake["at"]
                for w in evidence.words
            )
            if not told:
                yield (
                    f"{wake['agent']} was woken for {evidence.name(wake['place'])} while at "
                    f"{evidence.name(before['place'])}\n{evidence.story(before['place'])}"
                )
        if wake["failed"] or parent in evidence.hurried - evidence.clean:
            last.pop(wake["agent"], None)
        else:
            last[wake["agent"]] = wake


def _status(entry: Entry) -> Any:
    return entry.body.get("status") if isinstance(entry.body, dict) else None


def _at(wake: dict[str, Any]) -> float:
    at = wake["at"]
    assert isinstance(at, float)
    return at
