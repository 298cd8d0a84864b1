"""Write docs/commands.md, each command's --help, from the app itself.

python tools/commanddocs.py            writes it
python tools/commanddocs.py --check    exits 1, with a diff, when it is not current
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import typer
from generated import ROOT, write_or_check

from hfcal.cli.app import make_app
from hfcal.cli.options import global_parameters

PAGE = ROOT / "docs" / "commands.md"
HEAD = """\
# Commands

<!-- made by tools/commanddocs.py; change that, not this page -->

What `hfcal COMMAND --help` prints, without the options that all commands take. Those are
[below](#options-of-all-commands), and stand before or after the command.

"""


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = "100"
    root = make_app()
    context = typer.Context(root, info_name="hfcal", max_content_width=100)
    shared = {line for option in global_parameters() for line in _lines_of(option, context)}
    sections = [_section(words, text, shared) for words, text in _helps(root, context)]
    options = _usage_of(root, context).partition("Options:\n")[2].partition("\n\n")[0]
    return HEAD + "\n".join(sections) + f"\n## Options of all commands\n\n{_block(options)}"


def _helps(group: Any, context: Any) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = typer.Context(command, parent=context, info_name=name, max_content_width=100)
        if hasattr(command, "list_commands"):
            yield from _helps(command, inner)
        else:
            yield inner.command_path, _usage_of(command, inner)


def _usage_of(command: Any, context: Any) -> str:
    return str(command.get_help(context))


def _lines_of(option: Any, context: Any) -> Iterator[str]:
    """The words of the option's lines, however they are aligned."""
    names, text = option.get_help_record(context)
    yield " ".join(f"{names} {text}".split())


def _section(words: str, text: str, shared: set[str]) -> str:
    drop = {*shared, "--help Show this message and exit."}
    kept = [line for line in text.splitlines() if " ".join(line.split()) not in drop]
    if kept[-1] == "Options:":
        kept.pop()
    return f"## {words}\n\n{_block(chr(10).join(kept))}"


def _block(text: str) -> str:
    return f"```text\n{text.strip(chr(10))}\n```\n"


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], "commands", lambda: {PAGE: page()}))
