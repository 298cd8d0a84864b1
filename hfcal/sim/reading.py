"""Reads the tables of a scenario, and says exactly what is wrong with a bad one."""

import difflib
import math
import re
from collections.abc import Collection, Mapping
from datetime import date, datetime, time
from typing import TypeVar

from hfcal.sim.words import TIME_OF_DAY

D = TypeVar("D")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHOWN = 60
_LISTED = 20
# Low enough that `claw` still finds `claw_identifier`.
_CLOSE = 0.4


class ScenarioError(ValueError):
    """A scenario, or what a control endpoint was sent, can't be used.

    The message names the key, its value, what is allowed and the closest known word.
    """


class ScenarioTable:
    """One table of a scenario, read key by key.

    A key whose value is None (JSON's null) counts as absent. Each reading method gives its
    default for an absent key and raises ScenarioError for a value that is not allowed.
    """

    def __init__(
        self, where: str, raw: object, known: Collection[str], *, extra: bool = False
    ) -> None:
        self._where = where
        if not isinstance(raw, Mapping):
            raise ScenarioError(
                f"{where or 'scenario'}: {_show(raw)} is not allowed; must be a table with "
                f"the keys {', '.join(known)}"
            )
        self._values: dict[str, object] = {str(key): value for key, value in raw.items()}
        self.unknown = [key for key in self._values if key not in known]
        if self.unknown and not extra:
            key = self.unknown[0]
            raise ScenarioError(
                f"{self.name(key)}: unknown key (its value is {_show(self._values[key])})"
                f"{_closest(key, known)}; known keys are {', '.join(known)}"
            )

    def name(self, key: str) -> str:
        """Return the key's full name, such as `slots[2].priority`."""
        return f"{self._where}.{key}" if self._where else key

    def value(self, key: str) -> object:
        """Return the key's value as it stands, None when absent."""
        return self._values.get(key)

    def need(self, key: str) -> None:
        """Raise ScenarioError unless the key is there."""
        if self.value(key) is None:
            raise ScenarioError(f"{self.name(key)}: missing")

    def refuse(self, key: str, allowed: str) -> ScenarioError:
        """Return the error which says that the key's value is not allowed, and what is."""
        return ScenarioError(
            f"{self.name(key)}: {_show(self.value(key))} is not allowed; must be {allowed}"
        )

    def text(self, key: str, default: D, *, longest: int = 65536) -> str | D:
        """Read text of 1 to `longest` characters."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            raise self.refuse(key, f"text of 1 to {longest} characters")
        return value

    def visible(self, key: str, default: D) -> str | D:
        """Read 1 to 128 printable ASCII characters without space, as an HTTP header takes."""
        value = self.text(key, None, longest=128)
        if value is None:
            return default
        if not all("!" <= character <= "~" for character in value):
            raise self.refuse(key, "printable ASCII without space")
        return value

    def word(self, key: str, default: D, allowed: Collection[str]) -> str | D:
        """Read one of the allowed words."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in allowed:
            closest = _closest(value, allowed) if isinstance(value, str) else ""
            raise self.refuse(key, f"one of {_list(allowed)}{closest}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """Read true or false."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(key, "true or false")
        return value

    def integer(self, key: str, default: D, low: int, high: int) -> int | D:
        """Read a whole number from low to high."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, default: D, low: float, high: float) -> float | D:
        """Read a number from low to high."""
        value = self.value(key)
        if value is None:
            return default
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
        ):
            raise self.refuse(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def time_of_day(self, key: str, default: D) -> str | D:
        """Read a time of day, as text or as TOML's own type, and return it as `HH:MM:SS`."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, time):
            value = value.isoformat("seconds")
        if not isinstance(value, str) or not TIME_OF_DAY.fullmatch(value):
            raise self.refuse(key, "a time of day as HH:MM or HH:MM:SS")
        return f"{value}:00"[:8]

    def day(self, key: str, default: D) -> date | D:
        """Read a date, as `YYYY-MM-DD` or as TOML's own type."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if isinstance(value, str) and _DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:  # such as 2026-02-30
                pass
        raise self.refuse(key, "a date as YYYY-MM-DD")

    def moment(self, key: str) -> datetime | None:
        """Read a time with its zone, as RFC 3339 text or as TOML's own type."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                value = None
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise self.refuse(key, "a time with its zone, such as 2026-11-23T09:00:00Z")
        return value

    def items(self, key: str) -> list[object]:
        """Read a list; an absent one is empty."""
        value = self.value(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.refuse(key, "a list")
        return value

    def json_object(self, key: str) -> dict[str, object] | None:
        """Read a table of any shape that JSON can carry."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refuse(key, "a table")
        return {str(name): as_json(item, self.name(key)) for name, item in value.items()}


def as_json(value: object, where: str) -> object:
    """Return the value as JSON can carry it: dates and times become text.

    Raises:
        ScenarioError: for a number that JSON lacks (inf, nan).
    """
    if isinstance(value, Mapping):
        return {str(key): as_json(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item, where) for item in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise ScenarioError(f"{where}: {value} is not allowed; must be a finite number")
    return value


def _list(words: Collection[str]) -> str:
    shown = list(words)[:_LISTED]
    return ", ".join(shown) + (f" … ({len(words)} in all)" if len(words) > _LISTED else "")


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _closest(word: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=_CLOSE)
    return f"; did you mean {found[0]}?" if found else ""
