"""systemd units: a oneshot service with its timer, or one for `hfcal watch`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from hfcal.config.paths import SYSTEM_STATE
from hfcal.errors import ConfigError
from hfcal.service.hardening import hardening
from hfcal.service.installed import Installed

_OWN_LIMIT = 10.0  # seconds; a tick more often than that is for `watch`


@dataclass(frozen=True)
class Unit:
    """One unit file.

    Attributes:
        name: Its file's name.
        text: What is in it.
    """

    name: str
    text: str


def timer(installed: Installed) -> list[Unit]:
    """A oneshot unit, and the timer that starts it."""
    seconds = max(1, round(max(installed.settings.heartbeat_interval, _OWN_LIMIT)))
    service = [
        "[Unit]",
        "Description=hfcal: one pass over the calendars of this host's agents",
        *_network(installed),
        "",
        "[Service]",
        "Type=oneshot",
        *_common(installed, "tick"),
        f"TimeoutStartSec={_seconds(600, installed.pass_limit)}",
        *hardening(installed),
    ]
    beat = [
        "[Unit]",
        f"Description=hfcal each {seconds} s",
        "",
        "[Timer]",
        "OnActiveSec=0",
        f"OnUnitActiveSec={seconds}s",
        "AccuracySec=1s",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return [_unit("hfcal.service", service), _unit("hfcal.timer", beat)]


def watcher(installed: Installed) -> list[Unit]:
    """A unit for `hfcal watch`, which tells systemd how it is."""
    # It is fed after each pass, so a pass that takes long is none that hangs.
    watchdog = (180, 3 * installed.settings.heartbeat_interval, installed.pass_limit)
    service = [
        "[Unit]",
        "Description=hfcal: the calendars of this host's agents",
        *_network(installed),
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        *_common(installed, "watch"),
        "Restart=always",
        "RestartSec=10s",
        "# Wrong usage and a wrong config are not fixed by another start.",
        "RestartPreventExitStatus=2 5",
        "# Longer than any pass that gets on, by the timeouts of requests and wakes.",
        f"WatchdogSec={_seconds(*watchdog)}",
        f"TimeoutStartSec={_seconds(600, *watchdog)}",
        f"TimeoutStopSec={_seconds(120, installed.end_limit)}",
        *hardening(installed),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if installed.system else 'default'}.target",
    ]
    return [_unit("hfcal.service", service)]


def steps(installed: Installed, units: list[Unit], written: Path | None = None) -> list[str]:
    """The commands that start the last of these units.

    Args:
        installed: What they run.
        units: As made here.
        written: The folder that they were written to; None if a person puts them in place.
    """
    lines = []
    if written is not None and written != Path(_directory(installed)).expanduser():
        files = shlex.join(str(written / unit.name) for unit in units)
        lines.append(f"install -D -m 644 -t {_directory(installed)} {files}")
    if _keeps_state(installed) and installed.settings.group:
        owner = f"-o {installed.user} -g {installed.settings.group}"
        lines.append(f"install -d {owner} -m 2770 {SYSTEM_STATE.parent}")
    systemctl = "systemctl" if installed.system else "systemctl --user"
    lines.append(f"{systemctl} daemon-reload && {systemctl} enable --now {units[-1].name}")
    if not installed.system:
        lines.append("loginctl enable-linger    # to run while nobody is logged in")
    return lines


def one_text(installed: Installed, units: list[Unit]) -> str:
    """All units in one text, to look at, and what to do with them."""
    parts = [f"# {_directory(installed)}/{unit.name}\n{unit.text}\n" for unit in units]
    return "".join([*parts, *(f"# then: {step}\n" for step in steps(installed, units))])


def _directory(installed: Installed) -> str:
    """Where the units go, as people type it."""
    return "/etc/systemd/system" if installed.system else "~/.config/systemd/user"


def _unit(name: str, lines: list[str]) -> Unit:
    return Unit(name, "\n".join([*lines, ""]))


def _seconds(*limits: float) -> str:
    return f"{round(max(limits))}s"


def _network(installed: Installed) -> list[str]:
    # A user's own service manager knows nothing of the host's network.
    return ["Wants=network-online.target", "After=network-online.target"] * installed.system


def _common(installed: Installed, command: str) -> list[str]:
    """What is run, as whom, and in which environment."""
    lines = [f"ExecStart={_command_line(installed.words(command))}"]
    lines += [f"Environment={_quoted(f'{n}={v}')}" for n, v in installed.environment.items()]
    for name in installed.needs.variables:
        lines += [
            f"# It needs {name}, a secret: put {name}=… into a file, 0600, and name that here.",
            "#EnvironmentFile=",
        ]
    if installed.system:
        if installed.user == "root" and installed.needs.programs:
            lines.append("# Agents run as this user too: better one of their own.")
        lines.append(f"User={installed.user}")
    # systemd would take a shared directory back from its group at each start.
    if _keeps_state(installed) and not installed.settings.group:
        lines += [f"StateDirectory={SYSTEM_STATE.parent.name}", "StateDirectoryMode=0700"]
    if installed.needs.programs:
        lines += ["# Agents that a wake command left running outlive the unit.", "KillMode=process"]
    return lines


def _keeps_state(installed: Installed) -> bool:
    """Whether the state is where systemd keeps a service's."""
    return installed.system and installed.settings.state_file == SYSTEM_STATE


def _command_line(words: list[str]) -> str:
    """One command line as systemd reads it.

    The first word is a path that systemd takes with no quote and no backslash in it; such a
    program is left to env, which in turn takes no equals sign.

    Raises:
        ConfigError: The program's path can't be written in any way.
    """
    if re.search(r"[\"'\\]", words[0]):
        if "=" in words[0]:
            raise ConfigError(
                f"systemd can't start {words[0]}: install hfcal into a folder without quotes, "
                "backslashes and equals signs in its path"
            )
        words = ["/usr/bin/env", *words]
    # The colon: variables are not looked for, so a dollar sign is one.
    colon = ":" if any("$" in word for word in words) else ""
    return colon + " ".join(word if _is_plain(word) else _quoted(word) for word in words)


def _is_plain(word: str) -> bool:
    return re.fullmatch(r"[\w@+=:,./~$-]+", word) is not None


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
