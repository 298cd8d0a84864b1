"""Whether the settings say enough, and keep what is secret."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator

from hfcal.doctor.finding import Finding, Host
from hfcal.errors import UsageError
from hfcal.risks import risks_of
from hfcal.views.settings import masked


def check_config(host: Host) -> Iterator[Finding]:
    """Whether there are settings, and they say enough."""
    settings = host.settings
    for error in host.errors:
        mend = "hfcal --help" if isinstance(error, UsageError) else host.command("config", "path")
        yield Finding("config-invalid", "error", error.message, mend)
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
    if not settings.backend_url:
        mend = host.command("config", "set", "backend_url", "URL")
        yield Finding("backend-unset", "error", "backend_url is not set", mend)
    if not settings.agents:
        mend = host.command("config", "set", "agents", "ID,ID")
        yield Finding("agents-unset", "error", "no agents are set", mend)


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
        yield Finding(risk.code, "warning", risk.message, risk.mend)
