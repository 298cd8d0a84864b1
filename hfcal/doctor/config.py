"""Whether the settings say enough, and keep what is secret."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from hfcal.config.masking import masked
from hfcal.config.risks import risks_of
from hfcal.config.values import STDERR
from hfcal.core.notices import ABOUT_LOG
from hfcal.doctor.finding import Finding, Host
from hfcal.system.files import closed_place, nearest
from hfcal.views.log import LOG_FLAGS


def check_config(host: Host) -> Iterator[Finding]:
    """Whether there are settings, and they say enough."""
    settings = host.settings
    for error in host.errors:
        fix = f"unset {error.variable}" if error.variable else host.edit()
        yield Finding("config-invalid", "error", error.message, fix)
    if host.is_config_unread:
        return
    where = settings.config_file
    if where is None and not (settings.backend_url and settings.agents) and not host.errors:
        if host.is_guest:
            message = "there is no config file; agents' commands go by what tick notes in the state"
            yield Finding("config-missing", "note", message)
            return
        message = "there is no config file, and nothing else says where the backend is and for whom"
        yield Finding("config-missing", "error", message, host.command("config", "init"))
        return
    if not host.errors:
        found = f"{where} is valid" if where else "there is no config file; the rest says enough"
        yield Finding("config", "ok", found)
    told = {error.setting for error in host.errors}
    if not settings.backend_url and "backend_url" not in told:
        fix = host.set_key("backend_url", "URL")
        yield Finding("backend-unset", "error", "backend_url is not set", fix)
    if not settings.agents and "agents" not in told:
        # As printed it is refused; any word alone would do for an agent's id.
        fix = host.set_key("agents", "ids with commas between them")
        yield Finding("agents-unset", "error", "no agents are set", fix)


def check_secrets(host: Host) -> Iterator[Finding]:
    """Whether others can read what is secret, and what else is risky."""
    settings = host.settings
    file = settings.config_file
    tables = [settings.wake or {}, *settings.agent_wakes.values()]
    secret = settings.sources.get("api_key") == "file" or any(masked(t) != t for t in tables)
    if file is not None and secret:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o044:
            yield Finding(
                "config-readable",
                "warning",
                f"{file} holds a secret and other users can read it ({mode:04o})",
                f"chmod 600 {shlex.quote(str(file))}",
            )
    for risk in risks_of(settings, host.state_file.path):
        yield Finding(risk.code, "warning", risk.message, risk.fix)


def check_log(host: Host) -> Iterator[Finding]:
    """Whether the log file can be written to."""
    path = host.settings.log_file
    if path is None or path == STDERR:
        return
    why = _closed_to_logs(path)
    state = host.state()
    # What only a try shows, such as a full disk, the last tick has noted.
    trouble = None if state is None else state.troubles.get(ABOUT_LOG)
    if why:
        message = f"cannot log to {path}: {why}"
    elif trouble is not None and str(path) in trouble.message:
        message = trouble.message
    else:
        yield Finding("log", "ok", f"{path} can be written to")
        return
    fix = f"ls -ld {shlex.quote(str(nearest(path)[0]))}"
    if host.settings.sources.get("log_file") == "environment":
        fix = "unset HFCAL_LOG_FILE"
    yield Finding("log-closed", "warning", message, fix)


def _closed_to_logs(path: Path) -> str:
    """Why no log can be written there, as far as that shows without making a file."""
    try:
        os.close(os.open(path, LOG_FLAGS))
    except FileNotFoundError:
        place = closed_place(path)
        return "" if place is None else f"{place} can't be written to by this user"
    except OSError as error:
        return error.strerror or str(error)
    return ""
