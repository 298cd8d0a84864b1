"""What is measured, a function for each row of docs/performance.md."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.measure import BARE, HFCAL, Cost, backend, measure, ratio, run, start
from tests.rig import host as rig

_COUNT_FSYNCS = """
import os, sys
count, real = 0, os.fsync
def counted(descriptor):
    global count
    count += sys.argv[2] in os.readlink(f"/proc/self/fd/{descriptor}") + "/"
    real(descriptor)
os.fsync = counted
from hfcal.cli import main
code = main(sys.argv[3:])
open(sys.argv[1], "w").write(str(count))
sys.exit(code)
"""
_TYPER = [sys.executable, "-c", "import typer"]


@dataclass(frozen=True)
class Row:
    """One figure and what it may be at most."""

    what: str
    value: float
    most: float
    unit: str = ""
    note: str = ""


class Host(rig.Host):
    """A host whose config and state are named, so that what finds them isn't timed."""

    def __init__(self, directory: Path, url: str, agents: list[str], **settings: object) -> None:
        super().__init__(directory)
        keys = {
            "backend_url": url,
            "claw_identifier": "bench",
            "agents": agents,
            "state_file": str(self.state),
            **settings,
        }
        wake = {"adapter": "spool", "dir": f"{directory}.spool"}
        self.write_config(rig.config_text(keys, {"wake": wake}))

    def words(self, *words: str) -> list[str]:
        return [HFCAL, *words, "--config", str(self.config)]

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return self.spawn(*self.words(*words), output=subprocess.DEVNULL)

    def cost(self, *words: str, codes: tuple[int, ...] = (0,)) -> Cost:
        return measure(lambda: self.begin(*words), codes)


def numbered(count: int, kind: str = "agent") -> list[str]:
    return [f"{kind}-{number}" for number in range(count)]


def starts(directory: Path, pairs: int) -> Iterator[Row]:
    """Commands that ask nobody, against importing typer."""
    with backend() as url:
        host = Host(directory / "starts", url, ["agent-0", "slot-1"])
        host.cost("tick")

        def typer() -> float:
            return run(_TYPER).seconds

        found, note = ratio(lambda: host.cost("status", "--json").seconds, typer, pairs)
        yield Row("status --json / import typer", found, 1.3, note=note)
        found, note = ratio(lambda: run([HFCAL, "--help"]).seconds, typer, pairs)
        yield Row("--help / import typer", found, 2.0, note=note)
        found, note = ratio(lambda: host.cost("_complete", "agents").seconds, typer, pairs)
        yield Row("TAB, one word / import typer", found, 1.5, note=note)


def requests(directory: Path, pairs: int) -> Iterator[Row]:
    """Commands that ask once, against a script that does."""
    with backend() as url:
        ticking = Host(directory / "tick", url, ["agent-0"])
        ticking.cost("tick")

        def bare() -> float:
            return run([*BARE, "one", url]).seconds

        found, note = ratio(lambda: ticking.cost("tick").seconds, bare, pairs)
        yield Row("tick, one agent / bare request", found, 1.3, note=note)
        done = Host(directory / "complete", url, ["slot-0"], report_agent_status=False)
        done.cost("tick")
        begin_anew = _kept(done)

        def complete() -> float:
            begin_anew()
            return done.cost("complete", "--agent", "slot-0", "--require-delivery").seconds

        found, note = ratio(complete, bare, pairs)
        yield Row("complete / bare request", found, 1.3, note=note)


def crowd(directory: Path, pairs: int) -> Iterator[Row]:
    """200 completes at once, and one among 1000 active agents."""
    with backend() as url:
        host = Host(directory / "crowd", url, numbered(200, "slot"), report_agent_status=False)
        host.cost("tick")
        begin_anew = _kept(host)

        def completes() -> float:
            begin_anew()
            return _at_once(host.words("complete", "--agent", f"slot-{n}") for n in range(200))

        def bare() -> float:
            return _at_once([*BARE, "one", url] for _ in range(200))

        found, note = ratio(completes, bare, max(1, pairs // 5))
        yield Row("200 complete at once / 200 bare", found, 1.5, note=note)
    with backend() as url:
        host = Host(directory / "many", url, numbered(1000, "slot"), report_agent_status=False)
        host.cost("tick")
        begin_anew = _kept(host)

        def complete() -> float:
            begin_anew()
            return host.cost("complete", "--agent", "slot-7", "--require-delivery").seconds

        found, note = ratio(complete, lambda: run([*BARE, "one", url]).seconds, pairs)
        yield Row("complete, 1000 active / bare request", found, 1.3, note=note)


def many(directory: Path, pairs: int) -> Iterator[Row]:
    """1000 and 5000 agents, at 50 ms for each answer."""
    pairs = max(1, pairs // 5)
    with backend(0.05) as url:
        host = Host(directory / "thousand", url, numbered(1000))
        large = Host(directory / "five", url, numbered(5000))
        host.cost("tick")
        large.run("tick")
        peaks: dict[str, float] = {}

        def tick(which: Host) -> float:
            ran = which.cost("tick")
            peaks[which.root.name] = ran.peak
            return ran.seconds

        def bare() -> float:
            return run([*BARE, "many", url, "1000"]).seconds

        found, note = ratio(lambda: tick(host), bare, pairs)
        yield Row("tick, 1000 agents / 64 bare threads", found, 1.3, note=note)
        found, note = ratio(lambda: tick(large) / 5, lambda: tick(host), pairs)
        yield Row("tick, 5000 agents / 5 x 1000", found, 1.2, note=f"{note}, a fifth to the whole")
        yield Row("peak memory, 1000 agents", peaks["thousand"], 70, "MiB")
        yield Row("peak memory, 5000 agents", peaks["five"], 150, "MiB")
        size = large.state.stat().st_size / 1024
        yield Row("state file, 5000 agents", size, 4096, "KiB")


def saves(directory: Path) -> Iterator[Row]:
    """What a tick with 100 dispatches writes."""
    with backend(0.05) as url:
        agents = numbered(900) + [f"slot-{n}" for n in range(900, 1000)]
        host = Host(directory / "saves", url, agents)
        count = directory / "fsyncs"
        words = [sys.executable, "-c", _COUNT_FSYNCS, str(count), f"{host.state.parent}/", "tick"]
        ran = run([*words, "--config", str(host.config)])
        value = float(count.read_text(encoding="ascii"))
        yield Row("fsyncs, 1000 agents, 100 dispatched", value, 20, note=f"{ran.seconds:.1f} s")


def away(directory: Path) -> Iterator[Row]:
    """A backend that refuses, or hangs; agents that hang."""
    with _port() as (listening, url):
        host = Host(directory / "hangs", url, numbered(1000), request_timeout=3)
        seconds = host.cost("tick", codes=(4,)).seconds
        yield Row("tick, backend hangs, 3 s, 1000 agents", seconds, 7, "s")
        listening.close()
        host = Host(directory / "refuses", url, numbered(1000), request_timeout=3)
        yield Row("tick, refused, 1000 agents", host.cost("tick", codes=(4,)).seconds, 1, "s")
    with backend(0.05) as url:
        agents = numbered(100, "hang") + numbered(900)
        host = Host(directory / "tenth", url, agents, request_timeout=3)
        seconds = host.cost("tick", codes=(1,)).seconds
        again = host.cost("tick", codes=(1,)).seconds
        yield Row("tick, 100 of 1000 hang, 3 s", seconds, 9, "s", f"the next one {again:.1f} s")


def watch(directory: Path, seconds: float) -> Iterator[Row]:
    """CPU and memory of a `watch` with 1000 agents at 30 s."""
    with backend(0.05) as url:
        host = Host(directory / "watch", url, numbered(1000))
        process = host.begin("watch", "--interval", "30s")
        try:
            time.sleep(min(60.0, seconds / 2))
            before, began = _usage(process), time.monotonic()
            time.sleep(max(0.0, seconds - min(60.0, seconds / 2)))
            after, took = _usage(process), time.monotonic() - began
        finally:
            process.terminate()
            process.wait()
        cpu = (after[0] - before[0]) / took * 100
        yield Row(f"watch, 1000 agents at 30 s, {took:.0f} s: CPU", cpu, 6, "%")
        yield Row("watch: memory growth after a minute", after[1] - before[1], 1, "MiB")


def _usage(process: subprocess.Popen[str]) -> tuple[float, float]:
    """CPU seconds and resident MiB of a running process."""
    import os

    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * page / 1024**2


def _kept(host: Host) -> Callable[[], object]:
    """What puts the host's state back to what it is now."""
    kept = host.state.with_suffix(".kept")
    shutil.copy(host.state, kept)
    return partial(shutil.copy, kept, host.state)


def _at_once(commands: Iterator[list[str]]) -> float:
    began = time.monotonic()
    processes = [start(words) for words in commands]
    codes = [process.wait() for process in processes]
    assert set(codes) == {0}, codes
    return time.monotonic() - began


@contextmanager
def _port() -> Iterator[tuple[socket.socket, str]]:
    """A port on which nobody answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        yield listening, f"http://127.0.0.1:{listening.getsockname()[1]}"
