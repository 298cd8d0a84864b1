"""Whether the backend answers, agrees about the time, and knows the agents."""

from __future__ import annotations

import queue
import shlex
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import partial

from hfcal.backend.bridge import Bridge, make_bridge
from hfcal.backend.pool import make_workers
from hfcal.clock import age
from hfcal.config.settings import Settings
from hfcal.core.notices import names
from hfcal.core.records import AgentState
from hfcal.doctor.finding import Finding, Host
from hfcal.errors import BridgeError, Fault

_CLOCK_WARNING, _CLOCK_ERROR = 5.0, 60.0

Told = Mapping[str, Fault | None]


def check_backend(host: Host) -> Iterator[Finding]:
    """Whether the backend answers, agrees about the time, and knows the agents."""
    settings = host.settings
    if not settings.backend_url:
        return
    bridge = make_bridge(settings)
    began = time.monotonic()
    fault = ask(bridge, settings.agents[0] if settings.agents else "hfcal")
    took = round((time.monotonic() - began) * 1000)
    bridge.close()
    bad = None if fault is None else _bad(host, fault)
    yield bad or Finding("backend", "ok", f"{settings.backend_url} answers, in {took} ms")
    if bridge.date:
        yield from _clock(bridge.date)
    if bad is None:  # else what it once said of agents counts for nothing
        yield from _bindings(host, ask_each(settings))


def ask_each(settings: Settings) -> Told:
    """Ask what each agent is doing, which changes nothing; what went wrong, by agent."""
    workers = make_workers(settings)
    answers: queue.SimpleQueue[tuple[str, Fault | None]] = queue.SimpleQueue()

    def put(agent_id: str, bridge: Bridge) -> None:
        answers.put((agent_id, ask(bridge, agent_id)))

    for agent_id in settings.agents:
        workers.submit(partial(put, agent_id))
    told = dict(answers.get() for _ in settings.agents)
    workers.close()
    return told


def ask(bridge: Bridge, agent_id: str) -> Fault | None:
    """Ask what one agent is doing; returns what went wrong."""
    try:
        bridge.ask_status(agent_id)
    except BridgeError as error:
        return error.fault
    except Exception as error:  # whoever waits for the answer must get one
        return Fault("internal", f"a bug in hfcal: {type(error).__name__}: {error}")
    return None


def _bad(host: Host, fault: Fault) -> Finding | None:
    """What is wrong with the backend as such."""
    look = f"curl -sSi --max-time 10 {shlex.quote(host.settings.backend_url)}"
    if fault.kind == "rejected" and fault.http_status == 404:
        why = f"{fault.message}: there is no calendar; the path of backend_url may be wrong"
        return Finding("backend-odd", "error", why, look)
    if fault.kind == "bad_response" and fault.http_status is not None:
        return Finding("backend-odd", "error", fault.message, look)
    if fault.kind in {"unreachable", "timeout", "bad_response"}:
        return Finding(f"backend-{fault.kind.replace('_', '-')}", "error", fault.message, look)
    if fault.kind == "unauthorized":
        fix = host.set_key("api_key_file", "PATH")
        return Finding("backend-unauthorized", "error", fault.message, fix)
    if fault.kind == "server_error":
        return Finding("backend-status", "error", fault.message, look)
    return None


def _clock(date: str) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return
    ahead = time.time() - theirs
    if abs(ahead) <= _CLOCK_WARNING:
        yield Finding("clock", "ok", "this host's clock agrees with the backend's")
        return
    word = "ahead of" if ahead > 0 else "behind"
    severity = "error" if abs(ahead) > _CLOCK_ERROR else "warning"
    yield Finding(
        "clock-off",
        severity,
        f"this host's clock is {age(abs(ahead))} {word} the backend's: what it tells of starts is "
        "wrong, and with due_check slots are due at the wrong time",
        "timedatectl status",
    )


def _bindings(host: Host, told: Told) -> Iterator[Finding]:
    """Whether each agent is bound, as far as anybody tells."""
    state = host.state()
    known = {} if state is None else state.agents
    claw = host.settings.claw_identifier
    bound, untold = 0, []
    for agent_id in host.settings.agents:
        answer, why = _is_bound(agent_id, told, known.get(agent_id, AgentState()))
        if answer is None:
            untold.append(agent_id)
        elif answer:
            bound += 1
        else:
            # How it takes agent and claw is not on record (docs/protocol.md); the message has both.
            fix = "hf user bind-agent --help"
            yield Finding("agent-unbound", "error", why, fix, agent_id)
    if bound:
        agents = f"{bound} agent{'s are' if bound > 1 else ' is'}"
        yield Finding("binding", "ok", f"{agents} bound to claw {claw}")
    if untold:
        fault = told[untold[0]]
        yield Finding(
            "binding-unknown",
            "note",
            f"only a heartbeat can tell whether bound to claw {claw}: {names(untold)}"
            + (f"; asked otherwise, {fault.message}" if fault else ""),
            host.command("tick", "--dry-run"),
        )


def _is_bound(agent_id: str, told: Told, agent: AgentState) -> tuple[bool | None, str]:
    """By the backend's word, else by its answer to the last heartbeat; and why not."""
    if agent_id in told:
        fault = told[agent_id]
        if fault is None:
            return True, ""
        if fault.kind == "not_bound":
            return False, fault.message
    if agent.error_kind == "not_bound":
        return False, agent.error
    return (True, "") if agent.heartbeat and not agent.error else (None, "")
