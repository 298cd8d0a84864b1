"""Tricks: answers of any kind, which a program that embeds the simulator plugs in.

docs/simulator.md, Tricks, is the reference. Without any plugged in there are none: `hfcal sim`
plays what a network or a failing server does, and no more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hfcal.sim.messages import HttpResponse, Stream

EACH = "each"
"""In place of a trick's name: all of them in turn."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a trick answers.

    Attributes:
        kind: heartbeat, update, status or sync; other for what the backend lacks.
        agent: its X-Agent-ID, empty without one.
        slot: of an update, the id or virtual id in its path.
        key: the API key that it carries, empty without one.
        agents: all agents of the claw.
        to: the URL of another host, where the trick wants to lead the client.
    """

    kind: str
    agent: str
    slot: str | None
    key: str
    agents: Sequence[str]
    to: str


Trick = Callable[[Call], HttpResponse | Stream]
Tricks = Mapping[str, Trick]
NO_TRICKS: Tricks = MappingProxyType({})
