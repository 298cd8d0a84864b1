"""The network below httpx: one connection, whose every step gets what is left of one deadline.

httpx's own time-outs are per read, so an answer that drips a byte a second would pass them all.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl

# Longer than `watch` waits between two ticks by default, so that ticks share a connection.
_KEEPALIVE_SECONDS = 65.0

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


class Deadline:
    """When the exchange under way must be over, by the monotonic clock."""

    def __init__(self) -> None:
        self._end = 0.0

    def start(self, seconds: float) -> None:
        """An exchange begins that has so many seconds."""
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that it has left, for a socket to wait at most."""
        # A socket takes 0 for "don't wait", which is another mode with other errors.
        return max(self._end - time.monotonic(), 0.001)

    def check(self) -> None:
        """Raise `httpcore.ReadTimeout` when its time is over."""
        if time.monotonic() >= self._end:
            raise httpcore.ReadTimeout("the deadline has passed")


class _Stream(httpcore.NetworkStream):
    """A connection whose every step gets what is left until the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
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

    def __init__(self, deadline: Deadline) -> None:
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


class Transport(httpx.BaseTransport):
    """httpx on a pool of one connection over our own network; errors stay httpcore's."""

    def __init__(self, deadline: Deadline, context: ssl.SSLContext | None) -> None:
        self.pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            socket_options=_SOCKET_OPTIONS,
            network_backend=_Network(deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the answer's body is read as it is asked for."""
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
        """Close the connection."""
        self.pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _addresses(host: str, port: int, deadline: Deadline) -> list[str]:
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


def ssl_context(ca_file: Path | None) -> ssl.SSLContext:
    """What trusts these certificates, or those that come with httpx; see `client.trust`."""
    return _ssl_context(ca_file, _mtime(ca_file))


@cache
def _ssl_context(ca_file: Path | None, _mtime: int) -> ssl.SSLContext:
    """Shared by all connections; a renewed file is read again, as `watch` runs for years."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    import ssl

    return ssl.create_default_context(cafile=ca_file)


def _mtime(path: Path | None) -> int:
    return path.stat().st_mtime_ns if path is not None else 0
