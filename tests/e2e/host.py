"""A host with its own home, and a backend in another process; both as a user has them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE = 20.0
HFCAL = [sys.executable, "-m", "hfcal"]

# An agent that keeps what it is told: one file a wake, whole or not at all.
KEEP_WAKE = """
import json, os, pathlib, sys
e = os.environ
names = ("AGENT_ID", "SLOT", "SOURCE", "SLOT_JSON", "IDEMPOTENCY_KEY", "API_KEY")
kept = {"message": sys.stdin.read(), "argv": sys.argv[2:]}
kept |= {name: e.get("HFCAL_" + name) for name in names}
inbox = pathlib.Path(sys.argv[1])
target = inbox / (str(len(list(inbox.glob("*.json")))).zfill(3) + "." + str(os.getpid()))
target.write_text(json.dumps(kept))
target.rename(target.with_suffix(".json"))
sys.exit(int(e.get("WAKE_EXIT", "0")))
"""


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Backend:
    """`hfcal sim` in a process of its own."""

    def __init__(self, directory: Path, scenario: dict[str, Any]) -> None:
        path = directory / "scenario.json"
        path.write_text(json.dumps({"claw_identifier": "srv1", **scenario}))
        self._process = subprocess.Popen(
            [*HFCAL, "sim", "--port", "0", "--scenario", str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(DEADLINE) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read())

    def fault(self, **fault: Any) -> None:
        self.ask("/_sim/faults", fault)

    def well(self) -> None:
        self.ask("/_sim/faults", method="DELETE")

    def slots(self) -> dict[str, dict[str, Any]]:
        """All slots by their present ident."""
        slots = self.ask("/_sim/state")["slots"]
        return {str(slot["id"] or slot["virtual_id"]): slot for slot in slots}

    def status(self, ident: object) -> str:
        return str(self.slots()[str(ident)]["status"])

    def journal(self, kind: str = "", since: int = 0) -> list[dict[str, Any]]:
        entries = self.ask(f"/_sim/journal?since={since}")["entries"]
        return [entry for entry in entries if kind in {"", entry["kind"]}]

    def words(self, ident: object) -> list[str]:
        """What the backend was told of a slot, in order."""
        return [
            entry["body"]["status"]
            for entry in self.journal("update")
            if str(ident) in {entry["slot"], str(entry["slot_id"])}
        ]


class Host:
    """A home directory, a config file, and hfcal as a user types it."""

    def __init__(self, home: Path, backend_url: str, agents: list[str], **keys: Any) -> None:
        self.home = home
        self.inbox = home / "inbox"
        self.inbox.mkdir(parents=True)
        self.state_path = home / "state" / "state.json"
        self.config = home / "config.toml"
        self.wake_script = home / "wake.py"
        self.wake_script.write_text(KEEP_WAKE)
        self.configure(backend_url, agents, **keys)

    def configure(
        self,
        backend_url: str,
        agents: list[str],
        command: list[str] | None = None,
        wake: str = "",
        **keys: Any,
    ) -> None:
        command = command or [sys.executable, "-S", str(self.wake_script), str(self.inbox)]
        settings = {
            "backend_url": backend_url,
            "claw_identifier": "srv1",
            "agents": agents,
            "state_file": str(self.state_path),
            **keys,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += ["[wake]", 'adapter = "command"', f"command = {json.dumps(command)}", wake]
        self.config.write_text("\n".join(lines) + "\n")

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HFCAL_CONFIG": str(self.config),
            **(extra or {}),
        }

    def start(self, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*HFCAL, *words],
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, env: dict[str, str] | None = None) -> Done:
        process = self.start(*words, env=env)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def wakes(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.inbox.glob("*.json"))]

    def status(self) -> Any:
        return self.run("status", "--json").json

    def agent(self, document: Any, agent_id: str) -> Any:
        return next(agent for agent in document["agents"] if agent["agent_id"] == agent_id)


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait until `true()`, with a deadline."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["sleep", "0.02"], timeout=1, check=False)
    raise AssertionError(f"never came true: {what}")


@contextlib.contextmanager
def scene(directory: Path, scenario: dict[str, Any], **keys: Any) -> Iterator[tuple[Backend, Host]]:
    """A backend with this scenario and a host with its agents."""
    backend = Backend(directory, scenario)
    names = [a if isinstance(a, str) else a["id"] for a in scenario["agents"]]
    try:
        yield backend, Host(directory / "host", backend.url, names, **keys)
    finally:
        backend.close()
