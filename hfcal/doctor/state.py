"""Whether the state can be used, ticks run, nothing is stuck, and the disk has room."""

from __future__ import annotations

import contextlib
import shutil
import stat
from collections.abc import Iterator

from hfcal import __version__
from hfcal.clock import age, now
from hfcal.doctor.finding import Finding, Host
from hfcal.errors import StateError
from hfcal.files import is_shared
from hfcal.model import parse_slot
from hfcal.scheduler import SLACK, due_at
from hfcal.state.locks import owner_of
from hfcal.state.records import State
from hfcal.tick import zone_of
from hfcal.views.documents import stale_after

_LEAST_SPACE = 50 * 1024 * 1024


def check_state(host: Host) -> Iterator[Finding]:
    """Whether the state can be used, ticks run, and nothing is stuck."""
    path = host.state_file.path
    owner = owner_of(path)
    if owner is not None and not is_shared(path.parent):
        yield Finding(
            "state-owner",
            "error",
            f"{path} belongs to {owner}, so this user can't use it",
            f"sudo -u {owner} hfcal doctor, or the setting group",
        )
        return
    try:
        state = host.state_file.read()
    except StateError as error:
        yield Finding("state-unusable", "error", error.message, "see the message")
        return
    if state is None:
        yield Finding(
            "state-missing",
            "warning",
            f"there is no state file {path}: no tick has run here as this user",
            "hfcal tick, then hfcal service cron",
        )
        return
    expected = 0o660 if is_shared(path.parent) else 0o600
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~expected:
        yield Finding(
            "state-readable",
            "warning",
            f"{path} can be used by others ({mode:04o})",
            f"chmod {expected:o} {path}",
        )
    yield Finding("state", "ok", f"{path} can be read, {len(state.agents)} agents")
    yield from _version(state)
    yield from _ticks(host, state)
    yield from _early(host, state)
    yield from _stuck(state)


def _ticks(host: Host, state: State) -> Iterator[Finding]:
    last = max((a.heartbeat or 0.0 for a in state.agents.values()), default=0.0)
    since = now().wall - last
    if not last:
        yield Finding("tick-never", "warning", "no tick has asked the backend yet", "hfcal tick")
    elif since > stale_after(state):
        yield Finding(
            "tick-late",
            "error",
            f"the last tick was {age(since)} ago, and one is expected each "
            f"{age(state.heartbeat_every)}",
            "is cron or the timer running? hfcal service cron prints the line",
        )
    else:
        yield Finding("tick", "ok", f"the last tick was {age(since)} ago")
    for agent_id in state.configured:
        agent = state.agents.get(agent_id)
        # Whether it is bound the backend is asked as well: `check_backend`.
        if agent is not None and agent.error and agent.error_kind != "not_bound":
            yield Finding("agent-failing", "error", f"agent {agent_id}: {agent.error}")
    for agent_id in state.configured:
        if host.settings.agents and agent_id not in host.settings.agents:
            yield Finding(
                "agent-gone",
                "note",
                f"agent {agent_id} was in the last tick and is no longer in agents",
                f"hfcal forget {agent_id}, if it is gone",
            )


def _version(state: State) -> Iterator[Finding]:
    if state.version and state.version != __version__:
        yield Finding(
            "other-version",
            "warning",
            f"the last tick was made by hfcal {state.version}, and this is {__version__}",
            "hfcal service cron prints a line with this one's path",
        )


def _early(host: Host, state: State) -> Iterator[Finding]:
    """Slots that are listed, and so taken for due, before their time."""
    if host.settings.due_check:
        return
    zone, moment = zone_of(host.settings.calendar_timezone), now()
    for agent_id, agent in state.agents.items():
        early: list[tuple[str, float]] = []
        if agent.active is not None and agent.active.key:
            with contextlib.suppress(ValueError):
                due = due_at(parse_slot(agent.active.slot), zone, agent.active.start)
                early.append((agent.active.ref.ident, (due or 0.0) - agent.active.start.wall))
        if agent.next is not None and agent.next.due_at is not None:
            early.append((agent.next.ident, agent.next.due_at - moment.wall))
        for ident, seconds in early:
            if seconds > SLACK:
                yield Finding(
                    "slot-early",
                    "note",
                    f"agent {agent_id}: the backend lists slot {ident} {age(seconds)} before its "
                    "time, and what it lists is dispatched",
                    "hfcal config set due_check true, to wait for scheduled_at",
                )


def _stuck(state: State) -> Iterator[Finding]:
    moment = now()
    for agent_id, agent in state.agents.items():
        old = [u for u in agent.queue if moment.wall - u.since > stale_after(state)]
        if old:
            yield Finding(
                "updates-wait",
                "warning",
                f"agent {agent_id}: {old[0].status} of slot {old[0].ref.ident} waits for "
                f"{age(moment.wall - old[0].since)}: {old[0].error or 'not tried yet'}",
                "hfcal queue list",
            )
        for refusal in agent.refused:
            update = refusal.update
            yield Finding(
                "update-refused",
                "warning",
                f"agent {agent_id}: {update.status} of slot {update.ref.ident} was refused: "
                f"{refusal.error}",
                f"hfcal queue retry {update.ref.ident}, or drop",
            )


def check_space(host: Host) -> Iterator[Finding]:
    """Whether the disk has room."""
    place = next(p for p in host.state_file.path.parents if p.exists())
    free = shutil.disk_usage(place).free
    mib = free // 1024**2
    if free < _LEAST_SPACE:
        yield Finding("disk-full", "error", f"{place} has {mib} MiB left", "free some room")
    else:
        yield Finding("disk", "ok", f"{place} has {mib} MiB left")
