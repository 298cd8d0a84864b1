"""`hfcal tick`."""

from __future__ import annotations

import signal
import sys
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.shared import GlobalOptions, can_draw, global_options, print_json, say
from hfcal.errors import HfcalError, InterruptedByUserError, StateError

if TYPE_CHECKING:
    from hfcal.core.report import TickReport
    from hfcal.engine.tick import Tick


def tick(
    context: typer.Context,
    dry_run: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--dry-run",
        help="Heartbeat and say what would be done; wake nobody, send no update.",
    ),
) -> int:
    """Make one pass over every agent: deliver, heartbeat, choose, wake, mark.

    \b
    Example, in a crontab:
      * * * * *  hfcal tick
    """
    from hfcal.core.notices import ABOUT_LOG

    shared = global_options(context)
    settings = shared.settings()
    settings.require_backend()
    settings.require_agents()
    job = None
    if dry_run:
        from hfcal.engine.dry_run import dry_run as run_dry

        report = run_dry(settings, shared.state_file(settings).read())
    else:
        from hfcal.engine.factory import TickFactory

        open_state = partial(shared.state_file, settings, share=True)
        job = TickFactory(settings, open_state, answer_on_stdout=shared.json).make(())
        _stop_on_signals(job)
        if settings.log_file is not None:
            from hfcal.views.log import keep_fault

            keep_fault()
        try:
            report = _run(job, shared)
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
    _show(report, shared)
    return exit_code(report)


def exit_code(report: TickReport) -> int:
    """The exit code that tells how a tick went."""
    if report.interrupted is not None:
        return 128 + report.interrupted
    if report.all_away:
        return exits.UNREACHABLE
    return exits.OK if report.all_well else exits.FAILED


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


def _run(job: Tick, shared: GlobalOptions) -> TickReport:
    if shared.quiet or not can_draw(sys.stderr):
        return job.run()
    from hfcal.views.progress import shown

    with shown(job.progress):
        return job.run()


def _stop_on_signals(job: Tick) -> None:
    def stop(number: int, _: FrameType | None) -> None:
        if job.stopping:
            raise SystemExit(128 + number)
        job.stop(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _show(report: TickReport, shared: GlobalOptions) -> None:
    """The answer on stdout; to cron only what is news, on stderr."""
    from hfcal.core.notices import render_notices

    if shared.json:
        from hfcal.views.documents import tick_document

        document = tick_document(report)
        if report.interrupted is not None:
            stopped = InterruptedByUserError(report.interrupted)
            document["error"] = {"kind": stopped.kind, "message": stopped.message}
        print_json(document)
    elif shared.verbose or report.dry_run or (sys.stdout.isatty() and not shared.quiet):
        from hfcal.views.lines import tick_lines

        print("\n".join(tick_lines(report)))
    for line in render_notices(report.news):
        say(line)
    if report.interrupted is not None:
        say("stopped before all agents had their turn; the next tick goes on")
