"""`hfcal status`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.shared import global_options, print_json, say, say_passed_over
from hfcal.errors import UnknownAgentError

if TYPE_CHECKING:
    from hfcal.state.file import StateFile


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
) -> int:
    """Show what is active, next, waiting, refused, failing and past.

    From the state file alone, without network.

    \b
    Example, for a monitor:
      hfcal status --check
    """
    from hfcal.clock import now
    from hfcal.core.records import State
    from hfcal.views.documents import status_document

    shared = global_options(context)
    # A broken config must not hide what is going on, as long as the state file can be found.
    state_file = shared.state_file(shared.settings(say_passed_over))
    found = state_file.read()
    moment = now()
    state = found or State(created=moment.wall)
    if found is None and not check:
        say(_missing(state_file))
    if shared.agents:
        for agent_id in shared.agents:
            if found is not None and agent_id not in {*state.agents, *state.configured}:
                raise UnknownAgentError(
                    f"{state_file.path} knows no agent {agent_id}; "
                    "hfcal status names those it knows"
                )
        state.agents = {a: s for a, s in state.agents.items() if a in shared.agents}
        state.configured = [a for a in state.configured if a in shared.agents]
        state.history = [e for e in state.history if e.agent_id in shared.agents]
    if history is not None:
        state.history = state.history[-history:] if history else []
    wrong: list[str] = []
    checked = ""
    if check:
        from hfcal.views.check import late, summary

        wrong = late(state, moment) if found else [_missing(state_file)]
        checked = summary(state, moment, wrong)
    if shared.json:
        document = status_document(state, moment)
        if check:
            document["check"] = {"ok": not wrong, "message": checked}
        print_json(document)
    elif check:
        if wrong or not shared.quiet:
            print(checked)
    else:
        from hfcal.views.tables import HISTORY, print_status

        print_status(
            state,
            moment,
            sys.stdout,
            history=HISTORY if history is None else history,
            whole=bool(shared.verbose or shared.agents),
        )
    return exits.FAILED if wrong else exits.OK


def _missing(state_file: StateFile) -> str:
    return f"there is no state file {state_file.path} yet: no tick has run here as this user"
