"""`python -m tests.chaos [--seed N] [--seconds S] [--agents N] …`, also `make chaos`.

Processes of all commands run at random, are killed at random, find the disk full, and talk to a
simulator that drops, delays, duplicates and refuses. Then the faults end, everything quiets down,
and every promise is checked from the simulator's own journal. A failing seed is printed; the same
seed makes the same choices.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.run import Chaos, Size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    size = Size()
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rounds", type=int, default=1, help="seeds in a row")
    parser.add_argument("--seconds", type=float, default=size.seconds, help="of harm")
    parser.add_argument("--agents", type=int, default=size.agents)
    parser.add_argument("--slots", type=int, default=size.slots, help="for each agent")
    parser.add_argument("--workers", type=int, default=size.workers, help="of each kind")
    given = parser.parse_args()
    size = Size(given.agents, given.slots, given.workers, given.seconds)
    for seed in range(given.seed, given.seed + given.rounds):
        with tempfile.TemporaryDirectory(prefix="hfcal-chaos-") as directory:
            chaos = Chaos(Path(directory), seed, size)
            problems = chaos.run()
        print(f"seed {seed}: {chaos.summary}", flush=True)
        if problems:
            print("\n".join(f"BROKEN {problem}" for problem in problems))
            print(f"replay: {chaos.replay()}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
