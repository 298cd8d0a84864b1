"""`hfcal config show` and `hfcal config path`."""

from __future__ import annotations

import os

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.shared import print_json, shared_of

config = typer.Typer(
    help="Show the settings in use and where each came from.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)


@config.command("show", cls=Command)
def show(context: typer.Context) -> int:
    """Show every setting and where its value came from; secrets are masked.

    \b
    Example:
      hfcal config show
    """
    from hfcal.views.settings import settings_document, settings_lines
    from hfcal.wake.wakers import Wakers

    shared = shared_of(context)
    settings = shared.settings()
    if settings.wake is not None:
        Wakers(settings, answer_on_stdout=False)  # a bad wake table is told here too
    if shared.json:
        print_json(settings_document(settings))
    else:
        print("\n".join(settings_lines(settings)))
    return 0


@config.command("path", cls=Command)
def path(context: typer.Context) -> int:
    """Print the path of the config file in use, or where it would be.

    \b
    Example:
      $EDITOR "$(hfcal config path)"
    """
    from hfcal.settings import config_path

    shared = shared_of(context)
    found = config_path(shared.options(), os.environ)
    if shared.json:
        print_json({"path": str(found), "exists": found.exists()})
    else:
        print(found)
    return 0
