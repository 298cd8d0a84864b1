"""What to install so that hfcal runs by itself: systemd units or a crontab line, as text."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

_OWN_LIMIT = 10.0  # seconds; a tick more often than that is for `watch`


@dataclass(frozen=True)
class Installed:
    """What is to be run.

    Attributes:
        program: The words that start hfcal.
        config: The config file, absolute; None without one.
        state: The state file, absolute.
        interval: Seconds between heartbeats.
        user: Who runs it.
        system: For the whole host, not for one user's own service manager.
    """

    program: tuple[str, ...]
    config: Path | None
    state: Path
    interval: float
    user: str
    system: bool

    def words(self, command: str) -> list[str]:
        """The whole command line."""
        config = ["--config", str(self.config)] if self.config else []
        return [*self.program, command, *config, "--state", str(self.state)]


def crontab(installed: Installed) -> str:
    """A crontab line, with comments that a crontab takes."""
    # To cron a percent sign is the end of the command.
    line = shlex.join(installed.words("tick")).replace("%", r"\%")
    return (
        f"# hfcal: a line for the crontab of {installed.user}, by: crontab -e\n"
        "# It runs as the user that the agents run as. cron mails what it prints, and that is\n"
        "# news only: a fault that began or ended, a refusal. What wakes agents gets cron's PATH,\n"
        "# /usr/bin:/bin, and nothing of your shell's variables. With heartbeat_interval = 60\n"
        "# status knows what to expect.\n"
        f"* * * * * {line}\n"
    )


def timer(installed: Installed) -> str:
    """A oneshot unit and its timer."""
    seconds = max(1, round(max(installed.interval, _OWN_LIMIT)))
    return "\n".join(
        [
            *_head(installed, "hfcal.service"),
            "[Unit]",
            "Description=hfcal: one pass over the calendars of this host's agents",
            *_network(installed),
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={_quoted(installed.words('tick'))}",
            *_common(installed),
            "TimeoutStartSec=10min",
            "",
            *_head(installed, "hfcal.timer"),
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
            "",
            *_steps(installed, "hfcal.timer"),
        ]
    )


def watcher(installed: Installed) -> str:
    """A unit for `hfcal watch`, which tells systemd how it is."""
    # A pass may take a minute by itself; three in a row that don't end are a hang.
    watchdog = round(max(180.0, 3 * installed.interval))
    return "\n".join(
        [
            *_head(installed, "hfcal.service"),
            "[Unit]",
            "Description=hfcal: the calendars of this host's agents",
            *_network(installed),
            "",
            "[Service]",
            "Type=notify",
            "NotifyAccess=main",
            f"ExecStart={_quoted(installed.words('watch'))}",
            *_common(installed),
            "Restart=always",
            "RestartSec=10s",
            f"WatchdogSec={watchdog}s",
            "TimeoutStartSec=10min",
            "TimeoutStopSec=2min",
            "",
            "[Install]",
            f"WantedBy={'multi-user' if installed.system else 'default'}.target",
            "",
            *_steps(installed, "hfcal.service"),
        ]
    )


def _head(installed: Installed, name: str) -> list[str]:
    return [f"# {_directory(installed)}/{name}"]


def _directory(installed: Installed) -> str:
    return "/etc/systemd/system" if installed.system else "~/.config/systemd/user"


def _network(installed: Installed) -> list[str]:
    # A user's own service manager knows nothing of the host's network.
    return ["Wants=network-online.target", "After=network-online.target"] * installed.system


def _common(installed: Installed) -> list[str]:
    user = [f"User={installed.user}"] if installed.system else []
    if user and installed.user == "root":
        user.insert(0, "# Agents run as this user too: better one of their own.")
    return [
        *user,
        "# Agents that a wake command left running outlive the unit.",
        "KillMode=process",
        "# Woken agents run in this unit, and most of systemd's restrictions would take sudo from",
        "# them. If yours need no more, add NoNewPrivileges=yes and ProtectSystem=full.",
    ]


def _steps(installed: Installed, unit: str) -> list[str]:
    systemctl = "systemctl" if installed.system else "systemctl --user"
    lines = [f"# then: {systemctl} daemon-reload && {systemctl} enable --now {unit}"]
    if not installed.system:
        lines.append("# and, to run while nobody is logged in: loginctl enable-linger")
    return [*lines, ""]


def _quoted(words: list[str]) -> str:
    """One command line as systemd reads it: its own quoting, and % and $ doubled."""
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    plain = word.replace("%", "%%").replace("$", "$$")
    if word and not any(c in " \t\"'\\;" for c in word):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
