"""What a command came to, and the one place that prints it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from hfcal.cli import exits
from hfcal.cli.messages import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hfcal.cli.options import GlobalOptions
    from hfcal.core.ids import JsonObject


class CommandResult(NamedTuple):  # as frozen as a dataclass, and made in a fifth of the time
    """What a command came to.

    Only what is shown is made: `document` is a function, and lines that cost something are a
    generator, which imports what it needs when it is read.

    Attributes:
        document: Makes the one JSON document of `--json` (docs/json.md).
        lines: What a person asked for, on stdout.
        confirmation: What a person reads of what was done, on stdout; `-q` leaves it out.
        notes: Messages for people, on stderr, with `--json` as without.
        exit_code: The same with `--json` as without.
    """

    document: Callable[[], JsonObject]
    lines: Iterable[str] = ()
    confirmation: Iterable[str] = ()
    notes: Iterable[str] = ()
    exit_code: int = exits.OK


def render(result: CommandResult, options: GlobalOptions) -> int:
    """Print a result as the options say; returns its exit code.

    Raises:
        OSError: Stdout can't be written; the notes are said all the same.
    """
    try:
        if options.json:
            print(json.dumps(result.document()))
        else:
            for line in result.lines:
                print(line)
            for line in () if options.quiet else result.confirmation:
                print(line)
    finally:
        for note in result.notes:
            say(note)
    return result.exit_code
