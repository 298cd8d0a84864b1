"""Commands that meet their fate at one of their steps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.crashes.steps import UNHARMED, Fate, Steps
from tests.rig import forks
from tests.rig.result import Result


@dataclass(frozen=True)
class Run(Result):
    """What a command came to, and which steps it made."""

    steps: tuple[str, ...] = ()


class Forks:
    """Runs commands, each to its end and that of all that it started."""

    def __init__(self, server: forks.Forks) -> None:
        self._server = server

    def run(self, words: list[str], env: dict[str, str], cwd: Path, fate: Fate = UNHARMED) -> Run:
        """Run `hfcal words`."""
        with tempfile.NamedTemporaryFile() as report:
            order = {"fate": asdict(fate), "report": report.name}
            run = self._server.run(words, env, cwd, **order)
            steps = tuple(Path(report.name).read_text().split())
        return Run(run.words, run.code, run.stdout, run.stderr, run.seconds, steps)


@contextmanager
def serving() -> Iterator[Forks]:
    """A server for as long as it is needed."""
    running = forks.Forks("tests.crashes.forks:prepare")
    yield Forks(running)
    running.close()


def prepare(order: dict[str, Any]) -> None:
    """Watch the steps of this process from here on."""
    import hfcal.state.commit

    hfcal.state.commit._PATIENCE = 0.3  # a disk that stays full mustn't cost half a minute a run
    tempfile.gettempdir()  # Python looks for one that works: steps, but none of hfcal's
    report = os.open(order["report"], os.O_WRONLY | os.O_APPEND)
    Steps(Fate(**order["fate"]), report).install()
