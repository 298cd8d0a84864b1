"""Tricks with headers: to lead the client elsewhere, to mark it, to make it wait."""

from hfcal.sim.messages import HttpResponse, Stream, detail
from hfcal.sim.tricks import Call, Trick
from tests.hostile.call import body, number, slot
from tests.hostile.texts import PAYLOADS, header

_DATES = ("23 Nov 0 10:00:00 GMT", "Mon, 23 Nov 99999 10:00:00 GMT", "1" * 5000, "-5", "1e9")


def redirect(call: Call) -> HttpResponse:
    """A redirect to another host that keeps method and body."""
    return detail(307, "Temporary Redirect", (("Location", f"{call.to}/calendar/elsewhere"),))


def location(_: Call) -> HttpResponse:
    """A redirect to a place with all harmful texts in its name."""
    texts = [PAYLOADS[name] for name in ("ansi", "bidi", "markup", "format", "shell")]
    place = " ".join(header(payload.text) for payload in texts if isinstance(payload.text, str))
    return detail(302, "Found", (("Location", place),))


def other_host(call: Call) -> HttpResponse:
    """A good answer whose headers and texts name another host."""
    host = call.to.partition("//")[2]
    headers = (
        ("Refresh", f"0; url={call.to}/"),
        ("Content-Location", f"{call.to}/"),
        ("Link", f"<{call.to}/>; rel=preconnect"),
        ("Alt-Svc", f'http/1.1="{host}"; ma=86400'),
        ("Strict-Transport-Security", "max-age=31536000"),
    )
    links = {"url": call.to, "next": call.to, "href": call.to}
    content = body(call, slot(event_type="job", event_data={"code": call.to, **links}), **links)
    return HttpResponse(200, content, headers=headers)


def challenge(_: Call) -> HttpResponse:
    """A 401 that asks for other credentials."""
    schemes = ("Basic realm=x", "Negotiate", "Digest realm=x, nonce=y", "NTLM")
    return detail(401, "No", tuple(("WWW-Authenticate", scheme) for scheme in schemes))


def proxy_auth(_: Call) -> HttpResponse:
    """A 407, as if a proxy stood between."""
    return detail(407, "No", (("Proxy-Authenticate", "Basic realm=x"),))


def cookie(call: Call) -> HttpResponse:
    """A good answer with cookies."""
    jar = ("a=1; Path=/", "b=2; Domain=127.0.0.1; Path=/; Max-Age=999999", f"c={'x' * 4000}")
    return HttpResponse(
        200, body(call, slot()), headers=tuple(("Set-Cookie", text) for text in jar)
    )


def retry_after(call: Call) -> HttpResponse:
    """A 503 with a Retry-After that is no time; which one, by the agent's number."""
    return detail(503, "Later", (("Retry-After", _DATES[number(call) % len(_DATES)]),))


def echo_key_location(call: Call) -> HttpResponse:
    """A redirect to a place with the client's key in its name."""
    return detail(302, "Found", (("Location", f"{call.to}/?key={call.key}"),))


def echo_key_port(call: Call) -> HttpResponse:
    """The same, where the port should be."""
    return detail(302, "Found", (("Location", f"http://127.0.0.1:{call.key}/"),))


def echo_key_encoding(call: Call) -> HttpResponse:
    """A body that is encoded as the client's key."""
    return HttpResponse(200, body(call), headers=(("Content-Encoding", call.key or "x"),))


def echo_key_line(call: Call) -> Stream:
    """The client's key where the status line should be."""
    return Stream(lambda _: iter([f"HTTP/1.1 {call.key}\r\n\r\n".encode()]), None)


HEADER_TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        *(redirect, location, other_host, challenge, proxy_auth, cookie, retry_after),
        *(echo_key_location, echo_key_port, echo_key_encoding, echo_key_line),
    )
}
