"""Which endpoint a request is for: docs/protocol.md, Endpoints."""

from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint.

    Attributes:
        kind: heartbeat, update, status or sync; other for a path that the backend lacks.
        methods: those it takes.
        slot: the id or virtual id in the path, percent-decoded.
        virtual: whether `slot` is a virtual id.
    """

    kind: str
    methods: tuple[str, ...] = ()
    slot: str | None = None
    virtual: bool = False


OTHER = Route("other")


def find_route(path: str) -> Route:
    """Return the endpoint of a path that is still percent-encoded."""
    match path.split("/")[1:]:
        case ["calendar", "agent", "heartbeat"]:
            return Route("heartbeat", ("POST",))
        case ["calendar", "agent", "status"]:
            return Route("status", ("GET", "POST"))
        case ["calendar", "sync"]:
            return Route("sync", ("GET",))
        case ["calendar", "slots", "virtual", ident, "agent-update"]:
            return Route("update", ("PATCH",), unquote(ident), virtual=True)
        case ["calendar", "slots", ident, "agent-update"]:
            return Route("update", ("PATCH",), unquote(ident))
        case _:
            return OTHER
