"""Asking a person: for what is missing, and before what can't be taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import typer

from hfcal.cli.options import require_text
from hfcal.errors import DeclinedError, UsageError
from hfcal.system.terminal import can_ask

T = TypeVar("T")

YES = typer.Option(False, "--yes", "-y", help="Don't ask.")  # noqa: FBT003


def confirm(what: str, *, yes: bool) -> None:
    """Say what will be done, and go on only when that is right.

    Args:
        what: Such as `drop 2 updates of slot 12 of developer`.
        yes: Whether `--yes` was given.

    Raises:
        DeclinedError: The person said no.
        UsageError: There is nobody to ask, and `--yes` was not given.
    """
    if yes:
        return
    if not can_ask():
        raise UsageError(f"would {what}; say --yes to do it, as there is no terminal to ask on")
    if not typer.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        raise DeclinedError


def ask(question: str, read: Callable[[str], T], default: str | None) -> T:
    """Ask until the answer is allowed.

    Args:
        question: What is asked.
        read: Makes the answer of the text, or raises `ValueError` or `UsageError`.
        default: What no answer means; None when there must be one. An empty one isn't shown.
    """

    def checked(text: str) -> T:
        try:
            require_text(text)
            return read(text)
        except (ValueError, UsageError) as error:
            raise typer.BadParameter(str(error)) from error

    shown = default != ""
    answer: T = typer.prompt(
        question, default=default, err=True, value_proc=checked, show_default=shown
    )
    return answer
