"""One request under `/calendar`: the faults that meet it, the calendar, and the journal."""

import time
from dataclasses import dataclass

from hfcal.sim.api import AGENT_HEADER, CLAW_HEADER, Api
from hfcal.sim.calendar import Calendar
from hfcal.sim.clock import rfc3339
from hfcal.sim.faults import FaultBox, PlannedFault
from hfcal.sim.journal import Entry, Journal
from hfcal.sim.messages import HttpRequest, HttpResponse, Stream, Wait, detail, read_json
from hfcal.sim.routes import Route, find_route
from hfcal.sim.slots import StoredSlot
from hfcal.sim.tricks import Call

_KEPT_BODY = 4096


@dataclass(frozen=True, slots=True)
class _Noted:
    """What the journal says of a request besides what the calendar made of it."""

    request: HttpRequest
    route: Route
    fault: str | None


class Exchange:
    """Serves requests, each as the armed faults let it."""

    def __init__(self, calendar: Calendar, api: Api, faults: FaultBox, journal: Journal) -> None:
        self._calendar = calendar
        self._api = api
        self._faults = faults
        self._journal = journal

    def serve(self, request: HttpRequest, wait: Wait) -> HttpResponse | Stream | None:
        """Return the answer, or None when the connection is to be closed without one."""
        route = find_route(request.path)
        agent = request.headers.get(AGENT_HEADER.lower(), "")
        chosen = self._faults.choose(route.kind, agent, route.slot)
        noted = _Noted(request, route, chosen.name)
        if chosen.latency:
            wait(chosen.latency)
        fault = chosen.fault
        if fault is None:
            return self._apply(noted)
        match fault.action:
            case "drop_before":
                return self._pass_by(noted, None)
            case "drop_after":
                self._apply(noted, answered=False)
                return None
            case "hang":
                self._act(noted, fault, None)
                assert fault.hang is not None
                wait(fault.hang)
                return None
            case "duplicate":
                self._apply(noted, answered=False)
                return self._apply(noted)
            case "trick":
                assert fault.trick is not None
                trick = self._faults.tricks[fault.trick]
                return self._act(noted, fault, trick(self._call(noted, fault)))
            case _:
                return self._act(noted, fault, _answer(fault))

    def _call(self, noted: _Noted, fault: PlannedFault) -> Call:
        headers = noted.request.headers
        token = headers.get("authorization", "").removeprefix("Bearer ")
        return Call(
            kind=noted.route.kind,
            agent=headers.get(AGENT_HEADER.lower(), ""),
            slot=noted.route.slot,
            key=headers.get("x-api-key", "") or token,
            agents=[agent.agent_id for agent in self._calendar.agents()],
            to=fault.to,
        )

    def _act(
        self, noted: _Noted, fault: PlannedFault, answer: HttpResponse | Stream | None
    ) -> HttpResponse | Stream | None:
        if fault.effect:
            self._apply(noted, answered=False, instead=answer)
            return answer
        return self._pass_by(noted, answer)

    def _apply(
        self, noted: _Noted, *, answered: bool = True, instead: HttpResponse | Stream | None = None
    ) -> HttpResponse:
        """Let the request take effect, and note it in the order of the effects."""
        with self._calendar.lock:
            slot = self._slot(noted.route)
            before = slot.spec.status if slot else None
            answer = self._api.answer(noted.request, noted.route)
            sent: HttpResponse | Stream | None = answer if answered else instead
            self._note(noted, slot, before, answer.status, sent)
        return answer

    def _pass_by(
        self, noted: _Noted, answer: HttpResponse | Stream | None
    ) -> HttpResponse | Stream | None:
        with self._calendar.lock:
            slot = self._slot(noted.route)
            self._note(noted, slot, slot.spec.status if slot else None, None, answer)
        return answer

    def _slot(self, route: Route) -> StoredSlot | None:
        if route.slot is None:
            return None
        if route.virtual:
            return self._calendar.find(route.slot)
        is_id = route.slot.isascii() and route.slot.isdigit() and len(route.slot) < 20
        return self._calendar.find(int(route.slot)) if is_id else None

    def _note(
        self,
        noted: _Noted,
        slot: StoredSlot | None,
        before: str | None,
        decision: int | None,
        sent: HttpResponse | Stream | None,
    ) -> None:
        request = noted.request
        self._journal.add(
            Entry(
                at=rfc3339(self._calendar.clock.now()),
                monotonic=time.monotonic(),
                received=request.received,
                method=request.method,
                path=request.path,
                kind=noted.route.kind,
                agent=request.headers.get(AGENT_HEADER.lower()),
                claw=request.headers.get(CLAW_HEADER.lower()),
                user_agent=request.headers.get("user-agent"),
                cookie=request.headers.get("cookie"),
                body=_body(request.body),
                slot=noted.route.slot,
                slot_id=slot.spec.id if slot else None,
                before=before,
                after=slot.spec.status if slot else None,
                decision=decision,
                effect=decision is not None and decision < 300,
                answer=sent.status if sent else None,
                fault=noted.fault,
            )
        )


def _answer(fault: PlannedFault) -> HttpResponse:
    retry = () if fault.retry_after is None else (("Retry-After", str(fault.retry_after)),)
    status = fault.status or 200
    if fault.body is None:
        return detail(status, "Fault on demand", retry)
    return HttpResponse(
        status, fault.body.encode("utf-8", "surrogatepass"), fault.content_type, retry
    )


def _body(body: bytes) -> object:
    if not body:
        return None
    if len(body) <= _KEPT_BODY:
        try:
            return read_json(body)
        except ValueError:
            pass
    return body[:_KEPT_BODY].decode("utf-8", "replace")
