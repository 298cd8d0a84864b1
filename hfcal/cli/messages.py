"""What a command says to a person on stderr, where it is never taken for the answer."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfcal.errors import HfcalError


def say(message: str) -> None:
    """Tell a person something that is not the answer; a stderr that is gone changes nothing."""
    with contextlib.suppress(OSError):
        print(f"hfcal: {message}", file=sys.stderr, flush=True)


def say_passed_over(error: HfcalError) -> None:
    """Tell a person that a part of the settings is passed over."""
    say(f"{error.message}; going on without it")


def pass_over(_: HfcalError) -> None:
    """Say nothing: an agent's word counts whatever is wrong with the settings."""
