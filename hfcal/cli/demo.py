"""`hfcal demo`."""

from __future__ import annotations

import typer

from hfcal.cli import exits
from hfcal.cli.options import global_options
from hfcal.cli.result import CommandResult


def demo(context: typer.Context) -> CommandResult:
    """Show the whole cycle against an embedded simulator, in a few seconds.

    It works in a temporary directory and touches nothing else.

    \b
    Example:
      hfcal demo
    """
    from hfcal.demo import Demo, DemoError

    options = global_options(context)
    story = Demo(tell=_nothing if options.json or options.quiet else _tell)
    failure = ""
    try:
        story.run()
    except DemoError as error:
        failure = str(error)
    return CommandResult(
        lambda: {
            "ok": not failure,
            "steps": [{"command": s.command, "exit_code": s.code} for s in story.steps],
            "error": {"kind": "internal", "message": failure} if failure else None,
        },
        notes=[failure] if failure else [],
        exit_code=exits.FAILED if failure else exits.OK,
    )


def _tell(line: str) -> None:
    print(line, flush=True)


def _nothing(line: str) -> None:
    """Tell nobody."""
