"""A process that has imported hfcal and forks off one run after the other: real, and quick.

Each run is a process of its own, with its own argv, environment and fate; it ends as the real
command does. The server also waits for what a killed run has left behind, such as a wake command.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tests.crashes.steps import UNHARMED, Fate, Steps

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Run:
    """What a run came to; `code` is negative when a signal ended it."""

    code: int
    stdout: str
    stderr: str
    steps: list[str]


class Forks:
    """The server, seen from the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, words: list[str], env: dict[str, str], fate: Fate = UNHARMED) -> Run:
        """Run `hfcal words` to its end, and all that it started."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"words": words, "env": env, "fate": asdict(fate)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        assert select.select([self._process.stdout], [], [], 60)[0], order
        return Run(**json.loads(self._process.stdout.readline()))


@contextmanager
def forks() -> Iterator[Forks]:
    """A server for as long as it is needed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.crashes.forks"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _import_all()
    gc.freeze()  # so that collecting garbage copies no page of what is shared
    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(read)
                _become(order, out, err, write)
            os.close(write)
            with os.fdopen(read, "rb") as report:
                steps = report.read().decode().split()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.wait()
            run = Run(code, _text(out), _text(err), steps)
        print(json.dumps(asdict(run)), flush=True)


def _import_all() -> None:
    """What the commands import, so that no run pays for it."""
    import hfcal.bridge
    import hfcal.cli.app
    import hfcal.cli.holding
    import hfcal.cli.lifecycle
    import hfcal.cli.status
    import hfcal.cli.tick
    import hfcal.lifecycle
    import hfcal.state.commit
    import hfcal.tick
    import hfcal.views.documents
    import hfcal.views.lines
    import hfcal.wake.command
    import hfcal.wake.wakers

    hfcal.state.commit._PATIENCE = 0.3  # a disk that stays full mustn't cost half a minute a run


def _become(order: dict[str, Any], out: IO[bytes], err: IO[bytes], report: int) -> None:
    """Be that run, and end."""
    from hfcal.cli.app import main

    os.environ.clear()
    os.environ.update(order["env"])
    devnull = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((devnull, 0), (out.fileno(), 1), (err.fileno(), 2)):
        os.dup2(source, target)
    sys.argv = ["hfcal", *order["words"]]
    Steps(Fate(**order["fate"]), report).install()
    code = 70
    try:
        code = main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


if __name__ == "__main__":
    _serve()
