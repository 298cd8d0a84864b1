"""`python -m tests.hostile [--port N] [--scenario FILE]`: with all tricks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hfcal.sim.scenario import load_scenario, parse_scenario
from hfcal.sim.server import run
from tests.hostile import TRICKS

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scenario", type=Path)
    given = parser.parse_args()
    scenario = (
        load_scenario(given.scenario, TRICKS) if given.scenario else parse_scenario({}, TRICKS)
    )
    sys.exit(run(scenario, "127.0.0.1", given.port, sys.stdout))
