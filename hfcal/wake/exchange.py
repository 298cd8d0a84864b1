"""What adapters that post wakes over HTTP share."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.http.client import Answer, HttpClient, HttpError, trust
from hfcal.wake.adapter import ServiceRequirements, WakeError
from hfcal.wake.secrets import Secret

DEFAULT_TIMEOUT = 20.0  # an OpenClaw gateway takes up to 15 s to admit a run
_GLANCE = 0.2  # seconds between two looks at `stop`
_MAYBE = "; it may have been delivered, the next try has the same key"


@dataclass(frozen=True)
class Exchange:
    """How wakes are posted.

    Attributes:
        timeout: Seconds for a whole exchange.
        ca_file: Certificates to trust, for a receiver with a certificate of its own.
    """

    timeout: float
    ca_file: Path | None

    @classmethod
    def from_table(cls, table: WakeTable) -> Exchange:
        """Read this part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        timeout = table.seconds("timeout", DEFAULT_TIMEOUT, least=0.1, most=3600)
        return cls(timeout, table.optional_path("ca_file"))

    def needs(self, secrets: Sequence[Secret]) -> ServiceRequirements:
        """What posting wakes with these secrets asks for."""
        files = (self.ca_file, *(secret.file for secret in secrets))
        return ServiceRequirements(
            self.timeout,
            reads=tuple(file for file in files if file is not None),
            variables=tuple(secret.env for secret in secrets if secret.env),
        )

    def post(
        self, url: str, headers: dict[str, str], body: object, wake: Wake, stop: threading.Event
    ) -> Answer:
        """Post JSON with the wake's idempotency key.

        Raises:
            WakeError: No answer came, or hfcal is to stop.
        """
        if stop.is_set():
            raise WakeError("hfcal was told to stop before the wake was sent")
        try:
            if self.ca_file is not None:
                trust(self.ca_file)
        except OSError as error:
            why = error.strerror or error
            raise WakeError(f"cannot use ca_file {self.ca_file}: {why}") from error
        origin, secrets = origin_of(url), [*headers.values(), *_secrets_of(url)]
        merged = {**headers, "Idempotency-Key": wake.key}
        client = HttpClient(url, merged, name=origin, ca_file=self.ca_file, secrets=secrets)
        answers: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(client.request("POST", "", seconds=self.timeout, body=body))
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
                raise WakeError(f"hfcal was told to stop before {origin} answered{_MAYBE}")


@runtime_checkable
class PostingAdapter(Protocol):
    """An adapter that posts wakes."""

    @property
    def url(self) -> str:
        """Where to; its path may be another for each agent."""

    @property
    def secrets(self) -> Sequence[Secret]:
        """All that it sends."""


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL; the rest may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _secrets_of(url: str) -> list[str]:
    """What may be a secret in a URL: its path and query, as a whole and in parts."""
    parts = urlsplit(url)
    pieces = [part for part in re.split(r"[/&=?]", f"{parts.path}?{parts.query}") if len(part) > 15]
    return [f"{parts.path}?{parts.query}", parts.path, parts.query, *pieces]
