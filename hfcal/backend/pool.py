"""Threads that talk to the backend, each with a connection of its own.

A pool looks at every connection for every request, so a client per thread is faster than one that
all share; the figures are in docs/architecture.md.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from hfcal.backend.bridge import Bridge, make_bridge

if TYPE_CHECKING:
    from hfcal.config.settings import Settings

Job = Callable[[Bridge], None]


class Workers:
    """Up to `most` threads, started when there is work for them.

    Args:
        most: The most threads.
        make_bridge: Makes each thread's own bridge.
    """

    def __init__(self, most: int, make_bridge: Callable[[], Bridge]) -> None:
        self._most = most
        self._make_bridge = make_bridge
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0
        self._starting = threading.Lock()

    def submit(self, job: Job) -> None:
        """Have `job` done by a thread; jobs handle their own errors."""
        with self._starting:
            if not self._idle.acquire(blocking=False) and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end once they have nothing left to do."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        bridge = self._make_bridge()
        while (job := self._jobs.get()) is not None:
            job(bridge)
            del job  # or it would be kept, with its tick, until the next one comes
            self._idle.release()
        bridge.close()


def make_workers(settings: Settings) -> Workers:
    """Threads for requests by the settings."""
    return Workers(settings.concurrency, lambda: make_bridge(settings))
