"""What an agent gets to read when it is woken (docs/wake.md)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hfcal.core.ids import JsonObject
from hfcal.core.protocol import EventType, Slot
from hfcal.core.records import Wake
from hfcal.text import json_line, one_line


@dataclass(frozen=True)
class Commands:
    """How an agent calls hfcal back, from any folder, with any PATH and an empty environment.

    Attributes:
        program: hfcal by its absolute path, as words.
        state: The state file, absolute.
        config: The config file, absolute, if there is one.
    """

    program: tuple[str, ...]
    state: Path
    config: Path | None

    def line(self, verb: str, agent_id: str, ident: str) -> str:
        """The command line for one verb, shell-quoted."""
        words = [*self.program, verb, "--agent", agent_id, "--slot", ident]
        words += ["--state", str(self.state)]
        words += ["--config", str(self.config)] if self.config else []
        return shlex.join(words)


def new_wake(agent_id: str, slot: Slot, commands: Commands) -> Wake:
    """The whole wake for a slot, with a new idempotency key."""
    ident = slot.ident
    details = _details(slot)
    message = "\n".join(
        [
            first_line(slot),
            "",
            json_line(details),
            "",
            "When the work is done, run this command (it takes --summary TEXT as well):",
            commands.line("complete", agent_id, ident),
            "",
            "If it can't be done, run this one (it takes --reason TEXT as well):",
            commands.line("abort", agent_id, ident),
            "",
        ]
    )
    return Wake(
        key=os.urandom(16).hex(),
        slot=ident,
        source=f"calendar:{ident}",
        message=message,
        details=details,
    )


def trial_wake(agent_id: str) -> Wake:
    """A wake that is no slot's, to try out an adapter with."""
    message = (
        f"[hfcal wake test] no slot, nothing to do\n\nThis tries out how agent {agent_id} is "
        "woken. There is no work behind it and no command to run.\n"
    )
    return Wake(os.urandom(16).hex(), "test", "calendar:test", message, {"slot_id": "test"})


def first_line(slot: Slot) -> str:
    """What it is about, on one line."""
    data = slot.event_data
    event = _word(data, "event")
    if slot.event_type is EventType.SYSTEM_EVENT and event:
        return f"[calendar system_event] {event}"
    code = _word(data, "code") or _word(data, "task_code")
    if slot.event_type is EventType.JOB and code:
        kind = _word(data, "type")
        return f"[calendar job {kind}/{code}] please handle this"
    return f"[calendar slot {one_line(slot.ident)}] scheduled work — please proceed"


def _details(slot: Slot) -> JsonObject:
    return {
        "slot_id": slot.ident,
        "scheduled_at": slot.scheduled_at,
        "priority": slot.priority,
        "slot_type": slot.slot_type or slot.raw.get("slot_type"),
        "event_type": slot.event_type or slot.raw.get("event_type"),
        "event_data": slot.raw.get("event_data"),
        "estimated_duration": slot.estimated_duration,
    }


def _word(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return one_line(value, 200) if isinstance(value, str) else ""
