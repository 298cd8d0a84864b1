"""A process that has imported hfcal, and forks off one command after the other: real, and quick.

Each command is a process of its own, with its own words, environment, directory and fate, and ends
as the installed one does. Only the imports are spared, most of what a short command costs. What
they cost, and what each command loads, is tested with processes that begin from nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.result import Result

ROOT = Path(__file__).parents[2]
DEADLINE = 50.0  # below the time-out of a test, so that it is this that says what hangs
COVERAGE = "COVERAGE_PROCESS_CONFIG"  # by which `make coverage` measures other processes as well
PR_SET_CHILD_SUBREAPER = 36


class Forks:
    """The server, seen from a test.

    Args:
        hook: `module:function`, called in each new process with the order, before the command; with
            one, the server waits for all that a command has left behind, such as a wake.
    """

    def __init__(self, hook: str = "") -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.forks", str(theirs.fileno()), hook],
            env=_kept("PATH", *([] if hook else [COVERAGE])),
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def run(self, words: list[str], env: Mapping[str, str], cwd: Path, **order: Any) -> Result:
        """Run `hfcal words` until it and whoever has its streams have ended."""
        order |= {"words": words, "env": env, "cwd": str(cwd)}
        began = time.monotonic()
        out, err = os.pipe(), os.pipe()
        socket.send_fds(self._socket, [json.dumps(order).encode()], [out[1], err[1]])
        for pipe in (out, err):
            os.close(pipe[1])
        stdout, stderr = _read_all(out[0], err[0], order)
        self._socket.settimeout(DEADLINE)
        code = int(self._socket.recv(64))
        return Result(tuple(words), code, stdout, stderr, time.monotonic() - began)

    def close(self) -> None:
        """End the server, which sees that nobody is there any more."""
        self._socket.close()
        self._process.wait(DEADLINE)


def _kept(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _read_all(out: int, err: int, order: Mapping[str, Any]) -> tuple[str, str]:
    read: dict[int, bytes] = {out: b"", err: b""}
    ends = time.monotonic() + DEADLINE
    with selectors.DefaultSelector() as selector:
        for source in read:
            selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(ends - time.monotonic())
            assert ready, f"not within {DEADLINE:g} s: {order}"
            for key, _ in ready:
                more = os.read(key.fd, 1 << 16)
                read[key.fd] += more
                if not more:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return read[out].decode(), read[err].decode()


def _serve(orders: socket.socket, hook: str) -> None:
    if hook:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prepare = _import_all(hook)
    gc.freeze()  # so that collecting garbage copies no page of what is shared
    while True:
        text, streams, _, _ = socket.recv_fds(orders, 1 << 20, 2)
        if not text:
            return
        pid = os.fork()
        if pid == 0:
            orders.close()
            _become(json.loads(text), streams, prepare)
        for stream in streams:
            os.close(stream)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(ChildProcessError):
            while hook:
                os.wait()
        orders.send(str(code).encode())


def _import_all(hook: str) -> Any:
    """Import what the commands do, so that none pays for it; returns the hook."""
    import hfcal

    for module in pkgutil.walk_packages(hfcal.__path__, "hfcal."):
        importlib.import_module(module.name)
    module_name, _, name = hook.partition(":")
    return getattr(importlib.import_module(module_name), name) if hook else None


def _become(order: Mapping[str, Any], streams: list[int], prepare: Any) -> None:
    """Be that command, and end."""
    import hfcal.__main__

    code = 70
    try:
        # Python has put this there, and would have in a process of its own.
        coerced = {k: v for k, v in os.environ.items() if k == "LC_CTYPE"}
        os.environ.clear()
        os.environ.update({**coerced, **order["env"]})
        os.chdir(order["cwd"])
        streams = [os.open(os.devnull, os.O_RDONLY), *streams]
        for source, target in zip(streams, (0, 1, 2), strict=True):
            os.dup2(source, target)
            os.close(source)
        # Anew, since each knows from its beginning what kind of file it is on.
        sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)  # noqa: SIM115
        sys.argv = [hfcal.__main__.__file__, *order["words"]]
        if prepare is not None:
            prepare(order)
        hfcal.__main__.run()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # as the interpreter does with it
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
