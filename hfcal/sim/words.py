"""The words on the wire, and the casings a backend may write them in.

The reference is docs/protocol.md, Words on the wire.
"""

import re

SLOT_STATUSES = (
    "not_started",
    "ongoing",
    "deferred",
    "skipped",
    "paused",
    "finished",
    "aborted",
)
PENDING = frozenset({"not_started", "deferred"})
RUNNING = frozenset({"ongoing", "paused"})
TERMINAL = frozenset({"finished", "aborted", "skipped"})
TAKEN_WHEN_LOCKED = frozenset({"ongoing", "paused", "finished", "aborted"})

SLOT_TYPES = ("work", "on_call", "entertainment", "system")
EVENT_TYPES = ("job", "entertainment", "system_event")
AGENT_STATUSES = ("idle", "on_call", "busy", "exhausted", "offline")

TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?")
"""Matches `HH:MM` and `HH:MM:SS`, 00:00 to 23:59:59."""


def recase(word: str, casing: str) -> str:
    """Write a snake_case word as `snake`, `pascal`, `kebab` or `upper`."""
    match casing:
        case "pascal":
            return "".join(part.capitalize() for part in word.split("_"))
        case "kebab":
            return word.replace("_", "-")
        case "upper":
            return word.upper()
        case _:
            return word
