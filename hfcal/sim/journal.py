"""The journal: what was asked of the backend, and what came of it, in the order of the effects.

docs/simulator.md, Journal, is the reference of its fields.
"""

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice

KEPT = 200_000
"""The newest entries that are kept by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request; a request that is applied twice has two entries.

    Attributes:
        at: the simulator's clock when it was applied, RFC 3339.
        monotonic: the host's monotonic clock then, in seconds.
        received: the same clock when the request had arrived.
        kind: heartbeat, update, status, sync or other.
        agent: the X-Agent-ID, None when missing; `claw` the same for X-Claw-Identifier.
        user_agent: the User-Agent header; `cookie` the same for Cookie.
        body: the JSON that was sent; the first characters as text when it is not JSON or long.
        slot: the id or virtual id that the path names.
        slot_id: the real id of that slot afterwards.
        before: the slot's status before; `after` the same afterwards.
        decision: the HTTP status by the calendar's rules; None when it never got there.
        effect: whether the calendar accepted it (2xx).
        answer: the HTTP status that was sent, None when the connection was closed without.
        fault: what went wrong with it, such as `drop_after`, `latency+status` or `trick:drip`.
    """

    at: str
    monotonic: float
    received: float
    method: str
    path: str
    kind: str
    agent: str | None
    claw: str | None
    user_agent: str | None
    cookie: str | None = None
    body: object
    slot: str | None = None
    slot_id: int | None = None
    before: str | None = None
    after: str | None = None
    decision: int | None = None
    effect: bool = False
    answer: int | None = None
    fault: str | None = None


class Journal:
    """The newest entries, numbered from 1. Safe to use from any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._newest = 0
        self._lock = threading.Lock()

    @property
    def newest(self) -> int:
        """The number of the newest entry, 0 when there is none."""
        return self._newest

    def add(self, entry: Entry) -> None:
        """Append an entry; the oldest makes room."""
        with self._lock:
            self._entries.append(entry)
            self._newest += 1

    def since(self, number: int = 0) -> list[tuple[int, Entry]]:
        """Return the kept entries after this number, oldest first, each with its number."""
        with self._lock:
            oldest = self._newest - len(self._entries) + 1
            first = max(number + 1, oldest)
            entries = islice(self._entries, first - oldest, None)
            return list(enumerate(entries, first))
