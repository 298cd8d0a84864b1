"""`hfcal watch`."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

import typer

from hfcal.cli.options import global_options
from hfcal.system.terminal import can_draw

if TYPE_CHECKING:
    from hfcal.engine.tick import Tick


def watch(
    context: typer.Context,
    interval: str | None = typer.Option(
        None, metavar="DURATION", help="From the start of one pass to the next; 30s."
    ),
) -> int:
    """Tick now and then every interval, until Ctrl-C or SIGTERM.

    On a terminal a live view, else a line for each pass in which something happened, and one
    a minute otherwise.

    \b
    Example:
      hfcal watch --interval 15s
    """
    import gc

    from hfcal.engine.factory import TickFactory
    from hfcal.engine.watch import Watch
    from hfcal.views.screens import JsonScreen, LineScreen

    options = global_options(context)
    options.interval = interval
    settings = options.settings()
    settings.require_backend()
    settings.require_agents()
    open_state = partial(options.state_file, settings, share=True)
    factory = TickFactory(settings, open_state, answer_on_stdout=options.json)
    gc.set_threshold(700)  # unlike the commands that end soon

    def make(under_way: Collection[Tick]) -> Tick:
        _tidy()
        return factory.make(under_way)

    every, log = settings.heartbeat_interval, settings.log_file is not None
    if options.json:
        Watch(every, make, JsonScreen(), log=log).run()
    elif can_draw(sys.stdout):
        from hfcal.views.live import LiveScreen

        with LiveScreen(options.state_file(settings)) as screen:
            Watch(every, make, screen, log=log).run()
    else:
        Watch(every, make, LineScreen(settings.log_format), log=log).run()
    return 0


def _tidy() -> None:
    """Give back what the last pass has left, or memory would grow a little for hours."""
    import contextlib
    import ctypes
    import gc

    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
