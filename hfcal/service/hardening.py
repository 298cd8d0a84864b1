"""What a unit takes from hfcal and, where a wake command runs agents in it, from them."""

from __future__ import annotations

from pathlib import Path

from hfcal.config.values import STDERR
from hfcal.service.installed import Installed

_READ_ONLY = ("/usr", "/boot", "/efi", "/etc")  # by ProtectSystem=full
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108  # what PrivateTmp hides


def hardening(installed: Installed) -> list[str]:
    """Restrictions, as lines of `[Service]`.

    With a wake command, agents live under them: nothing then that takes a sandbox's own /proc
    (ProtectKernelTunables, ProtectKernelLogs), setgid folders, compilers at run time or the home
    directory from them.
    """
    if installed.needs.programs:
        return [*_AGENTS_COMMENT, *_blocking_sudo(installed), *_others(installed)]
    return [
        *_STRICT_COMMENT,
        *_blocking_sudo(installed),
        *_others(installed),
        *_strict(installed),
    ]


_AGENTS_COMMENT = (
    "# Woken agents run in this unit, and are bound by these lines too. For agents that need sudo,",
    "# take out all from NoNewPrivileges to RestrictRealtime: each of them blocks it.",
)
_STRICT_COMMENT = (
    "# Nothing but hfcal runs in this unit. Print it again when a wake table gets",
    '# adapter = "command": agents that run in here would be bound by these lines too.',
)


def _blocking_sudo(installed: Installed) -> list[str]:
    system = ["ProtectKernelModules=yes", "ProtectHostname=yes"] * installed.system
    return ["NoNewPrivileges=yes", *system, "LockPersonality=yes", "RestrictRealtime=yes"]


def _others(installed: Installed) -> list[str]:
    lines = ["LimitCORE=0"]
    if installed.system:
        lines.append("ProtectControlGroups=yes")
        if not _any_below(_written(installed), _READ_ONLY):
            lines.append("ProtectSystem=full")
    return lines


def _strict(installed: Installed) -> list[str]:
    lines = [
        "RestrictNamespaces=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]
    if not installed.settings.group:
        lines.append("UMask=0077")
    if installed.system:
        lines += ["ProtectKernelTunables=yes", "ProtectKernelLogs=yes"]
        if installed.user != "root":
            lines.append("CapabilityBoundingSet=")
        if not _any_below([*_written(installed), *_read(installed)], _TEMPORARY):
            lines.append("PrivateTmp=yes")
    return lines


def _written(installed: Installed) -> list[Path]:
    settings = installed.settings
    log = [settings.log_file] if settings.log_file not in {None, STDERR} else []
    return [settings.state_file, *log, *installed.needs.writes]


def _read(installed: Installed) -> list[Path]:
    settings = installed.settings
    named = [path for path in (settings.config_file, settings.api_key_file) if path]
    return [Path(installed.program[0]), *named, *installed.needs.reads]


def _any_below(paths: list[Path], places: tuple[str, ...]) -> bool:
    """Whether any path is below one of these, itself or where its links lead."""
    every = [*paths, *(path.resolve() for path in paths)]
    return any(path.is_relative_to(place) for path in every for place in places)
