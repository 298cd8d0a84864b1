"""The `webhook` adapter: posts each wake as JSON (docs/wake.md, webhook)."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from hfcal.config.table import WakeTable, absolute_path
from hfcal.core.records import Wake
from hfcal.http.client import HttpError
from hfcal.text import one_line
from hfcal.wake.adapter import ServiceRequirements, WakeError, payload
from hfcal.wake.exchange import Exchange, origin_of
from hfcal.wake.secrets import Secret, header_value

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {"host", "content-length", "content-type", "transfer-encoding", "idempotency-key"}


@dataclass(frozen=True)
class WebhookAdapter:
    """Posts each wake to `url`.

    Attributes:
        url: Where to.
        headers: Sent besides hfcal's own.
        exchange: How.
    """

    url: str = field(repr=False)
    headers: dict[str, Secret]
    exchange: Exchange

    @classmethod
    def from_table(cls, table: WakeTable) -> WebhookAdapter:
        """Read the adapter's part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        return cls(
            url=table.url("url"),
            headers=_headers(table),
            exchange=Exchange.from_table(table),
        )

    @property
    def secrets(self) -> list[Secret]:
        """What the headers hold."""
        return list(self.headers.values())

    def needs(self) -> ServiceRequirements:
        """The exchange, and what its headers are read from."""
        return self.exchange.needs(self.secrets)

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:
        """Post one wake; 2xx is success.

        Raises:
            WakeError: Anything else.
        """
        headers = {name: secret.read() for name, secret in self.headers.items()}
        origin = origin_of(self.url)
        body = payload(agent_id, wake)
        try:
            answer = self.exchange.post(self.url, headers, body, wake, stop)
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
