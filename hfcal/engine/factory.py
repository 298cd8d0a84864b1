"""Making one tick after another: they share settings, connections, adapters and state files."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hfcal.backend.pool import Workers, make_workers
from hfcal.config.load import with_present_key
from hfcal.config.settings import Settings
from hfcal.engine.tick import Tick
from hfcal.state.file import StateFile
from hfcal.system.program import own_program
from hfcal.wake.message import Commands
from hfcal.wake.wakers import Wakers


class TickFactory:
    """Makes ticks by settings that are checked once.

    Args:
        settings: With agents and backend.
        open_state: Opens the state file; called again when more ticks are under way than before.
        answer_on_stdout: Whether stdout holds the command's own JSON.

    Raises:
        ConfigError: The wake tables can't be used.
    """

    def __init__(
        self, settings: Settings, open_state: Callable[[], StateFile], *, answer_on_stdout: bool
    ) -> None:
        self._wakers = Wakers(settings, answer_on_stdout=answer_on_stdout)
        self._open_state = open_state
        self._files = [open_state()]
        self._commands = Commands(own_program(), self._files[0].path, settings.config_file)
        self._settings = settings
        self._workers = make_workers(settings)
        self._outdated: list[Workers] = []

    def make(self, under_way: Collection[Tick]) -> Tick:
        """The next tick, beside those that are still under way."""
        self._read_key(under_way)
        wakes = self._wakers.parallel - sum(tick.permits.taken for tick in under_way)
        return Tick(
            self._settings,
            self._free_file(under_way),
            self._wakers,
            self._commands,
            self._workers,
            max(0, wakes),
        )

    def _read_key(self, under_way: Collection[Tick]) -> None:
        """Connect again by a key that a person has replaced; a watch goes on with it."""
        fresh = with_present_key(self._settings)
        if fresh is not self._settings:
            self._outdated.append(self._workers)
            self._settings, self._workers = fresh, make_workers(fresh)
        while self._outdated and not under_way:
            self._outdated.pop().close()

    def _free_file(self, under_way: Collection[Tick]) -> StateFile:
        """A state file that no tick under way uses; what it knows is of use to a later one."""
        for file in self._files:
            if all(file is not tick.file for tick in under_way):
                return file
        self._files.append(self._open_state())
        return self._files[-1]
