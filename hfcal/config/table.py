"""A wake table while it is read: each key is taken once, what is left is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hfcal.config.values import closest, duration, shown
from hfcal.errors import ConfigError

ADAPTERS = ("command", "webhook", "openclaw", "spool", "print")


def absolute_path(value: object) -> Path | None:
    """The absolute path that a text names, `~` included; None if it names none."""
    if not isinstance(value, str) or "\0" in value:
        return None
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # there is no such home
        return None
    return path if path.is_absolute() else None


class WakeTable:
    """One wake table while it is read: each key is taken once, what is left is unknown.

    Args:
        table: As in the config file.
        where: Its name there, for messages.
    """

    def __init__(self, table: Mapping[str, object], where: str) -> None:
        self._left = dict(table)
        self._known: list[str] = []
        self._where = where

    def take(self, key: str, default: object = None) -> object:
        """The value of `key`."""
        self._known.append(key)
        return self._left.pop(key, default)

    def words(self, key: str) -> list[str]:
        """A list of at least one text."""
        value = self.take(key)
        if not isinstance(value, list) or not value or not all(isinstance(w, str) for w in value):
            raise self.bad(key, value, 'a list of texts like ["program", "--option"]')
        if not value[0] or any("\0" in word for word in value):
            raise self.bad(key, value, "a program's name or path first, and no NUL")
        return value

    def seconds(self, key: str, default: float, *, least: float, most: float) -> float:
        """A duration in seconds."""
        value = self.take(key, default)
        try:
            return duration(value, least=least, most=most)
        except ValueError as error:
            raise self.bad(key, value, str(error).removeprefix("allowed: ")) from None

    def optional_path(self, key: str) -> Path | None:
        """An absolute path, or None without one."""
        value = self.take(key)
        if value is None:
            return None
        path = absolute_path(value)
        if path is None:
            raise self.bad(key, value, "an absolute path")
        return path

    def text(self, key: str, default: str) -> str:
        """A text that isn't empty."""
        value = self.take(key, default)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise self.bad(key, value, "a text")
        return value

    def url(self, key: str, default: str | None = None) -> str:
        """An http or https URL with a host, without user and password."""
        from urllib.parse import urlsplit

        value = self.take(key, default)
        allowed = "a URL like https://host/path, without user or password"
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise self.bad(key, None if value is None else "…", allowed)
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
            good = good and parts.port != 0 and " " not in value and not parts.fragment
        except ValueError:
            good = False
        if not good:
            raise self.bad(key, "…", allowed)  # it may hold a secret
        return value

    def path(self, key: str, default: Path | None = None) -> Path:
        """An absolute path, which is needed."""
        path = self.optional_path(key) or default
        if path is None:
            raise self.bad(key, None, "an absolute path")
        return path

    def one_of(self, key: str, words: tuple[str, ...], default: str | None = None) -> str:
        """One of a few words."""
        value = self.take(key, default)
        if not isinstance(value, str) or value not in words:
            raise self.bad(key, value, ", ".join(words))
        return value

    def bad(self, key: str, value: object, allowed: str) -> ConfigError:
        """The error for a value that isn't allowed."""
        if value is None:
            import difflib

            # Misspelt, it is there under another name.
            for near in difflib.get_close_matches(key, self._left, 1, 0.6):
                return ConfigError(f"unknown key {self._where}.{near}; did you mean {key}?")
        text = "missing" if value is None else shown(value)
        return ConfigError(f"{self._where}.{key} = {text}: allowed: {allowed}")

    def end(self) -> None:
        """Raise `ConfigError` for a key that nobody took."""
        for key in self._left:
            hint = closest(key, self._known)
            raise ConfigError(f"unknown key {self._where}.{key}; {hint}")
