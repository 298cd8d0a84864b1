"""`hfcal service systemd` and `hfcal service cron`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.options import GlobalOptions, global_options
from hfcal.cli.result import CommandResult

if TYPE_CHECKING:
    from hfcal.service.installed import Installed
    from hfcal.service.units import Unit

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
    output_dir: str | None = typer.Option(
        None, metavar="DIR", help="Write each unit to its file in this folder."
    ),
) -> CommandResult:
    """Print systemd units for this host's hfcal.

    \b
    Examples:
      hfcal service systemd --watch
      hfcal service systemd --output-dir ~/.config/systemd/user
    """
    from hfcal.service.units import one_text, timer, watcher

    options = global_options(context)
    installed = _installed(options, system=os.geteuid() == 0 if system is None else system)
    units = watcher(installed) if watch else timer(installed)
    if output_dir is None:
        return _text(one_text(installed, units))
    place = os.path.abspath(os.path.expanduser(output_dir))  # noqa: PTH100, PTH111
    return _write(installed, units, Path(place))


@service.command("cron", cls=Command)
def cron(context: typer.Context) -> CommandResult:
    """Print a crontab line for this host's hfcal.

    \b
    Example:
      hfcal service cron
    """
    from hfcal.service.crontab import crontab

    options = global_options(context)
    return _text(crontab(_installed(options, system=False)))


def _installed(options: GlobalOptions, *, system: bool) -> Installed:
    from hfcal.service.installed import Installed
    from hfcal.system.owners import user_name
    from hfcal.system.program import own_program
    from hfcal.wake.wakers import Wakers

    settings = options.settings()
    settings.require_backend()
    settings.require_agents()
    return Installed(
        program=own_program(),
        settings=settings,
        needs=Wakers(settings, answer_on_stdout=False).needs,
        user=user_name(os.geteuid()).removeprefix("#"),  # systemd takes the bare number
        system=system,
        lock_timeout=options.lock_timeout,
    )


def _write(installed: Installed, units: list[Unit], directory: Path) -> CommandResult:
    from hfcal.errors import ConfigError
    from hfcal.service.units import steps
    from hfcal.system.files import replace_file

    paths = [directory / unit.name for unit in units]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, unit in zip(paths, units, strict=True):
            replace_file(path, unit.text.encode(), 0o644)
    except OSError as error:
        raise ConfigError(
            f"cannot write into {directory}: {error.strerror or error}; name another --output-dir"
        ) from error
    written = [f"wrote {path}" for path in paths]
    next_ones = [f"next: {step}" for step in steps(installed, units, directory)]
    return CommandResult(
        lambda: {"files": [str(path) for path in paths]}, confirmation=[*written, *next_ones]
    )


def _text(text: str) -> CommandResult:
    return CommandResult(lambda: {"text": text}, [text.removesuffix("\n")])
