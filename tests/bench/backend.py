"""A backend that answers at once, or after a given delay, and costs next to nothing itself.

Run as a process of its own: `python -m tests.bench.backend`. Its first line is its port. What an
agent is listed goes by its name: `slot-…` has a slot that is due, `hang-…` is never answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json

_SLOT = {
    "status": "not_started",
    "priority": 50,
    "slot_type": "work",
    "scheduled_at": "00:00:00",
    "estimated_duration": 30,
    "event_type": "job",
    "event_data": {"type": "Task", "code": "TASK-42", "working_sections": ["backend"]},
}


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one at a time."""

    def __init__(self, delay: float, running: set[str]) -> None:
        self._delay = delay
        self._running = running
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        headers = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        length = int(headers.get(b"content-length", b"0"))
        if len(body) < length:
            return
        self._data = body[length:]
        path = head.split(b" ", 2)[1].decode()
        agent_id = headers.get(b"x-agent-id", b"").decode()
        if agent_id.startswith("hang-"):
            return
        answer = json.dumps(self._answer(path, agent_id)).encode()
        text = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        whole = text % (len(answer), answer)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, whole)
        else:
            self._transport.write(whole)

    def _answer(self, path: str, agent_id: str) -> object:
        if path.endswith("/heartbeat"):
            listed = agent_id.startswith("slot-") and agent_id not in self._running
            slots = [_SLOT | {"id": 1 + int(agent_id.split("-")[1])}] if listed else []
            return {"slots": slots, "agent_status": "idle", "message": ""}
        if path.endswith("/agent-update"):
            self._running.add(agent_id)
        return {"schedules": {}} if path.startswith("/calendar/sync") else {"ok": True}


async def serve(delay: float) -> None:
    running: set[str] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(delay, running), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    asyncio.run(serve(parser.parse_args().delay))
