"""Group commit: many threads' changes, few saves.

One save per agent would be a thousand fsyncs of a growing file. So workers hand their changes to
the thread that owns the state; it applies all that are ready in one transaction. It saves at once
when nobody is left who could hand in more, and else one to three times a second.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hfcal.core.records import State
from hfcal.errors import StateError
from hfcal.state.file import StateFile

T = TypeVar("T")
Change = Callable[[State], T]

# Seconds between two saves while others are still at work: a share of the time that has passed, so
# that a tick that takes long doesn't save ever more often.
_LEAST_GAP, _MOST_GAP, _GAP_SHARE = 0.4, 1.0, 1 / 3
_PATIENCE = 30.0  # seconds for which a change that must be kept is tried again
_PAUSE = 0.25  # seconds between two such tries


@dataclass(eq=False)
class _Request:
    change: Change[Any] | None
    then: Callable[[Any], None] | None = None
    saved: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None
    failed: Callable[[BaseException], None] | None = None
    keep_until: float = 0.0
    at_once: bool = False
    on_resume: Callable[[], None] = lambda: None

    def succeed(self) -> None:
        """It is saved, or needn't be."""
        self.on_resume()
        self.saved.set()
        if self.then is not None:
            self.then(self.result)

    def fail(self, error: BaseException) -> None:
        """It is not saved."""
        self.error = error
        self.on_resume()
        self.saved.set()
        if self.failed is not None:
            self.failed(error)


class GroupCommit:
    """The queue of changes to one state file.

    Workers call `commit` and `later`; the owner thread calls `run`.

    Args:
        state_file: The state file.
        workers: How many can wait in `commit` at once: when all do, nobody hands in more.

    Attributes:
        error: Why a save failed first, if one did.
    """

    def __init__(self, state_file: StateFile, workers: float = math.inf) -> None:
        self._file = state_file
        self._workers = workers
        self._waiting = 0
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._working = 0
        self._closed: BaseException | None = None
        self._began = time.monotonic()
        self._last_save = self._began
        self._kept: list[_Request] = []
        self.error: StateError | None = None

    @property
    def busy(self) -> bool:
        """Whether anybody is at work, or something is yet to be saved (owner thread)."""
        return self._working > 0 or bool(self._kept) or not self._requests.empty()

    @property
    def gap(self) -> float:
        """Seconds from one save to the next at present."""
        passed = time.monotonic() - self._began
        return min(max(passed * _GAP_SHARE, _LEAST_GAP), _MOST_GAP)

    def commit(self, change: Change[T], *, must_save: bool = False) -> T:
        """Apply `change` and return its result once it is on disk; for workers.

        Args:
            change: What to do to the state.
            must_save: Whether it tells of something that can't be undone: if it can't be saved,
                since the disk is full for a moment, it is tried again for 30 s.

        Raises:
            StateError: It could not be saved, and nothing has changed.
        """
        # Counted as at work again by who wakes it, so that there is no gap in between.
        request = _Request(
            change,
            keep_until=time.monotonic() + _PATIENCE if must_save else 0.0,
            on_resume=lambda: self._wait(-1),
        )
        self._wait(1)
        self._put(request)
        request.saved.wait()
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    def later(
        self,
        change: Change[T],
        then: Callable[[T], None],
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Apply `change` without waiting; `then` gets its result on the owner thread, once saved.

        Args:
            change: May be applied again, when another change of the same save has a bug.
            then: Called with the result.
            failed: Called instead, with the error, when it isn't saved.
        """
        self._put(_Request(change, then, failed=failed))

    def call(
        self, then: Callable[[], None], failed: Callable[[BaseException], None] | None = None
    ) -> None:
        """Have the owner thread call `then`, after what was handed in before is saved."""
        self._put(_Request(None, lambda _: then(), failed=failed))

    def call_at_once(self, then: Callable[[], None]) -> None:
        """Have the owner thread call `then` before the next save."""
        self._put(_Request(None, lambda _: then(), at_once=True))

    def close(self, error: BaseException) -> None:
        """Nothing more is saved: who waits, or comes later, gets `error`; for the owner thread."""
        with self._guard:
            self._closed = error
        for kept in self._kept:
            kept.fail(error)
        while True:
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                request.fail(error)

    def start_work(self) -> None:
        """A worker is busy and may hand in a change."""
        with self._guard:
            self._working += 1

    def _wait(self, more: int) -> None:
        """So many workers more wait for their change, in place of being at work."""
        with self._guard:
            self._working -= more
            self._waiting += more

    def stop_work(self) -> None:
        """A worker isn't busy any more, or waits for its change."""
        with self._guard:
            self._working -= 1

    def recheck(self) -> None:
        """Make `run` look again whether it is done; may be called by a signal handler."""
        self._requests.put(None)

    def run(self, done: Callable[[], bool], after_save: Callable[[State], None]) -> None:
        """Apply and save what is handed in until `done()`; for the owner thread.

        A change that can't be saved fails alone, with what else was in that save; see `error`.

        Args:
            done: Asked after each save and each `recheck`.
            after_save: Gets the state after each save.
        """
        while not done():
            batch = self._gather()
            if batch:
                self._save(batch, after_save)
            if self._kept:
                time.sleep(_PAUSE)

    def _put(self, request: _Request) -> None:
        with self._guard:
            if self._closed is None:
                self._requests.put(request)
                return
        request.fail(self._closed)

    def _gather(self) -> list[_Request]:
        batch, self._kept = self._kept, []
        wait: float | None = 0.0 if batch else None
        while True:
            try:
                request = self._requests.get(timeout=wait)
            except queue.Empty:
                return batch
            if request is not None and request.at_once:
                request.succeed()
            elif request is not None:
                batch.append(request)
            if not batch:
                return batch
            if self._requests.empty() and (self._working == 0 or self._waiting >= self._workers):
                return batch
            wait = max(0.0, self._last_save + self.gap - time.monotonic())

    def _save(self, batch: list[_Request], after_save: Callable[[State], None]) -> None:
        state: State | None = None
        while any(request.change is not None for request in batch):
            applying: _Request | None = None
            try:
                with self._file.transaction() as state:
                    for request in batch:
                        if request.change is not None:
                            applying = request
                            request.result = request.change(state)
                    applying = None
                self._last_save = time.monotonic()
                break
            except StateError as error:
                self._fail(batch, error)
                return
            except Exception as error:
                if applying is None or (applying.failed is None and applying.on_resume is None):
                    for request in batch:
                        request.fail(error)
                    raise
                # One agent's change has a bug: nothing was saved, so the others go again.
                batch.remove(applying)
                applying.fail(error)
                state = None
        for request in batch:
            request.succeed()
        if state is not None:
            after_save(state)

    def _fail(self, batch: list[_Request], error: StateError) -> None:
        self.error = self.error or error
        for request in batch:
            if request.change is None:
                request.succeed()
            elif time.monotonic() < request.keep_until:
                self._kept.append(request)
            else:
                request.fail(error)
