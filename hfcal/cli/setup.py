"""What `hfcal config init` asks for, or takes from its options."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hfcal.cli.asking import ask
from hfcal.cli.options import GlobalOptions, require_text
from hfcal.config import values as readers
from hfcal.config.load import read_key_file
from hfcal.config.settings import KEYS, from_option
from hfcal.errors import ConfigError, UsageError
from hfcal.system.terminal import can_ask

if TYPE_CHECKING:
    from hfcal.config.settings import Settings

T = TypeVar("T")


@dataclass
class Answers:
    """What is said on the command line; what is missing a person is asked for.

    Attributes:
        options: The shared options.
        wake_command: What wakes an agent, as a shell would split it.
        wake_url: Where a webhook wakes agents, in place of a command.
        api_key_file: The file with the backend's key.
    """

    options: GlobalOptions
    wake_command: str | None
    wake_url: str | None
    api_key_file: str | None

    def values(self) -> dict[str, object]:
        """All of them, as the config file holds them.

        Raises:
            UsageError: One isn't allowed, or is missing and there is nobody to ask.
        """
        options = self.options
        if self.wake_command and self.wake_url:
            raise UsageError("either --wake-command or --wake-url")
        host = os.uname().nodename
        values: dict[str, object] = {
            "backend_url": _setting("backend_url", options.backend_url, "URL of the backend"),
            "claw_identifier": _setting(
                "claw_identifier", options.claw, "Identifier of this claw", host
            ),
            "agents": options.agents
            or _missing("--agent", "Ids of the agents, with commas", _agents),
        }
        besides = {
            "api_key_file": self._key_file(),
            "state_file": options.state and _taken("--state", options.state, _path),
            "concurrency": options.concurrency and from_option("concurrency", options.concurrency),
            "log_format": options.log_format and from_option("log_format", options.log_format),
        }
        values |= {name: value for name, value in besides.items() if value}
        values["wake"] = self._wake()
        return values

    def _key_file(self) -> str:
        if self.api_key_file is not None:
            return _taken("--api-key-file", self.api_key_file, _key_file)
        question = "File with the backend's API key, empty for none"
        return ask(question, _key_file, "") if can_ask() else ""

    def _wake(self) -> dict[str, object]:
        if self.wake_url:
            return {"adapter": "webhook", "url": _wake_url(self.wake_url)}
        if self.wake_command is None:
            question = "Command that wakes an agent, {message} for the message"
            words = _missing("--wake-command", question, _command)
        else:
            words = _taken("--wake-command", self.wake_command, _command)
        return {"adapter": "command", "command": words}


def try_backend(settings: Settings) -> dict[str, object] | None:
    """The first thing that is wrong with the backend or an agent's binding, if there is one."""
    from hfcal.doctor.backend import ask_each

    told = ask_each(settings).values()
    # 405: an older backend, which can't be asked so.
    wrong = (fault for fault in told if fault is not None and fault.http_status != 405)
    return next((fault.document() for fault in wrong), None)


def _setting(name: str, given: str | None, question: str, default: str | None = None) -> object:
    """What an option says of a key, else a person; the default is for who can't be asked, too."""
    if given is not None:
        return from_option(name, given)
    if default is not None and not can_ask():
        return from_option(name, default)
    return _missing(KEYS[name].flag, question, KEYS[name].read, default)


def _missing(option: str, question: str, read: Callable[[str], T], default: str | None = None) -> T:
    if not can_ask():
        raise UsageError(f"{option} is needed, as there is no terminal to ask on")
    return ask(question, read, default)


def _taken(option: str, word: str, read: Callable[[str], T]) -> T:
    require_text(word)
    try:
        return read(word)
    except ValueError as error:
        raise UsageError(f"{option} = {readers.shown(word)}: {error}") from error


def _agents(text: str) -> list[str]:
    found = list(readers.agents(text))
    if not found:
        raise readers.BadValueError("at least one agent")
    return found


def _path(text: str) -> str:
    return os.path.abspath(readers.path(text))  # noqa: PTH100


def _key_file(text: str) -> str:
    if not text:
        return ""
    try:
        read_key_file(Path(_path(text)))
    except ConfigError as error:
        raise readers.BadValueError(error.message) from error
    return _path(text)


def _wake_url(text: str) -> str:
    from hfcal.config.table import WakeTable

    try:
        return WakeTable({"url": text}, "wake").url("url")
    except ConfigError as error:
        raise UsageError(error.message.replace("wake.url", "--wake-url")) from error


def _command(text: str) -> list[str]:
    words = shlex.split(text)
    if not words or not words[0]:
        raise readers.BadValueError("a program and its arguments")
    return words
