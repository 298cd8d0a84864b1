"""hfcal.wake.webhook: posts each wake as JSON; against real receivers on loopback."""

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from hfcal.config.masking import masked
from hfcal.config.table import WakeTable
from hfcal.core import transitions
from hfcal.core.records import State, Wake
from hfcal.errors import ConfigError
from hfcal.wake.adapter import WakeError
from hfcal.wake.exchange import Exchange
from hfcal.wake.webhook import WebhookAdapter
from tests.rig.backend import free_port
from tests.rig.needs import needs
from tests.rig.raw_server import RawRequest, RawServer, Serve, answering, raw_answer, read_request
from tests.rig.waiting import wait_until
from tests.unit.support import NOON, a_wake, an_active, at

DETAILS = {"slot_id": "12", "event_type": "job", "event_data": {"type": "review", "c": "ü\u202e"}}
WAKE = Wake("key-1", "12", "calendar:12", "[calendar slot 12] grüße\nmore\n", DETAILS)
SECRET = "s3cret-0123456789"


def adapter(url: str, **table: Any) -> WebhookAdapter:
    """An adapter as the config file makes it."""
    reader = WakeTable({"url": url, "timeout": 10, **table}, "wake")
    made = WebhookAdapter.from_table(reader)
    reader.end()
    return made


def wake(made: WebhookAdapter, given: Wake = WAKE) -> None:
    """One wake."""
    made.wake("dev", given, threading.Event())


def failure(made: WebhookAdapter) -> WakeError:
    """How a wake fails."""
    with pytest.raises(WakeError) as caught:
        wake(made)
    assert str(caught.value).isprintable()
    return caught.value


def reason(made: WebhookAdapter) -> str:
    """Why a wake fails."""
    return str(failure(made))


def answered(status: str, body: bytes = b"", *, path: str = "", **table: Any) -> str:
    """Why a wake fails when the receiver answers this."""
    with RawServer(answering(raw_answer(body, status))) as server:
        return reason(adapter(server.url + path, **table))


# What is sent


def test_one_post_with_exactly_these_fields():
    """POST of JSON, with the key, to the URL as it stands."""
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        wake(adapter(f"{server.url}/hook"))
    (request,) = seen
    assert request.line == "POST /hook HTTP/1.1"
    assert json.loads(request.body) == {
        "agent_id": "dev",
        "slot": "12",
        "source": "calendar:12",
        "message": WAKE.message,
        "event_type": "job",
        "event_data": DETAILS["event_data"],
    }
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["content-type"].startswith("application/json")
    assert int(request.headers["content-length"]) == len(request.body)


def test_a_slot_without_an_event_has_the_fields_all_the_same():
    """They are null then."""
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        wake(adapter(server.url), a_wake())
    body = json.loads(seen[0].body)
    assert (body["event_type"], body["event_data"]) == (None, None)


def test_two_tries_are_the_same():
    """Byte for byte, with the same key."""
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        for _ in range(2):
            wake(adapter(server.url))
    assert (seen[0].body, seen[0].headers) == (seen[1].body, seen[1].headers)


@pytest.mark.parametrize(
    "path", ["/hook/", "/", "/a%2Fb", "/?a=b%2Fc&d=x+y%20z&e", "/hook/?key=1", "/x//y/"]
)
def test_path_and_query_are_kept(path):
    """A final slash and what is quoted are part of the address."""
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        wake(adapter(server.url + path))
    assert seen[0].line == f"POST {path} HTTP/1.1"


def test_headers_come_from_where_the_table_says(tmp_path, monkeypatch):
    """Written out, from a variable, from the one line of a file; read again at each wake."""
    file = tmp_path / "site"
    file.write_text("from file\n", encoding="utf-8")
    monkeypatch.setenv("WEBHOOK_TOKEN", "from env")
    headers = {
        "X-Plain": "as it stands",
        "Authorization": {"env": "WEBHOOK_TOKEN"},
        "X-Site": {"file": str(file)},
    }
    seen: list[RawRequest] = []
    with RawServer(answering(raw_answer(), seen=seen)) as server:
        made = adapter(server.url, headers=headers)
        wake(made)
        file.write_text("changed", encoding="utf-8")
        monkeypatch.setenv("WEBHOOK_TOKEN", "changed too")
        wake(made)
    names = ("x-plain", "authorization", "x-site")
    assert [seen[0].headers[name] for name in names] == ["as it stands", "from env", "from file"]
    assert [seen[1].headers[name] for name in names] == ["as it stands", "changed too", "changed"]


# Where secrets are missing


@pytest.mark.parametrize("value", [None, "", f"{SECRET}\nX-More: 1", f"{SECRET}\u20ac"])
def test_a_variable_that_cannot_be_used_is_named(monkeypatch, value):
    """Nothing is sent, and what it holds is not shown."""
    monkeypatch.delenv("WEBHOOK_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("WEBHOOK_TOKEN", value)
    with RawServer(answering(raw_answer())) as server:
        text = reason(adapter(server.url, headers={"X-Key": {"env": "WEBHOOK_TOKEN"}}))
        assert server.connections == 0
    assert "WEBHOOK_TOKEN" in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "content", [None, b"", b"\n", b"\xff\xfe", SECRET.encode() + b"\n2", b"x" * 100_000]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content):
    """Missing, empty, no text, more than a line, without end."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with RawServer(answering(raw_answer())) as server:
        text = reason(adapter(server.url, headers={"X-Key": {"file": str(file)}}))
        assert server.connections == 0
    assert str(file) in text
    assert SECRET not in text


# Secrets stay where they are


@pytest.mark.parametrize("where", ["text", "env", "file"])
@pytest.mark.parametrize("value", [f" {SECRET}", f"{SECRET} ", f"Bearer {SECRET} "])
def test_blanks_around_a_secret_do_not_show_it(tmp_path, monkeypatch, where, value):
    """A header can't hold them: they are left out, or refused without a word of what it is."""
    file = tmp_path / "secret"
    file.write_text(value, encoding="utf-8")
    monkeypatch.setenv("WEBHOOK_TOKEN", value)
    given = {"text": value, "env": {"env": "WEBHOOK_TOKEN"}, "file": {"file": str(file)}}
    told = ""
    with RawServer(answering(raw_answer(b"no", "401 Unauthorized"))) as server:
        try:
            wake(adapter(server.url, headers={"X-Key": given[where]}))
        except (WakeError, ConfigError) as error:
            told = str(error)
    assert told
    assert SECRET not in told


LONG = "Bearer " + "0123456789abcdef" * 60


@pytest.mark.promise_9
@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (SECRET, f"no such key: {SECRET}"),
        (SECRET, json.dumps({"headers": {"X-Key": SECRET}, "again": [SECRET, SECRET]})),
        (f"Bearer {SECRET}", f"invalid token {SECRET}"),
        (f"Basic {SECRET}=", f"invalid: {SECRET}="),
        ('q"u\\o' + SECRET, json.dumps({"key": 'q"u\\o' + SECRET})),
        (LONG, LONG * 4),
        (LONG, json.dumps({"one": LONG, "two": LONG, "three": LONG})),
        ("Bearer " + "0123456789abcdef" * 200, "0123456789abcdef" * 200),
    ],
    ids=["plain", "json", "token", "basic", "escaped", "cut", "json cut", "longer than is read"],
)
def test_a_secret_that_is_echoed_is_masked(secret, said):
    """However the receiver sends it back, no part of it that is worth anything is told."""
    text = answered("401 Unauthorized", said.encode(), headers={"X-Key": secret})
    assert "answered 401" in text
    for part in (SECRET, "0123456789abcdef"):
        assert part not in text


@pytest.mark.promise_9
def test_a_secret_that_begins_with_another_is_masked_whole():
    """In whatever order they stand in the table."""
    headers = {"X-A": SECRET, "X-B": f"{SECRET}-t4il", "X-C": SECRET[:7], "X-D": f"h3ad-{SECRET}"}
    text = answered("400 Bad", json.dumps(headers).encode(), headers=headers)
    for part in ("s3cret", "0123456789", "t4il", "h3ad"):
        assert part not in text


def test_a_header_that_is_no_secret_garbles_nothing():
    """A short value, such as a version, is not looked for in what hfcal reads of the answer."""
    answer = raw_answer(b"slow down", "429 Slow Down", Retry_After="120")
    with RawServer(answering(answer)) as server:
        error = failure(adapter(server.url, headers={"X-Version": "1", "X-Empty": ""}))
    assert error.retry_after == 120
    assert "answered 429: slow down" in str(error)


@pytest.mark.promise_9
@pytest.mark.parametrize("status", ["404 Not Found", "302 Found", "500 Oops"])
def test_the_secret_part_of_the_url_is_not_told(status):
    """Only scheme, host and port are, also when the receiver sends the path back as many do."""
    path = f"/services/{SECRET}?token=t0ken-{SECRET[::-1]}"
    body = f"Cannot POST {path}".encode()
    with RawServer(answering(raw_answer(body, status, Location=path))) as server:
        made = adapter(server.url + path)
        text = reason(made)
        assert server.url in text
    for told in (text, repr(made)):
        assert SECRET not in told
        assert SECRET[::-1] not in told


@pytest.mark.promise_9
def test_errors_before_an_answer_do_not_tell_it_either():
    """Refused, silent, cut off."""
    path = f"/{SECRET}?k={SECRET}"

    def vanish(connection: socket.socket) -> None:
        read_request(connection)

    with RawServer(vanish) as server:
        texts = [reason(adapter(server.url + path))]
    texts.append(reason(adapter(f"http://127.0.0.1:{free_port()}{path}")))
    texts.append(reason(adapter(f"http://a..b{path}")))
    assert not any(SECRET in text for text in texts)


@pytest.mark.promise_9
def test_a_literal_header_is_in_no_repr():
    """Nobody prints it by accident."""
    made = adapter("http://127.0.0.1/", headers={"Authorization": SECRET})
    assert SECRET not in repr(made)
    assert SECRET not in repr(made.headers)


def test_config_show_masks_headers_and_url():
    """Where a secret comes from is shown; what it is isn't."""
    url = f"https://u.example/{SECRET}/?k={SECRET}"
    headers = {"X-Odd": SECRET, "X-Env": {"env": "NAME"}, "X-File": {"file": "/etc/k"}}
    shown = masked({"adapter": "webhook", "url": url, "headers": headers})
    assert SECRET not in json.dumps(shown)
    assert shown["headers"]["X-Env"] == {"env": "NAME"}
    assert shown["headers"]["X-File"] == {"file": "/etc/k"}
    assert "u.example" in shown["url"]


@pytest.mark.parametrize("headers", [{"X": {"value": SECRET}}, f"X: {SECRET}", [SECRET]])
def test_config_show_masks_headers_that_are_written_wrong(headers):
    """A slip of the pen shows nothing."""
    assert SECRET not in json.dumps(masked({"url": "http://h/", "headers": headers}))


# What comes back


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_2xx_is_success(status):
    """Each of them."""
    with RawServer(answering(raw_answer(b"", status))) as server:
        wake(adapter(server.url))


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(b"<html>fine</html>", Content_Type="text/html"),
        raw_answer(b"\x1f\x8b", Content_Encoding="gzip"),
        raw_answer(b"x" * 5 * 1024 * 1024),
    ],
    ids=["page", "encoded", "large"],
)
def test_2xx_is_success_whatever_it_says(answer):
    """Its body is nobody's business, so it can't turn a wake that was made into a failed one."""
    with RawServer(answering(answer)) as server:
        wake(adapter(server.url))


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 T", "308 P"])
def test_no_redirect_is_followed(status):
    """It is a failed wake that says what to do; the other place hears nothing."""
    with RawServer(answering(raw_answer())) as other:
        answer = raw_answer(b"", status, Location=f"{other.url}/elsewhere")
        with RawServer(answering(answer)) as server:
            text = reason(adapter(server.url, headers={"Authorization": SECRET}))
            assert server.connections == 1
        assert other.connections == 0
    assert status[:3] in text
    assert "redirect" in text


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "404 None", "410 Gone", "500 O", "503 B"])
def test_anything_else_is_a_failure_with_what_was_said(status):
    """Status and words, on one safe line."""
    text = answered(status, b"no \x1b[31m such\r\nagent\0")
    assert f"answered {status[:3]}: no [31m such agent" in text


def test_of_a_long_answer_the_beginning_is_told():
    """A page of an error is no reason of a page."""
    text = answered("500 Oops", b"oops " + b"x" * 3_000_000)
    assert ": oops x" in text
    assert len(text) < 500


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("100000", 100_000.0),
        ("Mon, 02 Nov 2026 02:19:29 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("1.5", None),
        ("9" * 400, None),
        ("Mon, 99 Xxx 9999 99:99:99 +9999", None),
        ("1 2 3 4 5 6 7", None),
    ],
)
@pytest.mark.parametrize("status", ["429 Slow Down", "503 Busy"])
def test_retry_after_is_read(status, value, seconds):
    """Seconds or a date; what is neither is no bug."""
    with RawServer(answering(raw_answer(b"", status, Retry_After=value))) as server:
        assert failure(adapter(server.url)).retry_after == seconds


def test_retry_after_as_a_date_counts_from_now():
    """To within the time that this takes."""
    value = formatdate(time.time() + 90, usegmt=True)
    with RawServer(answering(raw_answer(b"", "503 Busy", Retry_After=value))) as server:
        asked = failure(adapter(server.url)).retry_after
    assert asked is not None
    assert 60 < asked <= 90


@pytest.mark.parametrize(
    ("asked", "pause"), [(None, 5), (0.0, 5), (2.0, 5), (120.0, 120), (601.0, 600), (1e12, 600)]
)
def test_retry_after_pauses_the_slot_for_at_most_ten_minutes(asked, pause):
    """Less than the pause that is due anyhow doesn't shorten it."""
    state = State(NOON)
    state.agent("dev").active = an_active(woken=False)
    failed = transitions.note_wake_failed(state, "dev", "key-1", "busy", at(0), asked)
    assert failed is not None
    assert failed.not_before == NOON + pause


# Who does not answer


def drip(head: bytes) -> Serve:
    """Serve `head`, then a byte every 20 ms without end."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(head)
        pause = threading.Event()
        while True:
            connection.sendall(b"x")
            pause.wait(0.02)

    return serve


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n"],
    ids=["header", "body"],
)
def test_a_receiver_that_drips_is_given_the_timeout_and_no_more(head):
    """The time is for the whole exchange."""
    began = time.monotonic()
    with RawServer(drip(head)) as server:
        text = reason(adapter(server.url, timeout=0.4))
    assert 0.3 < time.monotonic() - began < 3
    assert "0.4 s" in text


def test_a_receiver_that_takes_its_time_but_answers_is_fine():
    """As long as it is within the timeout."""

    def slow(connection: socket.socket) -> None:
        read_request(connection)
        threading.Event().wait(0.3)
        connection.sendall(raw_answer())

    with RawServer(slow) as server:
        wake(adapter(server.url, timeout=10))


def test_a_refused_connection_is_told():
    """With host and port, and it was not delivered."""
    port = free_port()
    text = reason(adapter(f"http://127.0.0.1:{port}/hook"))
    assert f"cannot connect to http://127.0.0.1:{port}" in text
    assert "may have" not in text


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 20", b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n"])
def test_a_receiver_that_vanishes_may_have_got_it(sent):
    """The reason says so, since the next try may be the second message."""

    def vanish(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(sent)

    with RawServer(vanish) as server:
        text = reason(adapter(server.url))
    assert "may have been delivered" in text
    assert "same key" in text


@pytest.mark.parametrize(
    "sent", [b"SSH-2.0-hello\r\n", b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"]
)
def test_what_is_no_http_is_a_failed_wake(sent):
    """And no bug."""

    def odd(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(sent)

    with RawServer(odd) as server:
        assert reason(adapter(server.url))


def test_after_stop_nothing_is_sent():
    """A wake whose turn comes later fails without a request."""
    stop = threading.Event()
    stop.set()
    with RawServer(answering(raw_answer())) as server:
        with pytest.raises(WakeError, match="stop"):
            adapter(server.url).wake("dev", WAKE, stop)
        assert server.connections == 0


def test_stop_ends_the_waiting():
    """Set while a receiver is silent, it ends the wait as a time-out would."""
    stop = threading.Event()
    told: list[WakeError] = []

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        connection.recv(1)

    def one() -> None:
        with pytest.raises(WakeError) as caught:
            adapter(server.url, timeout=4).wake("dev", WAKE, stop)
        told.append(caught.value)

    with RawServer(silent) as server:
        thread = threading.Thread(target=one)
        thread.start()
        wait_until(lambda: server.connections)
        began = time.monotonic()
        stop.set()
        thread.join(10)
        spent = time.monotonic() - began
    assert told
    assert spent < 2


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    openssl = needs("openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    done = subprocess.run([openssl, *words], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this openssl can't make such a certificate")
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[str, list[RawRequest]]]:
    """An https receiver with that certificate, and what it has seen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: list[RawRequest] = []

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inner:
            answering(raw_answer(), seen=seen)(inner)

    with RawServer(serve) as server:
        yield server.url.replace("http:", "https:"), seen


def test_a_certificate_of_ones_own_is_refused(secure):
    """Nothing is sent to who can't prove who it is."""
    url, seen = secure
    assert "certificate" in reason(adapter(url, headers={"Authorization": SECRET}))
    assert not seen


def test_a_certificate_of_ones_own_is_taken_with_ca_file(secure, certificate):
    """That file is all that is trusted then."""
    url, seen = secure
    wake(adapter(f"{url}/hook/", ca_file=str(certificate)))
    assert [request.line for request in seen] == ["POST /hook/ HTTP/1.1"]


def test_the_name_still_counts_with_ca_file(secure, certificate):
    """A certificate for 127.0.0.1 is none for localhost."""
    url, seen = secure
    text = reason(adapter(url.replace("127.0.0.1", "localhost"), ca_file=str(certificate)))
    assert "localhost" in text
    assert not seen


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA"])
def test_a_ca_file_that_cannot_be_used_is_named(secure, tmp_path, content):
    """It is no trouble of the connection, and nothing was delivered."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    url, seen = secure
    text = reason(adapter(url, ca_file=str(file)))
    assert str(file) in text
    assert "may have been delivered" not in text
    assert not seen


def test_a_ca_file_that_was_fixed_counts_at_once(secure, certificate, tmp_path):
    """A watch isn't started again for it."""
    file = tmp_path / "ca.pem"
    url, seen = secure
    made = adapter(url, ca_file=str(file))
    reason(made)
    shutil.copy(certificate, file)
    wake(made)
    assert len(seen) == 1


# Its part of the config


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "url"),
        ({"url": 5}, "url"),
        ({"url": ""}, "url"),
        ({"url": f"ftp://h/{SECRET}"}, "url"),
        ({"url": f"h/{SECRET}"}, "url"),
        ({"url": f"http:///{SECRET}"}, "url"),
        ({"url": f"http://me:{SECRET}@h/"}, "url"),
        ({"url": f"http://{SECRET}@h/"}, "url"),
        ({"url": f"http://h:port/{SECRET}"}, "url"),
        ({"url": f"http://h:99999/{SECRET}"}, "url"),
        ({"url": f"http://[::1/{SECRET}"}, "url"),
        ({"url": f"http://h/a b{SECRET}"}, "url"),
        ({"url": f"http://h/\u20ac{SECRET}"}, "url"),
        ({"url": f"http://h/\n{SECRET}"}, "url"),
        ({"url": f"http://h/#{SECRET}"}, "url"),
        ({"url": "http://h/", "headers": SECRET}, "headers"),
        ({"url": "http://h/", "headers": [SECRET]}, "headers"),
        ({"url": "http://h/", "headers": {"A": 5}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": [SECRET]}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": f"{SECRET}\nB: c"}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": f"\u20ac{SECRET}"}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"value": SECRET}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"env": f"{SECRET}=="}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"env": ""}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"env": 5}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"env": "B", "file": "/c"}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"file": "relative"}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A": {"file": "~nobody-here/x"}}}, "headers.A"),
        ({"url": "http://h/", "headers": {"A b": SECRET}}, "headers"),
        ({"url": "http://h/", "headers": {"A:": SECRET}}, "headers"),
        ({"url": "http://h/", "headers": {"": SECRET}}, "headers"),
        ({"url": "http://h/", "headers": {"Idempotency-Key": SECRET}}, "headers"),
        ({"url": "http://h/", "headers": {"CONTENT-LENGTH": SECRET}}, "headers"),
        ({"url": "http://h/", "timeout": 0}, "timeout"),
        ({"url": "http://h/", "timeout": "soon"}, "timeout"),
        ({"url": "http://h/", "timeout": True}, "timeout"),
        ({"url": "http://h/", "ca_file": "relative"}, "ca_file"),
        ({"url": "http://h/", "ca_file": ""}, "ca_file"),
        ({"url": "http://h/", "ca_file": "/a\0b"}, "ca_file"),
        ({"url": "http://h/", "ca_file": "~nobody-here/x"}, "ca_file"),
    ],
)
def test_a_table_that_cannot_be_used_names_key_and_what_is_allowed(table, key):
    """A config error before anybody is woken, which shows no secret."""
    with pytest.raises(ConfigError, match=rf"wake\.{re.escape(key)} = .*allowed: ") as caught:
        WebhookAdapter.from_table(WakeTable(table, "wake"))
    assert SECRET not in str(caught.value)


def test_an_unknown_key_is_named_with_the_closest():
    """Without its value."""
    with pytest.raises(ConfigError, match=r"wake\.headrs; did you mean headers") as caught:
        adapter("http://h/", headrs={"Authorization": SECRET})
    assert SECRET not in str(caught.value)


def test_a_table_is_read():
    """20 s by default."""
    made = WebhookAdapter.from_table(WakeTable({"url": "https://h/x?y"}, "wake"))
    assert (made.url, made.headers, made.exchange) == ("https://h/x?y", {}, Exchange(20.0, None))
    made = adapter("HTTP://h:81", timeout="2m", ca_file="/etc/ca.pem")
    assert made.exchange == Exchange(120.0, Path("/etc/ca.pem"))
