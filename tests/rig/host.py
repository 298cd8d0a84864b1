"""One host in a directory of its own, and hfcal run on it."""

from __future__ import annotations

import atexit
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.rig.forks import Forks
from tests.rig.process import HFCAL, Running, spawn
from tests.rig.result import Result
from tests.rig.terminal import Terminal

PATH = "/usr/local/bin:/usr/bin:/bin"

Env = Mapping[str, str | None]


@cache
def _forks() -> Forks:
    forks = Forks()
    atexit.register(forks.close)
    return forks


def config_text(
    settings: Mapping[str, object], tables: Mapping[str, Mapping[str, object]] = {}
) -> str:
    """A config file: keys, then tables by their names; None leaves a key out."""
    lines = _pairs(settings)
    for name, table in tables.items():
        lines += [f"[{name}]", *_pairs(table)]
    return "\n".join(lines) + "\n"


def _pairs(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]


class Host:
    """A HOME with config and state where hfcal looks for them, and an environment of its own.

    Args:
        root: Where all of it is; made if it is missing.
        env: Variables that each command gets.
    """

    def __init__(self, root: Path, env: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.config = self.home / ".config" / "hfcal" / "config.toml"
        self.state_dir = self.home / ".local" / "state" / "hfcal"
        self.state = self.state_dir / "state.json"
        self.env = dict(env or {})
        self._running: list[Running] = []

    def write_config(self, text: str) -> None:
        """Write the config file as it stands here."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text, encoding="utf-8")

    def environment(self, **extra: str | None) -> dict[str, str]:
        """A command's environment; None takes a variable out."""
        merged = {"PATH": PATH, "HOME": str(self.home), **self.env, **extra}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, *words: str, env: Env | None = None) -> Result:
        """Run one hfcal command to its end, in a process of its own that has the imports already.

        With a variable that Python reads as it begins, it is one that begins from nothing.
        """
        environment = self.environment(**(env or {}))
        if any(name.startswith(("PYTHON", "LC_", "LANG")) for name in environment):
            return self.shell('exec "$@"', *words, env=env)
        return _forks().run(list(words), environment, self.root)

    def ok(self, *words: str, env: Env | None = None) -> Result:
        """Run a command that must exit with 0."""
        result = self.run(*words, env=env)
        assert result.code == 0, result
        return result

    def spawn(
        self,
        *command: str,
        env: Env | None = None,
        output: int = subprocess.PIPE,
        errors: str = "strict",
    ) -> subprocess.Popen[str]:
        """Start any command with the host's environment; who calls waits for its end."""
        variables = self.environment(**(env or {}))
        return spawn(command, variables, self.root, output=output, errors=errors)

    def start(self, *words: str, env: Env | None = None) -> Running:
        """Start an hfcal command; it is ended with the host."""
        return self._started(words, *HFCAL, *words, env=env)

    @contextlib.contextmanager
    def terminal(
        self, *words: str, columns: int = 80, env: Env | None = None
    ) -> Iterator[Terminal]:
        """Start an hfcal command on a terminal."""
        usual: dict[str, str | None] = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        environment = self.environment(**{**usual, **(env or {})})
        terminal = Terminal([*HFCAL, *words], environment, columns)
        try:
            yield terminal
        finally:
            terminal.close()

    def shell(self, script: str, *words: str, env: Env | None = None) -> Result:
        """Run a shell script whose `"$@"` is the hfcal command of `words`."""
        command = ("/bin/sh", "-c", script, "sh", *HFCAL, *words)
        return self._started(words, *command, env=env).end(60)

    def python(self, code: str, *words: str, env: Env | None = None) -> Result:
        """Run Python code in a process of its own with the host's environment."""
        return self._started(words, sys.executable, "-c", code, *words, env=env).end(60)

    def _started(self, words: tuple[str, ...], *command: str, env: Env | None) -> Running:
        running = Running(words, self.spawn(*command, env=env))
        self._running.append(running)
        return running

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.close()
