"""Whether there is a terminal, and what it can do."""

from __future__ import annotations

import os
import sys
from typing import TextIO

_DUMB = {"", "dumb", "unknown"}  # values of TERM


def can_draw(stream: TextIO) -> bool:
    """Whether the stream is a terminal that knows more than to print."""
    return stream.isatty() and os.environ.get("TERM", "") not in _DUMB


def can_ask() -> bool:
    """Whether a person can be asked: questions go to stderr, answers come from stdin."""
    return sys.stdin.isatty() and sys.stderr.isatty()
