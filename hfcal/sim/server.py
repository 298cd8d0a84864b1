"""The simulator as an HTTP server on a loopback port."""

import ipaddress
import json
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Self, TextIO
from urllib.parse import parse_qsl

from hfcal.sim.api import Api
from hfcal.sim.calendar import Calendar
from hfcal.sim.clock import SimClock
from hfcal.sim.control import PREFIX, Control
from hfcal.sim.exchange import Exchange
from hfcal.sim.faults import FaultBox
from hfcal.sim.journal import Journal
from hfcal.sim.messages import HttpRequest, HttpResponse, Stream, detail
from hfcal.sim.scenario import Scenario

LARGEST_BODY = 1 << 20
_STOP_WITHIN = 5.0
_WITHOUT_BODY = (204, 304)


class Simulator:
    """A simulated backend, which serves from `start` to `stop`; also a context manager.

    Attributes:
        calendar: what it holds, and its rules.
        faults: the faults that are armed.
        journal: what was asked of it.
        url: where it listens, such as `http://127.0.0.1:41234`; empty before `start`.

    Raises:
        ScenarioError: when two of the scenario's slots have the same id.
        ValueError: when `host` is not a loopback address: it asks for no password and does
            what its control endpoints are told.
    """

    def __init__(
        self,
        scenario: Scenario,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        clock: SimClock | None = None,
    ) -> None:
        self.calendar = Calendar(scenario, clock or SimClock(scenario.now))
        self.faults = FaultBox(scenario.seed, scenario.tricks)
        self.faults.add(scenario.faults)
        self.journal = Journal()
        self.url = ""
        self._address = (_loopback(host), port)
        api = Api(self.calendar, scenario.api_key, scenario.message)
        self._exchange = Exchange(self.calendar, api, self.faults, self.journal)
        self._control = Control(self.calendar, self.faults, self.journal)
        self._stopping = threading.Event()
        self._server: _Server | None = None

    def start(self) -> str:
        """Listen, serve from daemon threads, and return the URL.

        After a `stop` it serves again, on the same port, what it held: an outage.

        Raises:
            OSError: when the port is taken.
        """
        if self._server is None:
            self._server = _Server(self._address, self)
            host, port = self._address[0], self._server.server_address[1]
            self._address = (host, port)
            self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            self._stopping.clear()
            # The interval bounds how long stop() waits for the accepting thread.
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self.url

    def stop(self) -> None:
        """Stop listening, close all connections, and wait for their threads."""
        if self._server is not None:
            self._stopping.set()
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, request: HttpRequest) -> HttpResponse | Stream | None:
        """Answer a request; None closes its connection without an answer."""
        if request.path.startswith(f"{PREFIX}/"):
            return self._control.answer(request)
        return self._exchange.serve(request, self.wait)

    def wait(self, seconds: float) -> bool:
        """Wait; true, and at once, when the simulator stops."""
        return self._stopping.wait(seconds)


def run(scenario: Scenario, host: str, port: int, out: TextIO, *, as_json: bool = False) -> int:
    """Serve until SIGTERM or SIGINT and return 0; the first line on `out` is the URL.

    With `as_json` that line is a JSON document, `{"url": …}`.

    To be called from the main thread, before others are started.

    Raises:
        ValueError: as Simulator.
        OSError: when the port is taken.
    """
    simulator = Simulator(scenario, port, host)
    # Blocked before any thread starts, so that all inherit it and only sigwait takes them.
    signals = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        with simulator:
            first = json.dumps({"url": simulator.url}) if as_json else simulator.url
            print(first, file=out, flush=True)
            signal.sigwait(signals)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 0


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    raise ValueError(
        f"host: {host!r} is not allowed; the simulator serves on a loopback address only, "
        "such as 127.0.0.1, ::1 or localhost"
    )


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], simulator: Simulator) -> None:
        self.simulator = simulator
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        super().shutdown_request(request)
        assert isinstance(request, socket.socket)
        with self._lock:
            self._connections.pop(request, None)

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that went away is part of what is simulated; all else is a bug here.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Close the listening socket and all connections."""
        self.shutdown()
        with self._lock:
            open_now = list(self._connections.items())
        for connection, _ in open_now:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_WITHIN
        for _, thread in open_now:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Buffered, so that head and body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        refusal = self._bad_length()
        if refusal is not None:
            self.close_connection = True
            self._send(refusal)
            return
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        answer = self.server.simulator.answer(
            HttpRequest(
                self.command,
                path,
                dict(parse_qsl(query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                body,
                time.monotonic(),
            )
        )
        if answer is None:
            self.close_connection = True
        elif isinstance(answer, Stream):
            self._send_stream(answer)
        else:
            self._send(answer)

    # The names by which http.server looks for what answers a method.
    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815
    do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815

    def _bad_length(self) -> HttpResponse | None:
        """Return the refusal of a request whose body's end can't be told, or is too far."""
        length = self.headers.get("Content-Length", "0")
        close = (("Connection", "close"),)
        if "Transfer-Encoding" in self.headers:
            return detail(411, "A Content-Length is required", close)
        if not (length.isascii() and length.isdigit()):
            return detail(400, "The Content-Length is not a number", close)
        if len(length) > 9 or int(length) > LARGEST_BODY:
            return detail(413, f"The body is larger than {LARGEST_BODY} bytes", close)
        return None

    def _send(self, answer: HttpResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in _WITHOUT_BODY:
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD" and answer.status not in _WITHOUT_BODY:
            self.wfile.write(answer.body)

    def _send_stream(self, stream: Stream) -> None:
        simulator = self.server.simulator
        for part in stream.parts(simulator.wait):
            self.wfile.write(part)
            self.wfile.flush()
            if simulator.wait(0):
                break
        self.close_connection = self.close_connection or not stream.keep

    def handle_expect_100(self) -> bool:
        """Let the client send its body; the buffer would keep that from it."""
        allowed = super().handle_expect_100()
        self.wfile.flush()
        return allowed

    def version_string(self) -> str:
        """Return the Server header."""
        return "hfcal-sim"

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Write the Date header by the simulator's clock."""
        if timestamp is None:
            timestamp = self.server.simulator.calendar.clock.now().timestamp()
        return super().date_time_string(int(timestamp))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: the journal has it all."""
