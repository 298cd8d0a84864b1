"""What the unit tests share: moments, slots, a raw server, child processes, waiting."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import hfcal
from hfcal.clock import Moment
from hfcal.core.ids import SlotRef
from hfcal.core.protocol import Heartbeat, Slot, parse_heartbeat, parse_slot
from hfcal.core.records import Active, ActiveState, Wake

TODAY = "2026-11-23"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = 86_400.0

# The same examples each time, so that a red run comes from a change.
thorough = settings(
    max_examples=100,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# Any text that json.loads can give, with more of what is dangerous than chance would give.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\0\x1b\x7f\u202e\n"),
    max_size=30,
)

# What json.loads can give for a backend's answer: hfcal.http lets no NaN and no infinity in.
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


def at(seconds: float = 0.0, boot_id: str = "boot-1", *, wall_jump: float = 0.0) -> Moment:
    """The moment `seconds` after noon; `wall_jump` sets the wall clock, and only that, ahead."""
    return Moment(NOON + seconds + wall_jump, boot_id, 100_000 + seconds)


def listed(ident: int | str | None = 12, status: object = "not_started", **fields: Any) -> Slot:
    """A slot as the backend lists it; a text is a virtual id."""
    item = {"date": TODAY, "status": status, **fields}
    if ident is not None:
        item["id" if isinstance(ident, int) else "virtual_id"] = ident
    return parse_slot(item)


def beat(*slots: Slot, status: str = "idle") -> Heartbeat:
    """A heartbeat's answer with these slots."""
    return Heartbeat(slots, parse_heartbeat({"slots": [], "agent_status": status}).agent_status)


def ref(ident: int | str = 12, *more: int | str, date: str | None = TODAY) -> SlotRef:
    """A slot's ids."""
    idents = [ident, *more]
    return SlotRef(
        [i for i in idents if isinstance(i, int)], [i for i in idents if isinstance(i, str)], date
    )


def a_wake(slot: str = "12", key: str = "key-1", message: str = "please\n") -> Wake:
    """A whole wake."""
    return Wake(key, slot, f"calendar:{slot}", message, {"slot_id": slot})


def an_active(
    slot_ref: SlotRef | None = None, state: str = "ongoing", *, woken: bool = True, **more: Any
) -> Active:
    """An active slot since noon; unless `woken`, its wake is not noted."""
    wake = None if woken else a_wake()
    state = state if woken else "waking"
    more = {"start": at(), "key": "key-1", "announced": woken, **more}
    return Active(slot_ref or ref(), ActiveState(state), wake=wake, **more)


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until `condition` holds; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    look = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        look.wait(0.005)


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


@contextmanager
def child(code: str, *arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own that runs `code`; killed at the end."""
    root = str(Path(hfcal.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        **options,
    )
    # A child that hangs would hang the test that waits for its words.
    end = threading.Timer(60, process.kill)
    end.start()
    try:
        yield process
    finally:
        end.cancel()
        process.kill()
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str = "") -> None:
    """Give a child a line to read."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def run_child(code: str, *arguments: object, **options: Any) -> str:
    """What a Python process of its own that runs `code` prints; it must exit with 0."""
    with child(code, *arguments, **options) as process:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output
