"""`hfcal metrics`."""

from __future__ import annotations

from pathlib import Path

import typer

from hfcal.cli import exits
from hfcal.cli.messages import say, say_passed_over
from hfcal.cli.options import global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError, StateError, docs_link


class UnwritableError(HfcalError):
    """A file that was asked for can't be written."""

    kind = "unwritable"


def metrics(
    context: typer.Context,
    textfile: str | None = typer.Option(
        None, metavar="PATH", help="Write them there, whole, for node_exporter."
    ),
) -> CommandResult:
    """Print what the state tells, in Prometheus' text format; without network.

    \b
    Example, in a crontab:
      * * * * *  hfcal metrics --textfile /var/lib/node_exporter/hfcal.prom
    """
    from hfcal.clock import now
    from hfcal.system.files import replace_file
    from hfcal.views.metrics import metrics_text

    options = global_options(context)
    state_file = options.state_file(options.settings(say_passed_over))
    state, code, failure = None, exits.OK, None
    try:
        state = state_file.read()
    except StateError as error:
        # The metrics say it as well, so that an alert can.
        say(f"{error.message} ({docs_link(error.kind)})")
        code, failure = exits.STATE, {"kind": error.kind, "message": error.message}
    text = metrics_text(state, now())
    if textfile is None:
        shown = [text.removesuffix("\n")]
        return CommandResult(lambda: {"text": text, "error": failure}, shown, exit_code=code)
    try:
        replace_file(Path(textfile).absolute(), text.encode("ascii", "replace"), mode=0o644)
    except OSError as error:
        raise UnwritableError(f"cannot write {textfile}: {error.strerror}") from error
    except ValueError as error:
        raise UnwritableError(f"cannot write {textfile}: that is no file's name") from error
    return CommandResult(lambda: {"path": textfile, "error": failure}, exit_code=code)
