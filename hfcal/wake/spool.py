"""The `spool` adapter: one file for each wake (docs/wake.md, spool)."""

from __future__ import annotations

import grp
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hfcal.clock import now
from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.system.files import make_private, opened_directory, put_file
from hfcal.text import file_name, json_line
from hfcal.wake.adapter import ServiceRequirements, WakeError, payload

_PRIVATE = 0o600
_LOOK_BACK = 1000  # files that are looked at for the same wake


@dataclass(frozen=True)
class SpoolAdapter:
    """Writes each wake into `directory/AGENT/`.

    Attributes:
        directory: Where the agents' folders are.
        mode: The mode of the files; the agents' folders get it too, with `x` for each `r`.
        group: The group that the files and folders belong to; None for hfcal's own.
    """

    directory: Path
    mode: int = _PRIVATE
    group: int | None = None

    @classmethod
    def from_table(cls, table: WakeTable) -> SpoolAdapter:
        """Read the adapter's part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        return cls(table.path("dir"), _mode(table), _group(table))

    def needs(self) -> ServiceRequirements:
        """Its folder."""
        return ServiceRequirements(writes=(self.directory,))

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:  # noqa: ARG002
        """Write one file, whole or not at all; the same wake again finds it there.

        Raises:
            WakeError: It can't be written.
        """
        # A receiver looks for the agent's own name, as far as that can be a file's.
        folder = self.directory / file_name(agent_id, also="@:+,=%~", most=128)
        content = json_line({**payload(agent_id, wake), "idempotency_key": wake.key})
        try:
            with self._opened(folder) as descriptor:
                if not _is_there(descriptor, wake.key):
                    self._write(descriptor, _name(wake), content.encode() + b"\n")
        except OSError as error:
            raise WakeError(f"cannot write into {folder}: {error.strerror or error}") from error

    @contextmanager
    def _opened(self, folder: Path) -> Iterator[int]:
        """The agent's folder, made if need be; no link of another's making is followed."""
        new = not self.directory.exists()
        make_private(self.directory)
        if new:
            with opened_directory(self.directory, os.O_NOFOLLOW) as descriptor:
                self._give(descriptor, self._folder_mode)
        make_private(folder)
        with opened_directory(folder, os.O_NOFOLLOW) as descriptor:
            facts = os.fstat(descriptor)
            ours = facts.st_uid == os.geteuid()
            if ours and stat.S_IMODE(facts.st_mode) != self._folder_mode:
                self._give(descriptor, self._folder_mode)
            yield descriptor

    @property
    def _folder_mode(self) -> int:
        mode = self.mode | (self.mode & 0o444) >> 2 | 0o700
        return mode if self.group is None else mode | stat.S_ISGID

    def _write(self, folder: int, name: str, content: bytes) -> None:
        def prepare(descriptor: int) -> None:
            self._give(descriptor, self.mode)

        temporary = f".{name}.{os.urandom(4).hex()}"
        os.close(put_file(name, temporary, content, prepare, folder))

    def _give(self, descriptor: int, mode: int) -> None:
        if self.group is not None:
            os.fchown(descriptor, -1, self.group)
        os.fchmod(descriptor, mode)


def _name(wake: Wake) -> str:
    """A name that sorts by time and tells the wake."""
    moment = datetime.fromtimestamp(now().wall, UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z-{wake.key}.json"


def _is_there(folder: int, key: str) -> bool:
    """Whether this wake was written before, and the agent has not taken it yet."""
    newest = sorted(os.listdir(folder), reverse=True)[:_LOOK_BACK]
    return any(name.endswith(f"-{key}.json") and name[:1] != "." for name in newest)


def _mode(table: WakeTable) -> int:
    value = table.take("mode", f"{_PRIVATE:04o}")
    digits = value if isinstance(value, str) else ""
    if len(digits) in {3, 4} and set(digits) <= set("01234567"):
        mode = int(digits, 8)
        if mode & ~0o666 == 0 and mode & _PRIVATE == _PRIVATE:
            return mode
    raise table.bad("mode", value, 'read and write bits with the owner\'s, like "0660"')


def _group(table: WakeTable) -> int | None:
    value = table.take("group")
    if value is None:
        return None
    try:
        return grp.getgrnam(value if isinstance(value, str) else "").gr_gid
    except (KeyError, ValueError):
        raise table.bad("group", value, "the name of a group of this host") from None
