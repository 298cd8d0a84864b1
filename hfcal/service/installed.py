"""What systemd or cron is to run: the command line, its environment, and how long it takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hfcal.config.settings import KEYS, Settings
from hfcal.config.values import STDERR
from hfcal.core.scheduler import WAKES_UNTIL
from hfcal.errors import ConfigError
from hfcal.state.file import LOCK_TIMEOUT
from hfcal.wake.adapter import ServiceRequirements

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Installed:
    """What is to be run, as the settings of the printing command have it.

    Attributes:
        program: The words that start hfcal; the first is an absolute path.
        settings: Each that came from an option or from the environment is printed as such.
        needs: What the wakes ask of the service.
        user: Who runs it.
        system: For the whole host, not for one user's own service manager.
        lock_timeout: Seconds to wait for the state's lock.

    Raises:
        ConfigError: Something can't be printed.
    """

    program: tuple[str, ...]
    settings: Settings
    needs: ServiceRequirements
    user: str
    system: bool
    lock_timeout: float

    def __post_init__(self) -> None:
        if self.settings.sources.get("api_key") == "environment":
            raise ConfigError(
                "HFCAL_API_KEY is a secret and is not printed: put it into a file, 0600, set "
                "api_key_file to that file's path in the config file, and unset HFCAL_API_KEY"
            )
        for text in (*self.words(""), *self.environment.values()):
            if _UNPRINTABLE.search(text):
                raise ConfigError(
                    f"{text!r:.200} can't stand in a unit or a crontab: "
                    "it holds a line break or another control character, or is no UTF-8"
                )

    def words(self, command: str) -> list[str]:
        """The whole command line."""
        config = self.settings.config_file
        return [
            *self.program,
            command,
            *(["--config", str(config)] if config else []),
            "--state",
            str(self.settings.state_file),
            *self._options(),
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What came from variables; config and state are options at any rate."""
        sources = self.settings.sources
        return {
            key.environment: _texts(getattr(self.settings, name), ",")[0]
            for name, key in KEYS.items()
            if key.environment and sources.get(name) == "environment" and name != "state_file"
        }

    @property
    def pass_limit(self) -> float:
        """Seconds within which each healthy pass is over.

        After the last wake that it starts come the update of that slot, what others queued
        meanwhile, and a sync.
        """
        work = self.needs.seconds + 3 * self.settings.request_timeout
        return WAKES_UNTIL + work + 30 + self.lock_timeout

    @property
    def end_limit(self) -> float:
        """Seconds within which a pass that was told to stop is over: it starts no more wakes."""
        return self.pass_limit - WAKES_UNTIL

    def _options(self) -> Iterator[str]:
        for name, key in KEYS.items():
            if self.settings.sources.get(name) == "option" and name != "state_file":
                for text in _texts(getattr(self.settings, name)):
                    yield from (key.flag, text)
        if self.lock_timeout != LOCK_TIMEOUT:
            yield from ("--lock-timeout", str(self.lock_timeout))


def _texts(value: object, join: str = "") -> list[str]:
    """A setting as it is typed: a list's parts, or with `join` between them as one text."""
    if isinstance(value, tuple):
        return [join.join(value)] if join else list(value)
    if isinstance(value, Path) and value != STDERR:
        return [os.path.abspath(value)]  # noqa: PTH100  # links stay
    return [str(value).lower() if isinstance(value, bool) else str(value)]
