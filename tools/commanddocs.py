"""Write docs/commands.md, each command's --help, from the app itself.

python tools/commanddocs.py            writes it
python tools/commanddocs.py --check    exits 1, with a diff, when it is not current
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hfcal.cli.app import make_app
from hfcal.cli.shared import shared_options

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
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
    shared = {line for option in shared_options() for line in _lines_of(option, context)}
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


def main(words: list[str]) -> int:
    """Write, or check."""
    if words not in ([], ["--check"]):
        print("usage: python tools/commanddocs.py [--check]", file=sys.stderr)
        return 2
    wanted = page()
    present = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if not words:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    differences = difflib.unified_diff(
        present.splitlines(keepends=True), wanted.splitlines(keepends=True), "page", "the app"
    )
    shown = "".join(differences)
    if shown:
        sys.stdout.write(shown)
        print("docs/commands.md is not current; run: make commands", file=sys.stderr)
    return 1 if shown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
