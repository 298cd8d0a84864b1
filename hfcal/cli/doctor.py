"""`hfcal doctor`."""

from __future__ import annotations

import os
import sys

import typer

from hfcal.cli import exits
from hfcal.cli.options import global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError
from hfcal.system.terminal import can_draw


def doctor(context: typer.Context) -> CommandResult:
    """Look for what is wrong here, and say how to fix it; changes nothing, wakes nobody.

    \b
    Example:
      hfcal doctor
    """
    from hfcal.config.load import load
    from hfcal.config.paths import config_path
    from hfcal.doctor import Host, examine
    from hfcal.doctor.render import finding_lines, findings_document

    options = global_options(context)
    errors: list[HfcalError] = []
    # Not by `options.settings`, which opens the log: that makes a file; here nothing is changed.
    settings = load(options.for_settings(), os.environ, pass_over=errors.append)
    config = config_path(options.for_settings(), os.environ)
    host = Host(settings, tuple(errors), config, options.state_file(settings), options.places)
    findings = list(examine(host))
    return CommandResult(
        lambda: findings_document(findings),
        finding_lines(findings, quiet=options.quiet, colour=_colour()),
        exit_code=exits.FAILED if any(finding.bad for finding in findings) else exits.OK,
    )


def _colour() -> bool:
    return can_draw(sys.stdout) and not os.environ.get("NO_COLOR")
