"""Reading the values of settings: each reader returns what is meant, or says what is allowed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfcal.core.ids import AGENT_IDS, valid_agent_id

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+|\d+(?:\.\d+)?"
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)"
LEVELS = ("debug", "info", "warning", "error")  # of the log, from all to little
STDERR = Path("-")  # as a log file
_LONGEST = 366 * 86_400.0


class BadValueError(ValueError):
    """A value isn't allowed; the message says what is."""


def shown(value: object) -> str:
    """A value in a message, as the config file might have it."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of too many digits"
    return text[:140]


def toml_fault(error: Exception) -> str:
    """Why a text is no TOML."""
    import tomllib

    if isinstance(error, tomllib.TOMLDecodeError | UnicodeDecodeError | RecursionError):
        return str(error)
    return "a number in it has too many digits"  # Python reads none of more than 4300


def duration(value: object, *, least: float = 0.0, most: float = _LONGEST) -> float:
    """Seconds from a number or text like `90s`, `30m`, `1h30m`.

    Raises:
        ValueError: It is no duration, or out of range; the message says what is allowed.
    """
    allowed = f"allowed: seconds or text like 90s, 30m, 4h, from {_told(least)} to {_told(most)}"
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e15 else -1.0
    elif isinstance(value, str) and re.fullmatch(_DURATION, value.strip()):
        parts = re.findall(_DURATION_PART, value.strip())
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts if number)
    if not least <= seconds <= most:
        raise BadValueError(allowed)
    return seconds


def _told(seconds: float) -> str:
    unit = next(u for u in ("d", "h", "m", "s", "ms") if not seconds % _UNITS[u] or u == "ms")
    return f"{seconds / _UNITS[unit]:g}{unit}" if seconds else "0"


def within(least: float, most: float) -> Callable[[Any], float]:
    """Reads durations in this range, in seconds."""
    return lambda value: duration(value, least=least, most=most)


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Reads whole numbers in this range."""

    def read(value: object) -> int:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            value = int(value.strip()[:12])
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadValueError(f"allowed: a whole number from {least} to {most}")
        return value

    return read


def boolean(value: object) -> bool:
    """True or false, also as a word."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise BadValueError("allowed: true or false")


def one_of(*words: str) -> Callable[[Any], str]:
    """Reads one of these words."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        raise BadValueError(f"allowed: {', '.join(words)}")

    return read


def url(value: object) -> str:
    """The URL of a backend, without a slash at its end."""
    allowed = "allowed: a URL like http://127.0.0.1:8000 or https://host/prefix"
    if not isinstance(value, str):
        raise BadValueError(allowed)
    url = value.strip().rstrip("/")
    scheme, found, rest = url.partition("://")
    place = rest.split("/")[0]
    if not found or scheme.lower() not in {"http", "https"} or not place:
        raise BadValueError(allowed)
    if not url.isascii() or not url.isprintable() or " " in url or "?" in url or "#" in url:
        raise BadValueError(allowed)
    if "@" in place:
        raise BadValueError(f"{allowed}, without user or password: use api_key")
    port = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", place)
    if port is None or not 0 < int(port[1] or 80) < 65_536:
        raise BadValueError(allowed)
    return url


def claw(value: object) -> str:
    """A claw's identifier."""
    if valid_agent_id(value):
        return str(value)
    raise BadValueError(AGENT_IDS)


def agents(value: object) -> tuple[str, ...]:
    """Agent ids, each once; text has commas between them."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        raise BadValueError("allowed: a list of agent ids")
    for agent_id in value:
        if not valid_agent_id(agent_id):
            raise BadValueError(f"{shown(agent_id)} is no agent id; {AGENT_IDS}")
    return tuple(dict.fromkeys(value))


def path(value: object) -> Path:
    """A path, with `~` for the home directory."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise BadValueError("allowed: a path")
    path = os.path.expanduser(value)  # noqa: PTH111  # Path raises without a home
    if path.startswith("~"):
        raise BadValueError("allowed: an absolute path, as there is no such home directory")
    return Path(path)


def secret(value: object) -> str:
    """A key."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isprintable():
        return value.strip()
    raise BadValueError("allowed: printable ASCII characters")


def zone(value: object) -> str:
    """The name of a time zone."""
    if isinstance(value, str):
        if value == "UTC":
            return value
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return value
    raise BadValueError("allowed: a time zone's name like UTC or Europe/Berlin")


def group(value: object) -> str:
    """The name or number of a group of this host."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        from hfcal.system.sharing import group_number

        try:
            group_number(str(value))
        except (KeyError, ValueError):
            pass
        else:
            return str(value)
    raise BadValueError("allowed: the name or number of a group of this host")


def closest(word: str, known: list[str]) -> str:
    """A hint at the known word that is closest, or at all of them."""
    import difflib

    near = difflib.get_close_matches(word, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
