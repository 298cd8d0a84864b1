"""The options that work before and after every subcommand, and what commands make of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperOption

from hfcal.cli.messages import say
from hfcal.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hfcal.config.settings import Options, Settings
    from hfcal.errors import HfcalError
    from hfcal.state.file import StateFile


@dataclass(eq=False, repr=False)  # nobody needs them, and every start would make them
class GlobalOptions:
    """What the shared options said.

    Attributes:
        lock_timeout: Seconds to wait for the state's lock.
        verbose: How often `-v` was given.
        interval: `watch --interval`, which only that command sets.
    """

    config: str | None = None
    state: str | None = None
    backend_url: str | None = None
    claw: str | None = None
    agents: list[str] = field(default_factory=list)
    concurrency: str | None = None
    lock_timeout: float = 30.0
    log_format: str | None = None
    json: bool = False
    verbose: int = 0
    quiet: bool = False
    interval: str | None = None

    def for_settings(self) -> Options:
        """The part that settings depend on."""
        from hfcal.config.settings import Options

        return Options(
            config=Path(self.config) if self.config else None,
            state=Path(self.state) if self.state else None,
            backend_url=self.backend_url,
            claw=self.claw,
            agents=tuple(self.agents),
            concurrency=self.concurrency,
            interval=self.interval,
            log_format=self.log_format,
        )

    def settings(
        self, pass_over: Callable[[HfcalError], None] | None = None, text: str | None = None
    ) -> Settings:
        """All settings; see `hfcal.config.load.load`."""
        from hfcal.config.load import load

        settings = load(self.for_settings(), os.environ, pass_over=pass_over, text=text)
        if settings.log_file is not None:
            from hfcal.config.values import LEVELS
            from hfcal.views.log import open_log

            least = ("debug", "info")[self.verbose < 2] if self.verbose else settings.log_level
            level = min(least, settings.log_level, key=LEVELS.index)
            open_log(settings.log_file, level, settings.log_format)
        return settings

    def command(self, *words: str, about: str | None = None) -> str:
        """An hfcal command for the same config and state, to be pasted into a shell.

        Args:
            words: Subcommand and options.
            about: Its argument, such as an id, which may look like an option.
        """
        import shlex

        last = [] if about is None else ["--", about] if about.startswith("-") else [about]
        return shlex.join(["hfcal", *words, *self.places, *last])

    @property
    def places(self) -> tuple[str, ...]:
        """The options that named the config and the state, for commands that are printed."""
        named = [("--config", self.config), ("--state", self.state)]
        return tuple(word for name, value in named if value for word in (name, value))

    def state_file(self, settings: Settings, *, share: bool = False) -> StateFile:
        """The state file of these settings; lost state is said on stderr, and logged.

        Args:
            settings: All settings.
            share: Whether to share it with their `group`: ticks do, and no agent's word depends
                on whether that can be done.
        """
        from hfcal.state.file import StateFile

        def lost(message: str) -> None:
            say(message)
            if settings.log_file is not None:
                from hfcal.views.log import log_lost

                log_lost(message)

        return StateFile(
            settings.state_file,
            lock_timeout=self.lock_timeout,
            on_lost=lost,
            group=settings.group if share else "",
        )

    def one_agent(self) -> str | None:
        """The one agent that a command is for, by option or environment; None if none is named.

        Raises:
            UsageError: Several are named, or the name can't be an agent's.
        """
        if len(self.agents) > 1:
            raise UsageError(f"one --agent, not {len(self.agents)}")
        if self.agents:
            return self.agents[0]
        for name in ("HFCAL_AGENT_ID", "AGENT_ID"):
            if os.environ.get(name):
                return _agent(name, os.environ[name])
        return None


def require_text(word: str) -> None:
    """Raise `UsageError` for a word that is no text: a file or a message can't hold it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{word!r:.140} is no UTF-8") from None


def global_options(context: typer.Context) -> GlobalOptions:
    """The shared options of this invocation, whichever side of the subcommand they stood on."""
    root = context.find_root()
    if not isinstance(root.obj, GlobalOptions):
        root.obj = GlobalOptions()
    return root.obj


def global_parameters() -> list[TyperOption]:
    """The shared options, for the root and for each command."""
    return [
        _option("--config", "Config file.", metavar="PATH"),
        _option("--state", "State file.", metavar="PATH"),
        _option("--backend-url", "URL of the backend.", metavar="URL"),
        _option("--claw", "The name that this host is registered by.", metavar="NAME"),
        _option("--agent", "Agent id; repeatable.", metavar="ID", multiple=True, to="agents"),
        _option("--concurrency", "Requests at once.", metavar="N"),
        _option("--lock-timeout", "How long to wait for the state's lock.", metavar="DURATION"),
        _option("--log-format", "text or json.", metavar="FORMAT"),
        _option("--json", "Print one JSON document on stdout.", is_flag=True),
        _option("-v", "Say more; twice for tracebacks.", "--verbose", count=True),
        _option("-q", "Say less.", "--quiet", is_flag=True),
    ]


def _option(first: str, text: str, *more: str, to: str = "", **extra: Any) -> TyperOption:
    name = to or (more[0] if more else first).lstrip("-").replace("-", "_")

    def store(context: typer.Context, _: object, value: Any) -> Any:
        if not value:
            return value
        options = global_options(context)
        if name == "agents":
            options.agents += [_agent(first, agent_id) for agent_id in value]
        elif name == "verbose":
            options.verbose += value
        elif name == "lock_timeout":
            options.lock_timeout = duration_option(first, value)
        else:
            setattr(options, name, value)
        return value

    return TyperOption(
        param_decls=[first, *more], help=text, callback=store, expose_value=False, **extra
    )


def _agent(where: str, agent_id: str) -> str:
    from hfcal.core.ids import AGENT_IDS, valid_agent_id

    if valid_agent_id(agent_id):
        return agent_id
    raise UsageError(f"{where} = {agent_id!r:.140} is no agent id; {AGENT_IDS}")


def duration_option(where: str, text: str) -> float:
    """A duration given by an option, in seconds.

    Raises:
        UsageError: It is none.
    """
    from hfcal.config.values import duration

    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"{where} = {text!r:.60}: {error}") from None
