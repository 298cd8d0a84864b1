"""`hfcal config show`, `path`, `set` and `init`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import typer

from hfcal.cli.app import Command, SubGroup
from hfcal.cli.shared import print_json, say, shared_of
from hfcal.errors import UsageError

if TYPE_CHECKING:
    from hfcal.cli.shared import Shared

config = typer.Typer(
    help="Show the settings in use and where each came from; write them.",
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


@config.command("set", cls=Command)
def set_(
    context: typer.Context,
    key: str = typer.Argument(metavar="KEY", help="Such as agents or wake.command."),
    value: str = typer.Argument(metavar="VALUE", help="A TOML value, or plain text."),
) -> int:
    """Change one setting in the config file; its comments and order stay.

    \b
    Examples:
      hfcal config set request_timeout 20s
      hfcal config set agents '["developer", "operator"]'
      hfcal config set wake.timeout 60s
    """
    from hfcal.configfile import changed_text, save, value_of
    from hfcal.errors import ConfigError
    from hfcal.settings import config_path

    shared = shared_of(context)
    if key == "api_key":
        raise UsageError(
            "a key on the command line shows in process lists: write it into a file, 0600, and "
            "set api_key_file to its path"
        )
    found = config_path(shared.options(), os.environ)
    try:
        text = found.read_text(encoding="utf-8") if found.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {found}: {error}") from error
    meant = value_of(value)
    if key == "agents" and isinstance(meant, str):
        meant = [part.strip() for part in meant.split(",")]
    try:
        changed = changed_text(text, key, meant)
    except ConfigError as error:
        raise ConfigError(f"{found}: {error.message}; it was not changed") from error
    save(found, changed, keep_mode=True)
    if shared.json:
        print_json({"path": str(found), "key": key, "value": meant})
    elif not shared.quiet:
        print(f"set {key} in {found}")
    return 0


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
) -> int:
    """Write a config file: ask for what it needs on a terminal, else take it from options.

    \b
    Example:
      hfcal config init --backend-url https://harborforge.example.com --agent developer \\
        --wake-command 'my-agent --message {message}'
    """
    from hfcal.configfile import new_text, save
    from hfcal.errors import ConfigError
    from hfcal.settings import config_path

    shared = shared_of(context)
    found = config_path(shared.options(), os.environ)
    if found.exists() and not force:
        raise ConfigError(f"{found} is there already; change it with hfcal config set, or --force")
    url = _needed(shared.backend_url, "--backend-url", "URL of the backend")
    claw = shared.claw or _needed(None, "--claw", "Identifier of this claw", os.uname().nodename)
    agents = shared.agents or _words(_needed(None, "--agent", "Ids of the agents, with commas"))
    values: dict[str, object] = {"backend_url": url, "claw_identifier": claw, "agents": agents}
    if api_key_file:
        values["api_key_file"] = os.path.abspath(os.path.expanduser(api_key_file))  # noqa: PTH100, PTH111
    if wake_url:
        values["wake"] = {"adapter": "webhook", "url": wake_url}
    else:
        import shlex

        command = _needed(
            wake_command, "--wake-command", "Command that wakes an agent, {message} for the message"
        )
        try:
            values["wake"] = {"adapter": "command", "command": shlex.split(command)}
        except ValueError as error:
            raise UsageError(f"--wake-command = {command!r:.200}: {error}") from error
    save(found, new_text(values), keep_mode=False)
    fault = _try_backend(shared)
    if shared.json:
        print_json({"path": str(found), "backend_error": fault})
        return 0
    if fault is not None:
        say(f"{fault['message']}; the file is written all the same")
    if not shared.quiet:
        print(f"wrote {found}; next: hfcal doctor, then hfcal service cron")
    return 0


def _needed(given: str | None, option: str, question: str, default: str | None = None) -> str:
    if given:
        return given
    if sys.stdin.isatty() and sys.stderr.isatty():
        answer: str = typer.prompt(question, default=default, err=True)
        return answer
    if default is not None:
        return default
    raise UsageError(f"{option} is needed, as there is no terminal to ask on")


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _try_backend(shared: Shared) -> dict[str, object] | None:
    """The first thing that is wrong with the backend or an agent's binding, if there is one."""
    from hfcal.doctor.backend import ask_each

    told = ask_each(shared.settings()).values()
    # An older backend can't be asked so, and rejects it.
    wrong = (fault for fault in told if fault is not None and fault.kind != "rejected")
    return next((fault.document() for fault in wrong), None)
