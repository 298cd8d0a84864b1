"""A simulated backend for tests, asked over real HTTP."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from hfcal.sim.tricks import NO_TRICKS, Tricks

NOW = "2026-11-23T09:00:00Z"
TODAY = "2026-11-23"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> Any:
        return self.json["detail"]

    @property
    def errors(self) -> set[tuple[str, ...]]:
        """Where a 422 sees something wrong, and what."""
        assert self.status == 422
        return {(error["type"], *error["loc"]) for error in self.detail}


class Backend:
    """A simulator that runs, with calls as an agent's client makes them."""

    def __init__(self, tricks: Tricks = NO_TRICKS, **scenario: Any) -> None:
        document = {"agents": ["dev", "ops"], "now": NOW, **scenario}
        self.sim = Simulator(parse_scenario(document, tricks))
        self.key_headers: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.sim.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sim.stop()

    def connect(self, timeout: float = 10.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.sim.url.removeprefix("http://"), timeout=timeout)

    def raw(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Reply:
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        agent: str | None = "dev",
        claw: str | None = "sim",
    ) -> Reply:
        headers = dict(self.key_headers)
        if agent is not None:
            headers["X-Agent-ID"] = agent
        if claw is not None:
            headers["X-Claw-Identifier"] = claw
        if body is None:
            return self.raw(method, path, None, headers)
        headers["Content-Type"] = "application/json"
        return self.raw(method, path, json.dumps(body).encode(), headers)

    def heartbeat(self, agent: str = "dev", claw: str = "sim") -> Reply:
        body = {"claw_identifier": claw, "agent_id": agent}
        return self.call("POST", "/calendar/agent/heartbeat", body, agent=agent, claw=claw)

    def listed(self, agent: str = "dev") -> list[Any]:
        """The ids, virtual ones among them, that a heartbeat lists."""
        slots = self.heartbeat(agent).json["slots"]
        return [slot["id"] or slot["virtual_id"] for slot in slots]

    def update(self, ident: int | str, status: str, agent: str = "dev", **more: Any) -> Reply:
        kind = f"virtual/{quote(ident, safe='')}" if isinstance(ident, str) else ident
        path = f"/calendar/slots/{kind}/agent-update"
        return self.call("PATCH", path, {"status": status, **more}, agent=agent)

    def post_status(self, status: str, agent: str = "dev") -> Reply:
        body = {"claw_identifier": "sim", "agent_id": agent, "status": status}
        return self.call("POST", "/calendar/agent/status", body, agent=agent)

    def agent_status(self, agent: str = "dev") -> Any:
        return self.call("GET", "/calendar/agent/status", agent=agent).json["status"]

    def sync(self, claw: str = "sim") -> Reply:
        path = f"/calendar/sync?claw_identifier={claw}"
        return self.call("GET", path, agent=None, claw=claw)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """What a control endpoint answers, which must be 200."""
        reply = self.call(method, f"/_sim/{path}", body, agent=None, claw=None)
        assert reply.status == 200, reply
        return reply.json

    def refused_control(self, method: str, path: str, body: Any = None) -> str:
        """Why a control endpoint refuses."""
        reply = self.call(method, f"/_sim/{path}", body, agent=None, claw=None)
        assert reply.status == 400, reply
        text = reply.detail
        assert isinstance(text, str)
        return text

    def advance(self, seconds: float) -> None:
        self.control("POST", "clock", {"advance": seconds})

    def slot(self, ident: int | str) -> Any:
        """The slot with this id or (former) virtual id, as the state page shows it."""
        slots = self.control("GET", "state")["slots"]
        return next(
            slot
            for slot in slots
            if ident in (slot["id"], slot["virtual_id"], slot["former_virtual_id"])
        )

    def journal(self, since: int = 0) -> list[Any]:
        entries = self.control("GET", f"journal?since={since}")["entries"]
        assert isinstance(entries, list)
        return entries
