"""Rows for people: a table where it fits, and a line for each row where it doesn't."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleDimensions, OverflowMethod, RenderableType
from rich.table import Table
from rich.text import Text

from hfcal.system.terminal import can_draw

_LEAST_NOTE = 20  # columns that are worth a last column of its own
_GAP = 3  # columns between two cells
_ANY_WIDTH = 10_000
_COERCED = {"C.UTF-8", "C.utf8"}  # what Python makes of LC_CTYPE when it finds the locale C
_SPEAKING = {"agent", "state", "status", "when", "backend", "note", "error"}  # without their name


@dataclass
class Grid:
    """Rows of cells; only the last column, for words, may be folded or cut.

    Attributes:
        title: Stands above; empty for none.
        columns: Their names.
        rows: A cell for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[list[Text]] = field(default_factory=list)

    def last_width(self, width: int) -> int:
        """How wide the last column can be on a screen of this width; negative if nothing fits."""
        names = [Text(name) for name in self.columns]
        columns = zip(names, *self.rows, strict=True)
        longest = [max(cell.cell_len for cell in column) for column in columns]
        left = width - sum(longest[:-1]) - _GAP * (len(longest) - 1)
        return left if left >= min(longest[-1], _LEAST_NOTE) or not self._speaks else -1

    def fits(self, width: int) -> bool:
        """Whether the rows can stand in columns, and leave room for the last one."""
        return self.last_width(width) >= (0 if self._speaks else -_GAP)

    def shown(self, width: int, *, plain: bool, cut: bool = False) -> RenderableType:
        """The table, or lines where that is too wide.

        Args:
            width: Columns of the screen.
            plain: ASCII alone.
            cut: One line for each row, whatever is lost; else the last column goes on below.
        """
        overflow: OverflowMethod = "crop" if plain else "ellipsis"
        if not self.fits(width):
            lines = [Text(self.title, "bold")] if self.title else []
            lines += [self._line(row) for row in self.rows]
            return Text("\n", no_wrap=cut, overflow=overflow if cut else "fold").join(lines)
        table = Table(
            title=self.title or None,
            title_justify="left",
            title_style="bold",
            pad_edge=False,
            show_edge=False,
            box=box.ASCII if plain else box.SIMPLE_HEAD,
        )
        for name in self.columns[:-1]:
            table.add_column(name, no_wrap=True)
        if self._speaks:
            table.add_column(
                self.columns[-1],
                no_wrap=cut,
                overflow=overflow if cut else "fold",
                max_width=self.last_width(width),
            )
        for row in self.rows:
            table.add_row(*row[: len(table.columns)])
        return table

    @property
    def _speaks(self) -> bool:
        """Whether there is anything in the last column."""
        return any(row[-1].plain for row in self.rows)

    def _line(self, row: list[Text]) -> Text:
        """Such as `developer: ongoing, slot 12, since 3 min, heartbeat 10 s ago; held`."""
        first, *cells = row
        told = [
            cell if name in _SPEAKING else Text(f"{name} ").append_text(cell)
            for name, cell in zip(self.columns[1:-1], cells[:-1], strict=True)
            if cell.plain
        ]
        line = Text("").append_text(first).append(": ").append_text(Text(", ").join(told))
        return line.append("; ").append_text(cells[-1]) if cells[-1].plain else line


def is_plain(stream: TextIO) -> bool:
    """Whether only ASCII is sure to be read: by encoding, terminal or locale.

    In the locale C Python writes UTF-8 all the same, and whoever reads it may not be able to.
    """
    if not (stream.encoding or "").lower().startswith("utf"):
        return True
    if stream.isatty() and not can_draw(stream):
        return True
    named = [os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if named[1] in _COERCED:
        named[1] = ""
    return next(filter(None, named), "C") in {"C", "POSIX"}


def console_on(stream: TextIO) -> Console:
    """A console that colours a terminal alone; what is no terminal is as wide as what it gets."""
    console = Console(
        file=stream, highlight=False, markup=False, emoji=False, force_terminal=stream.isatty()
    )
    columns, lines = shutil.get_terminal_size()
    if not stream.isatty() and not os.environ.get("COLUMNS"):
        columns = _ANY_WIDTH
    if console.is_dumb_terminal or columns != console.width:  # to rich a dumb one has 80 columns
        console.size = ConsoleDimensions(columns, lines)
    return console
