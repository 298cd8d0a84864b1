"""`hfcal queue list`, `retry`, `drop`: updates that wait or were refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.asking import YES, confirm
from hfcal.cli.messages import say_passed_over
from hfcal.cli.options import GlobalOptions, global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import HfcalError, LockedError

if TYPE_CHECKING:
    from hfcal.core.records import State
    from hfcal.core.repair import SlotUpdates
    from hfcal.state.file import StateFile

queue = typer.Typer(
    help="See and fix what waits to be sent or was refused.",
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)

_IDENT = typer.Argument(metavar="IDENT", help="The slot, by any id that it has had.")


class NotQueuedError(HfcalError):
    """Nothing of that slot waits or was refused."""

    kind = "not_queued"


class PastError(HfcalError):
    """It can't be sent any more."""

    kind = "past"


@queue.command("list", cls=Command)
def list_(context: typer.Context) -> CommandResult:
    """Show the updates that wait for the backend, and those that it refused for good.

    \b
    Example:
      hfcal queue list --agent developer
    """
    from hfcal.clock import now
    from hfcal.core.records import State
    from hfcal.views.documents import queue_document
    from hfcal.views.queue import queue_lines

    options = global_options(context)
    moment = now()
    state = options.state_file(options.settings(say_passed_over)).read() or State(
        created=moment.wall
    )
    if options.agents:
        state.agents = {a: s for a, s in state.agents.items() if a in options.agents}
    return CommandResult(lambda: queue_document(state), queue_lines(state, moment))


@queue.command("retry", cls=Command)
def retry(
    context: typer.Context,
    ident: str = _IDENT,
    yes: bool = YES,  # noqa: FBT001
) -> CommandResult:
    """Have the next tick send a slot's updates, without a pause, refused ones too.

    \b
    Example, after the backend was fixed:
      hfcal queue retry 12
    """
    from hfcal.core.repair import retry as do

    return _repair(global_options(context), ident, "retry", do, "the next tick sends them", yes=yes)


@queue.command("drop", cls=Command)
def drop(
    context: typer.Context,
    ident: str = _IDENT,
    yes: bool = YES,  # noqa: FBT001
) -> CommandResult:
    """Give up a slot's updates; the backend is never told.

    \b
    Example:
      hfcal queue drop 12 --yes
    """
    from hfcal.core.repair import drop as do

    return _repair(global_options(context), ident, "drop", do, "the backend is never told", yes=yes)


def _repair(
    options: GlobalOptions,
    ident: str,
    verb: str,
    do: Callable[[State, SlotUpdates], None],
    then: str,
    *,
    yes: bool,
) -> CommandResult:
    from hfcal.core.records import State
    from hfcal.core.repair import find

    state_file = options.state_file(options.settings(say_passed_over))
    seen = find(state_file.read() or State(created=0.0), ident, options.agents)
    if not seen:
        raise NotQueuedError(_nothing(ident))
    confirm(f"{verb} {' and '.join(map(_told, seen))}: {then}", yes=yes)
    with speaking_for(state_file, [found.agent_id for found in seen]):
        with state_file.transaction() as state:
            # Meanwhile some may have been sent, and an agent may have said more.
            asked = {update.number for found in seen for update in found.updates}
            done = find(state, ident, options.agents, among=asked)
            if verb == "retry":
                _require_open(options, state, done)
            for found in done:
                do(state, found)
        if not done:
            raise NotQueuedError(_nothing(ident))
    past = {"retry": "retrying", "drop": "dropped"}[verb]
    return CommandResult(
        lambda: {
            "done": [
                {"agent_id": f.agent_id, "ident": f.ident, "updates": f.statuses} for f in done
            ]
        },
        confirmation=[f"{past} {_told(found)}; {then}" for found in done],
    )


@contextlib.contextmanager
def speaking_for(state_file: StateFile, agents: list[str]) -> Iterator[None]:
    """Hold these agents' locks, so that nothing of theirs is being sent.

    Raises:
        LockedError: Another hfcal is at one of them.
    """
    locks = state_file.agent_locks
    with contextlib.ExitStack() as held:
        for agent_id in agents:
            lock = locks.try_take(agent_id)
            if lock is None:
                raise LockedError(
                    f"another hfcal is at agent {agent_id} just now; nothing was changed, try again"
                )
            held.callback(lock.release)
        yield


def _require_open(options: GlobalOptions, state: State, found: list[SlotUpdates]) -> None:
    from hfcal.core.repair import past_retrying

    for slot in found:
        for refusal in past_retrying(state, slot):
            fix = options.command("queue", "drop", about=slot.ident)
            raise PastError(
                f"{refusal.update.status} of slot {slot.ident} of {slot.agent_id} can't be sent "
                f"any more, as the slot has ended; give it up with: {fix}"
            )


def _told(found: SlotUpdates) -> str:
    return f"{', '.join(found.statuses)} of slot {found.ident} of agent {found.agent_id}"


def _nothing(ident: str) -> str:
    from hfcal.text import one_line

    return (
        f"nothing of slot {one_line(ident, 200)} waits or was refused; see hfcal queue list, "
        "which shows each by agent and slot"
    )
