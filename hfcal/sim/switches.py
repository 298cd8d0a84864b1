"""Switches: what the protocol leaves open, each reading of it a value.

docs/simulator.md, Switches, says what each value does; the defaults are the most probable
readings of docs/protocol.md.
"""

import dataclasses
from dataclasses import dataclass

from hfcal.sim.reading import ScenarioTable

CHOICES: dict[str, tuple[str, ...]] = {
    "virtual_answer": ("slot", "wrapped", "slot_id", "ok", "empty"),
    "lists": ("all_day", "due"),
    "finish_from": ("any", "ongoing"),
    "repeat": ("ok", "conflict"),
    "sync": ("full", "pending", "absent", "unauthorized"),
    "time_format": ("HH:MM:SS", "HH:MM"),
    "casing": ("snake", "pascal", "kebab", "upper"),
    "extra_fields": ("refuse", "ignore"),
}
"""The values of each switch that is a word; the first is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """One reading of the protocol's open points."""

    virtual_answer: str = "slot"
    lists_ongoing: bool = False
    lists: str = "all_day"
    finish_from: str = "any"
    repeat: str = "ok"
    sync: str = "full"
    older_backend: bool = False
    time_format: str = "HH:MM:SS"
    casing: str = "snake"
    updates_past_days: bool = True
    extra_fields: str = "refuse"


NAMES = tuple(field.name for field in dataclasses.fields(Switches))


def parse_switches(raw: object, present: Switches) -> Switches:
    """Return the present switches with those of `raw` changed.

    Raises:
        ScenarioError: for an unknown switch or value.
    """
    table = ScenarioTable("switches", raw, NAMES)
    changes: dict[str, str | bool] = {}
    for name in NAMES:
        if table.value(name) is None:
            continue
        if name in CHOICES:
            changes[name] = table.word(name, "", CHOICES[name])
        else:
            changes[name] = table.flag(name, default=False)
    return dataclasses.replace(present, **changes)  # type: ignore[arg-type]
