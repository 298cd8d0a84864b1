"""Bounded HTTP: how many bytes, how much time for a whole answer, no redirects, no cookies.

The only importer of httpx. httpx's own time-outs are per read, so an answer that drips a byte a
second would pass them all; here each read gets what is left of one deadline.
"""

from __future__ import annotations

import json
import queue
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpcore

from hfcal import __version__
from hfcal.text import one_line

# httpx loads its own command line (click, rich, pygments) wherever click happens to be installed:
# 80 ms that nobody asked for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402  # after the line above

if TYPE_CHECKING:
    import ssl

MAX_ANSWER_BYTES = 4 * 1024 * 1024

_MOST_VALUES = 500_000  # in one answer: a small text may hold millions, each of 60 bytes
_MASK = "********"
_LEAST_SECRET = 6  # characters

# Longer than `watch` waits between two ticks by default, so that ticks share a connection.
_KEEPALIVE_SECONDS = 65.0

# A backend that moved is looked up again after this long, though the old address still answers.
_MOST_AGE = 600.0

# The kernel asks an idle connection after 15 s whether anybody is there, so that one whose other
# end is gone without a word is known to be dead when the next tick wants it.
_PROBES = [("TCP_KEEPIDLE", 15), ("TCP_KEEPALIVE", 15), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)]
_SOCKET_OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in _PROBES
        if hasattr(socket, name)
    ),
]


class HttpError(Exception):
    """No usable answer came.

    Attributes:
        kind: `unreachable`, `timeout` or `bad_response`.
        message: For people.
        maybe_done: Whether the request may have reached the server.
        status: The HTTP status of an answer that can't be used; None if there was none.
    """

    def __init__(
        self, kind: str, message: str, *, maybe_done: bool, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.maybe_done = maybe_done
        self.status = status


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: At most 4 MiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds from `Retry-After`, which is a number of seconds or a date; None without one."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        if not value:
            return None
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None

    def json(self) -> Any:
        """The body as JSON; of duplicate keys the last counts.

        Raises:
            ValueError: It is no JSON, holds too many values, nests too deep, or holds a number that
                JSON has not.
        """
        if self.body.count(b",") > _MOST_VALUES:
            raise ValueError("it holds too many values")
        try:
            return json.loads(self.body, parse_constant=_no_constant, parse_float=_finite)
        except RecursionError as error:
            raise ValueError("nested too deep") from error


class HttpClient:
    """One connection's worth of HTTP to one base URL; for one thread.

    Args:
        base_url: `http://host:port/prefix` or `https://…`; paths are put behind it as they are.
        headers: Sent with every request.
        name: What errors call the server, where its URL may hold a secret.
        ca_file: Certificates to trust, PEM; those that come with httpx by default.
        secrets: What is masked in all that comes back, as a server may send back our own key.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        name: str = "",
        ca_file: Path | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._base_url = base_url
        self._name = name or base_url
        self._ca_file = ca_file
        self._secrets = _forms(secrets)
        self._headers = {
            "User-Agent": f"hfcal/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **headers,
        }
        self._deadline = _Deadline()
        self._client: httpx.Client | None = None
        self._connected_at = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        """Send one request and read its whole answer.

        Args:
            method: The HTTP method.
            path: Below the base URL, percent-encoded.
            seconds: For the whole exchange, connecting included.
            headers: Besides those of every request.
            body: Sent as JSON, unless None.

        Raises:
            HttpError: No usable answer came in time.
        """
        try:
            answer = self._exchange(method, path, seconds, headers, body)
        except HttpError as error:
            message = self._masked(error.message)
            raise HttpError(
                error.kind, message, maybe_done=error.maybe_done, status=error.status
            ) from None
        if not self._secrets:
            return answer
        headers = {name: self._masked(value) for name, value in answer.headers.items()}
        content = answer.body
        for secret in self._secrets:
            content = content.replace(secret.encode(), _MASK.encode())
        return Answer(answer.status, headers, content)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text

    def _exchange(
        self,
        method: str,
        path: str,
        seconds: float,
        headers: Mapping[str, str] | None,
        body: object,
    ) -> Answer:
        url = self._base_url + path
        merged = {**self._headers, **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body).encode("ascii")
            merged["Content-Type"] = "application/json"
        self._deadline.start(seconds)
        try:
            request = httpx.Request(method, url, headers=merged, content=content)
            answer = self._connected().send(request, stream=True, follow_redirects=False)
            try:
                return Answer(answer.status_code, dict(answer.headers), self._read(answer))
            finally:
                answer.close()
                self._drop_leftovers()
        except httpx.InvalidURL as error:
            raise HttpError(
                "unreachable", f"{self._name} is no URL: {error}", maybe_done=False
            ) from error
        except (ValueError, OverflowError) as error:  # no host name, or a header that can't be one
            message = f"cannot ask {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except (httpcore.ConnectTimeout, httpcore.TimeoutException) as error:
            connecting = isinstance(error, httpcore.ConnectTimeout)
            doing = "to connect to" if connecting else "for the answer of"
            message = f"waited {seconds:g} s {doing} {self._name}"
            raise HttpError("timeout", message, maybe_done=not connecting) from error
        except httpcore.ConnectError as error:
            message = f"cannot connect to {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except httpcore.UnsupportedProtocol as error:
            message = f"{self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except httpcore.RemoteProtocolError as error:
            if "without sending a response" in str(error):
                message = f"{self._name} closed the connection without an answer"
                raise HttpError("unreachable", message, maybe_done=True) from error
            message = f"{self._name} answered what is no HTTP: {_reason(error)}"
            raise HttpError("bad_response", message, maybe_done=True) from error
        except (httpcore.NetworkError, OSError) as error:
            message = f"lost the connection to {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=True) from error
        except (httpcore.LocalProtocolError, httpx.HTTPError) as error:
            message = f"cannot ask {self._name}: {_reason(error)}"
            raise HttpError("bad_response", message, maybe_done=True) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> httpx.Client:
        if self._client is not None and time.monotonic() - self._connected_at > _MOST_AGE:
            self._client.close()
            self._client = None
        if self._client is None:
            self._connected_at = time.monotonic()
            secure = self._base_url.lower().startswith("https:")
            context = _ssl_context(self._ca_file, _mtime(self._ca_file)) if secure else None
            transport = _Transport(self._deadline, context)
            self._pool = transport.pool
            self._client = httpx.Client(transport=transport, trust_env=False)
        return self._client

    def _drop_leftovers(self) -> None:
        """Leave a connection on which more came than one answer: it isn't the next one's.

        Only h11 knows, and httpcore doesn't tell; without its word the connection is kept.
        """
        assert self._client is not None
        for connection in self._pool.connections:
            state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
            if state is not None and state.trailing_data[0]:
                self._client.close()
                self._client = None
                return

    def _read(self, answer: httpx.Response) -> bytes:
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            why = f"is encoded as {one_line(encoding, 40)}, which was not asked for"
            raise self._unusable(answer, why)
        chunks: list[bytes] = []
        size = 0
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                why = f"is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB"
                raise self._unusable(answer, why)
            chunks.append(chunk)
        return b"".join(chunks)

    def _unusable(self, answer: httpx.Response, why: str) -> HttpError:
        message = f"the answer of {self._name} {why}"
        return HttpError("bad_response", message, maybe_done=True, status=answer.status_code)


def trust(ca_file: Path) -> None:
    """See whether these certificates can be trusted.

    Raises:
        OSError: They can't be read, or are none.
    """
    _ssl_context(ca_file, _mtime(ca_file))


def _forms(secrets: Iterable[str]) -> list[str]:
    """Each secret as it may come back: whole, without `Bearer`, as JSON writes it.

    What is too short to be a secret is left out: masking it would garble what is no echo.
    """
    parts = {part for secret in secrets for part in (secret, secret.partition(" ")[2])}
    forms = {form for part in parts for form in (part, json.dumps(part)[1:-1])}
    return sorted((f for f in forms if len(f) >= _LEAST_SECRET), key=len, reverse=True)


class _Deadline:
    """When the exchange under way must be over, by the monotonic clock."""

    def __init__(self) -> None:
        self._end = 0.0

    def start(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        # A socket takes 0 for "don't wait", which is another mode with other errors.
        return max(self._end - time.monotonic(), 0.001)

    def check(self) -> None:
        if time.monotonic() >= self._end:
            raise httpcore.ReadTimeout("the deadline has passed")


class _Stream(httpcore.NetworkStream):
    """A connection whose every step gets what is left until the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        self._deadline.check()
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._deadline.check()
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = self._deadline.left()
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
    """Connects within the deadline, looking up the name and trying each address included."""

    def __init__(self, deadline: _Deadline) -> None:
        self._network = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port, self._deadline)
        for others, address in reversed(list(enumerate(reversed(addresses)))):
            # One that swallows everything leaves time for the next ones.
            left = self._deadline.left() / (others + 1)
            try:
                stream = self._network.connect_tcp(
                    address, port, left, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if others == 0:
                    raise
            else:
                return _Stream(stream, self._deadline)
        raise httpcore.ConnectError(f"{host} has no address")


class _Transport(httpx.BaseTransport):
    """httpx on a pool of one connection over our own network; errors stay httpcore's."""

    def __init__(self, deadline: _Deadline, context: ssl.SSLContext | None) -> None:
        self.pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            socket_options=_SOCKET_OPTIONS,
            network_backend=_Network(deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.SyncByteStream)
        answer = self.pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self.pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _addresses(host: str, port: int, deadline: _Deadline) -> list[str]:
    """The addresses of `host`, in the system's order, looked up within the deadline.

    A look-up can't be interrupted, so one that hangs is left behind on a thread of its own.
    """
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        return [host]
    found: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(entry[4][0]) for entry in entries)))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = found.get(timeout=deadline.left())
    except queue.Empty:
        raise httpcore.ConnectTimeout(f"looking up {host}") from None
    if isinstance(answer, OSError):
        raise httpcore.ConnectError(str(answer)) from answer
    return answer


def _mtime(path: Path | None) -> int:
    return path.stat().st_mtime_ns if path is not None else 0


@cache
def _ssl_context(ca_file: Path | None, _mtime: int) -> ssl.SSLContext:
    """Shared by all connections; a renewed file is read again, as `watch` runs for years."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    import ssl

    return ssl.create_default_context(cafile=ca_file)


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise ValueError("a number out of range")
    return value


def _reason(error: BaseException) -> str:
    text = one_line(re.sub(r"^\[Errno -?\d+\] ", "", str(error)), 200)
    return text or type(error).__name__
