"""The backend as hfcal speaks to it: five calls, and every fault as one of the documented kinds.

See docs/protocol.md for what is sure, likely and open about each call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from hfcal.core.ids import SlotRef
from hfcal.core.protocol import (
    BadAnswerError,
    Heartbeat,
    Slot,
    parse_heartbeat,
    parse_sync,
    real_id_of,
)
from hfcal.errors import BridgeError, Fault
from hfcal.http.client import Answer, HttpClient, HttpError
from hfcal.text import one_line

if TYPE_CHECKING:
    from hfcal.config.settings import Settings

_Read = TypeVar("_Read")

# What FastAPI says of a path that it doesn't serve, and what others leave out.
_SAY_NO_AGENT = ("Not Found", "")


class Bridge:
    """One thread's connection to a HarborForge calendar backend.

    Args:
        backend_url: Base URL of the backend.
        claw_identifier: The name that this host is registered by.
        api_key: The key that stands in front of some deployments; empty for none.
        timeout: Seconds for each whole answer.

    Attributes:
        date: The `Date` of the last answer; empty when it had none.
    """

    def __init__(
        self, backend_url: str, claw_identifier: str, *, api_key: str = "", timeout: float = 10.0
    ) -> None:
        self.backend_url = backend_url
        self.claw_identifier = claw_identifier
        self.timeout = timeout
        self.date = ""
        self._http = HttpClient(backend_url.rstrip("/"), _auth(api_key), secrets=[api_key])

    def heartbeat(self, agent_id: str) -> Heartbeat:
        """Stamp the agent alive and read its pending slots (docs/protocol.md, Heartbeat).

        Raises:
            BridgeError: The exchange failed.
        """
        body = {"claw_identifier": self.claw_identifier, "agent_id": agent_id}
        answer = self._ask("POST", "/calendar/agent/heartbeat", agent_id, body)
        if answer.status == 404:
            raise BridgeError(self._not_bound(agent_id, answer))
        return self._read("heartbeat", answer, parse_heartbeat)

    def update(self, agent_id: str, ref: SlotRef, body: Mapping[str, object]) -> int | None:
        """Send one update of a slot (docs/protocol.md, Updates).

        Returns:
            The slot's real id, if the answer tells it.

        Raises:
            BridgeError: The exchange failed, or the backend refused.
        """
        if ref.real:
            path = f"/calendar/slots/{ref.real[-1]}/agent-update"
        else:
            path = f"/calendar/slots/virtual/{quote(ref.virtual[0], safe='')}/agent-update"
        answer = self._ask("PATCH", path, agent_id, body)
        if not answer.body.strip():
            self._require_success(answer)
            return None
        # A proxy's log-in page is a 200 as well, and must not cost a completion.
        return self._read("update", answer, real_id_of)

    def post_status(self, agent_id: str, status: str) -> None:
        """Tell what the agent is doing (docs/protocol.md, Agent status).

        Raises:
            BridgeError: The exchange failed, or the transition isn't allowed.
        """
        body = {
            "claw_identifier": self.claw_identifier,
            "agent_id": agent_id,
            "status": status,
        }
        self._require_success(self._ask("POST", "/calendar/agent/status", agent_id, body))

    def ask_status(self, agent_id: str) -> None:
        """Ask what the agent is doing, which changes nothing (docs/protocol.md, Agent status).

        Raises:
            BridgeError: The exchange failed; `not_bound` if the backend says that it knows no such
                agent on this claw. 405, or 404 for the path, mean that this backend can't be asked.
        """
        answer = self._ask("GET", "/calendar/agent/status", agent_id, None)
        if answer.status == 404 and _detail(answer) not in _SAY_NO_AGENT:
            raise BridgeError(self._not_bound(agent_id, answer))
        self._read("status", answer, lambda document: document)

    def sync(self) -> dict[str, list[Slot]]:
        """Read the schedules of all agents of this claw (docs/protocol.md, Sync).

        Raises:
            BridgeError: The exchange failed; 401, 404 and 405 mean that this backend has none.
        """
        path = f"/calendar/sync?claw_identifier={quote(self.claw_identifier, safe='')}"
        answer = self._ask("GET", path, None, None)
        return self._read("sync", answer, parse_sync)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _ask(
        self, method: str, path: str, agent_id: str | None, body: Mapping[str, object] | None
    ) -> Answer:
        headers = {"X-Claw-Identifier": self.claw_identifier}
        if agent_id is not None:
            headers["X-Agent-ID"] = agent_id
        try:
            answer = self._http.request(
                method, path, seconds=self.timeout, headers=headers, body=body
            )
        except HttpError as error:
            fault = Fault(error.kind, error.message, maybe_done=error.maybe_done)
            raise BridgeError(fault) from error
        self.date = answer.headers.get("date", "")
        return answer

    def _read(self, what: str, answer: Answer, parse: Callable[[Any], _Read]) -> _Read:
        self._require_success(answer)
        try:
            return parse(answer.json())
        except ValueError as error:
            raise BridgeError(self._unreadable(what, answer, error)) from error

    def _require_success(self, answer: Answer) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        said = self._detail(answer)
        retry_after = answer.retry_after
        if status in {401, 403}:
            message = (
                f"{self.backend_url} answered {status}{said}: check api_key, api_key_file "
                "or HFCAL_API_KEY"
            )
            raise BridgeError(Fault("unauthorized", message, status, retry_after))
        if status >= 500:
            message = f"{self.backend_url} answered {status}{said}"
            raise BridgeError(Fault("server_error", message, status, retry_after, maybe_done=True))
        if status >= 400:
            message = f"{self.backend_url} answered {status}{said}"
            raise BridgeError(Fault("rejected", message, status, retry_after))
        where = one_line(answer.headers.get("location", ""), 100)
        message = f"{self.backend_url} answered {status}" + (
            f" (to {where}); hfcal follows no redirects, so set backend_url to the final address"
            if where
            else ", which is neither success nor failure"
        )
        raise BridgeError(Fault("bad_response", message, status))

    def _not_bound(self, agent_id: str, answer: Answer) -> Fault:
        message = (
            f"agent {agent_id} is not bound to claw {self.claw_identifier} on {self.backend_url}"
            f"{self._detail(answer)}; bind it on the server with: hf user bind-agent"
        )
        if _detail(answer) in _SAY_NO_AGENT:
            message += "; or the path of backend_url is wrong"
        return Fault("not_bound", message, answer.status)

    def _unreadable(self, what: str, answer: Answer, error: ValueError) -> Fault:
        if isinstance(error, BadAnswerError):
            why = str(error)
        else:
            text = answer.body.lstrip()
            why = one_line(str(error), 80) if text[:1] in {b"{", b"["} else "it is not JSON"
        message = f"the {what} answer of {self.backend_url} can't be read: {why}"
        return Fault("bad_response", message, answer.status, maybe_done=True)

    def _detail(self, answer: Answer) -> str:
        """What a FastAPI error says, as ` (text)`; empty when it says nothing readable."""
        text = one_line(_detail(answer), 200)
        return f" ({text})" if text else ""


def _auth(api_key: str) -> dict[str, str]:
    """The header for a key, by its shape (docs/protocol.md, Endpoints)."""
    if not api_key:
        return {}
    if api_key.startswith("eyJ") and api_key.count(".") == 2:
        return {"Authorization": f"Bearer {api_key}"}
    return {"X-API-Key": api_key}


def _detail(answer: Answer) -> str:
    try:
        body: Any = answer.json()
    except ValueError:
        return ""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        detail = "; ".join(
            f"{'.'.join(str(part) for part in item.get('loc') or [])}: {item.get('msg')}"
            for item in detail[:3]
            if isinstance(item, dict) and isinstance(item.get("loc") or [], list)
        )
    return detail if isinstance(detail, str) else ""


def make_bridge(settings: Settings) -> Bridge:
    """A bridge by the settings."""
    return Bridge(
        settings.backend_url,
        settings.claw_identifier,
        api_key=settings.api_key,
        timeout=settings.request_timeout,
    )
