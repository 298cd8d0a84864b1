"""`hfcal complete`, `abort`, `pause`, `resume`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from hfcal.cli import exits
from hfcal.cli.shared import (
    GlobalOptions,
    duration_option,
    global_options,
    pass_over,
    print_json,
    say,
)
from hfcal.errors import NoActiveSlotError, UsageError, docs_link

if TYPE_CHECKING:
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
) -> int:
    """Say that the agent's active slot is finished.

    \b
    Example, by an agent that is done:
      hfcal complete --agent developer --summary "merged the fix"
    """
    return _run(
        context, "complete", slot, timeout, require_delivery, summary=summary, duration=duration
    )


def abort(
    context: typer.Context,
    reason: str = _REASON,
    slot: str | None = _SLOT,
    timeout: str | None = _TIMEOUT,
    require_delivery: bool = _REQUIRE,  # noqa: FBT001
) -> int:
    """Say that the agent's active slot can't be done.

    \b
    Example:
      hfcal abort --agent developer --reason "the repository is gone"
    """
    return _run(context, "abort", slot, timeout, require_delivery, reason=reason)


def pause(
    context: typer.Context,
    reason: str = _REASON,
    slot: str | None = _SLOT,
    timeout: str | None = _TIMEOUT,
    require_delivery: bool = _REQUIRE,  # noqa: FBT001
) -> int:
    """Say that the agent stopped for a while; the slot stays its active one.

    \b
    Example:
      hfcal pause --agent developer --reason "waits for a review"
    """
    return _run(context, "pause", slot, timeout, require_delivery, reason=reason)


def resume(
    context: typer.Context,
    reason: str = _REASON,
    slot: str | None = _SLOT,
    timeout: str | None = _TIMEOUT,
    require_delivery: bool = _REQUIRE,  # noqa: FBT001
) -> int:
    """Say that the agent is at its paused slot again.

    \b
    Example:
      hfcal resume --agent developer
    """
    return _run(context, "resume", slot, timeout, require_delivery, reason=reason)


def _run(
    context: typer.Context,
    verb: str,
    slot: str | None,
    timeout: str | None,
    require_delivery: bool,  # noqa: FBT001
    *,
    summary: str = "",
    reason: str = "",
    duration: str | None = None,
) -> int:
    from hfcal.core.commands import AgentCommand
    from hfcal.engine.lifecycle import Lifecycle

    shared = global_options(context)
    request = AgentCommand(
        verb=verb,
        agent_id=shared.one_agent(),
        slot=slot,
        minutes=_minutes(duration),
        reason=_kept(reason),
        summary=_kept(summary),
    )
    seconds = None if timeout is None else duration_option("--timeout", timeout)
    settings = shared.settings(pass_over)
    state_file = shared.state_file(settings)
    if not state_file.exists():
        raise NoActiveSlotError(
            f"there is no state file {state_file.path} for user {_user()}; "
            "is this the user that runs tick? Name the file with --state or HFCAL_STATE"
        )
    run = Lifecycle(state_file, settings, settings.request_timeout if seconds is None else seconds)
    accepted = run.run(request)
    return _show(accepted, shared, request, require_delivery=require_delivery)


def _show(
    accepted: AcceptedCommand,
    shared: GlobalOptions,
    request: AgentCommand,
    *,
    require_delivery: bool,
) -> int:
    from hfcal.views.documents import lifecycle_document
    from hfcal.views.lines import accepted_line, undelivered_line

    undelivered = not accepted.delivered and not accepted.refused
    document = lifecycle_document(accepted)
    if undelivered and require_delivery:
        code, kind = exits.UNREACHABLE, "undelivered"
        message = undelivered_line(accepted)
        document["error"] = {"kind": kind, "message": message, "http_status": None}
    else:
        code = exits.FAILED if accepted.refused else exits.OK
    if shared.json:
        print_json(document)
    elif not shared.quiet:
        print(accepted_line(accepted))
    if accepted.refused and accepted.fault is not None:
        say(
            f"the backend refused that {request.verb} for good: {accepted.fault.message}; "
            f"see it with: {shared.command('queue', 'list')} ({docs_link('rejected')})"
        )
    elif undelivered:
        say(f"{undelivered_line(accepted)} ({docs_link('undelivered')})")
    return code


def _minutes(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 1440:
        return int(text)
    raise UsageError(f"--duration = {text!r:.60}: allowed: whole minutes from 1 to 1440")


def _kept(text: str) -> str:
    from hfcal.text import one_line

    return one_line(text, 2000)


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"#{os.geteuid()}"
