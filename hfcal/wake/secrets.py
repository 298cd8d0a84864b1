"""Secrets of wake tables: written there, or taken from the environment or a file when used.

Read again at each wake, so that a key that was changed counts at once, also in `watch`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from hfcal.wake.adapter import WakeError

_MOST = 8192  # characters of a secret


@dataclass(frozen=True)
class Secret:
    """Where a secret is.

    Attributes:
        text: The secret itself, if it is written in the table.
        env: The environment variable that holds it.
        file: The file that holds it, on its one line.
    """

    text: str = field(default="", repr=False)
    env: str = ""
    file: Path | None = None

    def read(self) -> str:
        """The secret.

        Raises:
            WakeError: It is missing, or can't stand in a header.
        """
        where = f"environment variable {self.env}" if self.env else str(self.file)
        if self.env:
            value = os.environ.get(self.env, "")
        elif self.file is not None:
            try:
                with self.file.open(encoding="utf-8") as stream:
                    value = stream.read(_MOST + 1).strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise WakeError(f"cannot read the secret in {where}: {reason}") from error
        else:
            return self.text
        if not value:
            raise WakeError(f"there is no secret in {where}")
        if not header_value(value):
            raise WakeError(f"what is in {where} is not one line of printable ASCII")
        return value


def header_value(value: str) -> bool:
    """Whether a text may stand in a header."""
    return value.isascii() and value.isprintable() and len(value) <= _MOST
