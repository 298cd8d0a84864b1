"""`hfcal doctor`."""

from __future__ import annotations

import os
import sys

import typer

from hfcal.cli import exits
from hfcal.cli.shared import can_draw, global_options, print_json
from hfcal.errors import HfcalError


def doctor(context: typer.Context) -> int:
    """Look for what is wrong here, and say how to fix it; changes nothing, wakes nobody.

    \b
    Example:
      hfcal doctor
    """
    from hfcal.config.load import load
    from hfcal.config.paths import config_path
    from hfcal.doctor import Host, examine
    from hfcal.doctor.render import finding_lines, findings_document

    shared = global_options(context)
    errors: list[HfcalError] = []
    # Not by `shared`, which opens the log: that makes a file, and here nothing is changed.
    settings = load(shared.options(), os.environ, pass_over=errors.append)
    config = config_path(shared.options(), os.environ)
    host = Host(settings, tuple(errors), config, shared.state_file(settings), shared.places)
    findings = list(examine(host))
    if shared.json:
        print_json(findings_document(findings))
    else:
        for line in finding_lines(findings, quiet=shared.quiet, colour=_colour()):
            print(line)
    return exits.FAILED if any(finding.bad for finding in findings) else exits.OK


def _colour() -> bool:
    return can_draw(sys.stdout) and not os.environ.get("NO_COLOR")
