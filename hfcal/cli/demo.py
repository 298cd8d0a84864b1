"""`hfcal demo`."""

from __future__ import annotations

import typer

from hfcal.cli import exits
from hfcal.cli.shared import global_options, print_json, say


def demo(context: typer.Context) -> int:
    """Show the whole cycle against an embedded simulator, in a few seconds.

    It works in a temporary directory and touches nothing else.

    \b
    Example:
      hfcal demo
    """
    from hfcal.demo import Demo, DemoError

    shared = global_options(context)
    story = Demo(tell=_nothing if shared.json or shared.quiet else _tell)
    failure = ""
    try:
        story.run()
    except DemoError as error:
        failure = str(error)
        say(failure)
    if shared.json:
        steps = [{"command": s.command, "exit_code": s.code} for s in story.steps]
        failed = {"kind": "internal", "message": failure} if failure else None
        print_json({"ok": not failure, "steps": steps, "error": failed})
    return exits.FAILED if failure else exits.OK


def _tell(line: str) -> None:
    print(line, flush=True)


def _nothing(line: str) -> None:
    """Tell nobody."""
