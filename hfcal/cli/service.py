"""`hfcal service systemd` and `hfcal service cron`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.shared import Shared, print_json, shared_of

if TYPE_CHECKING:
    from hfcal.service import Installed

service = typer.Typer(
    help="Print what to install so that hfcal runs by itself.",
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)


@service.command("systemd", cls=Command)
def systemd(
    context: typer.Context,
    watch: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--watch",
        help="One service that runs on, in place of a timer.",
    ),
    system: bool | None = typer.Option(  # noqa: FBT001
        None,
        "--system/--user",
        help="For the host's service manager or the user's own; by default as who runs this.",
        show_default=False,
    ),
) -> int:
    """Print systemd units for this host's hfcal.

    \b
    Example:
      hfcal service systemd --watch
    """
    from hfcal.service import timer, watcher

    shared = shared_of(context)
    installed = _installed(shared, system=os.geteuid() == 0 if system is None else system)
    return _print(shared, watcher(installed) if watch else timer(installed))


@service.command("cron", cls=Command)
def cron(context: typer.Context) -> int:
    """Print a crontab line for this host's hfcal.

    \b
    Example:
      hfcal service cron
    """
    from hfcal.service import crontab

    shared = shared_of(context)
    return _print(shared, crontab(_installed(shared, system=False)))


def _installed(shared: Shared, *, system: bool) -> Installed:
    import pwd

    from hfcal.service import Installed
    from hfcal.wake.message import own_program

    settings = shared.settings()
    settings.require_backend()
    settings.require_agents()
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return Installed(
        program=own_program(),
        config=settings.config_file,
        state=settings.state_file,
        interval=settings.heartbeat_interval,
        user=user,
        system=system,
    )


def _print(shared: Shared, text: str) -> int:
    if shared.json:
        print_json({"text": text})
    else:
        print(text, end="")
    return 0
