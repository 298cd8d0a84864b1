"""`hfcal tick`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.messages import say
from hfcal.cli.options import GlobalOptions, global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError, InterruptedByUserError, StateError
from hfcal.system.terminal import can_draw

if TYPE_CHECKING:
    from hfcal.core.ids import JsonObject
    from hfcal.core.report import TickReport
    from hfcal.engine.tick import Tick


def tick(
    context: typer.Context,
    dry_run: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--dry-run",
        help="Heartbeat and say what would be done; wake nobody, send no update.",
    ),
) -> CommandResult:
    """Make one pass over every agent: deliver, heartbeat, choose, wake, mark.

    \b
    Example, in a crontab:
      * * * * *  hfcal tick
    """
    from hfcal.core.notices import ABOUT_LOG

    options = global_options(context)
    settings = options.settings()
    settings.require_backend()
    settings.require_agents()
    job = None
    if dry_run:
        from hfcal.engine.dry_run import dry_run as run_dry

        report = run_dry(settings, options.state_file(settings).read())
    else:
        from hfcal.engine.factory import TickFactory

        open_state = partial(options.state_file, settings, share=True)
        job = TickFactory(settings, open_state, answer_on_stdout=options.json).make(())
        _stop_on_signals(job)
        if settings.log_file is not None:
            from hfcal.views.log import keep_fault

            keep_fault()
        try:
            report = _run(job, options)
        except HfcalError as error:
            if settings.log_file is not None:
                from hfcal.views.log import log_failure

                log_failure(error.kind, error.message)
                _tell_log_fault(None)
            raise
    if settings.log_file is not None:
        from hfcal.views.log import log_tick

        log_tick(report)
    if job is not None:
        known = job.file.known()
        if settings.log_file is not None or (known is not None and ABOUT_LOG in known.troubles):
            _tell_log_fault(job)
    return _result(report, options)


def _tell_log_fault(job: Tick | None) -> None:
    """Say what is new of a log that can't be written; as news of the tick, if it could be made."""
    from hfcal.core.notices import render_notices
    from hfcal.views.log import tell_fault

    try:
        news = tell_fault(None if job is None else job.file)
    except StateError:  # then there is no saying whether it was told
        news = tell_fault(None)
    for line in render_notices([news] if news else []):
        say(line)


def _run(job: Tick, options: GlobalOptions) -> TickReport:
    if options.quiet or not can_draw(sys.stderr):
        return job.run()
    from hfcal.views.progress import shown

    with shown(job.progress):
        return job.run()


def _stop_on_signals(job: Tick) -> None:
    def stop(number: int, _: FrameType | None) -> None:
        if job.stopping:
            raise SystemExit(exits.SIGNALLED + number)
        job.stop(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _result(report: TickReport, options: GlobalOptions) -> CommandResult:
    """The answer on stdout; to cron only what is news, on stderr."""
    from hfcal.core.notices import render_notices

    asked = options.verbose or report.dry_run or (sys.stdout.isatty() and not options.quiet)
    notes = render_notices(report.news)
    if report.interrupted is not None:
        notes.append("stopped before all agents had their turn; the next tick goes on")
    return CommandResult(
        lambda: _document(report),
        _lines(report) if asked else (),
        notes=notes,
        exit_code=_exit_code(report),
    )


def _document(report: TickReport) -> JsonObject:
    from hfcal.views.documents import tick_document

    document = tick_document(report)
    if report.interrupted is not None:
        stopped = InterruptedByUserError(report.interrupted)
        document["error"] = {"kind": stopped.kind, "message": stopped.message}
    return document


def _lines(report: TickReport) -> Iterator[str]:
    from hfcal.views.lines import tick_lines

    yield from tick_lines(report)


def _exit_code(report: TickReport) -> int:
    if report.interrupted is not None:
        return exits.SIGNALLED + report.interrupted
    if report.all_away:
        return exits.UNREACHABLE
    return exits.OK if report.all_well else exits.FAILED
