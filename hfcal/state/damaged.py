"""A state file that is none any more: it is kept, and what its queues still tell is not lost."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hfcal.core.ids import valid_agent_id
from hfcal.core.records import Ended, State, Update
from hfcal.errors import StateError
from hfcal.state.codec import decode, parse
from hfcal.system.files import open_or_make

_DECODER = json.JSONDecoder()
_SPACE = {" ", "\t", "\r", "\n"}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


def set_aside(path: Path, stamp: str) -> Path:
    """Keep the damaged file under another name; it stays in place until the new one is.

    Args:
        path: The damaged file.
        stamp: What tells that name from others'.

    Returns:
        The other name; that of an earlier try to begin again, if it came no further than that.

    Raises:
        OSError: That can't be done.
        StateError: All names are taken.
    """
    kept = _kept_aside(path)
    if kept is not None:
        return kept
    for attempt in range(1, 1000):
        more = "" if attempt == 1 else f"-{attempt}"
        aside = path.with_name(f"{path.name}.corrupt-{stamp}{more}")
        try:
            os.link(path, aside)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy(path, aside)
        return aside
    raise StateError(f"{path} is damaged, and there is no name left to keep it under")


def _kept_aside(path: Path) -> Path | None:
    """Its other name, if it has one already."""
    try:
        if path.stat().st_nlink == 1:
            return None
        others = path.parent.glob(f"{glob.escape(path.name)}.corrupt-*")
        return next((other for other in others if other.samefile(path)), None)
    except OSError:
        return None


def _copy(path: Path, aside: Path) -> None:
    """Where there are no hard links."""
    try:
        with os.fdopen(open_or_make(aside, os.O_WRONLY | os.O_EXCL), "wb") as stream:
            stream.write(path.read_bytes())
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def salvage_updates(content: bytes) -> dict[str, list[Update]]:
    """The queued updates that can still be read in a damaged state, by agent id."""
    found: dict[str, list[Update]] = {}
    for agent_id, queue in _queues(content):
        for item in queue:
            with contextlib.suppress(ValueError):
                found.setdefault(agent_id, []).append(decode(Update, item))
    return found


def _queues(content: bytes) -> Iterator[tuple[str, Iterable[Any]]]:
    """Each agent's queue as far as it can be read: whole, or up to where the file breaks off."""
    try:
        agents = parse(content).get("agents")
    except ValueError:
        yield from _broken_queues(content.decode("utf-8", "replace"))
        return
    for agent_id, agent in agents.items() if isinstance(agents, dict) else ():
        queue = agent.get("queue") if isinstance(agent, dict) else None
        if isinstance(queue, list) and valid_agent_id(agent_id):
            yield agent_id, queue


def _broken_queues(text: str) -> Iterator[tuple[str, Iterable[Any]]]:
    """The same for text that is no JSON as a whole, level by level.

    Never by searching: what a backend listed stands in the file as well, and may look like a queue.
    """
    for key, place in _members(text, 0):
        if key == "agents":
            for agent_id, agent_place in _members(text, place):
                for name, queue_place in _members(text, agent_place):
                    if name == "queue" and valid_agent_id(agent_id):
                        yield agent_id, _items(text, queue_place)


def _members(text: str, place: int) -> Iterator[tuple[str, int]]:
    """Each key of the object at `place` and where its value is, up to where the text breaks off."""
    opening = "{"
    while text[place : place + 1] == opening:
        key, place = _value(text, _solid(text, place + 1))
        if not isinstance(key, str) or text[place : place + 1] != ":":
            return
        place = _solid(text, place + 1)
        yield key, place
        _, place = _value(text, place)
        opening = ","


def _items(text: str, place: int) -> Iterator[Any]:
    """Each item of the list at `place`, up to where the text breaks off."""
    opening = "["
    while text[place : place + 1] == opening:
        item, place = _value(text, _solid(text, place + 1))
        if item is not None:
            yield item
        opening = ","


def _value(text: str, place: int) -> tuple[Any, int]:
    """The value at `place` and where the next sign is: the end of the text if there is no value."""
    try:
        value, end = _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError):
        return None, len(text)
    return value, _solid(text, end)


def _solid(text: str, place: int) -> int:
    """The first place from here on that is no white space."""
    while text[place : place + 1] in _SPACE:
        place += 1
    return place


def begun_anew(saved: Mapping[str, Iterable[Update]], wall: float) -> State:
    """A new state with the updates that were saved from the damaged one, by agent."""
    state = State(created=wall)
    for agent_id, updates in saved.items():
        agent = state.agent(agent_id)
        for update in updates:
            update.number = state.take_number()
            agent.queue.append(update)
            if update.end:  # what the backend lists of it mustn't begin it again
                ref, minutes = update.ref.copy(), update.actual_duration
                agent.ended_slots.append(
                    Ended(ref, update.status, update.since, wall, duration=minutes)
                )
    return state
