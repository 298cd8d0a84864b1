"""A slot as the simulated backend holds it, and as it writes it in answers."""

from dataclasses import dataclass
from datetime import date

from hfcal.sim.scenario import SlotSpec
from hfcal.sim.switches import Switches
from hfcal.sim.words import PENDING, recase


@dataclass(slots=True, eq=False)
class StoredSlot:
    """A slot of the calendar.

    Attributes:
        spec: its present values; `spec.id` is None as long as it is virtual.
        day: its date, in UTC.
        virtual_id: None once it is real.
        former_virtual_id: the virtual id that it had, which now answers 404.
        made: false for an admin-made slot that no sync has brought out yet.
    """

    spec: SlotSpec
    day: date
    virtual_id: str | None = None
    former_virtual_id: str | None = None
    made: bool = True

    @property
    def pending(self) -> bool:
        """Whether it waits to be worked."""
        return self.spec.status in PENDING


def write_slot(slot: StoredSlot, switches: Switches) -> dict[str, object]:
    """Write a slot as an answer's JSON object (docs/protocol.md, Slot)."""
    spec = slot.spec
    written: dict[str, object] = {
        "id": spec.id,
        "virtual_id": slot.virtual_id,
        "user_id": spec.user_id,
        "plan_id": spec.plan_id,
        "special_slot_id": spec.special_slot_id,
        "date": slot.day.isoformat(),
        "slot_type": recase(spec.slot_type, switches.casing),
        "estimated_duration": spec.estimated_duration,
        "scheduled_at": _time(spec.scheduled_at, switches),
        "started_at": _time(spec.started_at, switches),
        "attended": spec.attended,
        "actual_duration": spec.actual_duration,
        "event_type": recase(spec.event_type, switches.casing) if spec.event_type else None,
        "event_data": spec.event_data,
        "priority": spec.priority,
        "status": recase(spec.status, switches.casing),
    }
    if not switches.older_backend:
        written["is_admin_locked"] = spec.is_admin_locked
    return {**spec.extra, **written}


def _time(value: str | None, switches: Switches) -> str | None:
    if value is None or switches.time_format == "HH:MM:SS":
        return value
    return value[:5]
