"""`hfcal forget`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hfcal.cli.asking import YES, confirm
from hfcal.cli.messages import say_passed_over
from hfcal.cli.options import global_options
from hfcal.cli.queue import speaking_for
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError, UnknownAgentError

if TYPE_CHECKING:
    from hfcal.core.records import State


class InUseError(HfcalError):
    """Forgetting would lose something."""

    kind = "in_use"


def forget(
    context: typer.Context,
    name: str = typer.Argument(metavar="AGENT", help="The agent's id."),
    drop: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--drop",
        help="Even with an active slot, a hold, or updates, which the backend then never gets.",
    ),
    yes: bool = YES,  # noqa: FBT001
) -> CommandResult:
    """Remember nothing of an agent that is gone; its history stays.

    \b
    Example:
      hfcal forget tester
    """
    from hfcal.core.records import AgentState, State
    from hfcal.core.repair import forget as do
    from hfcal.core.repair import reasons_to_keep

    options = global_options(context)
    settings = options.settings(say_passed_over)
    state_file = options.state_file(settings)

    def check(state: State) -> list[str]:
        if name not in state.agents and name not in state.configured:
            raise UnknownAgentError(
                f"{state_file.path} knows no agent {name!r:.140}; hfcal status names those it knows"
            )
        reasons = reasons_to_keep(state.agents.get(name, AgentState()))
        if reasons and not drop:
            raise InUseError(
                f"agent {name} is not forgotten: {', '.join(reasons)}; "
                f"lose that with: {options.command('forget', '--drop', about=name)}"
            )
        return reasons

    seen = state_file.read() or State(created=0.0)
    lost = check(seen)
    confirm(f"forget agent {name}" + (f", losing: {', '.join(lost)}" if lost else ""), yes=yes)
    with speaking_for(state_file, [name]), state_file.transaction() as state:
        more = _updates(state, name) - _updates(seen, name)
        if (check(state) != lost or more) and not yes:
            raise InUseError(
                f"agent {name} is not forgotten: it said more while you were asked; nothing was "
                "changed, try again"
            )
        do(state, name)
    return CommandResult(
        lambda: {"forgotten": name, "lost": lost},
        confirmation=[f"forgot agent {name}"],
        notes=[f"agent {name} is still in agents of {settings.config_file}; the next tick is at it"]
        if name in settings.agents
        else [],
    )


def _updates(state: State, name: str) -> set[int]:
    return {update.number for update in state.agent(name).queue}
