"""`hfcal status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.messages import say_passed_over
from hfcal.cli.options import global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import UnknownAgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hfcal.clock import Moment
    from hfcal.core.records import State


def status(
    context: typer.Context,
    check: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--check",
        help="For monitoring: exit 1 when heartbeats or deliveries are late.",
    ),
    history: int | None = typer.Option(
        None, min=0, metavar="N", help="The last N of what happened; 10, with --json all."
    ),
) -> CommandResult:
    """Show what is active, next, waiting, refused, failing and past.

    From the state file alone, without network.

    \b
    Example, for a monitor:
      hfcal status --check
    """
    from hfcal.clock import now
    from hfcal.core.records import State
    from hfcal.views.documents import status_document

    options = global_options(context)
    # A broken config must not hide what is going on, as long as the state file can be found.
    state_file = options.state_file(options.settings(say_passed_over))
    found = state_file.read()
    moment = now()
    state = found or State(created=moment.wall)
    missing = (
        f"there is no state file {state_file.path} yet: no tick has run here as this user"
        if found is None
        else ""
    )
    if options.agents:
        for agent_id in options.agents:
            if found is not None and agent_id not in {*state.agents, *state.configured}:
                raise UnknownAgentError(
                    f"{state_file.path} knows no agent {agent_id}; "
                    "hfcal status names those it knows"
                )
        state.agents = {a: s for a, s in state.agents.items() if a in options.agents}
        state.configured = [a for a in state.configured if a in options.agents]
        state.history = [e for e in state.history if e.agent_id in options.agents]
    if history is not None:
        state.history = state.history[-history:] if history else []
    if check:
        return _checked(state, moment, missing)
    return CommandResult(
        lambda: status_document(state, moment),
        _lines(state, moment, history, whole=bool(options.verbose or options.agents)),
        notes=[missing] if missing else [],
    )


def _checked(state: State, moment: Moment, missing: str) -> CommandResult:
    from hfcal.views.check import late, summary
    from hfcal.views.documents import status_document

    wrong = [missing] if missing else late(state, moment)
    message = summary(state, moment, wrong)
    check = {"ok": not wrong, "message": message}
    return CommandResult(
        lambda: {**status_document(state, moment), "check": check},
        lines=[message] if wrong else [],
        confirmation=[] if wrong else [message],
        exit_code=exits.FAILED if wrong else exits.OK,
    )


def _lines(state: State, moment: Moment, history: int | None, *, whole: bool) -> Iterator[str]:
    from hfcal.views.tables import HISTORY, status_lines

    most = HISTORY if history is None else history
    yield from status_lines(state, moment, sys.stdout, history=most, whole=whole)
