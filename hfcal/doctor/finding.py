"""What doctor looks at, and what it finds."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hfcal.config.file import is_right
from hfcal.config.paths import exists
from hfcal.config.settings import Settings
from hfcal.core.records import State
from hfcal.errors import HfcalError, StateError, UnreadableConfigError
from hfcal.state.file import StateFile
from hfcal.system.owners import as_user, owner_of
from hfcal.system.program import own_program
from hfcal.system.sharing import is_shared
from hfcal.wake.wakers import check_wakes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        code: Its name in docs/doctor.md.
        severity: `ok`, `note`, `warning` or `error`.
        message: What was found, about which file or slot.
        fix: The command that fixes it, or helps to; empty when there is none. The docs tell more.
        agent_id: Which agent it is about, if about a single one; what is alike but for that is
            told in one.
    """

    code: str
    severity: str
    message: str
    fix: str = ""
    agent_id: str = ""

    @property
    def bad(self) -> bool:
        """Whether somebody should do something."""
        return self.severity in {"warning", "error"}

    @property
    def whole_message(self) -> str:
        """The message with the agent's name in it."""
        if not self.agent_id or self.message.startswith(f"agent {self.agent_id} "):
            return self.message
        return f"agent {self.agent_id}: {self.message}"


@dataclass(frozen=True)
class Host:
    """What is examined.

    Attributes:
        settings: What of them could be read.
        errors: Why not all of them could.
        config: The config file, or where it would be.
        state_file: The state file by them.
        given: The options that say where config and state are, for the commands that fix.
    """

    settings: Settings
    errors: tuple[HfcalError, ...]
    config: Path
    state_file: StateFile
    given: tuple[str, ...]

    @property
    def is_guest(self) -> bool:
        """Whether this user shares the state of the one that ticks: it needs no config."""
        directory = self.state_file.path.parent
        alone = self.settings.config_file is None and not self.errors
        return alone and is_shared(directory) and owner_of(directory) is not None

    def state(self) -> State | None:
        """What is remembered; None when there is nothing, or it can't be read."""
        try:
            return self.state_file.read()
        except StateError:
            return None

    @property
    def is_config_unread(self) -> bool:
        """Whether what the config file says isn't known, so what seems to be missing may not be."""
        return any(isinstance(error, UnreadableConfigError) for error in self.errors)

    @cached_property
    def _can_set(self) -> bool:
        """Whether `config set` would write the config file: none that is wrong besides."""
        return is_right(self.config, check_wakes)

    def command(self, *words: str, about: str = "") -> str:
        """An hfcal command that fixes something, to be pasted into a shell.

        Args:
            words: The command, and options.
            about: The slot or agent that it is about, which may look like an option.
        """
        if about.startswith("-"):
            return shlex.join(["hfcal", *words, *self.given, "--", about])
        return shlex.join(["hfcal", *words, *([about] if about else []), *self.given])

    def command_as(self, user: str, *words: str) -> str:
        """The same as another user, whom sudo gives a PATH that hfcal needn't be in."""
        return f"{as_user(user)} {shlex.join([*own_program(), *words, *self.given])}"

    def set_key(self, key: str, value: str) -> str:
        """What sets a key of the config file."""
        return self.command("config", "set", key, value) if self._can_set else self.edit()

    def edit(self) -> str:
        """What lets a person fix the config file, or write one."""
        if not exists(self.config):
            return self.command("config", "init")
        file = shlex.quote(str(self.config))
        if self.config.is_dir():
            return f"ls -ld {file}"
        if not os.access(self.config, os.R_OK):
            owner = owner_of(self.config)
            return f"chmod u+rw {file}" if owner is None else f"ls -l {file}"
        return f"${{EDITOR:-vi}} {file}"
