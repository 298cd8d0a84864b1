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
class _Blocking:
    """A change that a worker waits for.

    Attributes:
        change: What to do to the state.
        resume: Called before the worker goes on.
        keep_until: Until when it is tried again if it can't be saved, by the monotonic clock.
    """

    change: Change[Any]
    resume: Callable[[], None]
    keep_until: float
    over: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None

    def succeed(self) -> None:
        """It is saved."""
        self.resume()
        self.over.set()

    def fail(self, error: BaseException) -> None:
        """It is not saved."""
        self.error = error
        self.succeed()


@dataclass(eq=False)
class _Deferred:
    """A change that is handed in; the owner thread hears of its end."""

    change: Change[Any]
    saved: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    result: Any = None
    keep_until: float = 0.0

    def succeed(self) -> None:
        """It is saved."""
        self.saved(self.result)

    def fail(self, error: BaseException) -> None:
        """It is not saved."""
        self.failed(error)


@dataclass(eq=False)
class _Call:
    """Something for the owner thread to do; it changes nothing, so no save can fail it."""

    run: Callable[[], None]
    closed: Callable[[BaseException], None]
    at_once: bool = False


_Save = _Blocking | _Deferred
_Request = _Save | _Call


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
        self._kept: list[_Save] = []
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
        request = _Blocking(
            change,
            resume=lambda: self._wait(-1),
            keep_until=time.monotonic() + _PATIENCE if must_save else 0.0,
        )
        self._wait(1)
        self._put(request)
        request.over.wait()
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    def later(
        self,
        change: Change[T],
        saved: Callable[[T], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Apply `change` without waiting; one of two functions is called on the owner thread.

        Args:
            change: May be applied again, when another change of the same save has a bug.
            saved: Called with the result, once it is on disk.
            failed: Called with the error when it isn't saved: a `StateError`, or a bug of `change`,
                which then is alone: what else was in that save is saved.
        """
        self._put(_Deferred(change, saved, failed))

    def call(self, run: Callable[[], None], closed: Callable[[BaseException], None]) -> None:
        """Have the owner thread call `run`, after what was handed in before is saved or has failed.

        Args:
            run: What to call.
            closed: Called in its place, with the error, when nothing is saved any more.
        """
        self._put(_Call(run, closed))

    def call_at_once(
        self, run: Callable[[], None], closed: Callable[[BaseException], None]
    ) -> None:
        """As `call`, but before the next save."""
        self._put(_Call(run, closed, at_once=True))

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
                _end(request, error)

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
        _end(request, self._closed)

    def _gather(self) -> list[_Request]:
        batch: list[_Request] = [*self._kept]
        self._kept = []
        wait: float | None = 0.0 if batch else None
        while True:
            try:
                request = self._requests.get(timeout=wait)
            except queue.Empty:
                return batch
            if isinstance(request, _Call) and request.at_once:
                request.run()
            elif request is not None:
                batch.append(request)
            if not batch:
                return batch
            if self._requests.empty() and (self._working == 0 or self._waiting >= self._workers):
                return batch
            wait = max(0.0, self._last_save + self.gap - time.monotonic())

    def _save(self, batch: list[_Request], after_save: Callable[[State], None]) -> None:
        """Save a batch, then do the calls in it and say of each change what became of it."""
        state: State | None = None
        while changes := [request for request in batch if not isinstance(request, _Call)]:
            applying: _Save | None = None
            try:
                with self._file.transaction() as state:
                    for applying in changes:
                        applying.result = applying.change(state)
                    applying = None
                self._last_save = time.monotonic()
                break
            except StateError as error:
                self._fail(batch, error)
                return
            except Exception as error:
                if applying is None:  # the bug is none of theirs
                    for request in batch:
                        _end(request, error)
                    raise
                # One change has a bug: nothing was saved, so the others go again.
                state = None
                batch.remove(applying)
                applying.fail(error)
        for request in batch:
            if isinstance(request, _Call):
                request.run()
            else:
                request.succeed()
        if state is not None:
            after_save(state)

    def _fail(self, batch: list[_Request], error: StateError) -> None:
        self.error = self.error or error
        for request in batch:
            if isinstance(request, _Call):
                request.run()
            elif time.monotonic() < request.keep_until:
                self._kept.append(request)
            else:
                request.fail(error)


def _end(request: _Request, error: BaseException) -> None:
    """Nothing is saved any more."""
    if isinstance(request, _Call):
        request.closed(error)
    else:
        request.fail(error)
