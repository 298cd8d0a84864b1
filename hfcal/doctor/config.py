"""Whether the settings say enough, and keep what is secret."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from hfcal.doctor.finding import Finding, Host
from hfcal.risks import risks_of


def check_config(host: Host) -> Iterator[Finding]:
    """Whether there are settings, and they say enough."""
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


def check_secrets(host: Host) -> Iterator[Finding]:
    """Whether others can read what is secret, and what else is risky."""
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
