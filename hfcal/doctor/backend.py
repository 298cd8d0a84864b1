"""Whether the backend answers, agrees about the time, and knows the agents."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from hfcal.clock import age
from hfcal.doctor.finding import Finding, Host
from hfcal.http import Answer, HttpClient, HttpError

_CLOCK_WARNING, _CLOCK_ERROR = 5.0, 60.0
_NO_SYNC = {401, 403, 404, 405}


def check_backend(host: Host) -> Iterator[Finding]:
    """Whether the backend answers, agrees about the time, and knows the agents."""
    settings = host.settings
    if not settings.backend_url:
        return
    key = settings.api_key
    client = HttpClient(
        settings.backend_url, {"Authorization": f"Bearer {key}"} if key else {}, secrets=[key]
    )
    path = f"/calendar/sync?claw_identifier={quote(settings.claw_identifier, safe='')}"
    began = time.monotonic()
    try:
        answer = client.request(
            "GET",
            path,
            seconds=settings.request_timeout,
            headers={"X-Claw-Identifier": settings.claw_identifier},
        )
    except HttpError as error:
        yield Finding(f"backend-{error.kind.replace('_', '-')}", "error", error.message)
        return
    finally:
        client.close()
    took = round((time.monotonic() - began) * 1000)
    yield Finding("backend", "ok", f"{settings.backend_url} answers, in {took} ms")
    yield from _clock(answer)
    yield from _bindings(host, answer)


def _clock(answer: Answer) -> Iterator[Finding]:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return
    ahead = time.time() - theirs
    if abs(ahead) <= _CLOCK_WARNING:
        yield Finding("clock", "ok", "this host's clock agrees with the backend's")
        return
    word = "ahead of" if ahead > 0 else "behind"
    severity = "error" if abs(ahead) > _CLOCK_ERROR else "warning"
    yield Finding(
        "clock-off",
        severity,
        f"this host's clock is {age(abs(ahead))} {word} the backend's, so slots are due at the "
        "wrong time",
        "timedatectl status, here and there",
    )


def _bindings(host: Host, answer: Answer) -> Iterator[Finding]:
    settings = host.settings
    if answer.status in _NO_SYNC:
        yield Finding(
            "binding-unknown",
            "note",
            f"the backend answers {answer.status} to /calendar/sync, so whether the agents are "
            f"bound to claw {settings.claw_identifier} can't be seen without a heartbeat",
            "hfcal tick --dry-run",
        )
        return
    if answer.status != 200:
        yield Finding(
            "backend-status",
            "error" if answer.status >= 500 else "warning",
            f"the backend answers {answer.status} to /calendar/sync",
            "hfcal tick --dry-run tells how it answers heartbeats",
        )
        return
    try:
        schedules = answer.json().get("schedules")
        known = set(schedules)
    except (ValueError, AttributeError, TypeError):
        yield Finding(
            "backend-odd", "error", f"what {settings.backend_url} answers is no calendar's answer"
        )
        return
    for agent_id in settings.agents:
        if agent_id not in known:
            yield Finding(
                "agent-unlisted",
                "warning",
                f"agent {agent_id} is not among those that the backend lists for claw "
                f"{settings.claw_identifier}",
                "check agents and claw_identifier; hfcal tick --dry-run --agent "
                f"{agent_id} tells more",
            )
