"""The host of the end-to-end tests: its agents note how they are woken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.rig import host as rig
from tests.rig.backend import CLAW
from tests.rig.result import Result

# Keeps what a woken agent gets, each wake in a folder of its own, and then does what a test wants.
WAKE = """\
folder=$(mktemp -d "$1/.new.XXXXXX")
cat > "$folder/message"
env -0 > "$folder/env"
mv "$folder" "$1/wake.$(basename "$folder" | cut -c6-)"
if [ -f "$1/hook" ]; then . "$1/hook"; fi
"""


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


class Host(rig.Host):
    """A host with agents that note their wakes in its inbox.

    Args:
        root: Where all of it is.
        backend_url: Of the config, as `agents`.
        agents: Their ids.
        env: Variables that each command gets.
        settings: More keys of the config.
        wake: Changes to the wake table; None for no table.
    """

    def __init__(
        self,
        root: Path,
        backend_url: str,
        agents: tuple[str, ...] = ("developer",),
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        wake: Mapping[str, Any] | None = MappingProxyType({}),
    ) -> None:
        super().__init__(root, env)
        self.backend_url = backend_url
        self.agents = agents
        self.settings = dict(settings or {})
        self.wake = None if wake is None else dict(wake)
        self.inbox = root / "inbox"
        self.inbox.mkdir(exist_ok=True)
        (root / "wake.sh").write_text(WAKE, encoding="utf-8")
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
        tables = {}
        if self.wake is not None:
            command = ["/bin/sh", str(self.root / "wake.sh"), str(self.inbox)]
            tables["wake"] = {"adapter": "command", "command": command, **self.wake}
        self.write_config(rig.config_text(keys, tables))

    def on_wake(self, script: str) -> None:
        """What the woken command does once it has noted its wake, as shell; empty for nothing."""
        (self.inbox / "hook").write_text(script, encoding="utf-8")

    def tick(self, *words: str, env: rig.Env | None = None) -> Result:
        """Run `tick --json`."""
        return self.run("tick", "--json", *words, env=env)

    def status(self) -> Any:
        """The document of `status --json`."""
        return self.ok("status", "--json").json

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


def modes(folder: Path) -> tuple[dict[Path, int], dict[Path, int]]:
    """The permissions of the files, and of the directories, at and below `folder`."""
    found = {path: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}
    files = {path: mode for path, mode in found.items() if path.is_file()}
    return files, {path: mode for path, mode in found.items() if path.is_dir()}
