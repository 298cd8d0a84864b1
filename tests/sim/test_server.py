"""The simulator as a server: connections, many agents, starting and stopping."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import hfcal
from hfcal.sim.scenario import Scenario
from hfcal.sim.server import Simulator
from tests.sim.backend import Backend

CODE = """
import sys
from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import run
sys.exit(run(parse_scenario({"agents": ["dev"]}), "127.0.0.1", 0, sys.stdout))
"""


def exchange(backend: Backend, sent: bytes) -> bytes:
    """Send bytes on a new connection and return all that comes back until it closes."""
    host, _, port = backend.sim.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_run_prints_its_url_first_and_stops_on_a_signal(stop):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url.startswith("http://127.0.0.1:")
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/_sim/state")
        assert json.loads(connection.getresponse().read())["agents"][0]["agent_id"] == "dev"
        # The connection stays open: stopping must not wait for its client.
        os.kill(process.pid, stop)
        assert process.wait(10) == 0
        assert process.stdout.read() == b""
        connection.close()


def test_importing_it_loads_nothing_but_the_standard_library():
    code = (
        "import sys, hfcal.sim.server\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} "
        "- sys.stdlib_module_names - {'__main__'}))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('hfcal.')"
        " and not name.startswith('hfcal.sim')))"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(Path(hfcal.__file__).parents[1])},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert shown == "hfcal\n\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_only_loopback_addresses_are_served(host):
    with pytest.raises(ValueError, match="loopback address only"):
        Simulator(Scenario(), host=host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_url_can_be_asked(host):
    with Simulator(Scenario(), host=host) as simulator:
        address = simulator.url.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", "/_sim/state")
        assert connection.getresponse().read()
        connection.close()


def test_ipv6():
    try:
        simulator = Simulator(Scenario(), host="::1")
        simulator.start()
    except OSError:
        pytest.skip("no IPv6 here")
    with simulator:
        connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/_sim/state")
        assert connection.getresponse().read()
        connection.close()


def test_a_port_that_is_taken_is_an_error():
    with Backend() as backend, pytest.raises(OSError, match="in use"):
        Simulator(Scenario(), int(backend.sim.url.rpartition(":")[2])).start()


def test_it_starts_again_where_it_stopped():
    with Backend(slots=[{"agent": "dev", "id": 1}]) as backend:
        url = backend.sim.url
        backend.update(1, "ongoing")
        backend.sim.stop()
        with pytest.raises(ConnectionRefusedError):
            backend.heartbeat()
        assert backend.sim.start() == backend.sim.start() == url
        assert backend.slot(1)["status"] == "ongoing"


def test_stopping_closes_open_connections():
    backend = Backend()
    with backend:
        connection = backend.connect()
        connection.request("GET", "/_sim/state")
        connection.getresponse().read()
        assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    connection.close()
    backend.sim.stop()


def test_a_connection_takes_many_requests():
    with Backend() as backend:
        connection = backend.connect()
        sockets = set()
        for method, path in (
            ("GET", "/_sim/state"),
            ("HEAD", "/_sim/state"),
            ("PATCH", "/nowhere"),
            ("POST", "/calendar/agent/heartbeat"),
            ("GET", "/_sim/state"),
        ):
            connection.request(method, path, b"x" * 100 if method == "POST" else None)
            connection.getresponse().read()
            sockets.add(connection.sock)
        assert len(sockets) == 1
        connection.close()


def test_head_is_answered_without_a_body():
    with Backend() as backend:
        received = exchange(backend, b"HEAD /_sim/state HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 405 ")
        assert received.endswith(b"\r\n\r\n")


def test_an_update_answered_without_body_keeps_the_connection():
    with Backend(
        slots=[{"agent": "dev", "id": 1}], switches={"virtual_answer": "empty"}
    ) as backend:
        connection = backend.connect()
        headers = {"X-Agent-ID": "dev", "X-Claw-Identifier": "sim"}
        headers["Content-Type"] = "application/json"
        body = b'{"status": "ongoing"}'
        for _ in range(2):
            connection.request("PATCH", "/calendar/slots/1/agent-update", body, headers)
            response = connection.getresponse()
            assert (response.status, response.read()) == (204, b"")
        connection.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /calendar/agent/heartbeat HTTP/1.1\r\nTransfer-Encoding: chunked", b"411"),
        (b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: x", b"400"),
        (b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: -1", b"400"),
        (b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: 1048577", b"413"),
        (b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: " + b"9" * 99, b"413"),
        (b"nonsense", b"400"),
    ],
)
def test_bodies_without_a_usable_length_end_the_connection(head, status):
    with Backend() as backend:
        received = exchange(backend, head + b"\r\nHost: x\r\n\r\n")
        assert status in received
        assert backend.journal() == []


def test_a_client_that_goes_away_within_its_request_does_no_harm(capfd):
    with Backend() as backend:
        host, _, port = backend.sim.url.removeprefix("http://").partition(":")
        connection = socket.create_connection((host, int(port)), timeout=10)
        connection.sendall(b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
        # With a linger of 0 s the close is a reset, which the server's read fails with.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.close()
        assert backend.heartbeat().status == 200
        assert len(backend.journal()) == 1
    assert capfd.readouterr().err == ""


def test_a_client_that_waits_to_be_told_to_go_on_is_told():
    with Backend() as backend:
        host, _, port = backend.sim.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /calendar/agent/heartbeat HTTP/1.1\r\nContent-Length: 2\r\n"
                b"Connection: close\r\nExpect: 100-continue\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"{}")
            assert connection.recv(65536).startswith(b"HTTP/1.1 422 ")


def test_64_connections_and_1000_agents():
    agents = [f"agent-{number}" for number in range(1000)]
    slots = [{"agent": agent, "plan_id": number + 1} for number, agent in enumerate(agents)]
    with Backend(agents=agents, slots=slots) as backend:
        listed = []

        def work(mine):
            connection = backend.connect(timeout=30)
            for agent in mine:
                body = json.dumps({"claw_identifier": "sim", "agent_id": agent})
                headers = {"X-Agent-ID": agent, "X-Claw-Identifier": "sim"}
                headers["Content-Type"] = "application/json"
                connection.request("POST", "/calendar/agent/heartbeat", body, headers)
                listed.append(len(json.loads(connection.getresponse().read())["slots"]))
            connection.close()

        threads = [threading.Thread(target=work, args=(agents[n::64],)) for n in range(64)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # About half a second on 2 cores; the bound allows for a busy machine.
        assert time.monotonic() - began < 15
        assert listed == [1] * 1000
        assert len(backend.journal()) == 1000
