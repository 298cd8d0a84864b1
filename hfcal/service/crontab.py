"""A line for a crontab."""

from __future__ import annotations

import re
import shlex

from hfcal.errors import ConfigError
from hfcal.service.installed import Installed

_LONGEST = 998  # bytes of a command that every cron takes


def crontab(installed: Installed) -> str:
    """A crontab line, with comments that a crontab takes.

    Raises:
        ConfigError: It is longer than cron takes.
    """
    variables = [f"{n}={shlex.quote(v)}" for n, v in installed.environment.items()]
    line = _escaped(" ".join([*variables, shlex.join(installed.words("tick"))]))
    if len(line.encode()) > _LONGEST:
        raise ConfigError(
            f"the line is longer than cron takes ({_LONGEST} bytes): set in the config file what "
            "now comes from options and HFCAL_… variables"
        )
    secrets = [
        f"# It needs {name}, a secret that cron doesn't have: put it into a file, 0600, and name\n"
        "# that in the wake table.\n"
        for name in installed.needs.variables
    ]
    return (
        f"# hfcal: a line for the crontab of {installed.user}, by: crontab -e\n"
        "# It runs as the user that the agents run as. cron mails what it prints, and that is\n"
        "# news only: a fault that began or ended, a refusal. What wakes agents gets cron's PATH,\n"
        "# /usr/bin:/bin, and nothing of your shell's variables. With heartbeat_interval = 60\n"
        "# status knows what to expect.\n"
        f"{''.join(secrets)}"
        f"* * * * * {line}\n"
    )


def _escaped(command: str) -> str:
    r"""The command with each percent sign, to cron the command's end, as `\%`.

    A backslash just before it would take that escape away. Such a one is in single quotes, by
    `shlex`, so the quotes are closed and opened between the two.
    """
    return re.sub(r"\\?%", lambda found: r"\''\%" if found[0] != "%" else r"\%", command)
