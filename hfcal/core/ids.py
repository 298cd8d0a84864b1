"""Which slot and which agent: the ids of the protocol (docs/protocol.md, Slot).

Apart from `core.protocol`, since commands that read no answer start faster without that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeGuard, TypeVar

JsonObject = dict[str, Any]

MAX_REAL_ID = 2**63 - 1
AGENT_IDS = "allowed: 1 to 128 printable ASCII characters without space"

_Id = TypeVar("_Id", int, str)
_MOST_IDS = 8  # of each kind that are kept of one slot
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


@dataclass
class SlotRef:
    """Every id that one slot has ever had.

    A virtual slot gets a real id on its first update and loses the virtual one on the server, so
    a slot is known by all of its ids, and two are the same when any of them agree.

    Attributes:
        real: Real ids, the newest last; almost always one at most.
        virtual: Virtual ids, the server's own first, then `plan-{plan_id}-{date}`.
        date: The slot's date, `YYYY-MM-DD`, if known.
        became_real: The server is known to have made it real, whether or not we know the real id.
    """

    real: list[int] = field(default_factory=list)
    virtual: list[str] = field(default_factory=list)
    date: str | None = None
    became_real: bool = False

    @property
    def ident(self) -> str:
        """The present ident: the real id as text, else the virtual id."""
        return str(self.real[-1]) if self.real else self.virtual[0]

    @property
    def idents(self) -> list[str]:
        """Every ident, the present one last."""
        return [*self.virtual, *map(str, self.real)]

    @property
    def unresolved(self) -> bool:
        """The server made it real, but its real id is not known yet."""
        return self.became_real and not self.real

    def same(self, other: SlotRef) -> bool:
        """Whether both name one slot."""
        return any(i in other.real for i in self.real) or any(
            i in other.virtual for i in self.virtual
        )

    def named(self, ident: str) -> bool:
        """Whether `ident` is, or was, an ident of this slot."""
        return ident in self.idents

    def learn(self, other: SlotRef) -> None:
        """Take over the ids that `other`, the same slot, knows besides."""
        self.real = _few(self.real + [i for i in other.real if i not in self.real])
        self.virtual = _few(self.virtual + [i for i in other.virtual if i not in self.virtual])
        self.date = self.date or other.date

    def copy(self) -> SlotRef:
        """An independent copy."""
        return SlotRef(list(self.real), list(self.virtual), self.date, self.became_real)

    @classmethod
    def from_ident(cls, ident: str) -> SlotRef:
        """The slot that a person names by `ident` alone.

        Raises:
            ValueError: `ident` can't be a slot's.
        """
        real = ident.isascii() and ident.isdigit() and len(ident) < 20 and ident[0] != "0"
        if real and int(ident) <= MAX_REAL_ID:
            return cls(real=[int(ident)])
        if not valid_virtual_id(ident):
            raise ValueError(ident)
        date = re.search(_DATE, ident)
        return cls(virtual=[ident], date=date.group() if date else None)


def _few(ids: list[_Id]) -> list[_Id]:
    """The first and the newest: a backend that makes up ever more ids doesn't fill the state."""
    return ids if len(ids) <= _MOST_IDS else ids[:1] + ids[1 - _MOST_IDS :]


def valid_virtual_id(value: object) -> bool:
    """Whether `value` can be a virtual id: 1 to 200 printable ASCII characters, not dots alone."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 200
        and value.isascii()
        and value.isprintable()
        and value not in {".", ".."}
    )


def valid_real_id(value: object) -> TypeGuard[int]:
    """Whether `value` can be a real id: an integer from 1 to 2^63-1."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_REAL_ID


def valid_agent_id(value: object) -> bool:
    """Whether `value` can be an agent id, as `AGENT_IDS` says to people."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= 128
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )
