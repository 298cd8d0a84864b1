"""The `print` adapter: shows the message instead of waking anybody, for trying things out."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from hfcal.core.records import Wake
from hfcal.wake.adapter import ServiceRequirements, WakeError


@dataclass(frozen=True)
class PrintAdapter:
    """Prints each wake.

    Attributes:
        to_stderr: Whether stdout belongs to the command's own answer.
    """

    to_stderr: bool

    def needs(self) -> ServiceRequirements:
        """Nothing."""
        return ServiceRequirements()

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:  # noqa: ARG002
        """Print one wake."""
        stream = sys.stderr if self.to_stderr else sys.stdout
        try:
            # One write, so that wakes made side by side don't mingle.
            stream.write(f"--- wake {agent_id} ({wake.source})\n{wake.message}---\n")
            stream.flush()
        except OSError as error:
            raise WakeError(f"cannot print: {error.strerror}") from error
