"""`hfcal doctor` for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hfcal.text import one_line

if TYPE_CHECKING:
    from hfcal.doctor import Finding
    from hfcal.ids import JsonObject

_COLOURS = {"ok": "32", "note": "36", "warning": "33", "error": "31"}


def finding_lines(findings: Iterable[Finding], *, quiet: bool, colour: bool) -> Iterator[str]:
    """A line for each finding, and its mend below it.

    Args:
        findings: In the order of the checks.
        quiet: Leave out what is well.
        colour: Colour the severity.
    """
    bad = 0
    for finding in findings:
        bad += finding.bad
        if quiet and finding.severity == "ok":
            continue
        word = f"{finding.severity:8}"
        if colour:
            word = f"\x1b[{_COLOURS[finding.severity]}m{word}\x1b[0m"
        yield f"{word} {one_line(finding.message, 1000)}"
        if finding.severity != "ok":
            if finding.mend:
                yield f"         $ {one_line(finding.mend, 500)}"
            yield f"         docs/doctor.md#{finding.code}"
    if bad:
        yield f"{bad} to mend"
    elif not quiet:
        yield "all is well"


def findings_document(findings: list[Finding]) -> JsonObject:
    """`doctor --json`."""
    return {
        "schema": 1,
        "ok": not any(finding.bad for finding in findings),
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "message": finding.message,
                "mend": finding.mend,
            }
            for finding in findings
        ],
    }
