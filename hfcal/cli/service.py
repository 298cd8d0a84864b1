"""`hfcal service systemd` and `hfcal service cron`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.shared import GlobalOptions, global_options, print_json

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
) -> int:
    """Print systemd units for this host's hfcal.

    \b
    Examples:
      hfcal service systemd --watch
      hfcal service systemd --output-dir ~/.config/systemd/user
    """
    from hfcal.service.units import one_text, timer, watcher

    shared = global_options(context)
    installed = _installed(shared, system=os.geteuid() == 0 if system is None else system)
    units = watcher(installed) if watch else timer(installed)
    if output_dir is None:
        return _print(shared, one_text(installed, units))
    place = os.path.abspath(os.path.expanduser(output_dir))  # noqa: PTH100, PTH111
    return _write(shared, installed, units, Path(place))


@service.command("cron", cls=Command)
def cron(context: typer.Context) -> int:
    """Print a crontab line for this host's hfcal.

    \b
    Example:
      hfcal service cron
    """
    from hfcal.service.crontab import crontab

    shared = global_options(context)
    return _print(shared, crontab(_installed(shared, system=False)))


def _installed(shared: GlobalOptions, *, system: bool) -> Installed:
    import pwd

    from hfcal.service.installed import Installed
    from hfcal.system.program import own_program
    from hfcal.wake.wakers import Wakers

    settings = shared.settings()
    settings.require_backend()
    settings.require_agents()
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return Installed(
        program=own_program(),
        settings=settings,
        needs=Wakers(settings, answer_on_stdout=False).needs,
        user=user,
        system=system,
        lock_timeout=shared.lock_timeout,
    )


def _write(shared: GlobalOptions, installed: Installed, units: list[Unit], directory: Path) -> int:
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
    if shared.json:
        print_json({"files": [str(path) for path in paths]})
    elif not shared.quiet:
        written = [f"wrote {path}" for path in paths]
        next_ones = [f"next: {step}" for step in steps(installed, units, directory)]
        print("\n".join([*written, *next_ones]))
    return 0


def _print(shared: GlobalOptions, text: str) -> int:
    if shared.json:
        print_json({"text": text})
    else:
        print(text, end="")
    return 0
