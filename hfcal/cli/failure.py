"""What a command that failed came to: its error document, its message and its exit code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from hfcal.cli import exits
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError, InterruptedByUserError, docs_link
from hfcal.text import one_line

if TYPE_CHECKING:
    from hfcal.core.ids import JsonObject

_UsageError: Any = typer.BadParameter.__base__


def result_of(error: Exception | InterruptedByUserError, *, verbose: bool) -> CommandResult:
    """The result of a command that raised this.

    Args:
        error: What it raised; what nothing here knows is a bug, and is logged as one.
        verbose: Whether to print a bug's traceback.
    """
    if isinstance(error, _UsageError):
        return _usage(error)
    if isinstance(error, InterruptedByUserError):
        return _failure(error.kind, error.message, exits.SIGNALLED + error.number)
    if isinstance(error, HfcalError):
        return _failure(error.kind, error.message, exits.BY_KIND.get(error.kind, exits.FAILED))
    return _bug(error, verbose=verbose)


def _usage(error: Any) -> CommandResult:
    message = error.format_message()
    path = error.ctx.command_path if error.ctx is not None else "hfcal"
    note = f"{message} ({docs_link('usage')})\nTry '{path} --help'."
    return CommandResult(lambda: _document("usage", message), notes=[note], exit_code=exits.USAGE)


def _bug(error: Exception, *, verbose: bool) -> CommandResult:
    if verbose:
        import traceback

        traceback.print_exception(error)
    if "hfcal.views.log" in sys.modules:
        sys.modules["hfcal.views.log"].log_bug(error)
    message = f"a bug in hfcal, please report it: {type(error).__name__}: {error}"
    return _failure("internal", message, exits.INTERNAL)


def _failure(kind: str, message: str, exit_code: int) -> CommandResult:
    message = one_line(message, 2000)
    note = f"{message} ({docs_link(kind)})"
    return CommandResult(lambda: _document(kind, message), notes=[note], exit_code=exit_code)


def _document(kind: str, message: str) -> JsonObject:
    from hfcal.views.documents import error_document

    return error_document(kind, message)
