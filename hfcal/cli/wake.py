"""`hfcal wake test`."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

import typer

from hfcal.cli import exits
from hfcal.cli.app import Command, SubGroup
from hfcal.cli.options import global_options
from hfcal.cli.result import CommandResult
from hfcal.errors import Fault, InterruptedByUserError, UsageError, docs_link

wake = typer.Typer(
    help="Try out how agents are woken.",
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)


@wake.command("test", cls=Command)
def test(context: typer.Context) -> CommandResult:
    """Wake one agent with a message that is marked as a test; touches no slot and no state.

    \b
    Example:
      hfcal wake test --agent developer
    """
    from hfcal.wake.adapter import WakeError
    from hfcal.wake.message import trial_wake
    from hfcal.wake.wakers import Wakers

    options = global_options(context)
    agent_id = options.one_agent()
    if agent_id is None:
        raise UsageError("name the agent to wake with --agent ID")
    settings = options.settings()
    wakers = Wakers(settings, answer_on_stdout=options.json)
    sent = trial_wake(agent_id)
    began = time.monotonic()
    fault = None
    stop = threading.Event()
    signals: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        signals.append(number)
        stop.set()  # which ends what was started, too

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        wakers.of(agent_id).wake(agent_id, sent, stop)
    except WakeError as error:
        fault = Fault("wake_failed", str(error))
    if signals:
        raise InterruptedByUserError(signals[0])
    return _result(agent_id, fault, time.monotonic() - began)


def _result(agent_id: str, fault: Fault | None, seconds: float) -> CommandResult:
    document = {
        "agent_id": agent_id,
        "ok": fault is None,
        "duration_ms": round(seconds * 1000),
        "error": fault.document() if fault else None,
    }
    if fault is not None:
        note = f"could not wake {agent_id}: {fault.message} ({docs_link(fault.kind)})"
        return CommandResult(lambda: document, notes=[note], exit_code=exits.FAILED)
    done = f"woke {agent_id} with a test message; whether it arrived only the agent can tell"
    return CommandResult(lambda: document, confirmation=[done])
