"""A simulated backend, and what stands where none is."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from hfcal.sim.tricks import NO_TRICKS, Tricks
from tests.rig.waiting import DEADLINE

CLAW = "srv1"


class Backend:
    """A simulator on a port of its own, and its control endpoints."""

    def __init__(self, tricks: Tricks = NO_TRICKS, **scenario: Any) -> None:
        document = {"claw_identifier": CLAW, "agents": ["developer"], **scenario}
        self._simulator = Simulator(parse_scenario(json.loads(json.dumps(document)), tricks))
        self.url = self._simulator.start()

    def stop(self) -> None:
        """Stop it."""
        self._simulator.stop()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """What a control endpoint answers, which must be 200."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=DEADLINE)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/_sim/{path}", content)
            response = connection.getresponse()
            text = response.read()
            assert response.status == 200, text
            return json.loads(text)
        finally:
            connection.close()

    @property
    def state(self) -> Any:
        """All that it holds."""
        return self.control("GET", "state")

    @property
    def slots(self) -> list[Any]:
        """All slots."""
        found: list[Any] = self.state["slots"]
        return found

    def slot(self, ident: int | str) -> Any:
        """The slot with this id, virtual id or former virtual id."""
        keys = ("id", "virtual_id", "former_virtual_id")
        return next(slot for slot in self.slots if ident in [slot[key] for key in keys])

    def agent(self, agent_id: str) -> Any:
        """What it knows of an agent."""
        return next(a for a in self.state["agents"] if a["agent_id"] == agent_id)

    def journal(self, kind: str = "", *, agent: str = "", since: int = 0) -> list[Any]:
        """The requests so far, of one kind if named."""
        entries = self.control("GET", f"journal?since={since}")["entries"]
        return [
            e for e in entries if kind in ("", e["kind"]) and (not agent or e["agent"] == agent)
        ]

    def told(self, agent: str = "") -> list[tuple[str, str]]:
        """The updates that took effect, as the slot in the path and the status."""
        return [
            (str(e["slot"]), e["body"]["status"])
            for e in self.journal("update", agent=agent)
            if e["effect"]
        ]

    def add_slots(self, *slots: Mapping[str, Any]) -> None:
        """Add slots."""
        self.control("POST", "slots", list(slots))

    def change_slot(self, ident: int | str, **changes: Any) -> None:
        """Change a slot as a person does on the server."""
        self.control("PATCH", f"slots/{quote(str(ident), safe='')}", changes)

    def change_agent(self, agent_id: str, **changes: Any) -> None:
        """Change an agent as a person does on the server."""
        self.control("POST", "agents", {"id": agent_id, **changes})

    def fault(self, **fault: Any) -> None:
        """Add a fault."""
        self.control("POST", "faults", fault)

    def away(self) -> None:
        """Close every connection without an answer, from now on."""
        self.fault(drop_before=True, count=0)

    def well(self) -> None:
        """Take all faults away."""
        self.control("DELETE", "faults")

    def switch(self, **switches: Any) -> None:
        """Change switches."""
        self.control("POST", "switches", switches)


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """The URL of a port that refuses connections, and that nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def free_port() -> int:
    """A loopback port where no server listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
