"""What doctor looks at, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass

from hfcal.errors import ConfigError, UsageError
from hfcal.settings import Settings
from hfcal.state.file import StateFile


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Its name in docs/doctor.md.
        severity: `ok`, `note`, `warning` or `error`.
        message: What was found, about which agent or file.
        mend: What to do; empty when there is nothing to do.
    """

    code: str
    severity: str
    message: str
    mend: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody should do something."""
        return self.severity in {"warning", "error"}


@dataclass(frozen=True)
class Host:
    """What is examined.

    Attributes:
        settings: What of them could be read.
        error: Why not all of them could.
        state_file: The state file by them.
    """

    settings: Settings
    error: ConfigError | UsageError | None
    state_file: StateFile
