"""Not asking a backend that is away: a thousand agents must not wait for a thousand time-outs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from hfcal.errors import NOT_ASKED, BridgeError, Fault

T = TypeVar("T")

IN_A_ROW = 8  # refused connections, or time-outs while nobody was answered


class Breaker:
    """Tells workers whether to ask, for the rest of one tick; they call it side by side.

    Attributes:
        fault: Set once nobody else is to be asked.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self._changed = threading.Condition()
        self._under_way = 0
        self._refused = 0
        self._timed_out = 0
        self._answered = False
        self._doubt = False  # somebody has waited in vain, and others still do

    def call(self, request: Callable[[], T]) -> T:
        """What a request returns, unless the backend is taken to be away.

        Raises:
            BridgeError: It failed, or was not made.
        """
        fault = self.ask()
        if fault is not None:
            raise BridgeError(fault)
        try:
            return request()
        except BridgeError as error:
            fault = error.fault
            raise
        finally:
            self.note(fault)

    def ask(self) -> Fault | None:
        """Why not to ask, or None: then `note` is called with what came of it.

        After a time-out, with nobody answered, it waits for those who are asking already: so a
        backend that hangs costs one time-out, however many workers there are.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.fault or not self._doubt)
            if self.fault is None:
                self._under_way += 1
            return self.fault

    def note(self, fault: Fault | None) -> None:
        """Note how asking went."""
        kind = None if fault is None else fault.kind
        refused = fault is not None and kind == "unreachable" and not fault.maybe_done
        with self._changed:
            self._under_way -= 1
            self._refused = self._refused + 1 if refused else 0
            if kind == "timeout":
                self._timed_out += 1
            elif not refused:
                self._answered = True
            gave_up = self._timed_out >= IN_A_ROW and not self._answered and not self._under_way
            away = self._refused >= IN_A_ROW or gave_up
            if fault is not None and away:
                self.fault = Fault(fault.kind, f"{fault.message}{NOT_ASKED}")
            self._doubt = bool(self._timed_out and self._under_way and not self._answered)
            self._changed.notify_all()
