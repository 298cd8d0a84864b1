"""A server whose answers are bytes of any kind."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class RawRequest:
    """One request as it came over the socket."""

    line: str
    headers: dict[str, str]
    body: bytes


Serve = Callable[[socket.socket], None]


class RawServer:
    """A server on loopback that does with each connection what a test says.

    Attributes:
        url: Where it listens.
        connections: How many were accepted.
        stopping: Set when the test is over, for servers that wait.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self.stopping = threading.Event()

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):  # wakes the accepting thread
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self._threads[:1]:
            thread.join(10)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _run(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.stopping.is_set():
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            self._run(lambda connection=connection: self._serve_one(connection))  # type: ignore[misc]

    def _serve_one(self, connection: socket.socket) -> None:
        # A client that has gone is no concern of the server.
        with contextlib.suppress(OSError), connection:
            self._serve(connection)


def read_request(connection: socket.socket) -> RawRequest | None:
    """Read one request; None when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (text.partition(":") for text in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return RawRequest(line, headers, body)


def raw_answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """An answer's bytes; `_` in a header's name stands for `-`."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answering(*answers: bytes, seen: list[RawRequest] | None = None) -> Serve:
    """Serve these answers in turn, the last one for all further requests of a connection."""

    def serve(connection: socket.socket) -> None:
        for number in range(1_000_000):
            request = read_request(connection)
            if request is None:
                return
            if seen is not None:
                seen.append(request)
            connection.sendall(answers[min(number, len(answers) - 1)])

    return serve


def free_port() -> int:
    """A loopback port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
