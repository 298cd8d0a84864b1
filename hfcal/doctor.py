"""What may be wrong here, found before it hurts; changes nothing and wakes nobody.

Each check is a generator of findings. docs/doctor.md tells each finding's meaning and mend.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

from hfcal.clock import age, now
from hfcal.errors import ConfigError, StateError, UsageError
from hfcal.files import is_shared
from hfcal.http import Answer, HttpClient, HttpError
from hfcal.risks import risks_of
from hfcal.settings import Settings
from hfcal.state.file import StateFile
from hfcal.state.locks import owner_of
from hfcal.state.records import State
from hfcal.views.documents import stale_after
from hfcal.wake.wakers import Wakers

CRON_PATH = "/usr/bin:/bin"
_LEAST_SPACE = 50 * 1024 * 1024
_CLOCK_WARNING, _CLOCK_ERROR = 5.0, 60.0
_NO_SYNC = {401, 403, 404, 405}
_ADAPTERS_WITH_URL = {"webhook": None, "openclaw": "http://127.0.0.1:18789"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Its name in docs/doctor.md.
        severity: `ok`, `note`, `warning` or `error`.
        message: What was found, about which agent or file.
        mend: What to do; empty when there is nothing to do.
    """

    code: str
    severity: str
    message: str
    mend: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody should do something."""
        return self.severity in {"warning", "error"}


@dataclass(frozen=True)
class Host:
    """What is examined.

    Attributes:
        settings: What of them could be read.
        error: Why not all of them could.
        state_file: The state file by them.
    """

    settings: Settings
    error: ConfigError | UsageError | None
    state_file: StateFile


def examine(host: Host) -> Iterator[Finding]:
    """All checks; one that can't be made is a finding too."""
    checks: list[Callable[[Host], Iterator[Finding]]] = [
        _config,
        _secrets,
        _state,
        _space,
        _backend,
        _wake,
    ]
    for check in checks:
        try:
            yield from check(host)
        except Exception as error:  # the other checks are worth as much
            yield Finding("check-failed", "error", f"could not check {check.__name__[1:]}: {error}")


def _config(host: Host) -> Iterator[Finding]:
    settings = host.settings
    if host.error is not None:
        yield Finding(
            "config-invalid", "error", host.error.message, "hfcal config path tells the file"
        )
        return
    where = settings.config_file
    found = f"{where} is valid" if where else "there is no config file; the rest says enough"
    yield Finding("config", "ok", found)
    if not settings.backend_url:
        yield Finding("backend-unset", "error", "backend_url is not set", "set backend_url")
    if not settings.agents:
        yield Finding("agents-unset", "error", "no agents are set", "set agents, a list of ids")


def _secrets(host: Host) -> Iterator[Finding]:
    settings = host.settings
    file = settings.config_file
    if file is not None and settings.sources.get("api_key") == "file" and not settings.api_key_file:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o044:
            yield Finding(
                "config-readable",
                "warning",
                f"{file} holds the API key and other users can read it ({mode:04o})",
                f"chmod 600 {file}",
            )
    for risk in risks_of(settings, host.state_file.path):
        yield Finding(risk.code, "warning", risk.message)


def _state(host: Host) -> Iterator[Finding]:
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
    yield from _ticks(host, state)
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
        if agent is not None and agent.error:
            code = "agent-unbound" if agent.error_kind == "not_bound" else "agent-failing"
            yield Finding(code, "error", f"agent {agent_id}: {agent.error}")
    for agent_id in state.configured:
        if host.settings.agents and agent_id not in host.settings.agents:
            yield Finding(
                "agent-gone",
                "note",
                f"agent {agent_id} was in the last tick and is no longer in agents",
                f"hfcal forget {agent_id}, if it is gone",
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


def _space(host: Host) -> Iterator[Finding]:
    place = next(p for p in host.state_file.path.parents if p.exists())
    free = shutil.disk_usage(place).free
    mib = free // 1024**2
    if free < _LEAST_SPACE:
        yield Finding("disk-full", "error", f"{place} has {mib} MiB left", "free some room")
    else:
        yield Finding("disk", "ok", f"{place} has {mib} MiB left")


def _backend(host: Host) -> Iterator[Finding]:
    settings = host.settings
    if not settings.backend_url:
        return
    key = settings.api_key
    client = HttpClient(
        settings.backend_url, {"Authorization": f"Bearer {key}"} if key else {}, secrets=[key]
    )
    path = f"/calendar/sync?claw_identifier={quote(settings.claw_identifier, safe='')}"
    began = time.monotonic()
    try:
        answer = client.request(
            "GET",
            path,
            seconds=settings.request_timeout,
            headers={"X-Claw-Identifier": settings.claw_identifier},
        )
    except HttpError as error:
        yield Finding(f"backend-{error.kind.replace('_', '-')}", "error", error.message)
        return
    finally:
        client.close()
    took = round((time.monotonic() - began) * 1000)
    yield Finding("backend", "ok", f"{settings.backend_url} answers, in {took} ms")
    yield from _clock(answer)
    yield from _bindings(host, answer)


def _clock(answer: Answer) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
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
        f"this host's clock is {age(abs(ahead))} {word} the backend's, so slots are due at the "
        "wrong time",
        "timedatectl status, here and there",
    )


def _bindings(host: Host, answer: Answer) -> Iterator[Finding]:
    settings = host.settings
    if answer.status in _NO_SYNC:
        yield Finding(
            "binding-unknown",
            "note",
            f"the backend answers {answer.status} to /calendar/sync, so whether the agents are "
            f"bound to claw {settings.claw_identifier} can't be seen without a heartbeat",
            "hfcal tick --dry-run",
        )
        return
    if answer.status != 200:
        yield Finding(
            "backend-status",
            "error" if answer.status >= 500 else "warning",
            f"the backend answers {answer.status} to /calendar/sync",
            "hfcal tick --dry-run tells how it answers heartbeats",
        )
        return
    try:
        schedules = answer.json().get("schedules")
        known = set(schedules)
    except (ValueError, AttributeError, TypeError):
        yield Finding(
            "backend-odd", "error", f"what {settings.backend_url} answers is no calendar's answer"
        )
        return
    for agent_id in settings.agents:
        if agent_id not in known:
            yield Finding(
                "agent-unlisted",
                "warning",
                f"agent {agent_id} is not among those that the backend lists for claw "
                f"{settings.claw_identifier}",
                "check agents and claw_identifier; hfcal tick --dry-run --agent "
                f"{agent_id} tells more",
            )


def _wake(host: Host) -> Iterator[Finding]:
    settings = host.settings
    if host.error is not None and settings.wake is None:
        return
    try:
        Wakers(settings, answer_on_stdout=False)
    except ConfigError as error:
        yield Finding("wake-invalid", "error", error.message)
        return
    tables = {"wake": settings.wake or {}} if settings.wake else {}
    tables |= {f"agent.{a}.wake": table for a, table in settings.agent_wakes.items()}
    for where, table in tables.items():
        adapter = str(table.get("adapter"))
        if adapter == "command":
            yield from _program(where, str(table["command"][0]))
        elif adapter in _ADAPTERS_WITH_URL:
            url = str(table.get("url") or _ADAPTERS_WITH_URL[adapter])
            yield from _listening(where, url, settings.request_timeout)
        elif adapter == "spool":
            yield from _directory(where, Path(str(table["dir"])).expanduser())


def _program(where: str, program: str) -> Iterator[Finding]:
    if "{" in program:
        return
    if os.sep in program and not Path(program).is_absolute():
        yield Finding(
            "wake-command-path",
            "error",
            f"[{where}] {program} is found from some folders and not from others",
            "write its absolute path",
        )
        return
    if shutil.which(program, path=CRON_PATH) is not None:
        yield Finding("wake-command", "ok", f"[{where}] {program} can be started")
        return
    here = shutil.which(program)
    if here is None:
        yield Finding(
            "wake-command-missing",
            "error",
            f"[{where}] {program} is no program that this user can start",
            "write the absolute path of one",
        )
    elif os.sep not in program:
        yield Finding(
            "wake-command-path",
            "error",
            f"[{where}] {program} is found here, but not with cron's PATH ({CRON_PATH})",
            f"write {here} in its place",
        )
    else:
        yield Finding("wake-command", "ok", f"[{where}] {program} can be started")


def _listening(where: str, url: str, seconds: float) -> Iterator[Finding]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), seconds).close()
    except OSError as error:
        yield Finding(
            "wake-unreachable",
            "error",
            f"[{where}] nobody answers at {parts.hostname}:{port}: {error.strerror or error}",
            "start what the agents are woken by, or correct url",
        )
    else:
        yield Finding("wake-url", "ok", f"[{where}] {parts.hostname}:{port} takes connections")


def _directory(where: str, directory: Path) -> Iterator[Finding]:
    place = next(p for p in (directory, *directory.parents) if p.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield Finding("wake-spool", "ok", f"[{where}] {directory} can be written to")
    else:
        yield Finding(
            "wake-spool-closed",
            "error",
            f"[{where}] {place} can't be written to by this user",
            f"ls -ld {place}",
        )
