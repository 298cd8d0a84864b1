"""`hfcal config show`, `path`, `set` and `init`."""

from __future__ import annotations

import os

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.messages import say
from hfcal.cli.options import global_options, require_text
from hfcal.cli.result import CommandResult
from hfcal.errors import UsageError

config = typer.Typer(
    help="Show the settings in use and where each came from; write them.",
    rich_markup_mode=None,
    add_completion=False,
    cls=SubGroup,
)


@config.command("show", cls=Command)
def show(context: typer.Context) -> CommandResult:
    """Show every setting and where its value came from; secrets are masked.

    \b
    Example:
      hfcal config show
    """
    from hfcal.views.settings import settings_document, settings_lines
    from hfcal.wake.wakers import check_wakes

    options = global_options(context)
    settings = options.settings()
    check_wakes(settings)
    return CommandResult(lambda: settings_document(settings), settings_lines(settings))


@config.command("path", cls=Command)
def path(context: typer.Context) -> CommandResult:
    """Print the path of the config file in use, or where it would be.

    \b
    Example:
      $EDITOR "$(hfcal config path)"
    """
    from hfcal.config.paths import config_path, exists

    options = global_options(context)
    found = config_path(options.for_settings(), os.environ)
    return CommandResult(lambda: {"path": str(found), "exists": exists(found)}, [str(found)])


@config.command("set", cls=Command)
def set_(
    context: typer.Context,
    key: str = typer.Argument(metavar="KEY", help="Such as agents or wake.command."),
    value: str = typer.Argument(metavar="VALUE", help="A TOML value, or plain text."),
) -> CommandResult:
    """Change one setting in the config file; its comments and order stay.

    \b
    Examples:
      hfcal config set request_timeout 20s
      hfcal config set agents '["developer", "operator"]'
      hfcal config set wake.timeout 60s
    """
    from hfcal.config.file import change, names_in
    from hfcal.config.paths import config_path
    from hfcal.wake.wakers import check_wakes

    options = global_options(context)
    for word in (key, value):
        require_text(word)
    names = names_in(key)
    if names == ("api_key",):
        raise UsageError(
            "a key on the command line shows in process lists: write it into a file, 0600, and "
            "set api_key_file to its path"
        )
    found = config_path(options.for_settings(), os.environ)
    meant = change(found, names, value, check_wakes)
    return CommandResult(
        lambda: {"path": str(found), "key": key, "value": meant},
        confirmation=[f"set {key} in {found}"],
    )


@config.command("init", cls=Command)
def init(
    context: typer.Context,
    wake_command: str | None = typer.Option(
        None, metavar="WORDS", help="What wakes an agent, as a shell would split it."
    ),
    wake_url: str | None = typer.Option(
        None, metavar="URL", help="Where a webhook wakes agents, in place of a command."
    ),
    api_key_file: str | None = typer.Option(
        None, metavar="PATH", help="File with the backend's key, if it wants one."
    ),
    force: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--force",
        help="Replace a config file that is there.",
    ),
) -> CommandResult:
    """Write a config file: ask for what it needs on a terminal, else take it from options.

    \b
    Example:
      hfcal config init --backend-url https://harborforge.example.com --agent developer \\
        --wake-command 'my-agent --message {message}'
    """
    from hfcal.cli.setup import Answers, try_backend
    from hfcal.config.file import check, new_text, save
    from hfcal.config.paths import config_path, exists
    from hfcal.errors import ConfigError
    from hfcal.wake.wakers import check_wakes

    options = global_options(context)
    found = config_path(options.for_settings(), os.environ)
    if exists(found) and not force:
        raise ConfigError(f"{found} is there already; change it with hfcal config set, or --force")
    text = new_text(Answers(options, wake_command, wake_url, api_key_file).values())
    check(found, text, check_wakes)
    settings = options.settings(text=text)  # the environment may be wrong as well
    save(found, text, keep_mode=False)
    fault = try_backend(settings)
    if fault is not None and not options.json:  # the document has it
        say(f"{fault['message']}; the file is written all the same")
    return CommandResult(
        lambda: {"path": str(found), "backend_error": fault},
        confirmation=[f"wrote {found}; next: hfcal doctor, then hfcal service cron"],
    )
