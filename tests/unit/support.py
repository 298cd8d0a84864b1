"""What the unit tests share: moments, slots, and what hypothesis draws."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from hfcal.clock import Moment
from hfcal.core.ids import SlotRef
from hfcal.core.protocol import Heartbeat, Slot, parse_heartbeat, parse_slot
from hfcal.core.records import Active, ActiveState, Wake

TODAY = "2026-11-23"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = 86_400.0

# The same examples each time, so that a red run comes from a change.
thorough = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# Any text that json.loads can give, with more of what is dangerous than chance would give.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\0\x1b\x7f\u202e\n"),
    max_size=30,
)

# What json.loads can give for a backend's answer: hfcal.http lets no NaN and no infinity in.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def at(seconds: float = 0.0, boot_id: str = "boot-1", *, wall_jump: float = 0.0) -> Moment:
    """The moment `seconds` after noon; `wall_jump` sets the wall clock, and only that, ahead."""
    return Moment(NOON + seconds + wall_jump, boot_id, 100_000 + seconds)


def listed(ident: int | str | None = 12, status: object = "not_started", **fields: Any) -> Slot:
    """A slot as the backend lists it; a text is a virtual id."""
    item = {"date": TODAY, "status": status, **fields}
    if ident is not None:
        item["id" if isinstance(ident, int) else "virtual_id"] = ident
    return parse_slot(item)


def beat(*slots: Slot, status: str = "idle") -> Heartbeat:
    """A heartbeat's answer with these slots."""
    return Heartbeat(slots, parse_heartbeat({"slots": [], "agent_status": status}).agent_status)


def ref(ident: int | str = 12, *more: int | str, date: str | None = TODAY) -> SlotRef:
    """A slot's ids."""
    idents = [ident, *more]
    return SlotRef(
        [i for i in idents if isinstance(i, int)], [i for i in idents if isinstance(i, str)], date
    )


def a_wake(slot: str = "12", key: str = "key-1", message: str = "please\n") -> Wake:
    """A whole wake."""
    return Wake(key, slot, f"calendar:{slot}", message, {"slot_id": slot})


def an_active(
    slot_ref: SlotRef | None = None, state: str = "ongoing", *, woken: bool = True, **more: Any
) -> Active:
    """An active slot since noon; unless `woken`, its wake is not noted."""
    wake = None if woken else a_wake()
    state = state if woken else "waking"
    more = {"start": at(), "key": "key-1", "announced": woken, **more}
    return Active(slot_ref or ref(), ActiveState(state), wake=wake, **more)
