"""A short chaos run in every test run; `make chaos` makes longer ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.run import Chaos, Size


@pytest.mark.promise_2
@pytest.mark.promise_3
@pytest.mark.promise_4
@pytest.mark.promise_5
@pytest.mark.promise_6
@pytest.mark.promise_9
@pytest.mark.timeout(180)  # a run that never gets quiet says so after a minute, with its story
def test_no_promise_breaks_under_kills_and_faults(tmp_path: Path) -> None:
    """Whatever is killed and whatever the network does: each slot ends once, as it was told."""
    seed = random.SystemRandom().randrange(1_000_000)
    chaos = Chaos(tmp_path, seed, Size(agents=2, slots=2, workers=1, seconds=2.5))
    problems = chaos.run()
    assert not problems, "\n".join([*problems, f"replay: {chaos.replay()}"])
