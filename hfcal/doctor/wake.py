"""Whether agents can be woken as the settings say; nobody is woken to find out."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from hfcal.config.toml_edit import Names, quoted, written
from hfcal.core.ids import JsonObject
from hfcal.doctor.finding import Finding, Host
from hfcal.errors import ConfigError
from hfcal.system.files import closed_place
from hfcal.wake.adapter import WakeError
from hfcal.wake.exchange import PostingAdapter
from hfcal.wake.wakers import Wakers

CRON_PATH = "/usr/bin:/bin"


def check_wake(host: Host) -> Iterator[Finding]:
    """Whether each agent could be woken."""
    settings = host.settings
    if settings.wake is None and (host.errors or host.is_guest):
        return
    try:
        wakers = Wakers(settings, answer_on_stdout=False)
    except ConfigError as error:
        yield Finding("wake-invalid", "error", error.message, host.edit())
        return
    adapters = wakers.adapters
    for where, adapter in adapters.items():
        if isinstance(adapter, PostingAdapter):
            yield from _secrets(where, adapter)
    tables: dict[Names, JsonObject] = {("wake",): settings.wake} if settings.wake else {}
    tables |= {("agent", a, "wake"): table for a, table in settings.agent_wakes.items()}
    for names, table in tables.items():
        where = ".".join(names)
        adapter = adapters[where]
        if isinstance(adapter, PostingAdapter):
            yield from _listening(where, adapter.url, settings.request_timeout)
        elif table["adapter"] == "command":
            yield from _program(host, names, table)
        elif table["adapter"] == "spool":
            yield from _directory(where, Path(table["dir"]).expanduser())


def _secrets(where: str, adapter: PostingAdapter) -> Iterator[Finding]:
    """Whether what the adapter is to send as a secret is there."""
    for secret in adapter.secrets:
        try:
            secret.read()
        except WakeError as error:
            fix = f"ls -l {shlex.quote(str(secret.file))}" if secret.file else f"env {secret.env}"
            yield Finding("wake-secret", "error", f"[{where}] {error}", fix)


def _program(host: Host, names: Names, table: JsonObject) -> Iterator[Finding]:
    where = ".".join(names)
    program, *others = table["command"]
    if "{" in program:
        return
    if os.sep in program and not Path(program).is_absolute():
        yield Finding(
            "wake-command-path",
            "error",
            f"[{where}] {program} is found from some folders and not from others; write its "
            "absolute path",
            host.edit(),
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
            f"[{where}] {program} is no program that this user can start; write the absolute "
            "path of one",
            host.edit(),
        )
    elif os.sep not in program:
        yield Finding(
            "wake-command-path",
            "error",
            f"[{where}] {program} is {here} here, and not found with cron's PATH ({CRON_PATH}); "
            "write its absolute path",
            host.set_key(quoted((*names, "command")), written([here, *others])),
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
            f"curl -sSi --max-time 10 {shlex.quote(f'{parts.scheme}://{parts.netloc}')}",
        )
    else:
        yield Finding("wake-url", "ok", f"[{where}] {parts.hostname}:{port} takes connections")


def _directory(where: str, directory: Path) -> Iterator[Finding]:
    place = closed_place(directory)
    if place is None:
        yield Finding("wake-spool", "ok", f"[{where}] {directory} can be written to")
    else:
        yield Finding(
            "wake-spool-closed",
            "error",
            f"[{where}] {place} can't be written to by this user",
            f"ls -ld {shlex.quote(str(place))}",
        )
