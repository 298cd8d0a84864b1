"""The `openclaw` adapter: an OpenClaw gateway's hooks (docs/wake.md, openclaw).

What a gateway answers, and what reaches the agent, is told there. The mapped hook is the default,
since it alone hands the message over as it is.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from urllib.parse import quote

from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.http.client import Answer
from hfcal.text import one_line
from hfcal.wake.adapter import ServiceRequirements, WakeError
from hfcal.wake.exchange import Exchange
from hfcal.wake.secrets import Secret

DEFAULT_URL = "http://127.0.0.1:18789"
DEFAULT_HOOK = "hfcal/{agent_id}"


@dataclass(frozen=True)
class OpenClawAdapter:
    """Hands each wake to a gateway.

    Attributes:
        url: The gateway.
        token: Its hooks token.
        hook: `agent`, `wake`, or the path of a mapped hook, with `{agent_id}`.
        exchange: How wakes are posted.
    """

    url: str
    token: Secret
    hook: str
    exchange: Exchange

    @classmethod
    def from_table(cls, table: WakeTable) -> OpenClawAdapter:
        """Read the adapter's part of a wake table.

        Raises:
            ConfigError: Something in it isn't allowed.
        """
        return cls(
            url=_url(table),
            token=_token(table),
            hook=_hook(table),
            exchange=Exchange.from_table(table),
        )

    @property
    def secrets(self) -> list[Secret]:
        """The hooks token."""
        return [self.token]

    def needs(self) -> ServiceRequirements:
        """The exchange, and what the token is read from."""
        return self.exchange.needs(self.secrets)

    def wake(self, agent_id: str, wake: Wake, stop: threading.Event) -> None:
        """Have the gateway admit a run, or queue an event.

        Raises:
            WakeError: It did not; says what to do about it.
        """
        token = self.token.read()
        path = self._path(agent_id)
        answer = self.exchange.post(
            f"{self.url}/hooks/{path}",
            {"Authorization": f"Bearer {token}"},
            self._body(agent_id, wake),
            wake,
            stop,
        )
        said = _said(answer)
        if 200 <= answer.status < 300 and said is None:
            return
        reason = self._reason(agent_id, path, answer.status, said or "")
        raise WakeError(reason, answer.retry_after)

    def _path(self, agent_id: str) -> str:
        hook = self.hook.replace("{agent_id}", quote(agent_id, safe=""))
        if any(part in {".", ".."} for part in hook.split("/")):
            raise WakeError(f"agent {agent_id} can't be named in the path of a hook; set hook")
        return hook

    def _body(self, agent_id: str, wake: Wake) -> dict[str, object]:
        if self.hook == "agent":
            return {
                "message": wake.message,
                "name": "hfcal",
                "agentId": agent_id,
                "deliver": False,
            }
        if self.hook == "wake":
            return {"text": wake.message, "agentId": agent_id, "mode": "now"}
        return {
            "message": wake.message,
            "name": "hfcal",
            "agent_id": agent_id,
            "slot": wake.slot,
            "source": wake.source,
        }

    def _reason(self, agent_id: str, path: str, status: int, said: str) -> str:
        detail = f" ({one_line(said, 200)})" if said else ""
        what = f"{self.url} answered {status}{detail}"
        if 200 <= status < 300:
            return f"{what}: that is no OpenClaw gateway, or it refused the run"
        if status == 401:
            return f"{what}: it wants the hooks token (hooks.token), not the gateway's token"
        if status == 404 and self.hook in {"agent", "wake"}:
            return f"{what}: its hooks are off; set hooks.enabled and hooks.token in its config"
        if status == 404:
            return (
                f"{what}: its hooks are off, or none is mapped to {path}; "
                f"add to hooks.mappings: {mapping(agent_id, path)}"
            )
        if status == 429:
            return f"{what}: too many requests with a wrong token; it asks to wait"
        if status in {409, 502, 503}:
            return f"{what}: nothing runs, it is tried again"
        return what


def mapping(agent_id: str, path: str) -> str:
    """The entry of `hooks.mappings` for one agent, ready to paste."""
    name = json.dumps(f"hfcal-{agent_id}")
    return (
        f"{{ id: {name}, match: {{ path: {json.dumps(path)} }}, "
        'action: "agent", name: "hfcal", messageTemplate: "{{message}}", '
        f"agentId: {json.dumps(agent_id)}, deliver: false, allowUnsafeExternalContent: true }}"
    )


def _said(answer: Answer) -> str | None:
    """What the gateway says is wrong; None if it says that all is well."""
    text = answer.body[:2000].decode("utf-8", "replace")
    try:
        document = answer.json()
    except ValueError:
        return text or "nothing"
    if not isinstance(document, dict):
        return text
    if document.get("ok") is True:
        return None
    error = document.get("error")
    return error if isinstance(error, str) else text


def _url(table: WakeTable) -> str:
    url = table.url("url", DEFAULT_URL)
    if "?" in url:
        raise table.bad("url", "…", "a URL without a query")
    return url.rstrip("/")


def _token(table: WakeTable) -> Secret:
    file, env = table.optional_path("token_file"), table.take("token_env")
    if (file is None) == (env is None):
        raise table.bad("token_file", None, "either token_file or token_env, the hooks token")
    if file is not None:
        return Secret(file=file)
    if not isinstance(env, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", env):
        raise table.bad("token_env", "…", "the name of an environment variable")
    return Secret(env=env)


def _hook(table: WakeTable) -> str:
    hook = table.text("hook", DEFAULT_HOOK)
    plain = hook.replace("{agent_id}", "x")
    parts = plain.split("/")
    if not all(parts) or set(parts) & {".", ".."} or quote(plain, safe="/") != plain:
        allowed = 'agent, wake, or a path like "hfcal/{agent_id}"'
        raise table.bad("hook", hook, allowed)
    return hook
