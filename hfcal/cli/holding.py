"""`hfcal hold` and `hfcal release`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from hfcal.cli.messages import say, say_passed_over
from hfcal.cli.options import GlobalOptions, duration_option, global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import UsageError

if TYPE_CHECKING:
    from hfcal.config.settings import Settings
    from hfcal.core.records import State

_ALL = typer.Option(False, "--all", help="All agents that hfcal knows.")  # noqa: FBT003


def hold(
    context: typer.Context,
    every: bool = _ALL,  # noqa: FBT001
    for_: str | None = typer.Option(
        None, "--for", metavar="DURATION", help="For how long; without it until released."
    ),
    reason: str = typer.Option("", metavar="TEXT", help="Why, for who looks at status."),
) -> CommandResult:
    """Dispatch nothing to an agent; heartbeats and deliveries go on.

    \b
    Example:
      hfcal hold --agent developer --for 2h --reason "host is being patched"
    """
    from hfcal.clock import now, rfc3339
    from hfcal.core.records import Hold
    from hfcal.text import one_line

    seconds = None if for_ is None else duration_option("--for", for_)
    until = None if seconds is None else now().wall + seconds
    options = global_options(context)
    settings = options.settings(say_passed_over)
    with options.state_file(settings).transaction() as state:
        names = _named(options, every, _known(settings, state))
        for agent_id in names:
            state.agent(agent_id).hold = Hold(until, one_line(reason, 300))
    end = None if until is None else rfc3339(until)
    return CommandResult(
        lambda: {"held": [{"agent_id": a, "until": end, "reason": reason} for a in names]},
        confirmation=[f"held until {end or 'released'}: {', '.join(names)}"],
    )


def release(context: typer.Context, every: bool = _ALL) -> CommandResult:  # noqa: FBT001
    """Dispatch to a held agent again, from the next tick on.

    \b
    Example:
      hfcal release --agent developer
    """
    options = global_options(context)
    settings = options.settings(say_passed_over)
    with options.state_file(settings).transaction() as state:
        names = _named(options, every, _known(settings, state))
        held = [a for a in names if a in state.agents and state.agents[a].hold is not None]
        for agent_id in held:
            state.agents[agent_id].hold = None
    return CommandResult(
        lambda: {"released": held},
        confirmation=[f"released: {', '.join(held)}" if held else "nobody was held"],
    )


def _named(options: GlobalOptions, every: bool, known: list[str]) -> list[str]:  # noqa: FBT001
    if every == bool(options.agents):
        raise UsageError("say which agents, with --agent ID or --all")
    if every and not known:
        raise UsageError("no agent is known here yet; say which, with --agent ID")
    if unknown := [agent_id for agent_id in options.agents if agent_id not in known]:
        say(f"not known here yet: {', '.join(unknown)}")
    return list(dict.fromkeys(known if every else options.agents))


def _known(settings: Settings, state: State) -> list[str]:
    named = [] if settings.sources.get("agents") == "option" else settings.agents
    return [*named, *state.configured, *state.agents]
