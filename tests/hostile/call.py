"""What a trick is given, and what most of them make of it."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hfcal.sim.messages import HttpResponse, Stream

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a trick answers.

    Attributes:
        kind: heartbeat, update, status or sync; other for what the backend lacks.
        agent: its X-Agent-ID, empty without one.
        slot: of an update, the id or virtual id in its path.
        key: the API key that it carries, empty without one.
        agents: all agents of the claw.
        to: the URL of another host, where the trick wants to lead the client.
    """

    kind: str
    agent: str
    slot: str | None
    key: str
    agents: Sequence[str]
    to: str

    @property
    def number(self) -> int:
        """The number that the agent's id ends with, else 0: which of a trick's ids comes first."""
        found = re.search(r"[0-9]{1,4}$", self.agent)
        return int(found[0]) if found else 0


Trick = Callable[[Call], HttpResponse | Stream]


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
