"""The command line as a whole: which commands there are, and what becomes of errors.

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
from hfcal.cli.shared import GlobalOptions, global_options, global_parameters, print_json, say
from hfcal.errors import DeclinedError, HfcalError, InterruptedByUserError, docs_link

if TYPE_CHECKING:
    from collections.abc import Callable

_UsageError: Any = typer.BadParameter.__base__

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


class Command(TyperCommand):
    """A command that takes the shared options as well."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.params += global_parameters()


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
        made: typer.Typer | Callable[..., int] = getattr(module, cmd_name.lstrip("_"))
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
    shared = GlobalOptions(
        json="--json" in words, verbose=sum(w in {"-v", "-vv", "--verbose"} for w in words)
    )
    try:
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGINT, _interrupt)
        code = make_app().main(words or ["--help"], prog_name="hfcal", standalone_mode=False)
    except _UsageError as error:
        return _usage(error, shared)
    except typer.Abort:  # the end of input where a person was asked; Ctrl-C is a signal
        return _failure(DeclinedError(), shared)
    except (HfcalError, InterruptedByUserError) as error:
        return _failure(error, shared)
    except OSError as error:
        return _unwritten(error, shared)
    except Exception as error:  # the last resort: a bug is told in one line
        return _bug(error, shared)
    return _flush() or (code if isinstance(code, int) else exits.OK)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise InterruptedByUserError(number)


def _usage(error: Any, shared: GlobalOptions) -> int:
    message = error.format_message()
    _print_error("usage", message, shared)
    path = error.ctx.command_path if error.ctx is not None else "hfcal"
    say(f"{message} ({docs_link('usage')})\nTry '{path} --help'.")
    return exits.USAGE


def _failure(error: HfcalError | InterruptedByUserError, shared: GlobalOptions) -> int:
    _report(error.kind, error.message, shared)
    if isinstance(error, InterruptedByUserError):
        return exits.SIGNALLED + error.number
    return exits.BY_KIND.get(error.kind, exits.FAILED)


def _bug(error: Exception, shared: GlobalOptions) -> int:
    if shared.verbose:
        import traceback

        traceback.print_exception(error)
    if "hfcal.views.log" in sys.modules:
        sys.modules["hfcal.views.log"].log_bug(error)
    message = f"a bug in hfcal, please report it: {type(error).__name__}: {error}"
    _report("internal", message, shared)
    return exits.INTERNAL


def _report(kind: str, message: str, shared: GlobalOptions) -> None:
    from hfcal.text import one_line

    message = one_line(message, 2000)
    _print_error(kind, message, shared)
    say(f"{message} ({docs_link(kind)})")


def _print_error(kind: str, message: str, shared: GlobalOptions) -> None:
    """The error as the one JSON document; if that can't be written, the exit code still tells."""
    if not shared.json:
        return
    from hfcal.views.documents import error_document

    try:
        print_json(error_document(kind, message))
        sys.stdout.flush()
    except OSError:
        _drop(1)


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


def _unwritten(error: OSError, shared: GlobalOptions) -> int:
    """What no other part has caught is most likely stdout itself."""
    if error.errno not in {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF}:
        return _bug(error, shared)
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
