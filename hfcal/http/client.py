"""Bounded HTTP: how many bytes, how much time for a whole answer, no redirects, no cookies.

The only importer of httpx; how the time is kept is in `hfcal.http.network`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore

from hfcal import __version__
from hfcal.text import MASK, one_line, strict_json

# httpx loads its own command line (click, rich, pygments) wherever click happens to be installed:
# 80 ms that nobody asked for.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402  # after the line above

from hfcal.http.network import Deadline, Transport, ssl_context  # noqa: E402  # likewise

MAX_ANSWER_BYTES = 4 * 1024 * 1024

_MOST_VALUES = 500_000  # in one answer: a small text may hold millions, each of 60 bytes
_LEAST_SECRET = 6  # characters

# A backend that moved is looked up again after this long, though the old address still answers.
_MOST_AGE = 600.0


class HttpError(Exception):
    """No usable answer came.

    Attributes:
        kind: `unreachable`, `timeout` or `bad_response`.
        message: For people.
        maybe_done: Whether the request may have reached the server.
        status: The HTTP status of an answer that can't be used; None if there was none.
    """

    def __init__(
        self, kind: str, message: str, *, maybe_done: bool, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.maybe_done = maybe_done
        self.status = status


@dataclass(frozen=True)
class Answer:
    """One HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: At most 4 MiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds from `Retry-After`, which is a number of seconds or a date; None without one."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) < 10:
            return float(value)
        if not value:
            return None
        from email.utils import parsedate_to_datetime

        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None

    def json(self) -> Any:
        """The body as JSON; of duplicate keys the last counts.

        Raises:
            ValueError: It is no JSON, holds too many values, nests too deep, or holds a number that
                JSON has not.
        """
        if self.body.count(b",") > _MOST_VALUES:
            raise ValueError("it holds too many values")
        return strict_json(self.body)


class HttpClient:
    """One connection's worth of HTTP to one base URL; for one thread.

    Args:
        base_url: `http://host:port/prefix` or `https://…`; paths are put behind it as they are.
        headers: Sent with every request.
        name: What errors call the server, where its URL may hold a secret.
        ca_file: Certificates to trust, PEM; None for those of public authorities.
        secrets: What is masked in all that comes back, as a server may send back our own key.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        name: str = "",
        ca_file: Path | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._base_url = base_url
        self._name = name or base_url
        self._ca_file = ca_file
        self._secrets = _forms(secrets)
        self._headers = {
            "User-Agent": f"hfcal/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **headers,
        }
        self._deadline = Deadline()
        self._client: httpx.Client | None = None
        self._connected_at = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        """Send one request and read its whole answer.

        Args:
            method: The HTTP method.
            path: Below the base URL, percent-encoded.
            seconds: For the whole exchange, connecting included.
            headers: Besides those of every request.
            body: Sent as JSON, unless None.

        Raises:
            HttpError: No usable answer came in time.
        """
        try:
            answer = self._exchange(method, path, seconds, headers, body)
        except HttpError as error:
            message = self._masked(error.message)
            raise HttpError(
                error.kind, message, maybe_done=error.maybe_done, status=error.status
            ) from None
        if not self._secrets:
            return answer
        headers = {name: self._masked(value) for name, value in answer.headers.items()}
        content = answer.body
        for secret in self._secrets:
            content = content.replace(secret.encode(), MASK.encode())
        return Answer(answer.status, headers, content)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _exchange(
        self,
        method: str,
        path: str,
        seconds: float,
        headers: Mapping[str, str] | None,
        body: object,
    ) -> Answer:
        url = self._base_url + path
        merged = {**self._headers, **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body).encode("ascii")
            merged["Content-Type"] = "application/json"
        self._deadline.start(seconds)
        try:
            request = httpx.Request(method, url, headers=merged, content=content)
            answer = self._connected().send(request, stream=True, follow_redirects=False)
            try:
                return Answer(answer.status_code, dict(answer.headers), self._read(answer))
            finally:
                answer.close()
                self._drop_leftovers()
        except httpx.InvalidURL as error:
            raise HttpError(
                "unreachable", f"{self._name} is no URL: {error}", maybe_done=False
            ) from error
        except (ValueError, OverflowError) as error:  # no host name, or a header that can't be one
            message = f"cannot ask {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except (httpcore.ConnectTimeout, httpcore.TimeoutException) as error:
            connecting = isinstance(error, httpcore.ConnectTimeout)
            doing = "to connect to" if connecting else "for the answer of"
            message = f"waited {seconds:g} s {doing} {self._name}"
            raise HttpError("timeout", message, maybe_done=not connecting) from error
        except httpcore.ConnectError as error:
            message = f"cannot connect to {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except httpcore.UnsupportedProtocol as error:
            message = f"{self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=False) from error
        except httpcore.RemoteProtocolError as error:
            if "without sending a response" in str(error):
                message = f"{self._name} closed the connection without an answer"
                raise HttpError("unreachable", message, maybe_done=True) from error
            message = f"{self._name} answered what is no HTTP: {_reason(error)}"
            raise HttpError("bad_response", message, maybe_done=True) from error
        except (httpcore.NetworkError, OSError) as error:
            message = f"lost the connection to {self._name}: {_reason(error)}"
            raise HttpError("unreachable", message, maybe_done=True) from error
        except (httpcore.LocalProtocolError, httpx.HTTPError) as error:
            message = f"cannot ask {self._name}: {_reason(error)}"
            raise HttpError("bad_response", message, maybe_done=True) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> httpx.Client:
        if self._client is not None and time.monotonic() - self._connected_at > _MOST_AGE:
            self._client.close()
            self._client = None
        if self._client is None:
            self._connected_at = time.monotonic()
            secure = self._base_url.lower().startswith("https:")
            context = ssl_context(self._ca_file) if secure else None
            transport = Transport(self._deadline, context)
            self._pool = transport.pool
            self._client = httpx.Client(transport=transport, trust_env=False)
        return self._client

    def _drop_leftovers(self) -> None:
        """Leave a connection on which more came than one answer: it isn't the next one's.

        Only h11 knows, and httpcore doesn't tell; without its word the connection is kept.
        """
        assert self._client is not None
        for connection in self._pool.connections:
            state = getattr(getattr(connection, "_connection", None), "_h11_state", None)
            if state is not None and state.trailing_data[0]:
                self._client.close()
                self._client = None
                return

    def _read(self, answer: httpx.Response) -> bytes:
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            why = f"is encoded as {one_line(encoding, 40)}, which was not asked for"
            raise self._unusable(answer, why)
        chunks: list[bytes] = []
        size = 0
        for chunk in answer.iter_raw():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                why = f"is larger than {MAX_ANSWER_BYTES // 1024 // 1024} MiB"
                raise self._unusable(answer, why)
            chunks.append(chunk)
        return b"".join(chunks)

    def _unusable(self, answer: httpx.Response, why: str) -> HttpError:
        message = f"the answer of {self._name} {why}"
        return HttpError("bad_response", message, maybe_done=True, status=answer.status_code)


def trust(ca_file: Path) -> None:
    """See whether these certificates can be trusted.

    Raises:
        OSError: They can't be read, or are none.
    """
    ssl_context(ca_file)


def _forms(secrets: Iterable[str]) -> list[str]:
    """Each secret as it may come back: whole, without `Bearer`, as JSON writes it.

    What is too short to be a secret is left out: masking it would garble what is no echo.
    """
    parts = {part for secret in secrets for part in (secret, secret.partition(" ")[2])}
    forms = {form for part in parts for form in (part, json.dumps(part)[1:-1])}
    return sorted((f for f in forms if len(f) >= _LEAST_SECRET), key=len, reverse=True)


def _reason(error: BaseException) -> str:
    text = one_line(re.sub(r"^\[Errno -?\d+\] ", "", str(error)), 200)
    return text or type(error).__name__
