"""Asking a person before something is done that can't be taken back."""

from __future__ import annotations

import sys

import typer

from hfcal.errors import DeclinedError, UsageError

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
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"would {what}; say --yes to do it, as there is no terminal to ask on")
    if not typer.confirm(f"{what[0].upper()}{what[1:]}?", err=True):
        raise DeclinedError
