"""`hfcal doctor`."""

from __future__ import annotations

import sys

import typer

from hfcal.cli import exits
from hfcal.cli.shared import can_draw, pass_over, print_json, shared_of
from hfcal.errors import ConfigError, UsageError


def doctor(context: typer.Context) -> int:
    """Look for what is wrong here, and say how to mend it; changes nothing, wakes nobody.

    \b
    Example:
      hfcal doctor
    """
    from hfcal.doctor import Host, examine
    from hfcal.views.findings import finding_lines, findings_document

    shared = shared_of(context)
    error: ConfigError | UsageError | None = None
    try:
        settings = shared.settings()
    except (ConfigError, UsageError) as found:
        error = found
        settings = shared.settings(pass_over)
    findings = list(examine(Host(settings, error, shared.state_file(settings))))
    if shared.json:
        print_json(findings_document(findings))
    else:
        for line in finding_lines(findings, quiet=shared.quiet, colour=_colour()):
            print(line)
    return exits.FAILED if any(finding.bad for finding in findings) else exits.OK


def _colour() -> bool:
    import os

    return can_draw(sys.stdout) and not os.environ.get("NO_COLOR")
