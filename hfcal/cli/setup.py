"""What `hfcal config init` asks for, or takes from its options."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer

from hfcal import readers
from hfcal.cli.shared import Shared, require_text
from hfcal.errors import UsageError

T = TypeVar("T")


@dataclass
class Answers:
    """What is said on the command line; what is missing a person is asked for.

    Attributes:
        shared: The shared options.
        wake_command: What wakes an agent, as a shell would split it.
        wake_url: Where a webhook wakes agents, in place of a command.
        api_key_file: The file with the backend's key.
    """

    shared: Shared
    wake_command: str | None
    wake_url: str | None
    api_key_file: str | None

    def values(self) -> dict[str, object]:
        """All of them, as the config file holds them.

        Raises:
            UsageError: One isn't allowed, or is missing and there is nobody to ask.
        """
        shared = self.shared
        if self.wake_command and self.wake_url:
            raise UsageError("either --wake-command or --wake-url")
        host = os.uname().nodename
        values: dict[str, object] = {
            "backend_url": _needed(
                shared.backend_url, "--backend-url", "URL of the backend", readers.url
            ),
            "claw_identifier": _needed(
                shared.claw, "--claw", "Identifier of this claw", readers.claw, host
            ),
            "agents": shared.agents
            or _needed(None, "--agent", "Ids of the agents, with commas", _agents),
        }
        key_file = self.api_key_file
        if key_file is None and _can_ask():
            question = "File with the backend's API key, empty for none"
            key_file = _ask(question, lambda text: text, "")
        if key_file:
            require_text(key_file)
            values["api_key_file"] = os.path.abspath(os.path.expanduser(key_file))  # noqa: PTH100, PTH111
        besides = {
            "state_file": shared.state and os.path.abspath(shared.state),  # noqa: PTH100
            "concurrency": shared.concurrency and int(shared.concurrency),
            "log_format": shared.log_format,
        }
        values |= {name: value for name, value in besides.items() if value}
        values["wake"] = self._wake()
        return values

    def _wake(self) -> dict[str, object]:
        if self.wake_url:
            return {"adapter": "webhook", "url": self.wake_url}
        question = "Command that wakes an agent, {message} for the message"
        words = _needed(self.wake_command, "--wake-command", question, _command)
        return {"adapter": "command", "command": words}


def try_backend(shared: Shared) -> dict[str, object] | None:
    """The first thing that is wrong with the backend or an agent's binding, if there is one."""
    from hfcal.doctor.backend import ask_each

    told = ask_each(shared.settings()).values()
    # 405: an older backend, which can't be asked so.
    wrong = (fault for fault in told if fault is not None and fault.http_status != 405)
    return next((fault.document() for fault in wrong), None)


def _needed(
    given: str | None,
    option: str,
    question: str,
    read: Callable[[str], T],
    default: str | None = None,
) -> T:
    if given is None and _can_ask():
        return _ask(question, read, default)
    if given is None and default is None:
        raise UsageError(f"{option} is needed, as there is no terminal to ask on")
    try:
        return read(given or default or "")
    except ValueError as error:
        raise UsageError(f"{option} = {readers.shown(given)}: {error}") from error


def _ask(question: str, read: Callable[[str], T], default: str | None) -> T:
    """Ask until the answer is allowed."""

    def checked(answer: str) -> T:
        try:
            return read(answer)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    shown = default != ""
    answer: T = typer.prompt(
        question, default=default, err=True, value_proc=checked, show_default=shown
    )
    return answer


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agents(text: str) -> list[str]:
    found = list(readers.agents(text))
    if not found:
        raise readers.BadValueError("at least one agent")
    return found


def _command(text: str) -> list[str]:
    words = shlex.split(text)
    if not words or not words[0]:
        raise readers.BadValueError("a program and its arguments")
    return words
