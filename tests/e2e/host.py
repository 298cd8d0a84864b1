"""Real processes for end-to-end tests: a host that runs hfcal, and a simulated backend."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import http.client
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from tests.forks import Forks

PATH = "/usr/local/bin:/usr/bin:/bin"
CLAW = "srv1"
DEADLINE = 20.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# Keeps what a woken agent gets, each wake in a folder of its own, and then does what a test wants.
WAKE = """\
folder=$(mktemp -d "$1/.new.XXXXXX")
cat > "$folder/message"
env -0 > "$folder/env"
mv "$folder" "$1/wake.$(basename "$folder" | cut -c6-)"
if [ -f "$1/hook" ]; then . "$1/hook"; fi
"""


def wait_until(condition: Callable[[], Any], *, seconds: float = DEADLINE, what: str = "") -> Any:
    """What `condition` returns once that is true; fails after a deadline."""
    pause = threading.Event()
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what or condition}"
        pause.wait(0.02)
    return found


def wait_past(moment: float) -> None:
    """Wait until the wall clock is past `moment`, such as the end of a pause that is promised."""
    wait_until(lambda: time.time() > moment, what=f"the clock past {moment}")


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    words: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> Any:
        """Stdout as the one JSON document that it must be."""
        return json.loads(self.stdout)

    @property
    def error(self) -> Any:
        """The `error` of the document on stdout."""
        return self.json["error"]

    @property
    def agents(self) -> dict[str, Any]:
        """A tick's agents by their ids."""
        return {agent["agent_id"]: agent for agent in self.json["agents"]}

    @property
    def actions(self) -> dict[str, str]:
        """What a tick did, by agent."""
        return {name: agent["action"] for name, agent in self.agents.items()}


@dataclass(frozen=True)
class Wake:
    """What a woken agent got."""

    message: str
    env: Mapping[str, str]
    at: int

    @property
    def agent_id(self) -> str:
        return self.env["HFCAL_AGENT_ID"]

    @property
    def slot(self) -> str:
        return self.env["HFCAL_SLOT"]

    @property
    def key(self) -> str:
        return self.env["HFCAL_IDEMPOTENCY_KEY"]

    @property
    def lines(self) -> list[str]:
        return self.message.splitlines()

    def line(self, verb: str) -> str:
        """The one line that ends the slot by `verb`."""
        found = [line for line in self.lines if f" {verb} --agent " in line]
        assert len(found) == 1, self.message
        return found[0]


class Running:
    """A command that runs, with what it prints."""

    def __init__(self, words: tuple[str, ...], process: subprocess.Popen[str]) -> None:
        self.words = words
        self.process = process
        self._began = time.monotonic()
        self._unread = b""

    def line(self, seconds: float = DEADLINE) -> str:
        """The next line of stdout, without its end."""
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        while b"\n" not in self._unread:
            ready = select.select([source], [], [], seconds)[0]
            assert ready, f"{self.words} printed no line within {seconds:g} s"
            more = os.read(source, 65536)
            assert more, f"{self.words} ended"
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = DEADLINE) -> Result:
        """Wait for its end; `stdout` is what `line` has not read."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        spent = time.monotonic() - self._began
        stdout = self._unread.decode() + stdout
        return Result(self.words, self.process.returncode, stdout, stderr, spent)

    def close(self) -> None:
        """End it however it is."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


# Makes its own terminal the controlling one, as a shell's is, so that Ctrl-C is a signal.
_ON_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(
        self, words: list[str], env: Mapping[str, str], columns: int, folder: Path | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _ON_TERMINAL, *words],
            env=env,
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""

    @property
    def text(self) -> str:
        """All that it has shown, control sequences and all."""
        return self._seen.decode()

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size, and forget what it has shown."""
        self._seen = b""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shows(self, *texts: str) -> None:
        """Wait until it has shown each of these."""
        wait_until(lambda: self._read() and all(t in self.text for t in texts), what=self.text)

    def end_of_screen(self) -> None:
        """Wait until it has been drawn once more."""
        seen = len(self._seen)
        wait_until(lambda: self._read() and self._seen.count(b"\x1b[H", seen) >= 2, what=self.text)

    def screen(self) -> list[str]:
        """The lines as they were drawn last, without control sequences."""
        drawn = self.text[: self.text.rfind("\x1b[H")].rpartition("\x1b[H")[2]
        return [line.rstrip() for line in ESCAPE.sub("", drawn).splitlines() if line.strip()]

    def send(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def type(self, keys: bytes) -> None:
        """Type keys, such as Ctrl-C's."""
        os.write(self._master, keys)

    def end(self) -> int:
        """Wait for its end; its exit code."""
        wait_until(lambda: self._read() and self._process.poll() is not None, what=self.text)
        self._read()
        return self._process.returncode

    def close(self) -> None:
        """End it however it is."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        # A terminal that its last user has left reads as an error on Linux, as an end elsewhere.
        with contextlib.suppress(OSError):
            while select.select([self._master], [], [], 0)[0]:
                more = os.read(self._master, 65536)
                if not more:
                    break
                self._seen += more
        return True


@cache
def _forks() -> Forks:
    forks = Forks()
    atexit.register(forks.close)
    return forks


@dataclass
class Host:
    """A host with a HOME, a config and a state of its own, and agents that note their wakes."""

    root: Path
    backend_url: str
    agents: tuple[str, ...] = ("developer",)
    env: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    wake: dict[str, Any] | None = field(default_factory=dict)
    _running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home = self.root / "home"
        self.inbox = self.root / "inbox"
        for folder in (self.home, self.inbox):
            folder.mkdir(parents=True, exist_ok=True)
        (self.root / "wake.sh").write_text(WAKE, encoding="utf-8")
        self.config = self.home / ".config" / "hfcal" / "config.toml"
        self.state_dir = self.home / ".local" / "state" / "hfcal"
        self.state = self.state_dir / "state.json"
        self.configure()

    def configure(self, **changes: Any) -> None:
        """Write the config file: the usual one with these changes, where None leaves a key out."""
        self.settings |= changes
        keys = {
            "backend_url": self.backend_url,
            "claw_identifier": CLAW,
            "agents": list(self.agents),
            **self.settings,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
        if self.wake is not None:
            command = ["/bin/sh", str(self.root / "wake.sh"), str(self.inbox)]
            table = {"adapter": "command", "command": command, **self.wake}
            lines += ["[wake]"]
            lines += [f"{key} = {json.dumps(v)}" for key, v in table.items() if v is not None]
        self.write_config("\n".join(lines) + "\n")

    def write_config(self, text: str) -> None:
        """Write the config file as it stands here."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text, encoding="utf-8")

    def on_wake(self, script: str) -> None:
        """What the woken command does once it has noted its wake, as shell; empty for nothing."""
        (self.inbox / "hook").write_text(script, encoding="utf-8")

    def environment(self, **extra: str | None) -> dict[str, str]:
        """A command's environment; None takes a variable out."""
        merged = {"PATH": PATH, "HOME": str(self.home), **self.env, **extra}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, *words: str, env: Mapping[str, str | None] | None = None) -> Result:
        """Run one hfcal command to its end, in a process of its own that has the imports already.

        With a variable that Python reads as it begins, it is one that begins from nothing.
        """
        environment = self.environment(**(env or {}))
        if any(name.startswith(("PYTHON", "LC_", "LANG")) for name in environment):
            return self.shell('exec "$@"', *words, env=env)
        began = time.monotonic()
        done = _forks().run(list(words), environment, self.root)
        spent = time.monotonic() - began
        return Result(words, done.code, done.stdout, done.stderr, spent)

    def ok(self, *words: str, env: Mapping[str, str | None] | None = None) -> Result:
        """Run a command that must exit with 0."""
        result = self.run(*words, env=env)
        assert result.code == 0, result
        return result

    def tick(self, *words: str, env: Mapping[str, str | None] | None = None) -> Result:
        """Run `tick --json`."""
        return self.run("tick", "--json", *words, env=env)

    def status(self) -> Any:
        """The document of `status --json`."""
        return self.ok("status", "--json").json

    def start(self, *words: str, env: Mapping[str, str | None] | None = None) -> Running:
        """Start a command; it is ended with the test."""
        process = subprocess.Popen(
            [sys.executable, "-m", "hfcal", *words],
            env=self.environment(**(env or {})),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        running = Running(words, process)
        self._running.append(running)
        return running

    @contextlib.contextmanager
    def terminal(
        self, *words: str, columns: int = 80, env: Mapping[str, str | None] | None = None
    ) -> Iterator[Terminal]:
        """Start a command on a terminal."""
        usual: dict[str, str | None] = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        environment = self.environment(**{**usual, **(env or {})})
        terminal = Terminal([sys.executable, "-m", "hfcal", *words], environment, columns)
        try:
            yield terminal
        finally:
            terminal.close()

    def shell(
        self, script: str, *words: str, env: Mapping[str, str | None] | None = None
    ) -> Result:
        """Run a shell script whose `"$@"` is the hfcal command of `words`."""
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "hfcal", *words],
            env=self.environment(**(env or {})),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return Result(words, done.returncode, done.stdout, done.stderr, 0.0)

    def python(self, code: str, *words: str, env: Mapping[str, str | None] | None = None) -> Result:
        """Run Python code in a process of its own with the host's environment."""
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=self.environment(**(env or {})),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(words, done.returncode, done.stdout, done.stderr, 0.0)

    @property
    def wakes(self) -> list[Wake]:
        """All wakes so far, the oldest first."""
        found = []
        for folder in self.inbox.glob("wake.*"):
            variables = (folder / "env").read_text(encoding="utf-8").split("\0")
            env = dict(v.split("=", 1) for v in variables if "=" in v)
            at = (folder / "env").stat().st_mtime_ns
            found.append(Wake((folder / "message").read_bytes().decode(), env, at))
        return sorted(found, key=lambda wake: wake.at)

    def snapshot(self) -> dict[str, tuple[bytes, int, int]]:
        """All files below HOME with content, inode and time of change, and its directories."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            facts = path.stat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (content, facts.st_ino, facts.st_mtime_ns)
        return found

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.close()


class Backend:
    """A simulator on a port of its own, and its control endpoints."""

    def __init__(self, **scenario: Any) -> None:
        document = {"claw_identifier": CLAW, "agents": ["developer"], **scenario}
        self._simulator = Simulator(parse_scenario(json.loads(json.dumps(document))))
        self.url = self._simulator.start()

    def stop(self) -> None:
        """Stop it."""
        self._simulator.stop()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """What a control endpoint answers, which must be 200."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=DEADLINE)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/_sim/{path}", content)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            return json.loads(text)
        finally:
            connection.close()

    @property
    def state(self) -> Any:
        """All that it holds."""
        return self.control("GET", "state")

    @property
    def slots(self) -> list[Any]:
        """All slots."""
        found: list[Any] = self.state["slots"]
        return found

    def slot(self, ident: int | str) -> Any:
        """The slot with this id, virtual id or former virtual id."""
        keys = ("id", "virtual_id", "former_virtual_id")
        return next(slot for slot in self.slots if ident in [slot[key] for key in keys])

    def agent(self, agent_id: str) -> Any:
        """What it knows of an agent."""
        return next(a for a in self.state["agents"] if a["agent_id"] == agent_id)

    def journal(self, kind: str = "", *, agent: str = "", since: int = 0) -> list[Any]:
        """The requests so far, of one kind if named."""
        entries = self.control("GET", f"journal?since={since}")["entries"]
        return [
            e for e in entries if kind in ("", e["kind"]) and (not agent or e["agent"] == agent)
        ]

    def told(self, agent: str = "") -> list[tuple[str, str]]:
        """The updates that took effect, as the slot in the path and the status."""
        return [
            (str(e["slot"]), e["body"]["status"])
            for e in self.journal("update", agent=agent)
            if e["effect"]
        ]

    def add_slots(self, *slots: Mapping[str, Any]) -> None:
        """Add slots."""
        self.control("POST", "slots", list(slots))

    def change_slot(self, ident: int | str, **changes: Any) -> None:
        """Change a slot as a person does on the server."""
        self.control("PATCH", f"slots/{quote(str(ident), safe='')}", changes)

    def change_agent(self, agent_id: str, **changes: Any) -> None:
        """Change an agent as a person does on the server."""
        self.control("POST", "agents", {"id": agent_id, **changes})

    def fault(self, **fault: Any) -> None:
        """Add a fault."""
        self.control("POST", "faults", fault)

    def away(self) -> None:
        """Close every connection without an answer, from now on."""
        self.fault(drop_before=True, count=0)

    def well(self) -> None:
        """Take all faults away."""
        self.control("DELETE", "faults")

    def switch(self, **switches: Any) -> None:
        """Change switches."""
        self.control("POST", "switches", switches)


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port that refuses connections, and that nobody else can take."""
    import socket

    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def modes(folder: Path) -> tuple[dict[Path, int], dict[Path, int]]:
    """The permissions of the files, and of the directories, at and below `folder`."""
    found = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    files = {path: mode for path, mode in found.items() if path.is_file()}
    return files, {path: mode for path, mode in found.items() if path.is_dir()}


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that ended and that nobody has waited for does not."""
    shown = subprocess.run(
        ["/bin/sh", "-c", f"ps -o stat= -p {pid}"], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()[:1] not in {"", "Z"}
