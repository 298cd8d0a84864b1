"""Whether the state can be used, ticks run, nothing is stuck, and the disk has room."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from hfcal import __version__
from hfcal.clock import age, now, zone_of
from hfcal.core.health import failing_wakes, stale_after, waits_too_long
from hfcal.core.protocol import parse_slot
from hfcal.core.records import AgentState, State
from hfcal.core.repair import find, past_retrying, reasons_to_keep
from hfcal.core.scheduler import SLACK, due_at
from hfcal.doctor.finding import Finding, Host
from hfcal.errors import DamagedStateError, StateError
from hfcal.system.files import nearest
from hfcal.system.owners import closed_to_group, group_name, owner_of
from hfcal.system.sharing import is_shared, shared_group

_LEAST_SPACE = 50 * 1024 * 1024


def check_state(host: Host) -> Iterator[Finding]:
    """Whether the state can be used, ticks run, and nothing is stuck."""
    path = host.state_file.path
    closed = _closed(host)
    if closed is not None:
        yield closed
        return
    try:
        state = host.state_file.read()
    except StateError as error:
        # No tick gets by one of a newer hfcal: the message says how a person does.
        fix = host.command("tick") if isinstance(error, DamagedStateError) else ""
        yield Finding("state-unusable", "error", error.message, fix)
        return
    if state is None and host.is_config_unread and "state_file" not in host.settings.sources:
        return  # it may well be elsewhere
    if state is None:
        yield Finding(
            "state-missing",
            "warning",
            f"there is no state file {path}: no tick has run here as this user",
            host.command("tick"),
        )
        return
    yield from _still_shared(host)
    expected = 0o660 if is_shared(path.parent) else 0o600
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~expected:
        yield Finding(
            "state-readable",
            "warning",
            f"{path} can be used by others ({mode:04o})",
            f"chmod {expected:o} {shlex.quote(str(path))}",
        )
    if not is_shared(path.parent) and path.parent.stat().st_mode & 0o1022 in {0o002, 0o020, 0o022}:
        yield Finding(
            "state-readable",
            "warning",
            f"others can replace what is in {path.parent}",
            f"chmod 700 {shlex.quote(str(path.parent))}",
        )
    yield Finding("state", "ok", f"{path} can be read, {len(state.agents)} agents")
    yield from _version(host, state)
    yield from _ticks(host, state)
    yield from _agents(host, state)
    yield from _early(host, state)
    yield from _stuck(host, state)


def _closed(host: Host) -> Finding | None:
    """What this user can't write to, or shouldn't, though a tick would."""
    path, locks = host.state_file.path, host.state_file.locks_directory
    directory = nearest(path.parent)[0]
    # From the outside in: what is in a closed directory can't be looked at.
    for place in chain((directory, locks, path), locks.glob("*.lock")):
        if not os.path.exists(place):  # noqa: PTH110  # Path raises where it may not look
            continue
        owner = owner_of(place)
        ways = os.R_OK | os.W_OK | (os.X_OK if place.is_dir() else 0)
        closed = None if owner is None else closed_to_group(place)
        if os.access(place, ways):
            # root could, and what it saves is its own from then on.
            if owner is None or place == directory or (is_shared(path.parent) and closed is None):
                continue
        elif owner is None:
            fix = f"chmod u+rwX {shlex.quote(str(place))}"
            return Finding("state-closed", "error", f"{place} can't be written to", fix)
        why, fix = closed or (
            "is not for this user; the setting group shares it",
            host.command_as(str(owner), "doctor"),
        )
        return Finding("state-owner", "error", f"{place} belongs to {owner} and {why}", fix)
    return None


def _still_shared(host: Host) -> Iterator[Finding]:
    """What a group uses though the config names none any longer."""
    settings, directory = host.settings, host.state_file.path.parent
    group = shared_group(directory)
    # An agent's user has no config, and one that can't be read may well set group.
    if settings.group or settings.config_file is None or host.errors:
        return
    if group is not None and owner_of(directory) is None:
        yield Finding(
            "still-shared",
            "warning",
            f"{directory} is still for group {group_name(group)}, and the setting group is gone",
            _make_private(host.state_file.path, host.state_file.locks_directory),
        )


def _make_private(path: Path, locks: Path) -> str:
    """The command that takes a state from its group."""
    both = shlex.join([str(path.parent), str(locks)])
    files = f"{shlex.quote(str(path))} {shlex.quote(str(locks))}/*.lock"
    commands = [f"chmod g-s,go= {both}", f"chmod 600 {files}"]
    if any(owner_of(file) is not None for file in chain([path], locks.glob("*.lock"))):
        commands.insert(1, f"sudo chown {os.geteuid()} {files}")
    return " && ".join(commands)


def _ticks(host: Host, state: State) -> Iterator[Finding]:
    last = max((a.heartbeat or 0.0 for a in state.agents.values()), default=0.0)
    since = now().wall - last
    if not last:
        yield Finding(
            "tick-never", "warning", "no tick has asked the backend yet", host.command("tick")
        )
    elif since > stale_after(state):
        yield Finding(
            "tick-late",
            "error",
            f"the last tick was {age(since)} ago, and one is expected each "
            f"{age(state.heartbeat_every)}",
            host.command("service", "cron"),
        )
    else:
        yield Finding("tick", "ok", f"the last tick was {age(since)} ago")


def _agents(host: Host, state: State) -> Iterator[Finding]:
    """Agents whose heartbeats or wakes fail, and those that are gone."""
    for agent_id in state.configured:
        agent = state.agents.get(agent_id)
        # Whether it is bound the backend is asked as well: `check_backend`.
        if agent is not None and agent.error and agent.error_kind != "not_bound":
            fix = host.command("tick", "-v", "--agent", agent_id)
            yield Finding("agent-failing", "error", agent.error, fix, agent_id)
    for agent_id, agent in state.agents.items():
        for failed in failing_wakes(agent):
            trouble = agent.troubles.get(f"wake of slot {failed.wake.slot}")
            why = "" if trouble is None else f": {trouble.message}"
            times = f"{failed.count} times" if failed.count > 1 else "once"
            yield Finding(
                "wake-fails",
                "warning",
                f"slot {failed.ref.ident}: the wake failed {times}{why}",
                host.command("wake", "test", "--agent", agent_id),
                agent_id,
            )
    for agent_id in _gone(host, state):
        lost = reasons_to_keep(state.agents.get(agent_id, AgentState()))
        but = f"; {', '.join(lost)}, which only --drop forgets as well" if lost else ""
        message = f"it is remembered and no longer in agents{but}"
        fix = host.command("forget", about=agent_id)
        yield Finding("agent-gone", "note", message, fix, agent_id)


def _gone(host: Host, state: State) -> list[str]:
    """The agents that are remembered, and that nobody keeps any longer."""
    kept, source = set(host.settings.agents), host.settings.sources.get("agents")
    # Whom a person names here is not all there are, and cron has variables of its own.
    if source not in {"file", "environment"}:
        return []
    if source == "environment":
        kept.update(state.configured)
    return sorted({*state.configured, *state.agents} - kept)


def _version(host: Host, state: State) -> Iterator[Finding]:
    if state.version and state.version != __version__:
        yield Finding(
            "other-version",
            "warning",
            f"the last tick was made by hfcal {state.version}, and this is {__version__}",
            host.command("service", "cron"),
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
                    f"slot {ident}: the backend lists it {age(seconds)} before its time, and what "
                    "it lists is dispatched",
                    host.set_key("due_check", "true"),
                    agent_id,
                )


def _stuck(host: Host, state: State) -> Iterator[Finding]:
    moment = now()
    for agent_id, agent in state.agents.items():
        old = [u for u in agent.queue if waits_too_long(state, u, moment)]
        if old:
            yield Finding(
                "updates-wait",
                "warning",
                f"slot {old[0].ref.ident}: {old[0].status} waits for "
                f"{age(moment.wall - old[0].since)}: {old[0].error or 'not tried yet'}",
                host.command("queue", "list", "--agent", agent_id),
                agent_id,
            )
        for refusal in agent.refused:
            update = refusal.update
            ident = update.ref.ident
            past = any(past_retrying(state, found) for found in find(state, ident, [agent_id]))
            verb = "drop" if past else "retry"
            why = "; the slot has ended since, so it can't be sent any more" if past else ""
            yield Finding(
                "update-refused",
                "warning",
                f"slot {ident}: {update.status} was refused: {refusal.error}{why}",
                host.command("queue", verb, "--agent", agent_id, about=ident),
                agent_id,
            )


def check_space(host: Host) -> Iterator[Finding]:
    """Whether the disk has room."""
    place = nearest(host.state_file.path.parent)[0]
    free = shutil.disk_usage(place).free
    mib = free // 1024**2
    if free < _LEAST_SPACE:
        yield Finding(
            "disk-full", "error", f"{place} has {mib} MiB left", f"df -h {shlex.quote(str(place))}"
        )
    else:
        yield Finding("disk", "ok", f"{place} has {mib} MiB left")
