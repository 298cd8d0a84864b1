"""What the generators beside this file share: they write what they make, or check what is there."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_or_check(words: list[str], target: str, make: Callable[[], Mapping[Path, str]]) -> int:
    """Write the files again, or show a diff with `--check`; returns the exit code.

    Args:
        words: The command line.
        target: The target of the Makefile that writes them.
        make: What each file is to hold.
    """
    if words not in ([], ["--check"]):
        print(f"usage: python {sys.argv[0]} [--check]", file=sys.stderr)
        return 2
    files = make()
    if not words:
        for path, wanted in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
        return 0
    stale = [path for path, wanted in files.items() if _differs(path, wanted)]
    for path in stale:
        name = path.relative_to(ROOT)
        print(f"{name} is not current; run: make {target}", file=sys.stderr)
    return 1 if stale else 0


def _differs(path: Path, wanted: str) -> bool:
    """Whether the file holds something else; shows what."""
    present = path.read_text(encoding="utf-8") if path.exists() else ""
    name = str(path.relative_to(ROOT))
    before, after = present.splitlines(keepends=True), wanted.splitlines(keepends=True)
    sys.stdout.writelines(difflib.unified_diff(before, after, name, f"{name} (from the app)"))
    return present != wanted
