"""The command line as a whole: which commands there are, and how one is run to its exit code.

A command's module is imported when it is called, not before: every import is paid at every start.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from hfcal.cli import exits
from hfcal.cli.messages import say
from hfcal.cli.options import GlobalOptions, global_options, global_parameters
from hfcal.cli.result import CommandResult, render
from hfcal.errors import DeclinedError, HfcalError, InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Callable

# In the order of help. The module is hfcal.cli.<name>, unless another one is named.
COMMANDS = {
    "tick": "",
    "watch": "",
    "complete": "lifecycle",
    "abort": "lifecycle",
    "pause": "lifecycle",
    "resume": "lifecycle",
    "hold": "holding",
    "release": "holding",
    "status": "",
    "queue": "",
    "forget": "",
    "wake": "",
    "config": "",
    "doctor": "",
    "service": "",
    "metrics": "",
    "sim": "",
    "demo": "",
}

# Called by the completion scripts, and in no list.
_HIDDEN = {"_complete": "completion"}

_signals: list[int] = []  # that have interrupted the command


class Command(TyperCommand):
    """A command that takes the shared options as well, and whose result is printed here."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.params += global_parameters()

    def invoke(self, ctx: Any) -> int:
        """Run it and print its result; returns the exit code.

        A command that prints as it goes, such as `watch`, returns the exit code itself.
        """
        result: CommandResult | int = super().invoke(ctx)
        return render(result, global_options(ctx)) if isinstance(result, CommandResult) else result


class SubGroup(TyperGroup):
    """A command with subcommands; it takes the shared options as well."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params += global_parameters()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without a word more it is help that is wanted, as of hfcal itself."""
        wanted = [] if global_options(ctx).json else ["--help"]
        return super().parse_args(ctx, args or wanted)


class Group(TyperGroup):
    """The root: makes a command when it is asked for."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params += global_parameters()
        # The names, for suggestions; the commands themselves come with get_command.
        self.commands: Any = dict.fromkeys(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command of this name, or None."""
        places = COMMANDS | _HIDDEN
        if cmd_name not in places:
            return None
        module = importlib.import_module(f"hfcal.cli.{places[cmd_name] or cmd_name}")
        made: typer.Typer | Callable[..., CommandResult | int] = getattr(
            module, cmd_name.lstrip("_")
        )
        if isinstance(made, typer.Typer):
            group = typer.main.get_group(made)
            group.name = cmd_name
            return group
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, cls=Command)(made)
        return typer.main.get_command(app)


def _version(value: bool) -> None:  # noqa: FBT001
    if value:
        from hfcal import __version__

        print(f"hfcal {__version__}")
        raise typer.Exit


def root(
    _version: bool = typer.Option(  # noqa: FBT001
        False,  # noqa: FBT003
        "--version",
        help="Show the version and exit.",
        callback=_version,
        is_eager=True,
    ),
) -> None:
    """Keep HarborForge agents' calendars on this host.

    \b
    cron or systemd runs `hfcal tick`; agents call `hfcal complete` when they are done.
    Try it without a backend: hfcal demo
    """


def make_app() -> TyperGroup:
    """The root command."""
    app = typer.Typer(
        name="hfcal", cls=Group, add_completion=False, rich_markup_mode=None, callback=root
    )
    return typer.main.get_group(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hfcal`; returns its exit code."""
    code = _run(arguments)
    try:
        sys.stderr.flush()
    except OSError:
        _drop(2)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    if sys.platform == "win32":
        say("runs on Linux and macOS, not on Windows")
        return exits.FAILED
    # What of the words matters when they can't be read as options.
    options = GlobalOptions(
        json="--json" in words, verbose=sum(w in {"-v", "-vv", "--verbose"} for w in words)
    )
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)
        code = make_app().main(words or ["--help"], prog_name="hfcal", standalone_mode=False)
    except typer.Abort:  # the end of input where a person was asked; Ctrl-C is a signal
        return _fail(DeclinedError(), options)
    except OSError as error:
        return _unwritten(error, options)
    except (HfcalError, InterruptedByUserError) as error:
        return _fail(error, options)
    except Exception as error:
        # An import that a signal cuts off in C code reports that in words of its own.
        return _fail(InterruptedByUserError(_signals[0]) if _signals else error, options)
    return _flush() or (code if isinstance(code, int) else exits.OK)


def _interrupt(number: int, _: FrameType | None) -> None:
    _signals.append(number)
    raise InterruptedByUserError(number)


def _fail(error: Exception | InterruptedByUserError, options: GlobalOptions) -> int:
    """Print a failure; where the document can't be written, the exit code still tells."""
    from hfcal.cli.failure import result_of

    result = result_of(error, verbose=bool(options.verbose))
    try:
        render(result, options)
        sys.stdout.flush()
    except OSError:
        _drop(1)
    return result.exit_code


def _prepare_streams() -> None:
    """Neither a closed stream nor an odd locale may lose a report."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        else:
            stream.reconfigure(errors="replace")


def _unwritten(error: OSError, options: GlobalOptions) -> int:
    """What no other part has caught is most likely stdout itself."""
    if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}:
        return _fail(error, options)
    if error.errno != errno.EPIPE:
        say(f"cannot write to stdout: {error.strerror}")
    _drop(1)
    return exits.FAILED


def _flush() -> int:
    """Write out what stands on stdout; returns an exit code when that can't be."""
    try:
        sys.stdout.flush()
    except OSError as error:
        return _unwritten(error, GlobalOptions())
    return exits.OK


def _drop(descriptor: int) -> None:
    """Nobody reads it any more, and Python's own last flush mustn't complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
