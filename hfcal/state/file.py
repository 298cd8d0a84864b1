"""The state file: read whole, changed under a lock, replaced whole.

A reader sees the old file or the new one, never a torn one; a kill at any instant leaves one of
them. The only module that touches the file.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hfcal.clock import now, rfc3339
from hfcal.core.records import State
from hfcal.errors import DamagedStateError, StateError, docs_link
from hfcal.state.agent_locks import AgentLocks
from hfcal.state.codec import NewerSchemaError, decode_state, encode_state
from hfcal.system.files import give_to_owner, make_private, opened_directory, put_file
from hfcal.system.locks import LockFile
from hfcal.system.owners import error_hint, owner_of
from hfcal.system.sharing import share_file, shared_group

LOCK_TIMEOUT = 30.0  # seconds, if --lock-timeout doesn't say otherwise
MAX_BYTES = 256 * 1024 * 1024


class StateFile:
    """The state file at `path`, its lock and the agents' locks beside it.

    Args:
        path: Absolute; a symbolic link is followed once, so that the file behind it is replaced.
        lock_timeout: Seconds to wait for others' transactions.
        on_lost: Called with a message when a damaged state was set aside.
        group: The name of the group that shares it; empty for whoever shares it already.

    Attributes:
        path: The file itself, behind a link.
        locks_directory: Where its lock and the agents' locks are.
        give_up_at: When no lock is waited for any longer, by the monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        on_lost: Callable[[str], None] = lambda _: None,
        group: str = "",
    ) -> None:
        self.path = _behind_link(path)
        if not self.path.name:
            raise StateError(f"{self.path} is not a regular file; choose another with --state")
        self.locks_directory = self.path.with_name(self.path.name + ".locks")
        self._lock = LockFile(self.locks_directory / "state.lock")
        self._group = group
        self._lock_timeout = lock_timeout
        self.on_lost = on_lost
        self.give_up_at = math.inf
        self._prepared = False
        self._cached: State | None = None
        self._cached_bytes = b""
        self._descriptor: int | None = None
        self._facts: tuple[int, ...] = ()

    def exists(self) -> bool:
        """Whether there is a state file.

        Raises:
            StateError: That can't be found out.
        """
        try:
            self.path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unusable(error) from error
        return True

    def read(self) -> State | None:
        """The state as it is, without a lock and changing nothing; None if there is none.

        Raises:
            StateError: It can't be read, is damaged, or is a newer hfcal's.
        """
        try:
            descriptor, content = self._load()
        except FileNotFoundError:
            return None
        os.close(descriptor)
        try:
            return decode_state(content)
        except NewerSchemaError as error:
            raise self._newer(error) from error
        except ValueError as error:
            raise DamagedStateError(
                f"{self.path} is damaged ({error}); the next tick sets it aside and rebuilds it"
            ) from error

    def stamp(self) -> tuple[int, ...]:
        """What is another one whenever the file was replaced; empty without a file."""
        try:
            return _facts(self.path.stat())
        except OSError:
            return ()

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """Read, change, replace: the one way to change anything.

        The state is saved when the block ends, if it changed, and not if the block raises.

        Raises:
            LockedError: Others held the lock for `lock_timeout`.
            StateError: The file can't be read or written; it stays as it was.
        """
        with self._locked():
            state = self._fresh()
            try:
                yield state
                self._save(state)
            except BaseException:
                self._forget()
                raise

    def known(self) -> State | None:
        """The state as this process knows it, or None if another one has replaced it since.

        For looking only; any thread may, while the owner changes other agents' records.
        """
        return self._cached if self._is_current() else None

    def peek(self) -> State:
        """The state as it is, loaded again only if another process replaced it.

        For looking only, by the thread that makes the transactions.
        """
        known = self.known()
        if known is not None:
            return known
        with self.transaction() as state:  # which saves it if it had to be rebuilt
            return state

    @property
    def agent_locks(self) -> AgentLocks:
        """The agents' locks."""
        self._prepare()
        return AgentLocks(self.locks_directory)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._prepare()
        self._lock.take(self._lock_timeout, lambda: self.give_up_at)
        try:
            yield
        finally:
            self._lock.release()

    def _prepare(self) -> None:
        """Make the directories, 0700."""
        if self._prepared:
            return
        try:
            make_private(self.path.parent)
            make_private(self.locks_directory)
            if self._group:
                from hfcal.state.sharing import share_state

                share_state(self.path, self.locks_directory, self._group)
        except OSError as error:
            raise self._unusable(error) from error
        self._prepared = True

    def _fresh(self) -> State:
        """The state in the file, or a new one; the lock is held."""
        if self._is_current() and self._cached is not None:
            return self._cached
        self._forget()
        try:
            descriptor, content = self._load()
        except FileNotFoundError:
            self._cached = State(created=now().wall)
            return self._cached
        try:
            self._cached = decode_state(content)
        except NewerSchemaError as error:
            os.close(descriptor)
            raise self._newer(error) from error
        except ValueError as error:
            os.close(descriptor)
            self._cached = self._rebuild(content, error)
            return self._cached
        self._keep(descriptor, content)
        return self._cached

    def _keep(self, descriptor: int, content: bytes) -> None:
        """Hold on to the file that is cached."""
        self._facts = _facts(os.fstat(descriptor))
        self._descriptor, self._cached_bytes = descriptor, content

    def _is_current(self) -> bool:
        """Whether the file is as it is cached: its inode is kept open, so no other can have it."""
        try:
            return self._descriptor is not None and _facts(self.path.stat()) == self._facts
        except OSError:
            return False

    def _forget(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._cached, self._cached_bytes = None, None, b""

    def _load(self) -> tuple[int, bytes]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._require_usable(os.fstat(descriptor))
            with os.fdopen(os.dup(descriptor), "rb") as stream:
                return descriptor, stream.read(MAX_BYTES)
        except OSError as error:
            os.close(descriptor)
            raise self._unusable(error) from error
        except BaseException:
            os.close(descriptor)
            raise

    def _require_usable(self, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise StateError(f"{self.path} is not a regular file; choose another with --state")
        if facts.st_size > MAX_BYTES:
            raise StateError(f"{self.path} is larger than {MAX_BYTES >> 20} MiB; move it away")

    def _rebuild(self, content: bytes, error: ValueError) -> State:
        """A new state in place of a damaged one, which is kept beside it."""
        from hfcal.state.damaged import begun_anew, salvage_updates, set_aside

        moment = now()
        try:
            aside = set_aside(self.path, rfc3339(moment.wall).replace(":", ""))
        except OSError as why:
            raise self._unusable(why) from why
        saved = salvage_updates(content)
        self.on_lost(
            f"{self.path} was damaged ({error}) and is kept as {aside.name}; it is rebuilt from "
            f"the backend, {sum(map(len, saved.values()))} waiting updates were saved from it "
            f"({docs_link('state_lost')})"
        )
        return begun_anew(saved, moment.wall)

    def _save(self, state: State) -> None:
        content = encode_state(state)
        if content == self._cached_bytes:
            return
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            _clear(temporary)
            with opened_directory(self.path.parent) as folder:
                descriptor = put_file(
                    self.path.name, temporary.name, content, self._prepare_new, folder
                )
        except OSError as error:
            raise self._unusable(error) from error
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._cached = state
        self._keep(descriptor, content)

    def _prepare_new(self, descriptor: int) -> None:
        """For whom a new file is: by its directory, as agents that share it have no config."""
        group = shared_group(self.path.parent)
        os.fchmod(descriptor, 0o600)
        if group is not None:
            share_file(descriptor, group)
        give_to_owner(descriptor, self.path)

    def _newer(self, error: NewerSchemaError) -> StateError:
        return StateError(
            f"{self.path} was written by a newer hfcal ({error}); it is left alone. "
            "Upgrade this hfcal, or use another file with --state"
        )

    def _unusable(self, error: OSError) -> StateError:
        hint = error_hint(error, self.path)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = "; free some room, nothing that was accepted before is lost"
        return StateError(f"cannot use {self.path}: {error.strerror or error}{hint}")


def _behind_link(path: Path) -> Path:
    """The file to read and replace: `path`, or what the link there leads to.

    Raises:
        StateError: The link was made by another user, who could lead us anywhere.
    """
    try:
        facts = path.lstat()
        if not stat.S_ISLNK(facts.st_mode):
            return path
        if facts.st_uid not in {0, os.geteuid()}:
            raise StateError(f"{path} is a link that belongs to {owner_of(path)}; remove it")
        return path.resolve()
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) or error.errno == errno.ELOOP:
            raise StateError(f"{path} is a link that leads back to itself; remove it") from error
        return path


def _clear(path: Path) -> None:
    """Remove what a kill has left there; what else is there stays, and is an error."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()


def _facts(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)
