"""`hfcal wake test`."""

from __future__ import annotations

import threading
import time

import typer

from hfcal.cli import exits
from hfcal.cli.app import Command, SubGroup
from hfcal.cli.shared import print_json, say, shared_of
from hfcal.errors import Fault, UsageError

wake = typer.Typer(
    help="Try out how agents are woken.",
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)


@wake.command("test", cls=Command)
def test(context: typer.Context) -> int:
    """Wake one agent with a message that is marked as a test; touches no slot and no state.

    \b
    Example:
      hfcal wake test --agent developer
    """
    from hfcal.wake.adapter import WakeError
    from hfcal.wake.message import trial_wake
    from hfcal.wake.wakers import Wakers

    shared = shared_of(context)
    agent_id = shared.one_agent()
    if agent_id is None:
        raise UsageError("name the agent to wake with --agent ID")
    settings = shared.settings()
    wakers = Wakers(settings, answer_on_stdout=shared.json)
    sent = trial_wake(agent_id)
    began = time.monotonic()
    fault = None
    try:
        wakers.of(agent_id).wake(agent_id, sent, threading.Event())
    except WakeError as error:
        fault = Fault("wake_failed", str(error))
    if shared.json:
        print_json(
            {
                "agent_id": agent_id,
                "ok": fault is None,
                "duration_ms": round((time.monotonic() - began) * 1000),
                "error": fault.document() if fault else None,
            }
        )
    elif fault is None and not shared.quiet:
        print(f"woke {agent_id} with a test message; whether it arrived only the agent can tell")
    if fault is not None:
        say(f"could not wake {agent_id}: {fault.message}")
    return exits.OK if fault is None else exits.FAILED
