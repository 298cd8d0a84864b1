"""Write the man page man/hfcal.1 from the app itself.

python tools/manpage.py            writes it
python tools/manpage.py --check    exits 1, with a diff, when it is not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer
from generated import ROOT, write_or_check

from hfcal import __version__
from hfcal.cli.app import make_app
from hfcal.cli.options import global_parameters
from hfcal.config.settings import KEYS

PAGE = ROOT / "man" / "hfcal.1"

_CODES = (
    (0, "done; what an agent said is on disk"),
    (1, "something failed: the backend refused, or an agent of a tick failed"),
    (2, "wrong usage"),
    (3, "no active slot, or it is not clear which agent or slot is meant"),
    (4, "the backend can't be reached"),
    (5, "the config is missing something, or holds what is not allowed"),
    (6, "the state file can't be used, or was locked for too long"),
    (70, "a bug in hfcal"),
    (130, "stopped by Ctrl-C; 143 by SIGTERM"),
)


def page() -> str:
    """The whole page as roff."""
    root = make_app()
    context = typer.Context(root, info_name="hfcal")
    lines = [
        '.\\" made by tools/manpage.py; change that, not this file.',
        f'.TH HFCAL 1 "" "hfcal {__version__}" "User commands"',
        ".SH NAME",
        "hfcal \\- keep HarborForge agents' calendars on a host",
        ".SH SYNOPSIS",
        ".B hfcal",
        "[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(root.help),
        ".SH COMMANDS",
        *_commands(root, context, ()),
        ".SH OPTIONS",
        "These stand before or after a command.",
        *_options(global_parameters()),
        ".SH EXIT STATUS",
    ]
    for code, meaning in _CODES:
        lines += [".TP", f".B {code}", _text(meaning)]
    lines += [".SH ENVIRONMENT"]
    for name, key in KEYS.items():
        if key.environment:
            lines += [".TP", f".B {key.environment}", f"The setting {_text(name)}."]
    lines += [
        ".TP",
        ".B HFCAL_CONFIG",
        "The config file.",
        ".TP",
        ".B HFCAL_AGENT_ID, AGENT_ID",
        "Which agent a command is for, without \\-\\-agent.",
        ".SH FILES",
        ".TP",
        ".I ~/.config/hfcal/config.toml, /etc/hfcal/config.toml",
        "The settings.",
        ".TP",
        ".I ~/.local/state/hfcal/state.json, /var/lib/hfcal/state.json",
        "The state.",
        ".SH SEE ALSO",
        ".BR crontab (5),",
        ".BR systemd.timer (5)",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, context: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, parent=context, info_name=name)
        words = (*path, name)
        if hasattr(command, "list_commands"):
            yield from _commands(command, inner, words)
            continue
        own = {option.name for option in global_parameters()}
        params = [p for p in command.get_params(inner) if not p.hidden and p.name not in own]
        arguments = [p for p in params if p.param_type_name == "argument"]
        options = [p for p in params if p not in arguments and p.name != "help"]
        shown = "".join(f" \\fI{_text(p.metavar)}\\fR" for p in arguments)
        yield f".SS hfcal {' '.join(words)}{shown}"
        yield from _paragraphs(command.help)
        yield from _options(options)


def _options(options: list[Any]) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"\\fB{_text(n)}\\fR" for n in (*option.opts, *option.secondary_opts))
        value = "" if option.is_flag or option.count else f" \\fI{option.metavar or 'NUMBER'}\\fR"
        yield ".TP"
        yield f"{names}{value}"
        yield _text(" ".join((option.help or "").split()))


def _paragraphs(text: str | None) -> Iterator[str]:
    for number, paragraph in enumerate((text or "").strip().split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield ".nf"
            for line in paragraph.split("\n")[1:]:
                yield _text(line) or ".sp"
            yield ".fi"
        else:
            yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Text that roff takes as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], "man", lambda: {PAGE: page()}))
