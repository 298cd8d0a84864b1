"""`hfcal doctor` for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from hfcal.core.notices import group_alike, names
from hfcal.text import one_line

if TYPE_CHECKING:
    from hfcal.core.ids import JsonObject
    from hfcal.doctor import Finding

_COLOURS = {"ok": "32", "note": "36", "warning": "33", "error": "31"}


def finding_lines(findings: Iterable[Finding], *, quiet: bool, colour: bool) -> Iterator[str]:
    """A line for each finding, or for many agents' that are alike, and its fix below it.

    Args:
        findings: In the order of the checks.
        quiet: Leave out what is well.
        colour: Colour the severity.
    """
    findings = list(findings)
    bad = sum(finding.bad for finding in findings)
    for finding in _folded(findings):
        if quiet and finding.severity == "ok":
            continue
        word = f"{finding.severity:8}"
        if colour:
            word = f"\x1b[{_COLOURS[finding.severity]}m{word}\x1b[0m"
        yield f"{word} {one_line(finding.whole_message, 1000)}"
        if finding.severity != "ok":
            if finding.fix:
                yield f"         $ {one_line(finding.fix, 500)}"
            yield f"         docs/doctor.md#{finding.code}"
    if bad:
        yield f"{bad} problem{'s' if bad > 1 else ''}"
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
                "message": finding.whole_message,
                "fix": finding.fix,
                "mend": finding.fix,  # its older name
                "agent_id": finding.agent_id or None,
            }
            for finding in findings
        ],
    }


def _folded(findings: list[Finding]) -> Iterator[Finding]:
    """Those of many agents that are alike as one, in the place of the first; its fix is told."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for number, finding in enumerate(findings):
        # What is about no single agent is like nothing else.
        about = finding.severity if finding.agent_id else str(number)
        alike.setdefault((finding.code, about), []).append(finding)
    for group in alike.values():
        fixes = {finding.agent_id: finding.fix for finding in reversed(group)}
        for message, who in group_alike((finding.agent_id, finding.message) for finding in group):
            if len(who) == 1:
                yield replace(group[0], message=message, agent_id=who[0], fix=fixes[who[0]])
                continue
            each = "" if len({fixes[a] for a in who}) == 1 else "  # and so for each"
            fix = f"{fixes[who[0]]}{each}"
            yield replace(group[0], message=f"{names(who)}: {message}", agent_id="", fix=fix)
