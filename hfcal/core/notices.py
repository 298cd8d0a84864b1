"""What is news: cron mails what is printed, so a fault that lasts is said once.

News is a fault that began, changed or ended, and once an hour one that lasts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hfcal.clock import age
from hfcal.core.records import Trouble
from hfcal.errors import NOT_ASKED, docs_link

REPEAT_AFTER = 3600.0
ABOUT_LOG = "the log"  # that it can't be written
_ALIKE = 4  # messages that differ by agent and slot only, from which on they are one
_NAMED = 3


@dataclass(frozen=True)
class Notice:
    """One piece of news.

    Attributes:
        agent_id: Whom it is about; empty when it is about no single agent.
        message: For people.
        page: Where people read on, if there is more to read.
        about: What is or was at fault, as in the state's troubles; empty for what doesn't last.
        recovered: It is over.
    """

    agent_id: str
    message: str
    page: str = ""
    about: str = ""
    recovered: bool = False


def record_fault(
    troubles: dict[str, Trouble], agent_id: str, about: str, kind: str, message: str, wall: float
) -> Notice | None:
    """Note that something is at fault.

    Args:
        troubles: The lasting faults, changed in place.
        agent_id: Whom it is about.
        about: What is at fault: `heartbeat`, `wake`, `delivery`, …
        kind: The kind of fault, and more of it after a space; another one is news.
        message: For people.
        wall: The present time.

    Returns:
        The notice, if it is news.
    """
    known = troubles.get(about)
    if known is None or known.kind != kind:
        since = wall if known is None else known.since
        troubles[about] = Trouble(kind, message, since, wall)
        return Notice(agent_id, message, docs_link(kind.partition(" ")[0]), about)
    known.message = message
    if 0 <= wall - known.last_notified < REPEAT_AFTER:
        return None
    known.last_notified = wall
    lasted = age(wall - known.since)
    page = docs_link(kind.partition(" ")[0])
    return Notice(agent_id, f"still, for {lasted}: {message}", page, about)


def record_recovery(
    troubles: dict[str, Trouble], agent_id: str, about: str, wall: float
) -> Notice | None:
    """Note that all is well; the end of a fault is news."""
    known = troubles.pop(about, None)
    if known is None:
        return None
    message = f"{about} recovered after {age(wall - known.since)}"
    return Notice(agent_id, message, about=about, recovered=True)


def render_notices(items: Iterable[Notice]) -> list[str]:
    """One line for each message, however many agents it is about."""
    told = ((i.agent_id, f"{i.message} ({i.page})" if i.page else i.message) for i in items)
    return [f"{names(who)}: {text}" if names(who) else text for text, who in group_alike(told)]


def group_alike(messages: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Each message once, with the agents that it is about.

    From four on, messages that differ only by the names of agent and slot count as one.

    Args:
        messages: Pairs of an agent id, which may be empty, and a message.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for agent_id, message in messages:
        alike.setdefault(_without_names(agent_id, message), []).append((agent_id, message))
    found = []
    for common, pairs in alike.items():
        same: dict[str, list[str]] = {}
        for agent_id, message in pairs:
            same.setdefault(message, []).append(agent_id)
        if len(same) > 1 and len(pairs) >= _ALIKE:
            found.append((common, [agent_id for agent_id, _ in pairs]))
        else:
            found += same.items()
    return found


def names(agents: Iterable[str]) -> str:
    """The first few agents by name, the others counted; empty for none."""
    named = [name for name in dict.fromkeys(agents) if name]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


def _without_names(agent_id: str, message: str) -> str:
    text = message.replace(NOT_ASKED, "")
    if agent_id:
        text = text.replace(f"agent {agent_id} ", "the agent ")
    return re.sub(r"^slot \S+: ", "", text)
