"""The protocol's words and shapes, parsed tolerantly; no I/O (docs/protocol.md).

Whatever a backend answers ends as a value here or as a named problem: an odd slot spoils neither
its neighbours nor its agent.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from hfcal.core.ids import JsonObject, SlotRef, valid_real_id, valid_virtual_id
from hfcal.text import one_line

_NAMES = ("type", "code", "task_code", "event")  # of event_data
MAX_SLOT_BYTES = 16 * 1024
MAX_SLOTS = 1000
MAX_DEPTH = 16

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class BadAnswerError(ValueError):
    """An answer lacks what it must have."""


class SlotStatus(StrEnum):
    """What a slot is in (docs/protocol.md, Words)."""

    NOT_STARTED = "not_started"
    ONGOING = "ongoing"
    DEFERRED = "deferred"
    SKIPPED = "skipped"
    PAUSED = "paused"
    FINISHED = "finished"
    ABORTED = "aborted"

    @property
    def pending(self) -> bool:
        """Whether the slot may still be dispatched."""
        return self in {SlotStatus.NOT_STARTED, SlotStatus.DEFERRED}

    @property
    def running(self) -> bool:
        """Whether an agent is at it."""
        return self in {SlotStatus.ONGOING, SlotStatus.PAUSED}

    @property
    def terminal(self) -> bool:
        """Whether the slot is over."""
        return self in {SlotStatus.SKIPPED, SlotStatus.FINISHED, SlotStatus.ABORTED}


class SlotType(StrEnum):
    """What kind of time a slot is."""

    WORK = "work"
    ON_CALL = "on_call"
    ENTERTAINMENT = "entertainment"
    SYSTEM = "system"


class EventType(StrEnum):
    """What a slot's `event_data` describes."""

    JOB = "job"
    ENTERTAINMENT = "entertainment"
    SYSTEM_EVENT = "system_event"


class AgentStatus(StrEnum):
    """What the backend says an agent is doing."""

    IDLE = "idle"
    ON_CALL = "on_call"
    BUSY = "busy"
    EXHAUSTED = "exhausted"
    OFFLINE = "offline"


_Word = TypeVar("_Word", bound=StrEnum)


def read_word(words: type[_Word], value: object) -> _Word | None:
    """The enum member that `value` spells in any casing (`NotStarted`, `not-started`), or None."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    squashed = "".join(c for c in value if c.isalnum()).lower()
    return next((word for word in words if word.value.replace("_", "") == squashed), None)


@dataclass(frozen=True)
class Slot:
    """One calendar slot as the backend listed it.

    Attributes:
        ref: Its ids.
        status: Its status, None when the word is unknown or missing.
        priority: Higher wins; 0 when missing.
        slot_type: None when unknown or missing.
        event_type: None when unknown, missing or null.
        event_data: The event's facts; empty when missing or odd.
        scheduled_at: The time of day as sent, `HH:MM` or `HH:MM:SS`.
        started_at: The time of day as sent, if it runs.
        estimated_duration: Whole minutes, if known.
        raw: All that was sent, unknown fields too, at most 16 KiB as JSON.
        problems: What was odd about it, for people.
    """

    ref: SlotRef
    status: SlotStatus | None
    priority: float = 0
    slot_type: SlotType | None = None
    event_type: EventType | None = None
    event_data: JsonObject = field(default_factory=dict)
    scheduled_at: str | None = None
    started_at: str | None = None
    estimated_duration: float | None = None
    raw: JsonObject = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def ident(self) -> str:
        """Its present ident."""
        return self.ref.ident


@dataclass(frozen=True)
class Problem:
    """Something odd in an answer: about a slot, if `slot` says which."""

    slot: str | None
    message: str


@dataclass(frozen=True)
class Heartbeat:
    """The answer to a heartbeat (docs/protocol.md, Heartbeat)."""

    slots: tuple[Slot, ...] = ()
    agent_status: AgentStatus | None = None
    problems: tuple[Problem, ...] = ()


def parse_heartbeat(answer: object) -> Heartbeat:
    """Read a heartbeat's answer.

    Raises:
        BadAnswerError: It is not an object with a list of slots.
    """
    if not isinstance(answer, dict):
        raise BadAnswerError(f"expected a JSON object, got {_kind_of(answer)}")
    listed = answer.get("slots")
    if not isinstance(listed, list):
        raise BadAnswerError(f"expected a list under 'slots', got {_kind_of(listed)}")
    slots, problems = parse_slots(listed)
    word = answer.get("agent_status")
    status = read_word(AgentStatus, word)
    if status is None and word is not None:
        problems.append(Problem(None, f"unknown agent status {_shown(word)}"))
    return Heartbeat(tuple(slots), status, tuple(problems))


def parse_sync(answer: object) -> dict[str, list[Slot]]:
    """Read the schedules of `GET /calendar/sync`, by agent id; odd slots are left out.

    Raises:
        BadAnswerError: It is not an object with an object of schedules.
    """
    schedules = answer.get("schedules") if isinstance(answer, dict) else None
    if not isinstance(schedules, dict):
        raise BadAnswerError(f"expected an object under 'schedules', got {_kind_of(schedules)}")
    return {
        agent_id: parse_slots(listed)[0]
        for agent_id, listed in schedules.items()
        if isinstance(listed, list)
    }


def parse_slots(listed: list[object]) -> tuple[list[Slot], list[Problem]]:
    """Read listed slots; the second copy of a slot is dropped, a slot without ids is a problem."""
    slots: list[Slot] = []
    problems: list[Problem] = []
    seen: dict[int | str, Slot] = {}
    if len(listed) > MAX_SLOTS:
        problems.append(Problem(None, f"{len(listed)} slots listed, read the first {MAX_SLOTS}"))
    for index, item in enumerate(listed[:MAX_SLOTS]):
        try:
            slot = parse_slot(item)
        except BadAnswerError as error:
            problems.append(Problem(None, f"slot number {index + 1} of the answer: {error}"))
            continue
        keys: list[int | str] = [*slot.ref.real, *slot.ref.virtual]
        first = next((seen[key] for key in keys if key in seen), None)
        seen |= dict.fromkeys(keys, first or slot)
        if first is not None:
            first.ref.learn(slot.ref)
            continue
        slots.append(slot)
        problems += [Problem(slot.ident, text) for text in slot.problems]
    return slots, problems


def parse_slot(item: object) -> Slot:
    """Read one slot (docs/protocol.md, Slot).

    Raises:
        BadAnswerError: It is no object, or has no id that could be used.
    """
    if not isinstance(item, dict):
        raise BadAnswerError(f"expected an object, got {_kind_of(item)}")
    ref = _read_ref(item)
    problems: list[str] = []
    status = _read_enum(item, "status", SlotStatus, problems)
    if item.get("status") is None:
        problems.append("has no status, so it can't be dispatched")
    event_data = item.get("event_data")
    if event_data is not None and not isinstance(event_data, dict):
        problems.append(f"event_data is {_kind_of(event_data)}, not an object")
        event_data = None
    priority = _read_number(item, "priority", problems)
    raw = _kept(item, problems)
    kept_data = raw.get("event_data")
    return Slot(
        ref=ref,
        status=status,
        priority=0 if priority is None else priority,
        slot_type=_read_enum(item, "slot_type", SlotType, problems),
        event_type=_read_enum(item, "event_type", EventType, problems),
        event_data=kept_data if isinstance(kept_data, dict) else {},
        scheduled_at=_read_text(item, "scheduled_at"),
        started_at=_read_text(item, "started_at"),
        estimated_duration=_read_number(item, "estimated_duration", problems),
        raw=raw,
        problems=tuple(problems),
    )


def real_id_of(answer: object) -> int | None:
    """The real id in the answer to an update, in any of its shapes (docs/protocol.md, Updates)."""
    if not isinstance(answer, dict):
        return None
    inner = answer.get("slot")
    shapes = [answer.get("slot_id"), answer.get("id")]
    if isinstance(inner, dict):
        shapes = [inner.get("id"), inner.get("slot_id"), *shapes]
    return next((value for value in shapes if valid_real_id(value)), None)


def _read_ref(item: JsonObject) -> SlotRef:
    real, virtual = item.get("id"), item.get("virtual_id")
    if real is not None and not valid_real_id(real):
        raise BadAnswerError(f"id {_shown(real)} is not an integer from 1 to 2^63-1")
    if virtual is not None and not valid_virtual_id(virtual):
        raise BadAnswerError(f"virtual_id {_shown(virtual)} is not 1 to 200 printable ASCII")
    if real is None and virtual is None:
        raise BadAnswerError("has neither id nor virtual_id, so it can't be updated")
    date = item.get("date")
    if not (isinstance(date, str) and _DATE.fullmatch(date)):
        date = None
    virtuals = [] if virtual is None else [virtual]
    plan = item.get("plan_id")
    if date and valid_real_id(plan):
        alias = f"plan-{plan}-{date}"
        virtuals += [alias] if alias not in virtuals else []
    return SlotRef([] if real is None else [real], virtuals, date)


def _read_enum(item: JsonObject, key: str, words: type[_Word], problems: list[str]) -> _Word | None:
    value = item.get(key)
    word = read_word(words, value)
    if word is None and value is not None:
        problems.append(f"unknown {key} {_shown(value)} (known: {', '.join(words)})")
    return word


def _read_number(item: JsonObject, key: str, problems: list[str]) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return value
    problems.append(f"{key} {_shown(value)} is not a number in range")
    return None


def _read_text(item: JsonObject, key: str) -> str | None:
    value = item.get(key)
    return one_line(value, 40) if isinstance(value, str) else None


def _kept(item: JsonObject, problems: list[str]) -> JsonObject:
    """`item` as it may be stored and passed on: bounded in depth and size, valid as UTF-8."""
    raw: JsonObject = {_utf8(key): _bounded(value, MAX_DEPTH) for key, value in item.items()}
    sizes = {key: len(json.dumps({key: value})) for key, value in raw.items()}
    excess = sum(sizes.values()) - MAX_SLOT_BYTES
    if excess > 0:
        by_size = sorted(sizes, key=lambda key: -sizes[key])
        problems.append(
            f"larger than {MAX_SLOT_BYTES // 1024} KiB; left out {one_line(by_size[0], 40)}"
        )
        for key in by_size:
            if excess <= 0:
                break
            excess -= sizes[key]
            del raw[key]
            if key == "event_data" and isinstance(item[key], dict):
                # What names the work is short, and the agent's message begins with it.
                raw[key] = {k: v for k, v in item[key].items() if k in _NAMES and _is_short(v)}
    return raw


def _is_short(value: object) -> bool:
    return isinstance(value, str | int) and len(str(value)) <= 200


def _bounded(value: object, depth: int) -> object:
    if isinstance(value, str):
        return _utf8(value)
    if isinstance(value, dict):
        if depth == 0:
            return None
        return {_utf8(key): _bounded(inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return None if depth == 0 else [_bounded(inner, depth - 1) for inner in value]
    return value


def _utf8(text: str) -> str:
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def _kind_of(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(one_line(value, 60))
    if isinstance(value, int | float):
        return one_line(str(value) if abs(value) < 1e30 else "of over 30 digits", 60)
    return _kind_of(value)
