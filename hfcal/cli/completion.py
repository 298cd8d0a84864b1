"""`hfcal _complete`: what TAB completes; not for people."""

from __future__ import annotations

import typer

from hfcal.cli.messages import pass_over
from hfcal.cli.options import global_options
from hfcal.errors import HfcalError


def complete(
    context: typer.Context,
    kind: str = typer.Argument(metavar="KIND", help="agents, active or queued."),
) -> int:
    """Print agent ids or slot idents of the state file, one a line; nothing if that can't be.

    With `--agent` the slots are only those agents'; the agent ids are all, as there may be more.
    """
    options = global_options(context)
    try:
        state = options.state_file(options.settings(pass_over)).read()
    except HfcalError:
        return 0
    if state is None:
        return 0
    found: list[str] = []
    if kind == "agents":
        found = [*state.configured, *state.agents]
    for agent_id, agent in state.agents.items():
        if options.agents and agent_id not in options.agents:
            continue
        if kind == "active" and agent.active is not None:
            found.append(agent.active.ref.ident)
        if kind == "queued":
            found += [update.ref.ident for update in agent.queue]
            found += [refusal.update.ref.ident for refusal in agent.refused]
    for word in dict.fromkeys(found):
        print(word)
    return 0
