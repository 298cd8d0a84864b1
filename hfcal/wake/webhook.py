"""The `webhook` adapter: posts each wake as JSON (docs/wake.md, webhook)."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from hfcal.config.table import WakeTable, absolute_path
from hfcal.core.records import Wake
from hfcal.http.client import Answer, HttpClient, HttpError, trust
from hfcal.text import one_line
from hfcal.wake.adapter import ServiceRequirements, WakeError, payload
from hfcal.wake.secrets import Secret, header_value

DEFAULT_TIMEOUT = 20.0
_GLANCE = 0.2  # seconds between two looks at `stop`
_MAYBE = "; it may have been delivered, the next try has the same key"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {"host", "content-length", "content-type", "transfer-encoding", "idempotency-key"}


@dataclass(frozen=True)
class WebhookAdapter:
    """Posts each wake to `url`.

    Attributes:
        url: Where to.
        headers: Sent besides hfcal's own.
        timeout: Seconds for the whole exchange.
        ca_file: Certificates to trust, for a receiver with a certificate of its own.
    """

    url: str = field(repr=False)
    headers: dict[str, Secret] = field(default_factory=dict)
    timeout: float = DEFAULT_TIMEOUT
    ca_file: Path | None = None

    @classmethod
    def from_table(cls, table: WakeTable) -> WebhookAdapter:
        """Read the adapter's part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        return cls(
            url=table.url("url"),
            headers=_headers(table),
            timeout=table.seconds("timeout", DEFAULT_TIMEOUT, least=0.1, most=3600),
            ca_file=table.optional_path("ca_file"),
        )

    @property
    def secrets(self) -> list[Secret]:
        """What the headers hold."""
        return list(self.headers.values())

    def needs(self) -> ServiceRequirements:
        """The exchange, and what its headers are read from."""
        return exchange_needs(self.timeout, self.secrets, self.ca_file)

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:
        """Post one wake; 2xx is success.

        Raises:
            WakeError: Anything else.
        """
        headers = {name: secret.read() for name, secret in self.headers.items()}
        origin = origin_of(self.url)
        body = payload(agent_id, wake)
        try:
            answer = post(self.url, body, headers, wake, self.timeout, stop, self.ca_file)
        except WakeError as error:
            # The status says that it arrived; what else is in the answer is of no use here.
            cause = error.__cause__
            if isinstance(cause, HttpError) and 200 <= (cause.status or 0) < 300:
                return
            raise
        if 200 <= answer.status < 300:
            return
        if 300 <= answer.status < 400:
            raise WakeError(
                f"{origin} answered {answer.status}, a redirect, and hfcal follows none: "
                "set url to the final address"
            )
        said = one_line(answer.body[:2000].decode("utf-8", "replace"))
        more = f": {said}" if said else ""
        raise WakeError(f"{origin} answered {answer.status}{more}", answer.retry_after)


def exchange_needs(
    seconds: float, secrets: Sequence[Secret], ca_file: Path | None
) -> ServiceRequirements:
    """What posting wakes with these secrets asks for."""
    files = (ca_file, *(secret.file for secret in secrets))
    return ServiceRequirements(
        seconds,
        reads=tuple(file for file in files if file is not None),
        variables=tuple(secret.env for secret in secrets if secret.env),
    )


def post(
    url: str,
    body: object,
    headers: dict[str, str],
    wake: Wake,
    seconds: float,
    stop: threading.Event,
    ca_file: Path | None = None,
) -> Answer:
    """Post JSON with the wake's idempotency key.

    Raises:
        WakeError: No answer came, or hfcal is to stop.
    """
    if stop.is_set():
        raise WakeError("hfcal was told to stop before the wake was sent")
    try:
        if ca_file is not None:
            trust(ca_file)
    except OSError as error:
        raise WakeError(f"cannot use ca_file {ca_file}: {error.strerror or error}") from error
    merged = {**headers, "Idempotency-Key": wake.key}
    secrets = [*headers.values(), *_secrets_of(url)]
    client = HttpClient(url, merged, name=origin_of(url), ca_file=ca_file, secrets=secrets)
    answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(client.request("POST", "", seconds=seconds, body=body))
        except Exception as error:  # whatever it is, it's the waiting thread's
            answers.put(error)
        client.close()

    # On a thread of its own, which is left behind when hfcal is to stop.
    threading.Thread(target=ask, daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            answer = answers.get(timeout=_GLANCE)
            if isinstance(answer, Answer):
                return answer
            if not isinstance(answer, HttpError):
                raise answer
            raise WakeError(answer.message + (_MAYBE if answer.maybe_done else "")) from answer
        if stop.is_set():
            raise WakeError(f"hfcal was told to stop before {origin_of(url)} answered{_MAYBE}")


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; the rest may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _secrets_of(url: str) -> list[str]:
    """What may be a secret in a URL: its path and query, as a whole and in parts."""
    parts = urlsplit(url)
    pieces = [part for part in re.split(r"[/&=?]", f"{parts.path}?{parts.query}") if len(part) > 15]
    return [f"{parts.path}?{parts.query}", parts.path, parts.query, *pieces]


def _headers(table: WakeTable) -> dict[str, Secret]:
    value = table.take("headers", {})
    if not isinstance(value, dict):
        raise table.bad("headers", "…", 'a table like {Authorization = {env = "NAME"}}')
    headers: dict[str, Secret] = {}
    for name, given in value.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise table.bad("headers", name, "names of headers that hfcal doesn't set itself")
        headers[name] = _secret(table, name, given)
    return headers


def _secret(table: WakeTable, name: str, given: object) -> Secret:
    if isinstance(given, str) and header_value(given):
        return Secret(given)
    if isinstance(given, dict) and len(given) == 1:
        ((kind, where),) = given.items()
        if kind == "env" and isinstance(where, str) and where and "=" not in where:
            return Secret(env=where)
        path = absolute_path(where) if kind == "file" else None
        if path is not None:
            return Secret(file=path)
    allowed = 'a printable ASCII text, {env = "NAME"} or {file = "/absolute_path/path"}'
    raise table.bad(f"headers.{name}", "…", allowed)
