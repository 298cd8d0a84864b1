"""`python -m tests.bench [--pairs N] [--watch SECONDS] [ROW …]`, also `make bench`.

Prints each figure of docs/performance.md with what it may be at most. Ratios are medians of pairs
that ran back to back in this run, so a slow or busy machine changes them little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--watch", type=float, default=0.0, help="seconds to look at a watch")
    parser.add_argument("only", nargs="*", help="starts requests crowd many saves away watch")
    given = parser.parse_args()
    over = 0
    with tempfile.TemporaryDirectory(prefix="hfcal-bench-") as place:
        directory = Path(place)
        makers = {
            "starts": lambda: rows.starts(directory, given.pairs),
            "requests": lambda: rows.requests(directory, given.pairs),
            "crowd": lambda: rows.crowd(directory, given.pairs),
            "many": lambda: rows.many(directory, given.pairs),
            "saves": lambda: rows.saves(directory),
            "away": lambda: rows.away(directory),
            "watch": lambda: rows.watch(directory, given.watch),
        }
        chosen = given.only or [n for n in makers if n != "watch" or given.watch]
        for name in chosen:
            for row in makers[name]():
                verdict = "" if row.value <= row.most else "  OVER"
                over += bool(verdict)
                note = f"  ({row.note})" if row.note else ""
                print(
                    f"{row.what:40} {row.value:7.2f} of {row.most:6g} {row.unit:4}{note}{verdict}",
                    flush=True,
                )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
