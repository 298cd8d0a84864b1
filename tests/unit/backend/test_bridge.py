"""hfcal.backend.bridge: its calls, and every fault as a documented kind with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from hfcal.backend.bridge import Bridge
from hfcal.core.protocol import AgentStatus, SlotStatus
from hfcal.errors import BridgeError, Fault
from hfcal.sim.scenario import parse_scenario
from hfcal.sim.server import Simulator
from tests.rig.backend import free_port
from tests.rig.raw_server import RawRequest, RawServer, answering, raw_answer
from tests.unit.support import TODAY, ref

PLAN = f"plan-7-{TODAY}"
KEY = "s3cret-key"
JWT = "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl"
ONGOING = {"status": "ongoing", "started_at": "09:00:00"}
CALLS = {
    "heartbeat": lambda bridge: bridge.heartbeat("dev"),
    "update": lambda bridge: bridge.update("dev", ref(12), ONGOING),
    "status": lambda bridge: bridge.post_status("dev", "busy"),
    "sync": lambda bridge: bridge.sync(),
}
every_call = pytest.mark.parametrize("call", CALLS)


@contextmanager
def backend(
    claw: str = "sim", key: str = "", **scenario: Any
) -> Iterator[tuple[Simulator, Bridge]]:
    """A simulated backend with the slots 12 and PLAN of agent dev, and a bridge to it."""
    slots = [{"agent": "dev", "id": 12, "priority": 80}, {"agent": "dev", "plan_id": 7}]
    document = {
        "agents": ["dev", {"id": "stranger", "bound": False}],
        "now": f"{TODAY}T09:00:00Z",
        "slots": slots,
        **scenario,
    }
    with Simulator(parse_scenario(document)) as simulator:
        bridge = Bridge(simulator.url, claw, api_key=key, timeout=5)
        try:
            yield simulator, bridge
        finally:
            bridge.close()


@contextmanager
def bridge_to(url: str, key: str = "", timeout: float = 5) -> Iterator[Bridge]:
    """A bridge to this URL."""
    bridge = Bridge(url, "sim", api_key=key, timeout=timeout)
    try:
        yield bridge
    finally:
        bridge.close()


def fault_of(call: str, bridge: Bridge) -> Fault:
    """How this call fails."""
    with pytest.raises(BridgeError) as caught:
        CALLS[call](bridge)
    fault = caught.value.fault
    assert fault.message.isprintable()
    assert fault.message
    return fault


def fault_by(call: str, **fault: Any) -> Fault:
    """How this call fails when the backend does this with it."""
    with backend(faults=[{"path": call, **fault}]) as (_, bridge):
        return fault_of(call, bridge)


def fault_from(call: str, answer: bytes, key: str = "") -> Fault:
    """How this call fails when it is answered so."""
    with RawServer(answering(answer)) as server, bridge_to(server.url, key) as bridge:
        return fault_of(call, bridge)


# What is asked and answered


def test_a_heartbeat_lists_the_agents_pending_slots():
    """Real and virtual ones, the highest priority first, with the agent's status."""
    with backend() as (simulator, bridge):
        heartbeat = bridge.heartbeat("dev")
        _, entry = simulator.journal.since(0)[0]
    assert [(s.ident, s.status) for s in heartbeat.slots] == [
        ("12", SlotStatus.NOT_STARTED),
        (PLAN, SlotStatus.NOT_STARTED),
    ]
    assert heartbeat.agent_status is AgentStatus.IDLE
    assert heartbeat.problems == ()
    assert (entry.agent, entry.claw) == ("dev", "sim")
    assert entry.body == {"claw_identifier": "sim", "agent_id": "dev"}


@pytest.mark.parametrize("casing", ["pascal", "kebab", "upper"])
def test_a_backend_may_write_its_words_in_any_casing(casing):
    """Nothing is lost on a backend that writes NotStarted."""
    with backend(switches={"casing": casing}) as (_, bridge):
        heartbeat = bridge.heartbeat("dev")
    assert {s.status for s in heartbeat.slots} == {SlotStatus.NOT_STARTED}
    assert heartbeat.agent_status is AgentStatus.IDLE
    assert heartbeat.problems == ()


def test_updates_are_sent_to_the_real_id_or_else_the_virtual_one():
    """Once a real id is known, the newest counts, and the virtual one is not used."""
    with backend() as (simulator, bridge):
        real_id = bridge.update("dev", ref(PLAN), ONGOING)
        assert real_id is not None
        newest = ref(PLAN, 999, real_id)
        bridge.update("dev", newest, {"status": "finished", "actual_duration": 5})
        entries = [entry for _, entry in simulator.journal.since(0)]
    assert [entry.path for entry in entries] == [
        f"/calendar/slots/virtual/{PLAN}/agent-update",
        f"/calendar/slots/{real_id}/agent-update",
    ]
    assert entries[0].body == ONGOING
    assert [(e.before, e.after) for e in entries] == [
        ("not_started", "ongoing"),
        ("ongoing", "finished"),
    ]


@pytest.mark.parametrize("shape", ["slot", "wrapped", "slot_id", "ok", "empty"])
def test_the_real_id_is_taken_from_each_shape_of_the_answer(shape):
    """Where the answer doesn't tell it the update is accepted all the same."""
    with backend(switches={"virtual_answer": shape}) as (simulator, bridge):
        real_id = bridge.update("dev", ref(PLAN), ONGOING)
        made = simulator.journal.since(0)[0][1].slot_id
    assert real_id == (made if shape in {"slot", "wrapped", "slot_id"} else None)


@pytest.mark.promise_10
@pytest.mark.parametrize(
    ("ident", "path"),
    [
        ("a b/c?d#e%2f", "a%20b%2Fc%3Fd%23e%252f"),
        ("../../agent/status", "..%2F..%2Fagent%2Fstatus"),
        ("...", "..."),
        ("a;b=c&d", "a%3Bb%3Dc%26d"),
    ],
)
def test_an_odd_virtual_id_leads_to_no_other_endpoint(ident, path):
    """Whatever a backend calls a slot stays within its place in the path."""
    seen: list[RawRequest] = []
    serve = answering(raw_answer(), seen=seen)
    with RawServer(serve) as server, bridge_to(server.url) as bridge:
        bridge.update("dev", ref(ident), ONGOING)
    assert seen[0].line == f"PATCH /calendar/slots/virtual/{path}/agent-update HTTP/1.1"


def test_the_agent_status_is_posted():
    """The backend hears what the agent is doing."""
    with backend() as (_, bridge):
        bridge.post_status("dev", "busy")
        assert bridge.heartbeat("dev").agent_status is AgentStatus.BUSY


def test_a_sync_shows_the_schedules_of_all_agents():
    """Every agent of the claw with its slots, asked with the claw in query and header."""
    with backend(slots=[{"agent": "dev", "id": 5, "status": "ongoing"}]) as (simulator, bridge):
        schedules = bridge.sync()
        _, entry = simulator.journal.since(0)[0]
    assert [(s.ident, s.status) for s in schedules["dev"]] == [("5", SlotStatus.ONGOING)]
    assert (entry.claw, entry.agent) == ("sim", None)


def test_an_odd_claw_is_quoted():
    """A claw with characters of URLs asks for itself, not for something else."""
    seen: list[RawRequest] = []
    serve = answering(raw_answer(b'{"schedules": {}}'), seen=seen)
    with RawServer(serve) as server:
        bridge = Bridge(server.url, "a&b=c/d#e")
        assert bridge.sync() == {}
        bridge.close()
    assert seen[0].line.split()[1] == "/calendar/sync?claw_identifier=a%26b%3Dc%2Fd%23e"


# The key


@every_call
@pytest.mark.parametrize(
    ("key", "header"),
    [
        (JWT, ("authorization", f"Bearer {JWT}")),
        (KEY, ("x-api-key", KEY)),
        ("eyJ.two", ("x-api-key", "eyJ.two")),
        ("eyJ.a.b.c", ("x-api-key", "eyJ.a.b.c")),
        ("a.b.c", ("x-api-key", "a.b.c")),
        ("", None),
    ],
)
def test_the_key_is_sent_by_its_shape(call, key, header):
    """eyJ and two dots is a bearer token, any other key is an API key, no key is no header."""
    seen: list[RawRequest] = []
    answer = raw_answer(b'{"slots": [], "schedules": {}}')
    with RawServer(answering(answer, seen=seen)) as server, bridge_to(server.url, key) as bridge:
        CALLS[call](bridge)
    sent = {k: v for k, v in seen[0].headers.items() if k in {"authorization", "x-api-key"}}
    assert sent == (dict([header]) if header else {})


@pytest.mark.parametrize("key", [KEY, JWT])
def test_a_backend_behind_a_key_lets_the_right_one_in(key):
    """The simulator checks both shapes like the deployments do."""
    with backend(api_key=key, key=key) as (_, bridge):
        assert len(bridge.heartbeat("dev").slots) == 2


# Faults


@every_call
def test_a_refused_connection_names_the_url(call):
    """Nobody listens: unreachable, and surely not done."""
    url = f"http://127.0.0.1:{free_port()}"
    with bridge_to(url) as bridge:
        fault = fault_of(call, bridge)
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("unreachable", None, False)
    assert url in fault.message


@every_call
@pytest.mark.parametrize("action", ["drop_before", "drop_after"])
def test_a_lost_answer_may_have_taken_effect(call, action):
    """The connection was closed without an answer: unreachable, perhaps done."""
    fault = fault_by(call, **{action: True})
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("unreachable", None, True)


@every_call
def test_no_answer_in_time_is_a_timeout(call):
    """A backend that hangs: timeout, perhaps done."""
    with backend(faults=[{"path": call, "hang": 60}]) as (simulator, bridge):
        bridge.timeout = 0.2
        fault = fault_of(call, bridge)
        assert simulator.url in fault.message
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("timeout", None, True)


@pytest.mark.parametrize(
    ("agent_id", "claw"), [("stranger", "sim"), ("nobody", "sim"), ("dev", "x")]
)
def test_an_agent_that_is_not_bound_names_the_command_that_binds_it(agent_id, claw):
    """404 on a heartbeat: the message names agent, claw, backend and hf user bind-agent."""
    with backend(claw=claw) as (simulator, bridge):
        with pytest.raises(BridgeError) as caught:
            bridge.heartbeat(agent_id)
        fault = caught.value.fault
        assert simulator.url in fault.message
    assert (fault.kind, fault.http_status) == ("not_bound", 404)
    assert "hf user bind-agent" in fault.message
    assert f"agent {agent_id}" in fault.message
    assert f"claw {claw}" in fault.message


@every_call
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_names_the_settings(call, status):
    """unauthorized is told apart and says where a key is set."""
    fault = fault_by(call, status=status)
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("unauthorized", status, False)
    assert all(word in fault.message for word in ("api_key", "api_key_file", "HFCAL_API_KEY"))


@every_call
@pytest.mark.parametrize("key", ["", "wrong", JWT])
def test_the_backends_401_is_unauthorized(call, key):
    """No key, a wrong one, or one of the other shape."""
    with backend(api_key=KEY, key=key) as (_, bridge):
        assert fault_of(call, bridge).kind == "unauthorized"


@every_call
@pytest.mark.parametrize("status", [400, 404, 405, 408, 409, 422, 423, 429])
def test_other_4xx_are_rejections_with_what_the_backend_says(call, status):
    """The backend's own words are in the message; it did nothing."""
    if call == "heartbeat" and status == 404:
        return
    fault = fault_by(call, status=status)
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("rejected", status, False)
    assert str(status) in fault.message
    assert "Fault on demand" in fault.message


@every_call
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_5xx_are_server_errors_that_may_have_taken_effect(call, status):
    """A server that fails may have done it before."""
    fault = fault_by(call, status=status)
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("server_error", status, True)


@every_call
@pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
def test_a_redirect_is_a_bad_response_that_says_what_to_set(call, status):
    """hfcal follows none: the message tells the target and the setting."""
    fault = fault_from(call, raw_answer(b"", f"{status} Moved", Location="https://new.example/x"))
    assert (fault.kind, fault.http_status) == ("bad_response", status)
    assert "https://new.example/x" in fault.message
    assert "backend_url" in fault.message


@pytest.mark.parametrize("call", ["heartbeat", "sync", "update"])
@pytest.mark.parametrize(
    "body", ["<html>log in</html>", "{", '{"slots": NaN}', "[" * 10_000, '{"slots": 1e999}']
)
def test_an_answer_that_is_no_json_is_a_bad_response(call, body):
    """A 200 of a proxy's log-in page is no success; it may have been done."""
    fault = fault_by(call, body=body)
    assert (fault.kind, fault.http_status, fault.maybe_done) == ("bad_response", 200, True)
    assert len(fault.message) < 300


@pytest.mark.parametrize("call", ["heartbeat", "sync"])
@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"slots": 5, "schedules": 5}', '"ok"'])
def test_json_of_another_shape_is_a_bad_response_that_says_what_was_expected(call, body):
    """An object with slots, or with schedules, is what these calls answer."""
    fault = fault_by(call, body=body)
    assert fault.kind == "bad_response"
    assert "can't be read" in fault.message


@pytest.mark.parametrize("body", ["", "  \n", "null", "[]", "{}", '{"ok": true}', '{"slot": []}'])
def test_an_accepted_update_needs_no_words(body):
    """A 2xx with no body, or JSON that doesn't tell the id, is an acceptance."""
    with backend(faults=[{"path": "update", "body": body}]) as (_, bridge):
        assert bridge.update("dev", ref(PLAN), ONGOING) is None


@every_call
@pytest.mark.parametrize(("text", "seconds"), [(0, 0.0), (7, 7.0), (86400, 86400.0)])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read(call, text, seconds, status):
    """Seconds, as the backend asks."""
    assert fault_by(call, status=status, retry_after=text).retry_after == seconds


@pytest.mark.parametrize(
    "text", ["soon", "-5", "1.5", "9" * 30, "", "\u0663", "Mon, 99 Nov 2026 09:00:00 GMT"]
)
def test_an_odd_retry_after_is_survived(text):
    """What can't be read as seconds leaves the usual pause."""
    answer = raw_answer(b"{}", "503 Busy").replace(
        b"\r\n\r\n", b"\r\nRetry-After: " + text.encode() + b"\r\n\r\n"
    )
    assert fault_from("update", answer).retry_after is None


@pytest.mark.parametrize(("ahead", "least", "most"), [(120, 100, 121), (-120, 0, 0)])
def test_retry_after_may_be_a_date(ahead, least, most):
    """HTTP has two forms for it; a date that has passed asks for no pause."""
    moment = datetime.now(UTC) + timedelta(seconds=ahead)
    fault = fault_by("update", status=503, retry_after=format_datetime(moment, usegmt=True))
    assert fault.retry_after is not None
    assert least <= fault.retry_after <= most


@pytest.mark.promise_10
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"detail": "no such slot"}', "(no such slot)"),
        (b'{"detail": "a\\u001b[2J\\nb\\u202e"}', "(a [2J b)"),
        (
            b'{"detail": [{"loc": ["body", "status"], "msg": "not a status", "type": "enum"}]}',
            "(body.status: not a status)",
        ),
        (b'{"detail": [{"msg": "odd"}, 5, null, {"loc": 7, "msg": "x"}]}', "(: odd)"),
        (b'{"detail": []}', ""),
        (b'{"detail": {"a": 1}}', ""),
        (b'{"error": "x"}', ""),
        (b"<html>", ""),
        (b"[1]", ""),
        (b"", ""),
    ],
)
def test_what_the_backend_says_is_told_on_one_safe_line(body, said):
    """FastAPI's errors, of both shapes, are shown; anything else is survived."""
    fault = fault_from("update", raw_answer(body, "422 Unprocessable"))
    assert fault.message.endswith(f"422 {said}".rstrip())


@pytest.mark.promise_10
def test_a_backend_that_talks_too_much_is_cut_short():
    """A message fits a log line."""
    body = b'{"detail": "' + b"x" * 100_000 + b'"}'
    assert len(fault_from("update", raw_answer(body, "422 Unprocessable")).message) < 400


@pytest.mark.promise_9
@every_call
@pytest.mark.parametrize("status", [401, 422, 500])
@pytest.mark.parametrize("key", [KEY, JWT])
def test_a_backend_that_repeats_the_key_gets_it_into_no_message(call, status, key):
    """Secrets are in no error, also if the server says them."""
    body = f'{{"detail": "bad key {key} given"}}'.encode()
    fault = fault_from(call, raw_answer(body, f"{status} No"), key)
    assert key not in fault.message


@pytest.mark.promise_9
@pytest.mark.parametrize("before", [185, 190, 195, 199])
def test_nor_does_a_part_of_it_where_a_message_is_cut(before):
    """A key that stands where a long answer is cut off isn't shown in part."""
    body = f'{{"detail": "{"x" * before}{JWT}"}}'.encode()
    assert "xeyJ" not in fault_from("update", raw_answer(body, "422 No"), JWT).message


@pytest.mark.promise_9
@pytest.mark.parametrize("key", [KEY, JWT])
def test_a_redirect_that_repeats_the_key_gets_it_into_no_message(key):
    """A Location with the key in it is no exception."""
    answer = raw_answer(b"", "302 Found", Location=f"https://new.example/?key={key}")
    assert key not in fault_from("heartbeat", answer, key).message


@pytest.mark.parametrize(("sync", "status"), [("absent", 404), ("unauthorized", 401)])
def test_a_backend_without_sync_is_told_by_its_status(sync, status):
    """Whoever asks can remember that there is none."""
    with backend(switches={"sync": sync}) as (_, bridge):
        assert fault_of("sync", bridge).http_status == status


def test_an_older_backends_500_for_the_same_status_is_a_server_error():
    """busy to busy was an error for earlier clients; here it is a fault like any other."""
    with backend(switches={"older_backend": True}) as (_, bridge):
        bridge.post_status("dev", "busy")
        assert fault_of("status", bridge).kind == "server_error"


def test_a_bridge_goes_on_after_each_fault():
    """One failed exchange spoils no later one."""
    faults = [{"path": "heartbeat", key: True} for key in ("drop_before", "drop_after")]
    faults += [{"path": "heartbeat", "status": 503}, {"path": "heartbeat", "body": "junk"}]
    with backend(faults=faults) as (_, bridge):
        for _ in faults:
            fault_of("heartbeat", bridge)
        assert len(bridge.heartbeat("dev").slots) == 2
