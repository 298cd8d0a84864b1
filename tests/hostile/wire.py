"""Tricks below JSON: bytes, lengths, headers and time."""

import gzip
from collections.abc import Callable, Iterator
from functools import cache

from hfcal.sim.messages import HttpResponse, Stream, Wait
from hfcal.sim.tricks import Call, Trick
from tests.hostile.call import body

HUGE = 80_000_000
_BOMB = 64_000_000
_BLOCK = b"a" * 65536
_PAUSE = 0.1
_JSON = b"Content-Type: application/json\r\n"
_OK = b"HTTP/1.1 200 OK\r\n" + _JSON


def _whole(content: bytes, *, head: bytes = _OK) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(content) + content


def _stream(parts: Callable[[Wait], Iterator[bytes]], status: int | None = 200) -> Stream:
    return Stream(parts, status)


def _bytes(*parts: bytes, status: int | None = 200, keep: bool = False) -> Stream:
    return Stream(lambda _: iter(parts), status, keep=keep)


def huge(_call: Call) -> Stream:
    """80 MB, as announced."""

    def parts(_wait: Wait) -> Iterator[bytes]:
        begin = b'{"slots": [], "pad": "'
        yield _OK + b"Content-Length: %d\r\n\r\n" % HUGE + begin
        for _ in range((HUGE - len(begin)) // len(_BLOCK) + 1):
            yield _BLOCK

    return _stream(parts)


def endless(_call: Call) -> Stream:
    """A body of chunks that never ends."""

    def parts(_wait: Wait) -> Iterator[bytes]:
        yield _OK + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n'
        while True:
            yield b"%x\r\n" % len(_BLOCK) + _BLOCK + b"\r\n"

    return _stream(parts)


def tiny_chunks(_call: Call) -> Stream:
    """A body of chunks of one byte, without end."""

    def parts(wait: Wait) -> Iterator[bytes]:
        yield _OK + b"Transfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"1\r\n \r\n" * 1000
            wait(_PAUSE)

    return _stream(parts)


def drip(_call: Call) -> Stream:
    """A body that comes byte by byte, each in time for a time-out between two."""

    def parts(wait: Wait) -> Iterator[bytes]:
        yield _OK + b"Content-Length: 100000\r\n\r\n"
        for _ in range(100_000):
            yield b" "
            wait(_PAUSE)

    return _stream(parts)


def slow_headers(_call: Call) -> Stream:
    """Headers that come so."""

    def parts(wait: Wait) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX-Slow: "
        while True:
            yield b"a"
            wait(_PAUSE)

    return _stream(parts)


def many_headers(_call: Call) -> Stream:
    """Headers without end."""

    def parts(_wait: Wait) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X-More: and more\r\n" * 1000

    return _stream(parts)


def trailers(call: Call) -> Stream:
    """Headers without end behind the body."""
    content = body(call)

    def parts(_wait: Wait) -> Iterator[bytes]:
        yield _OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(content) + content
        yield b"\r\n0\r\n"
        while True:
            yield b"X-More: and more\r\n" * 1000

    return _stream(parts)


def flood_1xx(_call: Call) -> Stream:
    """Interim answers without end, and never the final one."""

    def parts(wait: Wait) -> Iterator[bytes]:
        while True:
            yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10
            wait(0.01)

    return _stream(parts, 103)


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"slots": [], "pad": "' + b"a" * _BOMB + b'"}', mtime=0)


def gzip_bomb(_call: Call) -> HttpResponse:
    """64 MB in 62 KB, though nobody asked for compression."""
    return HttpResponse(200, _bomb(), headers=(("Content-Encoding", "gzip"),))


def transfer_gzip(call: Call) -> Stream:
    """The same, called a transfer encoding."""
    head = _OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"
    return _bytes(head, b"2\r\n{}\r\n0\r\n\r\n", body(call))


def http09(call: Call) -> Stream:
    """A document without any HTTP before it."""
    return _bytes(body(call), status=None)


def garbage(_call: Call) -> Stream:
    """Bytes that are no HTTP, with escape sequences among them."""
    return _bytes(bytes(range(256)) + b"\x1b[31m\x1b]0;title\x07\r\n\r\n", status=None)


def reason(call: Call) -> Stream:
    """A status line with escape sequences."""
    return _bytes(_whole(body(call), head=b"HTTP/1.1 200 \x1b[31mOK\x9b2J\r\n" + _JSON), keep=True)


def odd_status(_call: Call) -> Stream:
    """A status that HTTP does not have."""
    return _bytes(b"HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\n{}", status=999, keep=True)


def switching(_call: Call) -> Stream:
    """Another protocol from here on."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    return _bytes(head, b"\x81\x05hello", status=101)


def two_answers(call: Call) -> Stream:
    """A refusal, and behind it, unasked, an answer to the next request."""
    refused = b"HTTP/1.1 503 Service Unavailable\r\n" + _JSON
    return _bytes(_whole(b"{}", head=refused) + _whole(body(call)), status=503, keep=True)


def trailing(call: Call) -> Stream:
    """Bytes behind the answer, on a connection that stays open."""
    return _bytes(_whole(body(call)) + b"\x1b[31mmore\r\n\r\n", keep=True)


def length_short(call: Call) -> Stream:
    """A Content-Length that cuts the body."""
    content = body(call)
    head = _OK + b"Content-Length: %d\r\n\r\n" % (len(content) - 5)
    return _bytes(head + content, keep=True)


def length_long(call: Call) -> Stream:
    """A Content-Length that promises more than comes."""
    content = body(call)
    return _bytes(_OK + b"Content-Length: %d\r\n\r\n" % (len(content) + 5) + content)


def length_twice(call: Call) -> Stream:
    """Two lengths that differ."""
    return _bytes(_whole(body(call), head=_OK + b"Content-Length: 2\r\n"))


def length_huge(_call: Call) -> Stream:
    """A length of 30 digits."""
    return _bytes(_OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}")


def length_and_chunks(call: Call) -> Stream:
    """A length and chunks, for two readers to read differently."""
    content = body(call)
    chunk = b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n"
    return _bytes(
        _OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk, keep=True
    )


def early_close(_call: Call) -> Stream:
    """An end in the middle of the headers."""
    return _bytes(b"HTTP/1.1 200 OK\r\nContent-Ty")


def bad_utf8(_call: Call) -> HttpResponse:
    """A document that is no UTF-8."""
    return HttpResponse(200, b'{"slots": [], "agent_status": "\xff\xc0\x80\xed\xa0\x80"}')


def html(_call: Call) -> HttpResponse:
    """A log-in page with 200."""
    page = b"<!doctype html><title>Log in</title><script>alert(1)</script>"
    return HttpResponse(200, page, "text/html; charset=utf-8")


WIRE_TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        *(huge, endless, tiny_chunks, drip, slow_headers, many_headers, trailers, flood_1xx),
        *(gzip_bomb, transfer_gzip, http09, garbage, reason, odd_status, switching),
        *(two_answers, trailing, length_short, length_long, length_twice, length_huge),
        *(length_and_chunks, early_close, bad_utf8, html),
    )
}
