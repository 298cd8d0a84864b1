"""`hfcal complete`, `abort`, `pause`, `resume`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.messages import pass_over
from hfcal.cli.options import GlobalOptions, duration_option, global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import NoActiveSlotError, UsageError, docs_link

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcal.core.commands import AcceptedCommand, AgentCommand

_SLOT = typer.Option(None, metavar="IDENT", help="The slot; refused if another one is active.")
_REASON = typer.Option("", metavar="TEXT", help="Why, for the history.")
_TIMEOUT = typer.Option(
    None, metavar="DURATION", help="For the delivery; then it is left to the next tick."
)
_REQUIRE = typer.Option(
    False,  # noqa: FBT003
    "--require-delivery",
    help="Exit 4 unless the backend has it (it stays queued).",
)


def complete(
    context: typer.Context,
    summary: str = typer.Option("", metavar="TEXT", help="What was done, for the history."),
    duration: str | None = typer.Option(None, metavar="MIN", help="Whole minutes, 1 to 1440."),
    slot: str | None = _SLOT,
    timeout: str | None = _TIMEOUT,
    require_delivery: bool = _REQUIRE,  # noqa: FBT001
) -> CommandResult:
    """Say that the agent's active slot is finished.

    \b
    Example, by an agent that is done:
      hfcal complete --agent developer --summary "merged the fix"
    """
    from hfcal.core.commands import AgentCommand

    options = global_options(context)
    command = AgentCommand(
        verb="complete",
        agent_id=options.one_agent(),
        slot=slot,
        minutes=_minutes(duration),
        summary=_kept(summary),
    )
    return _run(options, command, timeout, require_delivery=require_delivery)


def _with_reason(verb: str, text: str) -> Callable[..., CommandResult]:
    """A command that says something of the active slot, and why."""

    def command(
        context: typer.Context,
        reason: str = _REASON,
        slot: str | None = _SLOT,
        timeout: str | None = _TIMEOUT,
        require_delivery: bool = _REQUIRE,  # noqa: FBT001
    ) -> CommandResult:
        from hfcal.core.commands import AgentCommand

        options = global_options(context)
        said = AgentCommand(
            verb=verb, agent_id=options.one_agent(), slot=slot, reason=_kept(reason)
        )
        return _run(options, said, timeout, require_delivery=require_delivery)

    command.__doc__ = text
    return command


abort = _with_reason(
    "abort",
    """Say that the agent's active slot can't be done.

    \b
    Example:
      hfcal abort --agent developer --reason "the repository is gone"
    """,
)
pause = _with_reason(
    "pause",
    """Say that the agent stopped for a while; the slot stays its active one.

    \b
    Example:
      hfcal pause --agent developer --reason "waits for a review"
    """,
)
resume = _with_reason(
    "resume",
    """Say that the agent is at its paused slot again.

    \b
    Example:
      hfcal resume --agent developer
    """,
)


def _run(
    options: GlobalOptions, command: AgentCommand, timeout: str | None, *, require_delivery: bool
) -> CommandResult:
    from hfcal.engine.lifecycle import Lifecycle

    seconds = None if timeout is None else duration_option("--timeout", timeout)
    settings = options.settings(pass_over)
    state_file = options.state_file(settings)
    if not state_file.exists():
        from hfcal.system.owners import user_name

        raise NoActiveSlotError(
            f"there is no state file {state_file.path} for user {user_name(os.geteuid())}; "
            "is this the user that runs tick? Name the file with --state or HFCAL_STATE"
        )
    run = Lifecycle(state_file, settings, settings.request_timeout if seconds is None else seconds)
    return _result(run.run(command), options, command, require_delivery=require_delivery)


def _result(
    accepted: AcceptedCommand,
    options: GlobalOptions,
    command: AgentCommand,
    *,
    require_delivery: bool,
) -> CommandResult:
    from hfcal.views.documents import lifecycle_document
    from hfcal.views.lines import accepted_line, undelivered_line

    undelivered = not accepted.delivered and not accepted.refused
    document = lifecycle_document(accepted)
    code, notes = exits.OK, []
    if accepted.refused:
        code = exits.FAILED
        if accepted.fault is not None:
            notes.append(
                f"the backend refused that {command.verb} for good: {accepted.fault.message}; "
                f"see it with: {options.command('queue', 'list')} ({docs_link('rejected')})"
            )
    elif undelivered:
        why = undelivered_line(accepted)
        notes.append(f"{why} ({docs_link('undelivered')})")
        if require_delivery:
            code = exits.UNREACHABLE
            document["error"] = {"kind": "undelivered", "message": why, "http_status": None}
    return CommandResult(
        lambda: document, confirmation=[accepted_line(accepted)], notes=notes, exit_code=code
    )


def _minutes(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 1440:
        return int(text)
    raise UsageError(f"--duration = {text!r:.60}: allowed: whole minutes from 1 to 1440")


def _kept(text: str) -> str:
    from hfcal.text import one_line

    return one_line(text, 2000)
