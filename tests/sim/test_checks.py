"""What the simulator refuses before its rules: paths, methods, keys, headers and bodies."""

import json

import pytest

from tests.sim.backend import Backend

HEARTBEAT = "/calendar/agent/heartbeat"
STATUS = "/calendar/agent/status"
UPDATE = "/calendar/slots/1/agent-update"
GOOD = {"claw_identifier": "sim", "agent_id": "dev"}
IDS = {"X-Agent-ID": "dev", "X-Claw-Identifier": "sim"}
JWT = "eyJhbGciOi.eyJzdWIi.c2ln"


@pytest.fixture(scope="module")
def backend():
    with Backend(slots=[{"agent": "dev", "id": 1}]) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    ["/", "/calendar", f"{HEARTBEAT}/", "/calendar/slots/1", "/_simulator", "/x?y=calendar/sync"],
)
def test_unknown_paths_are_404(backend, path):
    reply = backend.call("GET", path)
    assert (reply.status, reply.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", HEARTBEAT, "POST"),
        ("POST", UPDATE, "PATCH"),
        ("PUT", "/calendar/slots/virtual/plan-1-2026-11-23/agent-update", "PATCH"),
        ("DELETE", STATUS, "GET, POST"),
        ("HEAD", "/calendar/sync", "GET"),
        ("OPTIONS", "/calendar/sync", "GET"),
    ],
)
def test_wrong_methods_are_405(backend, method, path, allowed):
    reply = backend.call(method, path)
    assert (reply.status, reply.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("method", "path", "body", "wanted"),
    [
        ("POST", HEARTBEAT, GOOD, {"X-Agent-ID", "X-Claw-Identifier"}),
        ("POST", STATUS, {**GOOD, "status": "busy"}, {"X-Agent-ID", "X-Claw-Identifier"}),
        ("GET", STATUS, None, {"X-Agent-ID", "X-Claw-Identifier"}),
        ("PATCH", UPDATE, {"status": "ongoing"}, {"X-Agent-ID", "X-Claw-Identifier"}),
        ("GET", "/calendar/sync?claw_identifier=sim", None, {"X-Claw-Identifier"}),
    ],
)
def test_missing_headers_are_422(backend, method, path, body, wanted):
    reply = backend.call(method, path, body, agent=None, claw=None)
    assert reply.errors == {("missing", "header", name) for name in wanted}
    assert all(error["msg"] == "Field required" for error in reply.detail)


def test_sync_needs_its_query(backend):
    reply = backend.call("GET", "/calendar/sync")
    assert reply.errors == {("missing", "query", "claw_identifier")}


@pytest.mark.parametrize("path", [HEARTBEAT, STATUS])
@pytest.mark.parametrize("name", ["agent_id", "claw_identifier"])
def test_headers_and_body_must_agree(backend, path, name):
    body = {**GOOD, name: "ops"} | ({"status": "busy"} if path == STATUS else {})
    assert backend.call("POST", path, body).errors == {("value_error", "body", name)}


def test_header_and_query_must_agree(backend):
    reply = backend.call("GET", "/calendar/sync?claw_identifier=other")
    assert reply.errors == {("value_error", "query", "claw_identifier")}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, ("missing", "body")),
        (b"{", ("json_invalid", "body")),
        (b'{"status": NaN}', ("json_invalid", "body")),
        (b"[" * 100_000, ("json_invalid", "body")),
        (b"\xff\xfe\xfa", ("json_invalid", "body")),
        (b"[]", ("dict_type", "body")),
    ],
)
def test_bodies_must_be_json_objects(backend, body, error):
    reply = backend.raw("PATCH", UPDATE, body, {**IDS, "Content-Type": "application/json"})
    assert error in reply.errors


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_bodies_must_be_declared_as_json(backend, content_type):
    headers = IDS | ({"Content-Type": content_type} if content_type else {})
    reply = backend.raw("POST", HEARTBEAT, json.dumps(GOOD).encode(), headers)
    assert ("content_type", "header", "Content-Type") in reply.errors


def test_a_charset_beside_the_content_type_is_fine(backend):
    headers = {**IDS, "Content-Type": "application/json; charset=utf-8"}
    assert backend.raw("POST", HEARTBEAT, json.dumps(GOOD).encode(), headers).status == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, ("missing", "body", "status")),
        ({"status": None}, ("enum", "body", "status")),
        ({"status": "Ongoing"}, ("enum", "body", "status")),
        ({"status": "NotStarted"}, ("enum", "body", "status")),
        ({"status": "not-started"}, ("enum", "body", "status")),
        ({"status": "done"}, ("enum", "body", "status")),
        ({"status": ["ongoing"]}, ("enum", "body", "status")),
        ({"status": "ongoing", "started_at": "9:00"}, ("time_parsing", "body", "started_at")),
        ({"status": "ongoing", "started_at": "24:00"}, ("time_parsing", "body", "started_at")),
        ({"status": "ongoing", "started_at": "09:00:60"}, ("time_parsing", "body", "started_at")),
        ({"status": "ongoing", "started_at": "09:00:00Z"}, ("time_parsing", "body", "started_at")),
        ({"status": "ongoing", "started_at": "09:00\n"}, ("time_parsing", "body", "started_at")),
        ({"status": "ongoing", "started_at": 900}, ("time_parsing", "body", "started_at")),
        ({"status": "finished", "actual_duration": 0}, ("int_range", "body", "actual_duration")),
        ({"status": "finished", "actual_duration": 1441}, ("int_range", "body", "actual_duration")),
        ({"status": "finished", "actual_duration": 1.5}, ("int_range", "body", "actual_duration")),
        ({"status": "finished", "actual_duration": "5"}, ("int_range", "body", "actual_duration")),
        ({"status": "finished", "actual_duration": True}, ("int_range", "body", "actual_duration")),
        ({"status": "ongoing", "priority": 99}, ("extra_forbidden", "body", "priority")),
    ],
)
def test_updates_that_do_not_validate_are_422(backend, body, error):
    assert backend.call("PATCH", UPDATE, body).errors == {error}
    assert backend.slot(1)["status"] == "not_started"


def test_nulls_and_bounds_of_an_update_are_taken():
    slots = [{"agent": "dev", "id": 1}, {"agent": "dev", "id": 2}]
    with Backend(slots=slots) as backend:
        reply = backend.update(1, "ongoing", started_at=None, actual_duration=None)
        assert reply.status == 200
        assert backend.update(1, "finished", actual_duration=1440).status == 200
        assert backend.update(2, "finished", started_at="23:59:59", actual_duration=1).status == 200


@pytest.mark.parametrize("status", ["Busy", "on-call", "away", None, 1])
def test_agent_status_words_are_snake_case(backend, status):
    reply = backend.call("POST", STATUS, {**GOOD, "status": status})
    assert reply.errors == {("enum", "body", "status")}


def test_missing_and_mistyped_body_fields_are_all_named(backend):
    reply = backend.call("POST", STATUS, {"agent_id": 5})
    assert reply.errors == {
        ("string_type", "body", "agent_id"),
        ("missing", "body", "claw_identifier"),
        ("missing", "body", "status"),
    }


@pytest.mark.parametrize("ident", ["abc", "1.0", "-1", "virtual", "%31x", "9" * 20])
def test_ids_in_paths_are_numbers(backend, ident):
    path = f"/calendar/slots/{ident}/agent-update"
    reply = backend.call("PATCH", path, {"status": "ongoing"})
    assert reply.errors == {("int_parsing", "path", "slot_id")}


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("s3cret", {"X-API-Key": "s3cret"}, {"Authorization": "Bearer s3cret"}),
        ("eyJ.nodots", {"X-API-Key": "eyJ.nodots"}, {"Authorization": "Bearer eyJ.nodots"}),
        (JWT, {"Authorization": f"Bearer {JWT}"}, {"X-API-Key": JWT}),
    ],
)
def test_a_key_is_asked_for_in_the_header_of_its_shape(key, right, wrong):
    with Backend(api_key=key) as backend:
        for headers in ({}, wrong, {name: f"{value}x" for name, value in right.items()}):
            backend.key_headers = headers
            assert backend.heartbeat().status == 401
            assert backend.sync().status == 401
        backend.key_headers = {}
        assert backend.control("GET", "state")["agents"][0]["last_heartbeat"] is None
        backend.key_headers = right
        assert backend.heartbeat().status == 200
