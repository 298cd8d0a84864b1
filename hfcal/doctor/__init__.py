"""What may be wrong here, found before it hurts; changes nothing and wakes nobody.

Each check is a generator of findings. docs/doctor.md tells each finding's meaning and fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hfcal.doctor.backend import check_backend
from hfcal.doctor.config import check_config, check_log, check_secrets
from hfcal.doctor.finding import Finding, Host
from hfcal.doctor.state import check_space, check_state
from hfcal.doctor.wake import check_wake

__all__ = ["Finding", "Host", "examine"]


def examine(host: Host) -> Iterator[Finding]:
    """All checks; one that can't be made is a finding too."""
    checks: list[Callable[[Host], Iterator[Finding]]] = [
        check_config,
        check_secrets,
        check_state,
        check_space,
        check_log,
        check_backend,
        check_wake,
    ]
    for check in checks:
        try:
            yield from check(host)
        except Exception as error:  # the other checks are worth as much
            what = check.__name__.replace("_", " ")
            yield Finding("check-failed", "error", f"could not {what}: {error}")
