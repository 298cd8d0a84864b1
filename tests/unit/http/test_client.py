"""hfcal.http: bounded exchanges over real sockets, and how each of them can fail."""

import gzip
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from hfcal import __version__
from hfcal.http.client import MAX_ANSWER_BYTES, Answer, HttpClient, HttpError
from tests.rig.backend import free_port
from tests.rig.raw_server import RawRequest, RawServer, Serve, answering, raw_answer, read_request


@contextmanager
def client_of(url: str, headers: Mapping[str, str] = {}) -> Iterator[HttpClient]:
    """A client that is closed at the end."""
    client = HttpClient(url, headers)
    try:
        yield client
    finally:
        client.close()


def ask(url: str, seconds: float = 5.0, body: object = None) -> Answer:
    """One request of a client of its own."""
    with client_of(url) as client:
        return client.request("POST", "/x", seconds=seconds, body=body)


def failure(serve: Serve, seconds: float = 5.0) -> HttpError:
    """How a request to such a server fails."""
    with RawServer(serve) as server, pytest.raises(HttpError) as caught:
        ask(server.url, seconds)
    assert server.url in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


def answer_to(serve: Serve) -> Answer:
    """What a request to such a server is answered."""
    with RawServer(serve) as server:
        return ask(server.url)


# What is sent and read


def test_a_request_is_sent_as_json_and_the_answer_read():
    """Method, path, headers and body arrive; status, headers and body come back."""
    seen: list[RawRequest] = []
    serve = answering(raw_answer(b'{"a": 1}', "201 Created", X_Other="yes"), seen=seen)
    with RawServer(serve) as server, client_of(server.url + "/base", {"X-Own": "own"}) as client:
        answer = client.request(
            "PATCH", "/x/a%2Fb?c=d", seconds=5, headers={"X-More": "more"}, body={"k": "ü"}
        )
    assert (answer.status, answer.json()) == (201, {"a": 1})
    assert answer.headers["x-other"] == "yes"
    (request,) = seen
    assert request.line == "PATCH /base/x/a%2Fb?c=d HTTP/1.1"
    assert request.body == b'{"k": "\\u00fc"}'
    assert request.headers["content-type"] == "application/json"
    assert (request.headers["x-own"], request.headers["x-more"]) == ("own", "more")


def test_the_user_agent_is_hfcals_own():
    """A server's log tells which hfcal asked; no other library is named."""
    seen: list[RawRequest] = []
    answer_to(answering(raw_answer(), seen=seen))
    assert seen[0].headers["user-agent"] == f"hfcal/{__version__}"


def test_one_connection_is_used_again():
    """Requests one after another don't connect again."""
    with RawServer(answering(raw_answer())) as server, client_of(server.url) as client:
        for _ in range(5):
            assert client.request("GET", "/x", seconds=5).status == 200
        assert server.connections == 1


def test_a_connection_that_the_server_closed_is_replaced():
    """After an answer with Connection: close the next request connects again."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw_answer(Connection="close"))

    with RawServer(serve) as server, client_of(server.url) as client:
        for _ in range(3):
            assert client.request("GET", "/x", seconds=5).status == 200
        assert server.connections == 3


def test_after_a_failure_the_client_still_works():
    """A time-out or junk on one connection spoils no later request."""
    numbers = iter(range(10))

    def serve(connection: socket.socket) -> None:
        number = next(numbers)
        while read_request(connection):
            if number == 0:
                return
            connection.sendall(b"junk\r\n\r\n" if number == 1 else raw_answer())

    with RawServer(serve) as server, client_of(server.url) as client:
        for _ in range(2):
            with pytest.raises(HttpError):
                client.request("GET", "/x", seconds=5)
        assert client.request("GET", "/x", seconds=5).status == 200


@pytest.mark.promise_10
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(status):
    """The answer is the redirect itself, and nobody else gets our headers."""
    with RawServer(answering(raw_answer())) as other:
        location = f"{other.url}/steal"
        answer = answer_to(answering(raw_answer(status=status, Location=location)))
        assert other.connections == 0
    assert answer.status == int(status[:3])
    assert answer.headers["location"] == location


def test_cookies_are_never_sent_back():
    """A server can't mark a client."""
    seen: list[RawRequest] = []
    serve = answering(raw_answer(Set_Cookie="id=1; Path=/"), seen=seen)
    with RawServer(serve) as server, client_of(server.url) as client:
        for _ in range(2):
            client.request("GET", "/x", seconds=5)
    assert [request.headers.get("cookie") for request in seen] == [None, None]


def test_no_proxy_and_no_password_file_of_the_environment_is_used(monkeypatch, tmp_path):
    """Only what the settings say decides where requests go, and with which key."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    seen: list[RawRequest] = []
    assert answer_to(answering(raw_answer(), seen=seen)).status == 200
    assert "authorization" not in seen[0].headers


def test_a_chunked_answer_is_read():
    """An answer without a length is as good as any."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answer_to(answering(head + b'3\r\n{"a\r\n5\r\n": 1}\r\n0\r\n\r\n'))
    assert answer.json() == {"a": 1}


def test_an_answer_without_a_body_is_one():
    """204 has none, and that is no failure."""
    assert answer_to(answering(b"HTTP/1.1 204 No Content\r\n\r\n")).body == b""


# The deadline


def dripping(first: bytes, drop: bytes) -> tuple[Serve, threading.Event]:
    """A server that answers these bytes, then some more every 20 ms until it is told to end."""
    end = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(first)
        while not end.wait(0.02):
            connection.sendall(drop)

    return serve, end


DRIPS = {
    "the first byte": (b"", b""),
    "the status line": (b"HTTP/1.1 200 O", b"K"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Drop: 1\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-Drop: ", b"1"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.promise_10
@pytest.mark.parametrize("what", DRIPS)
def test_the_deadline_is_for_the_whole_answer(what):
    """A server that drips any part of its answer holds nobody up for longer."""
    serve, end = dripping(*DRIPS[what])
    started = time.monotonic()
    error = failure_until(serve, end, seconds=0.25)
    took = time.monotonic() - started
    assert (error.kind, error.maybe_done) == ("timeout", True)
    assert "0.25 s" in error.message
    assert 0.2 < took < 2


def failure_until(serve: Serve, end: threading.Event, seconds: float) -> HttpError:
    """How a request fails, with a server that is ended afterwards."""
    with RawServer(serve) as server:
        try:
            with pytest.raises(HttpError) as caught:
                ask(server.url, seconds)
        finally:
            end.set()
    return caught.value


def test_a_server_that_reads_nothing_is_given_up():
    """The deadline holds for sending as well."""
    end = threading.Event()

    def serve(_: socket.socket) -> None:
        end.wait(10)

    with RawServer(serve) as server:
        started = time.monotonic()
        with pytest.raises(HttpError) as caught:
            ask(server.url, 0.3, body="x" * 30_000_000)
        end.set()
    assert (caught.value.kind, caught.value.maybe_done) == ("timeout", True)
    assert time.monotonic() - started < 3


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog behaves otherwise elsewhere")
def test_connecting_is_part_of_the_deadline():
    """A host that doesn't answer at all is a time-out, and nothing can have been done."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(address)
        started = time.monotonic()
        with pytest.raises(HttpError) as caught:
            ask(f"http://127.0.0.1:{address[1]}", 0.3)
        for connection in waiting:
            connection.close()
    assert (caught.value.kind, caught.value.maybe_done) == ("timeout", False)
    assert time.monotonic() - started < 2


def look_up_as(monkeypatch, *addresses: str) -> None:
    """Let every name have these addresses, in this order."""

    def look_up(host, port, *_, **__):
        entries = addresses if host == "backend.test" else [host]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in entries]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_looking_up_the_name_is_part_of_the_deadline(monkeypatch):
    """A name server that is silent holds nobody up for longer than the time given."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    started = time.monotonic()
    with pytest.raises(HttpError) as caught:
        ask("http://backend.test:1", seconds=0.3)
    over.set()
    assert 0.3 <= time.monotonic() - started < 5
    assert (caught.value.kind, caught.value.maybe_done) == ("timeout", False)


def test_the_next_address_is_tried_when_one_refuses(monkeypatch):
    """A host with several addresses is reached as long as one of them answers."""
    look_up_as(monkeypatch, "127.0.0.2", "127.0.0.1")
    with RawServer(answering(raw_answer())) as server:
        assert ask(f"http://backend.test:{server.port}").status == 200
    with pytest.raises(HttpError) as caught:
        ask(f"http://backend.test:{server.port}")
    assert (caught.value.kind, caught.value.maybe_done) == ("unreachable", False)


def test_an_address_that_swallows_everything_leaves_time_for_the_next(monkeypatch):
    """One dead address of two costs half of the time, not all of it."""
    look_up_as(monkeypatch, "127.0.0.2", "127.0.0.1")
    with RawServer(answering(raw_answer())) as server:
        silent = socket.socket()
        silent.bind(("127.0.0.2", server.port))
        silent.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # until its queue is full and no more is answered
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", server.port))
        assert ask(f"http://backend.test:{server.port}", seconds=4).status == 200
        for one in (silent, *waiting):
            one.close()


def test_each_request_has_a_deadline_of_its_own():
    """A slow request takes nothing from the next one."""
    serve, end = dripping(b"", b"")
    with RawServer(serve) as slow, client_of(slow.url) as client:
        for _ in range(2):
            started = time.monotonic()
            with pytest.raises(HttpError):
                client.request("GET", "/x", seconds=0.2)
            assert 0.15 < time.monotonic() - started < 2
        end.set()


# Too large, or what was not asked for


@pytest.mark.promise_10
@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_is_at_most_4_mib(chunked):
    """One byte more is refused, whether the length is told or not."""

    def body_of(size: int) -> bytes:
        if not chunked:
            return raw_answer(b" " * size)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + f"{size:x}\r\n".encode() + b" " * size + b"\r\n0\r\n\r\n"

    assert len(answer_to(answering(body_of(MAX_ANSWER_BYTES))).body) == MAX_ANSWER_BYTES
    error = failure(answering(body_of(MAX_ANSWER_BYTES + 1)))
    assert (error.kind, error.maybe_done) == ("bad_response", True)
    assert "4 MiB" in error.message


@pytest.mark.promise_10
def test_an_endless_answer_is_cut_off_early():
    """Memory is bounded by the limit, not by the deadline."""
    sent = []

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 100_000)
            sent.append(100_000)

    assert failure(serve, 30).kind == "bad_response"
    assert sum(sent) < 10 * MAX_ANSWER_BYTES


@pytest.mark.promise_10
def test_endless_headers_are_cut_off_early():
    """Headers have a bound of their own."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: " + b"x" * 10_000 + b"\r\n")

    error = failure(serve, 30)
    assert (error.kind, error.maybe_done) == ("bad_response", True)


@pytest.mark.promise_10
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP", "gzip, identity"])
def test_a_compressed_answer_is_refused(encoding):
    """It was not asked for, and a small one may unpack to anything."""
    serve = answering(raw_answer(gzip.compress(b"{}"), Content_Encoding=encoding))
    error = failure(serve)
    assert (error.kind, error.maybe_done) == ("bad_response", True)
    assert "encoded" in error.message


def test_compression_is_not_asked_for():
    """The request says that only plain answers are wanted."""
    seen: list[RawRequest] = []
    answer_to(answering(raw_answer(Content_Encoding="identity"), seen=seen))
    assert seen[0].headers["accept-encoding"] == "identity"


# No answer, or none that is HTTP


def test_a_refused_connection_is_unreachable_and_nothing_was_done():
    """Nobody listens: the request never left."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(HttpError) as caught:
        ask(url)
    assert (caught.value.kind, caught.value.maybe_done) == ("unreachable", False)
    assert url in caught.value.message
    assert "refused" in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://no-such-host.invalid",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:x",
        "http://[::1",
        "http://a..b/",
    ],
)
def test_a_host_that_cannot_be_is_unreachable_and_nothing_was_done(url):
    """A name that doesn't resolve, or an odd URL, is told by its URL."""
    with pytest.raises(HttpError) as caught:
        ask(url)
    assert (caught.value.kind, caught.value.maybe_done) == ("unreachable", False)
    assert url.rstrip("/")[:20] in caught.value.message
    assert caught.value.message.isprintable()


def reset(connection: socket.socket) -> None:
    """Close with a TCP reset."""
    read_request(connection)
    linger = b"\x01\0\0\0\0\0\0\0"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@pytest.mark.parametrize("serve", [lambda c: read_request(c) and None, reset], ids=["end", "reset"])
def test_a_connection_closed_without_an_answer_may_have_done_it(serve):
    """The request had been sent, so it may have taken effect."""
    error = failure(serve)
    assert (error.kind, error.maybe_done) == ("unreachable", True)


@pytest.mark.parametrize(
    "junk",
    [
        b"junk\r\n\r\n",
        b"\0\xff\x1b[2J\r\n\r\n",
        b"<html>\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_junk_is_a_bad_response_that_may_have_done_it(junk):
    """What isn't HTTP is no success, no crash, and proves nothing about the request."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(junk)

    error = failure(serve)
    assert (error.kind, error.maybe_done) == ("bad_response", True)


def test_an_answer_cut_short_is_no_answer():
    """Half a body is neither success nor silence: it may have been done."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw_answer(b'{"slots": []}')[:-3])

    error = failure(serve)
    assert error.maybe_done
    assert "without an answer" not in error.message


# JSON

BAD_JSON = {
    "nothing": b"",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "1e999": b'{"a": 1e999}',
    "-1e999": b"[-1e999]",
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a huge number": b"9" * 10_000,
    "no UTF-8": b'{"a": "\xff"}',
    "a comment": b"{} // comment",
    "two documents": b"{} {}",
    "a login page": b"<!doctype html>",
    "a raw newline": b'"a\nb"',
}


@pytest.mark.parametrize("kind", BAD_JSON)
def test_what_is_no_json_is_a_value_error(kind):
    """Numbers that JSON has not, and nesting without end, are no JSON either."""
    with pytest.raises(ValueError, match=r"."):
        Answer(200, {}, BAD_JSON[kind]).json()


def test_of_duplicate_keys_the_last_counts():
    """An answer that says a thing twice is read one way, always."""
    assert Answer(200, {}, b'{"a": 1, "a": 2}').json() == {"a": 2}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1.5e3}', {"a": 1500.0}),
        ('"ü"'.encode(), "ü"),
        (b'"\\ud800"', "\ud800"),
        (b"\xef\xbb\xbf{}", {}),
        (b" [1]\r\n", [1]),
        (b"1e-999", 0.0),
    ],
)
def test_other_json_is_read(body, value):
    """Everything that JSON has is taken, with a byte order mark as well."""
    assert Answer(200, {}, body).json() == value


def test_closing_twice_is_no_failure():
    """A client may be closed by whoever ends first."""
    client = HttpClient("http://127.0.0.1:1", {})
    client.close()
    client.close()


# Connections that live long


def test_a_connection_is_made_anew_when_it_is_old(monkeypatch):
    """So that a backend that moved is looked up again."""
    monkeypatch.setattr("hfcal.http.client._MOST_AGE", -1.0)
    with RawServer(answering(raw_answer())) as server, client_of(server.url) as client:
        for _ in range(3):
            client.request("GET", "/", seconds=5)
        assert server.connections == 3


def test_the_kernel_asks_an_idle_connection_whether_anybody_is_there():
    """So that one whose other end is gone without a word isn't waited for."""
    with RawServer(answering(raw_answer())) as server, client_of(server.url) as client:
        client.request("GET", "/", seconds=5)
        mine: Any = client._pool.connections[0]
        own = mine._connection._network_stream.get_extra_info("socket")
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
