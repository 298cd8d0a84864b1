"""What doctor looks at, and what it finds."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from hfcal.errors import HfcalError
from hfcal.files import is_shared
from hfcal.owners import owner_of
from hfcal.settings import Settings
from hfcal.state.file import StateFile


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Its name in docs/doctor.md.
        severity: `ok`, `note`, `warning` or `error`.
        message: What was found, about which agent or file.
        mend: The command that mends it, or helps to; empty when there is none. The docs tell more.
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
        errors: Why not all of them could.
        state_file: The state file by them.
        given: The options that say where config and state are, for the commands that mend.
    """

    settings: Settings
    errors: tuple[HfcalError, ...]
    state_file: StateFile
    given: tuple[str, ...] = ()

    @property
    def is_guest(self) -> bool:
        """Whether this user shares the state of the one that ticks: it needs no config."""
        directory = self.state_file.path.parent
        alone = self.settings.config_file is None and not self.errors
        return alone and is_shared(directory) and owner_of(directory) is not None

    def command(self, *words: str) -> str:
        """An hfcal command that mends something, to be pasted into a shell."""
        return shlex.join(["hfcal", *words, *self.given])
