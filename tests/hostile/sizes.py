"""Tricks with JSON itself: how much, how deep, how large, and what JSON does not have."""

import json
import time

from hfcal.sim.messages import HttpResponse
from hfcal.sim.tricks import Call, Trick
from tests.hostile.call import body, number, slot

_LIMIT = 4 * 1024 * 1024
_LONG = 300_000


def _nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def _filled(call: Call, before: bytes, item: bytes, after: bytes) -> HttpResponse:
    """A body of just under 4 MiB, most of it one item again and again."""
    begin, end = body(call, slot())[:-1] + b", " + before, after + b"}"
    count = (_LIMIT - len(begin) - len(end)) // (len(item) + 1)
    return HttpResponse(200, begin + b",".join([item] * count) + end)


def deep(call: Call) -> HttpResponse:
    """100,000 levels."""
    return HttpResponse(200, body(call, slot())[:-1] + b', "more": ' + _nested(100_000) + b"}")


def deep_slot(call: Call) -> HttpResponse:
    """A slot's data of 500 levels, which any reader manages."""
    nested = json.loads(_nested(500))
    return HttpResponse(200, body(call, slot(event_data={"type": nested}, extra=nested)))


def deep_detail(_: Call) -> HttpResponse:
    """An error of 500 levels."""
    item = b'{"loc": [' + _nested(500) + b'], "msg": ' + _nested(500) + b"}"
    return HttpResponse(422, b'{"detail": [' + item + b"]}")


def many_slots(call: Call) -> HttpResponse:
    """100,000 slots."""
    item = b'{"id":%d,"status":"no","priority":1}'
    listed = b",".join(item % number for number in range(1, 100_001))
    return HttpResponse(200, body(call, "*").replace(b'"*"', listed, 1))


def odd_slots(call: Call) -> HttpResponse:
    """10,000 slots, each with much that is odd about it."""
    odd = {"status": "x" * 60, "slot_type": "y" * 60, "event_type": "z" * 60, "priority": "w" * 60}
    slots = [{"id": number, **odd} for number in range(1, 10_001)]
    return HttpResponse(200, body(call, *slots))


def many_values(call: Call) -> HttpResponse:
    """4 MiB of empty objects, which take 25 times as much once they are read."""
    return _filled(call, b'"more": [', b"{}", b"]")


def many_keys(call: Call) -> HttpResponse:
    """A slot with 100,000 fields."""
    fields: dict[str, object] = {f"k{number}": 0 for number in range(100_000)}
    return HttpResponse(200, body(call, slot(1, **fields)))


def many_agents(call: Call) -> HttpResponse:
    """Schedules of 50,000 agents that nobody knows; elsewhere, as many fields."""
    others: dict[str, object] = {f"agent{number}": [{"id": 1}] for number in range(50_000)}
    if call.kind == "sync":
        return HttpResponse(200, json.dumps({"full": True, "schedules": others}).encode())
    return HttpResponse(200, body(call, slot(), **others))


def large(call: Call) -> HttpResponse:
    """One text of just under 4 MiB, of which one sign needs four bytes."""
    begin = body(call, slot())[:-1] + ', "message": "\U0001f600'.encode()
    return HttpResponse(200, begin + b"a" * (_LIMIT - len(begin) - 2) + b'"}')


def long_text(call: Call) -> HttpResponse:
    """300,000 characters in every text."""
    text = "long " * (_LONG // 5)
    words = dict.fromkeys(("slot_type", "event_type", "scheduled_at", "started_at", "date"), text)
    job = slot(1, priority=90, event_type="job", event_data={"type": text, "code": text})
    other = {"id": 2, "status": text, **words}
    return HttpResponse(200, body(call, job, other, {"virtual_id": text}, agent_status=text))


def long_detail(_: Call) -> HttpResponse:
    """An error of 1 MB."""
    return HttpResponse(500, json.dumps({"detail": "long " * 200_000}).encode())


def duplicate_keys(call: Call) -> HttpResponse:
    """Each key of a slot twice, and the list of slots as well."""
    good = body(call, slot(7))
    return HttpResponse(200, b'{"slots": 5, "id": 6, "schedules": 5, ' + good[1:])


def nan(call: Call) -> HttpResponse:
    """NaN and infinities, which JSON does not have."""
    numbers = b'"priority": NaN, "estimated_duration": -Infinity'
    return HttpResponse(200, body(call, slot())[:-1] + b', "more": {' + numbers + b"}}")


def huge_float(call: Call) -> HttpResponse:
    """A number that only JSON can hold."""
    return HttpResponse(200, body(call, slot())[:-1] + b', "more": 1e999}')


def huge_int(call: Call) -> HttpResponse:
    """A number of 5,000 digits."""
    return HttpResponse(200, body(call, slot())[:-1] + b', "more": ' + b"9" * 5000 + b"}")


def large_ints(call: Call) -> HttpResponse:
    """Numbers of 4,000 digits wherever a number may stand."""
    number = int("9" * 4000)
    fields = ("estimated_duration", "actual_duration", "plan_id", "user_id", "special_slot_id")
    data = {"type": number, "code": number}
    first = slot(1, priority=90, event_type="job", event_data=data, **dict.fromkeys(fields, number))
    return HttpResponse(200, body(call, first, slot(2, priority=-number), {**slot(), "id": number}))


def large_ids(call: Call) -> HttpResponse:
    """Ids at and beyond the limits of 64 bits."""
    ids = [2**63 - 1, 2**63, -1, 0, 1.5, True, 10**30]
    return HttpResponse(200, body(call, *({**slot(), "id": number} for number in ids)))


def new_ids(call: Call) -> HttpResponse:
    """One slot under another virtual id in each answer."""
    ident = f"plan-{time.monotonic_ns()}"
    return HttpResponse(200, body(call, {**slot(1), "virtual_id": ident}))


def wrong_types(call: Call) -> HttpResponse:
    """A value of a wrong type in every place of a slot, and slots that are none."""
    names = (
        *("virtual_id", "status", "priority", "slot_type", "event_type", "event_data", "date"),
        *("scheduled_at", "started_at", "estimated_duration", "plan_id"),
    )
    values: list[object] = [[], {}, "", "x", -1, 0.5, True, None, [[{}]]]
    odd = [{**slot(2 + n), **dict.fromkeys(names, v)} for n, v in enumerate(values)]
    return HttpResponse(200, body(call, slot(), *values, *odd, agent_status=[{}]))


def odd_dates(call: Call) -> HttpResponse:
    """Dates and times that no calendar has."""
    dates = ["2026-99-99", "0000-00-00", "9999-12-31", "2026-02-30", "-1", "9" * 50]
    slots = [
        slot(n, priority=90 - n, date=text, plan_id=n, scheduled_at="99:99:99", started_at=text)
        for n, text in enumerate(dates, 1)
    ]
    return HttpResponse(200, body(call, *slots[number(call) % len(slots) :], *slots))


SIZE_TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        *(deep, deep_slot, deep_detail, many_slots, odd_slots, many_values, many_keys),
        *(many_agents, large, long_text, long_detail, duplicate_keys, nan, huge_float),
        *(huge_int, large_ints, large_ids, new_ids, wrong_types, odd_dates),
    )
}
