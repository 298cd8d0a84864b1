"""The control endpoints under `/_sim`: docs/simulator.md, Control endpoints."""

import re
from collections.abc import Callable
from dataclasses import asdict
from urllib.parse import unquote

from hfcal.sim.calendar import Calendar
from hfcal.sim.clock import rfc3339
from hfcal.sim.faults import FaultBox, parse_fault
from hfcal.sim.journal import Journal
from hfcal.sim.messages import HttpRequest, HttpResponse, detail, json_answer, read_json
from hfcal.sim.reading import ScenarioError, ScenarioTable
from hfcal.sim.scenario import SlotSpec, parse_agents, parse_slot
from hfcal.sim.slots import StoredSlot, write_slot
from hfcal.sim.switches import Switches, parse_switches

PREFIX = "/_sim"
LONGEST_STEP = 366 * 86400.0
_FIXED_KEYS = ("agent", "id", "plan_id", "admin_made")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Control:
    """Shows and changes what the simulator holds; no key is asked for and nothing is noted."""

    def __init__(self, calendar: Calendar, faults: FaultBox, journal: Journal) -> None:
        self._calendar = calendar
        self._faults = faults
        self._journal = journal

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; 400 with the reason for what is not allowed."""
        path = request.path.removeprefix(PREFIX)
        if path.startswith("/slots/"):
            ident = unquote(path.removeprefix("/slots/"))
            return self._one_slot(ident, request)
        endpoints: dict[str, dict[str, Callable[[HttpRequest], object]]] = {
            "/state": {"GET": self._state},
            "/journal": {"GET": self._entries},
            "/agents": {"POST": self._put_agents},
            "/slots": {"POST": self._add_slots},
            "/faults": {"POST": self._add_faults, "DELETE": self._clear_faults},
            "/switches": {"POST": self._switch},
            "/clock": {"POST": self._advance},
        }
        return _call(endpoints.get(path), request)

    def _state(self, _request: HttpRequest) -> object:
        with self._calendar.lock:
            return {
                "claw_identifier": self._calendar.claw_identifier,
                "now": rfc3339(self._calendar.clock.now()),
                "agents": [
                    {
                        "agent_id": agent.agent_id,
                        "status": agent.status,
                        "bound": agent.bound,
                        "last_heartbeat": rfc3339(agent.last_heartbeat)
                        if agent.last_heartbeat
                        else None,
                    }
                    for agent in self._calendar.agents()
                ],
                "slots": [_full(slot) for slot in self._calendar.slots()],
                "switches": asdict(self._calendar.switches),
                "faults": self._faults.left(),
                "journal": {"newest": self._journal.newest},
            }

    def _entries(self, request: HttpRequest) -> object:
        since = request.query.get("since", "0")
        if not _NUMBER.fullmatch(since):
            raise ScenarioError(
                f"since: {since!r} is not allowed; must be a whole number, 0 or more"
            )
        entries = self._journal.since(int(since))
        return {
            "newest": self._journal.newest,
            "entries": [{"seq": number, **asdict(entry)} for number, entry in entries],
        }

    def _put_agents(self, request: HttpRequest) -> object:
        agents = parse_agents(_several(request))
        for agent in agents:
            self._calendar.put_agent(agent)
        return {"agents": [agent.agent_id for agent in agents]}

    def _add_slots(self, request: HttpRequest) -> object:
        with self._calendar.lock:
            agents = [agent.agent_id for agent in self._calendar.agents()]
            specs = [
                parse_slot(item, f"slots[{number}]", agents)
                for number, item in enumerate(_several(request))
            ]
            return {"slots": [_full(slot) for slot in self._calendar.add_slots(specs)]}

    def _add_faults(self, request: HttpRequest) -> object:
        self._faults.add(
            [
                parse_fault(item, f"faults[{number}]", self._faults.tricks)
                for number, item in enumerate(_several(request))
            ]
        )
        return {"faults": self._faults.left()}

    def _clear_faults(self, _request: HttpRequest) -> object:
        return {"cleared": self._faults.clear()}

    def _switch(self, request: HttpRequest) -> object:
        with self._calendar.lock:
            self._calendar.switches = parse_switches(_document(request), self._calendar.switches)
            return {"switches": asdict(self._calendar.switches)}

    def _advance(self, request: HttpRequest) -> object:
        table = ScenarioTable("clock", _document(request), ("advance",))
        table.need("advance")
        with self._calendar.lock:
            self._calendar.clock.advance(table.number("advance", 0.0, 0.0, LONGEST_STEP))
            return {"now": rfc3339(self._calendar.clock.now())}

    def _one_slot(self, ident: str, request: HttpRequest) -> HttpResponse:
        with self._calendar.lock:
            slot = self._calendar.find(int(ident) if _NUMBER.fullmatch(ident) else ident)
            if slot is None or slot not in self._calendar.slots():
                return detail(404, f"No slot has or had the id {ident}")
            found = slot

            def change(request: HttpRequest) -> object:
                self._calendar.change_slot(found, _changed(found.spec, _document(request)))
                return {"slots": [_full(found)]}

            def remove(_request: HttpRequest) -> object:
                self._calendar.remove_slot(found)
                return {"slots": [_full(found)]}

            return _call({"PATCH": change, "DELETE": remove}, request)


def _call(
    methods: dict[str, Callable[[HttpRequest], object]] | None, request: HttpRequest
) -> HttpResponse:
    if methods is None:
        return detail(404, "Not Found")
    if request.method not in methods:
        return detail(405, "Method Not Allowed", (("Allow", ", ".join(methods)),))
    try:
        return json_answer(200, methods[request.method](request))
    except ValueError as error:  # ScenarioError, or a body that is not JSON
        return detail(400, str(error))
    except RecursionError:
        return detail(400, "nested too deeply")


def _document(request: HttpRequest) -> object:
    if not request.body:
        raise ScenarioError("the body is missing; must be JSON")
    return read_json(request.body)


def _several(request: HttpRequest) -> list[object]:
    document = _document(request)
    return document if isinstance(document, list) else [document]


def _changed(spec: SlotSpec, changes: object) -> SlotSpec:
    """Return a slot's values with some changed; a null takes a value back to its default."""
    table = ScenarioTable("slot", changes, ("virtual",), extra=True)
    for key in _FIXED_KEYS:
        if key in table.unknown:
            raise ScenarioError(f"slot.{key}: can't be changed")
    present = asdict(spec)
    extra, day = present.pop("extra"), present.pop("day")
    values = {**present, "date": day, **extra, **{key: table.value(key) for key in table.unknown}}
    values["virtual"] = spec.virtual and table.flag("virtual", default=True)
    if values["virtual"] and "date" in table.unknown:
        raise ScenarioError("slot.date: can't be changed while it stands in the virtual id")
    return parse_slot(values, "slot", (spec.agent,))


def _full(slot: StoredSlot) -> dict[str, object]:
    return {
        **write_slot(slot, Switches()),
        "agent_id": slot.spec.agent,
        "former_virtual_id": slot.former_virtual_id,
        "admin_made": slot.spec.admin_made,
        "made": slot.made,
    }
