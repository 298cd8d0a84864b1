"""Running commands and taking their time, memory and CPU."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig.process import spawn

ROOT = Path(__file__).parents[2]
HFCAL = str(Path(sys.executable).with_name("hfcal"))
BARE = [sys.executable, str(Path(__file__).with_name("bare.py"))]


@dataclass(frozen=True)
class Cost:
    """What one process cost: seconds, and MiB at its peak by the kernel."""

    seconds: float
    cpu: float
    peak: float


def run(words: Sequence[str], codes: Sequence[int] = (0,)) -> Cost:
    """Run a command to its end in the benchmark's own environment."""
    return measure(lambda: start(words), codes)


def measure(begin: Callable[[], subprocess.Popen[str]], codes: Sequence[int]) -> Cost:
    """What a process costs, from its start to its end.

    Raises:
        RuntimeError: It ended otherwise than by one of `codes`.
    """
    began = time.monotonic()
    process = begin()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in codes:
        raise RuntimeError(f"{process.args!r} exited with {process.returncode}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command in the benchmark's own environment."""
    home = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return spawn(words, home, ROOT, output=subprocess.DEVNULL)


def ratio(one: Callable[[], float], other: Callable[[], float], pairs: int) -> tuple[float, str]:
    """The median ratio of `one` to `other`, each pair run back to back, and both medians."""
    one(), other()
    ones, others = [], []
    for number in range(pairs):
        if number % 2:
            others.append(other())
            ones.append(one())
        else:
            ones.append(one())
            others.append(other())
    found = statistics.median(a / b for a, b in zip(ones, others, strict=True))
    medians = (
        f"{statistics.median(ones) * 1000:.0f} ms to {statistics.median(others) * 1000:.0f} ms"
    )
    return found, medians


@contextmanager
def backend(delay: float = 0.0) -> Iterator[str]:
    """A backend in a process of its own; yields its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.backend", "--delay", str(delay)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()
