"""Telling systemd how a service is (sd_notify); nothing where systemd doesn't ask."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Sends to the socket that the environment names, and takes it out of the environment.

    Woken agents must not inherit it: they would speak for hfcal.

    Attributes:
        watchdog: Seconds within which systemd wants to hear WATCHDOG=1; None if it doesn't.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = os.environ.pop("WATCHDOG_USEC", "")
        process = os.environ.pop("WATCHDOG_PID", "")
        mine = process in {"", str(os.getpid())}
        digits = microseconds.isascii() and microseconds.isdigit() and len(microseconds) < 16
        found = digits and int(microseconds) > 0
        self.watchdog = int(microseconds) / 1e6 if mine and found and self._address else None

    def send(self, *lines: str) -> None:
        """Send these assignments, such as `READY=1`; a failure changes nothing."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(0.5)
            out.sendto("\n".join(lines).encode("utf-8", "replace"), address)
