"""What most tricks make of the call that they answer."""

import json
import re

from hfcal.sim.tricks import Call

JsonObject = dict[str, object]


def number(call: Call) -> int:
    """The number that the agent's id ends with, else 0: which of a trick's ids comes first."""
    found = re.search(r"[0-9]{1,4}$", call.agent)
    return int(found[0]) if found else 0


def slot(ident: int | str = 1, **fields: object) -> JsonObject:
    """A slot that is due; a text is a virtual id."""
    ids = {"id": ident} if isinstance(ident, int) else {"id": None, "virtual_id": ident}
    return {**ids, "status": "not_started", "priority": 50, "scheduled_at": "00:00:00", **fields}


def document(call: Call, *slots: object, **more: object) -> JsonObject:
    """The document of a good answer to this call, with these slots where it has any."""
    match call.kind:
        case "heartbeat":
            return {"slots": list(slots), "agent_status": "idle", **more}
        case "sync":
            schedules = {name: list(slots) for name in call.agents}
            return {"full": True, "schedules": schedules, **more}
        case "update":
            return {**_as_dict(slots[0] if slots else {}), "ok": True, **more}
        case _:
            return {"ok": True, **more}


def body(call: Call, *slots: object, **more: object) -> bytes:
    """The bytes of that document."""
    return json.dumps(document(call, *slots, **more)).encode()


def _as_dict(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}
