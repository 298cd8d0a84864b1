"""`python -m tests.chaos [--seed N] [--seconds S] [--agents N]`, also `make chaos`.

All commands run at random, are killed at random, against a simulator that drops, delays,
duplicates and refuses. Then the faults end, everything quiets down, and every promise is checked
from the simulator's own journal. A failing seed is printed; the same seed makes the same choices.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Chaos


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--agents", type=int, default=6)
    parser.add_argument("--slots", type=int, default=4, help="slots for each agent")
    parser.add_argument("--rounds", type=int, default=1, help="seeds in a row")
    given = parser.parse_args()
    for seed in range(given.seed, given.seed + given.rounds):
        with tempfile.TemporaryDirectory(prefix="hfcal-chaos-") as directory:
            chaos = Chaos(Path(directory), seed, given.agents, given.slots)
            problems = chaos.run(given.seconds)
        print(f"seed {seed}: {chaos.summary()}")
        if problems:
            print("\n".join(f"  BROKEN {problem}" for problem in problems))
            print(f"replay: python -m tests.chaos --seed {seed} --seconds {given.seconds:g}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
