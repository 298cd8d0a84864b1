"""A short chaos run in every test run; `make chaos` makes longer ones."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.run import Chaos


def test_no_promise_breaks_under_kills_and_faults(tmp_path: Path) -> None:
    """Whatever is killed and whatever the network does: each slot ends once, as it was told."""
    seed = random.SystemRandom().randrange(1_000_000)
    chaos = Chaos(tmp_path, seed, agents=3, slots=3)
    problems = chaos.run(seconds=5)
    assert not problems, "\n".join(
        [*problems, f"replay: python -m tests.chaos --seed {seed} --agents 3 --slots 3 --seconds 5"]
    )
