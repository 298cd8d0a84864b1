"""A request and an answer, apart from sockets."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

JSON = "application/json"

Wait = Callable[[float], object]
"""Waits for seconds, or until the simulator stops; true means that it stops."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request.

    Attributes:
        method: such as `POST`.
        path: still percent-encoded, without the query.
        query: by name; of a repeated name the last.
        headers: by lower-case name.
        body: the body's bytes, empty when there is none.
        received: the host's monotonic clock, in seconds, when all of it had arrived.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received: float


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer; `headers` are those besides Content-Type and Content-Length."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer as bytes, head and all, that are sent one part after the other.

    Attributes:
        parts: makes them; ended early when the client goes or the simulator stops.
        status: what the answer's first line says, None when that is no status line.
        keep: whether the connection stays open.
    """

    parts: Callable[[Wait], Iterator[bytes]]
    status: int | None = 200
    keep: bool = False


def json_answer(
    status: int, document: object, headers: tuple[tuple[str, str], ...] = ()
) -> HttpResponse:
    """Make an answer of a JSON document."""
    return HttpResponse(status, json.dumps(document).encode(), headers=headers)


def detail(status: int, text: object, headers: tuple[tuple[str, str], ...] = ()) -> HttpResponse:
    """Make an answer as FastAPI writes its errors: `{"detail": …}`."""
    return json_answer(status, {"detail": text}, headers)


def read_json(body: bytes) -> object:
    """Parse a JSON body.

    Raises:
        ValueError: when it is not JSON in UTF-8, holds NaN or infinities, or is too deep.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
