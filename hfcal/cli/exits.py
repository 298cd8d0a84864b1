"""Exit codes; the only place that knows them (docs/operating.md, Exit codes)."""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
NO_SLOT = 3
UNREACHABLE = 4
CONFIG = 5
STATE = 6
INTERNAL = 70
SIGNALLED = 128  # and the signal's number: 130 by Ctrl-C, 143 by SIGTERM

BY_KIND = {
    "usage": USAGE,
    "no_active_slot": NO_SLOT,
    "ambiguous_agent": NO_SLOT,
    "wrong_slot": NO_SLOT,
    "undelivered": UNREACHABLE,
    "config": CONFIG,
    "state": STATE,
    "locked": STATE,
    "internal": INTERNAL,
}
