"""How far a long tick is, for a person who waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hfcal.core.report import Progress

_PATIENCE = 1.0  # seconds before anything is shown
_PERIOD = 0.2


@contextmanager
def shown(ask: Callable[[], Progress]) -> Iterator[None]:
    """Show on stderr what `ask` tells, from a second on until the block ends; nothing stays.

    For a terminal only. rich is loaded once there is something to show.
    """
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(ask, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(1.0)


def _show(ask: Callable[[], Progress], over: threading.Event) -> None:
    if over.wait(_PATIENCE):
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with console.status(_text(ask()), spinner="line") as status:
        while not over.wait(_PERIOD):
            status.update(_text(ask()))


def _text(progress: Progress) -> str:
    return (
        f"{progress.done} of {progress.agents} agents, "
        f"{progress.failing} failing, {progress.dispatched} dispatched"
    )
