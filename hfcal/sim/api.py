"""The endpoints under `/calendar`: checks, the calendar's rules, and the answers' shapes."""

from hfcal.sim.calendar import Calendar, RefusalError, UpdateRequest
from hfcal.sim.checks import Checks
from hfcal.sim.messages import HttpRequest, HttpResponse, detail, json_answer
from hfcal.sim.routes import Route
from hfcal.sim.slots import StoredSlot, write_slot
from hfcal.sim.words import AGENT_STATUSES, SLOT_STATUSES, recase

AGENT_HEADER = "X-Agent-ID"
CLAW_HEADER = "X-Claw-Identifier"


class Api:
    """Answers requests from the calendar alone; faults are for hfcal/sim/exchange.py."""

    def __init__(self, calendar: Calendar, api_key: str | None, message: str | None) -> None:
        self._calendar = calendar
        self._api_key = api_key
        self._message = message

    def answer(self, request: HttpRequest, route: Route) -> HttpResponse:
        """Apply a request and return its answer.

        The order of the checks is FastAPI's: path, method, key, shape, and then the rules.
        """
        switches = self._calendar.switches
        methods = route.methods
        if route.kind == "status" and switches.older_backend:
            methods = ("POST",)
        if not methods or (route.kind == "sync" and switches.sync == "absent"):
            return detail(404, "Not Found")
        if request.method not in methods:
            return detail(405, "Method Not Allowed", (("Allow", ", ".join(methods)),))
        if not self._authorized(request) or (
            route.kind == "sync" and switches.sync == "unauthorized"
        ):
            return detail(401, "Not authenticated")
        try:
            match route.kind:
                case "heartbeat":
                    return self._heartbeat(Checks(request))
                case "update":
                    return self._update(Checks(request), route)
                case "sync":
                    return self._sync(Checks(request))
                case _:
                    return self._status(request.method, Checks(request))
        except RefusalError as refusal:
            return detail(refusal.status, refusal.detail)

    def _authorized(self, request: HttpRequest) -> bool:
        key = self._api_key
        if key is None:
            return True
        if key.startswith("eyJ") and key.count(".") == 2:
            return request.headers.get("authorization") == f"Bearer {key}"
        return request.headers.get("x-api-key") == key

    def _heartbeat(self, checks: Checks) -> HttpResponse:
        self._read_body(checks, ("claw_identifier", "agent_id"))
        agent = checks.same("agent_id", AGENT_HEADER)
        claw = checks.same("claw_identifier", CLAW_HEADER)
        checks.done()
        slots, status = self._calendar.heartbeat(agent, claw)
        document: dict[str, object] = {
            "slots": [self._write(slot) for slot in slots],
            "agent_status": self._word(status),
        }
        if self._message is not None:
            document["message"] = self._message
        return json_answer(200, document)

    def _update(self, checks: Checks, route: Route) -> HttpResponse:
        assert route.slot is not None
        ident = route.slot if route.virtual else checks.path_id(route.slot)
        agent = checks.header(AGENT_HEADER)
        claw = checks.header(CLAW_HEADER)
        self._read_body(checks, ("status", "started_at", "actual_duration"))
        update = UpdateRequest(
            checks.word("status", SLOT_STATUSES),
            checks.time_of_day("started_at"),
            checks.minutes("actual_duration"),
        )
        checks.done()
        slot = self._calendar.update(agent, claw, ident, update)
        match self._calendar.switches.virtual_answer:
            case "wrapped":
                return json_answer(200, {"slot": self._write(slot)})
            case "slot_id":
                return json_answer(200, {"slot_id": slot.spec.id})
            case "ok":
                return json_answer(200, {"ok": True})
            case "empty":
                return HttpResponse(204)
            case _:
                return json_answer(200, self._write(slot))

    def _status(self, method: str, checks: Checks) -> HttpResponse:
        if method == "GET":
            agent, claw = checks.header(AGENT_HEADER), checks.header(CLAW_HEADER)
            checks.done()
            status = self._calendar.agent_status(agent, claw)
            return json_answer(200, {"agent_id": agent, "status": self._word(status)})
        self._read_body(checks, ("claw_identifier", "agent_id", "status"))
        agent = checks.same("agent_id", AGENT_HEADER)
        claw = checks.same("claw_identifier", CLAW_HEADER)
        status = checks.word("status", AGENT_STATUSES)
        checks.done()
        if self._calendar.set_agent_status(agent, claw, status):
            return json_answer(200, {"ok": True})
        if self._calendar.switches.older_backend:
            return HttpResponse(500, b"Internal Server Error", "text/plain; charset=utf-8")
        return json_answer(200, {"ok": True, "no_change": True})

    def _sync(self, checks: Checks) -> HttpResponse:
        claw = checks.same("claw_identifier", CLAW_HEADER, "query")
        checks.done()
        schedules = self._calendar.sync(claw)
        return json_answer(
            200,
            {
                "full": True,
                "schedules": {
                    agent: [self._write(slot) for slot in slots]
                    for agent, slots in schedules.items()
                },
            },
        )

    def _read_body(self, checks: Checks, known: tuple[str, ...]) -> None:
        checks.body(known, ignore_extra=self._calendar.switches.extra_fields == "ignore")

    def _write(self, slot: StoredSlot) -> dict[str, object]:
        return write_slot(slot, self._calendar.switches)

    def _word(self, word: str) -> str:
        return recase(word, self._calendar.switches.casing)
