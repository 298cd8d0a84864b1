"""Text from elsewhere, made safe for a terminal, a log line, a prompt or a file name, and read."""

import json
import math
import re
import unicodedata
from typing import Any

MASK = "********"  # in the place of a secret
_DIGEST = r"-[0-9a-f]{12}$"
_UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def one_line(text: str, limit: int = 300) -> str:
    """`text` on one line: each run of control, format and surrogate characters is one space.

    Args:
        text: Any text, from the backend or a person.
        limit: The most characters kept; a longer text ends in `…`.
    """
    head = text[: limit * 4]
    if head.isascii() and head.isprintable():
        cleaned = head.strip()
    else:
        spaced = "".join(" " if unicodedata.category(c) in _UNSAFE else c for c in head)
        cleaned = " ".join(spaced.split())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def strict_json(content: bytes) -> Any:
    """What JSON from elsewhere holds; of duplicate keys the last counts.

    Raises:
        ValueError: It is no JSON, nests too deep, or holds a number that JSON has not.
    """
    try:
        return json.loads(content, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number out of range")
    return value


def json_line(value: object) -> str:
    """`value` as JSON on one line, readable in any language, with nothing that acts on a screen."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _UNSAFE else c for c in text)


def _escaped(character: str) -> str:
    """The character as JSON escapes it; JSON itself leaves DEL as it is."""
    return f"\\u{ord(character):04x}" if character.isascii() else json.dumps(character)[1:-1]


def file_name(text: str, also: str = "", most: int = 80) -> str:
    """A file name for `text`, the same each time, different for different texts.

    Only letters, digits, `-`, `_` and `.` inside survive, so no text can leave its directory.
    What had to be changed or cut gets a digest, so that two texts never share a file.

    Args:
        text: Any text.
        also: Characters that survive as well; no slash.
        most: The most characters that are kept.
    """
    kept = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_." or c in also) else "_" for c in text[:most]
    )
    if kept == text and kept.strip(".") and not re.search(_DIGEST, kept):
        return kept
    import hashlib

    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{kept.lstrip('.')}-{digest}"
