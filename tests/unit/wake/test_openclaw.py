"""hfcal.wake.openclaw: an OpenClaw gateway's hooks; against one that answers as a real one."""

import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from hfcal.config.settings import Settings
from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.errors import ConfigError
from hfcal.wake.adapter import WakeError
from hfcal.wake.exchange import DEFAULT_TIMEOUT, Exchange
from hfcal.wake.openclaw import OpenClawAdapter
from hfcal.wake.wakers import Wakers
from tests.rig.backend import free_port
from tests.rig.raw_server import RawRequest, RawServer, raw_answer, read_request

WAKE = Wake("key-1", "12", "calendar:12", "[calendar slot 12] grüße\nmore\n", {"slot_id": "12"})
TOKEN = "hooks-t0ken-0123456789"
ODD = "a/b\"c\\d{e}%20'$(f)#?&"


class Gateway(RawServer):
    """What a gateway does: auth, the three ways in, mappings by path, replay by key.

    Attributes:
        mappings: As in `hooks.mappings` of its config.
        agents: Whom it knows.
        answers: Given before it looks at a request, the first one first.
        seen: All requests.
        runs: What its agents got to read, by key.
    """

    def __init__(self) -> None:
        super().__init__(self._talk)
        self.mappings: list[dict[str, Any]] = []
        self.agents = {"main", "dev"}
        self.answers: list[bytes] = []
        self.seen: list[RawRequest] = []
        self.runs: dict[str, str] = {}
        self.seconds = 0.0

    def map(self, path: str, agent_id: str) -> None:
        """Add a mapping as the documentation has it."""
        self.mappings.append(
            {
                "id": f"hfcal-{agent_id}",
                "match": {"path": path},
                "action": "agent",
                "name": "hfcal",
                "messageTemplate": "{{message}}",
                "agentId": agent_id,
                "deliver": False,
                "allowUnsafeExternalContent": True,
            }
        )

    def _talk(self, connection: socket.socket) -> None:
        while (request := read_request(connection)) is not None:
            self.seen.append(request)
            self.stopping.wait(self.seconds)
            connection.sendall(self.answers.pop(0) if self.answers else self._answer(request))

    def _answer(self, request: RawRequest) -> bytes:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return raw_answer(b"Unauthorized", "401 Unauthorized", Content_Type="text/plain")
        hook = request.line.split(" ")[1].removeprefix("/hooks/")
        body = json.loads(request.body)
        if hook == "wake":
            return raw_answer(b'{"ok":true,"mode":"now","eventOutcome":"queued"}')
        if hook == "agent":
            return self._admit(body["agentId"], body["message"], request)
        for entry in self.mappings:
            if entry["match"]["path"] == hook:
                text = entry["messageTemplate"].replace("{{message}}", body["message"])
                return self._admit(entry["agentId"], text, request)
        return raw_answer(b"Not Found", "404 Not Found", Content_Type="text/plain")

    def _admit(self, agent_id: str, message: str, request: RawRequest) -> bytes:
        if agent_id not in self.agents:
            error = {"ok": False, "error": f'unknown agentId "{agent_id}"'}
            return raw_answer(json.dumps(error).encode(), "400 Bad Request")
        key = request.headers["idempotency-key"]
        self.runs.setdefault(key, message)
        return raw_answer(json.dumps({"ok": True, "runId": f"run-{key}"}).encode())


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds the hooks token."""
    monkeypatch.setenv("HOOKS_TOKEN", TOKEN)


pytestmark = pytest.mark.usefixtures("token")


def adapter(url: str, **table: Any) -> OpenClawAdapter:
    """An adapter as the config file makes it; None leaves a key out."""
    merged = {"url": url, "token_env": "HOOKS_TOKEN", "timeout": 10, **table}
    reader = WakeTable({k: v for k, v in merged.items() if v is not None}, "wake")
    made = OpenClawAdapter.from_table(reader)
    reader.end()
    return made


def wake(made: OpenClawAdapter, agent_id: str = "dev", given: Wake = WAKE) -> None:
    """One wake."""
    made.wake(agent_id, given, threading.Event())


def failure(made: OpenClawAdapter, agent_id: str = "dev") -> WakeError:
    """How a wake fails."""
    with pytest.raises(WakeError) as caught:
        wake(made, agent_id)
    assert str(caught.value).isprintable()
    assert TOKEN not in str(caught.value)
    return caught.value


def reason(made: OpenClawAdapter, agent_id: str = "dev") -> str:
    """Why a wake fails."""
    return str(failure(made, agent_id))


def answered(status: str, body: bytes, **headers: str) -> WakeError:
    """How a wake fails when the gateway answers this."""
    with Gateway() as gateway:
        gateway.answers = [raw_answer(body, status, **headers)]
        return failure(adapter(gateway.url))


# What is sent


def test_the_mapped_hook_is_the_default():
    """Its path has the agent's id; the message goes as it is, with token and key."""
    with Gateway() as gateway:
        gateway.map("hfcal/dev", "dev")
        wake(adapter(gateway.url))
        (request,) = gateway.seen
        assert gateway.runs == {"key-1": WAKE.message}
    assert request.line == "POST /hooks/hfcal/dev HTTP/1.1"
    assert json.loads(request.body) == {
        "message": WAKE.message,
        "name": "hfcal",
        "agent_id": "dev",
        "slot": "12",
        "source": "calendar:12",
    }
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["content-type"].startswith("application/json")


def test_hook_agent_sends_what_that_endpoint_takes():
    """An isolated run, delivered nowhere."""
    with Gateway() as gateway:
        wake(adapter(gateway.url, hook="agent"))
        (request,) = gateway.seen
    assert request.line == "POST /hooks/agent HTTP/1.1"
    expected = {"message": WAKE.message, "name": "hfcal", "agentId": "dev", "deliver": False}
    assert json.loads(request.body) == expected
    assert request.headers["idempotency-key"] == "key-1"


def test_hook_wake_sends_what_that_endpoint_takes():
    """A system event, at once."""
    with Gateway() as gateway:
        wake(adapter(gateway.url, hook="wake"))
        (request,) = gateway.seen
    assert request.line == "POST /hooks/wake HTTP/1.1"
    assert json.loads(request.body) == {"text": WAKE.message, "agentId": "dev", "mode": "now"}


@pytest.mark.parametrize(
    ("hook", "path"),
    [("calendar", "calendar"), ("x/{agent_id}/y", "x/dev/y"), ("a-{agent_id}", "a-dev")],
)
def test_another_hook_may_be_named(hook, path):
    """With the agent's id in it or without."""
    with Gateway() as gateway:
        gateway.map(path, "main")
        wake(adapter(gateway.url, hook=hook))
        assert gateway.seen[0].line == f"POST /hooks/{path} HTTP/1.1"
        assert json.loads(gateway.seen[0].body)["agent_id"] == "dev"


@pytest.mark.parametrize("end", ["", "/", "//"])
@pytest.mark.parametrize("prefix", ["", "/behind/proxy"])
def test_a_url_may_have_a_prefix_and_a_final_slash(prefix, end):
    """The hooks are below it."""
    with Gateway() as gateway:
        gateway.answers = [raw_answer(b'{"ok":true}')]
        wake(adapter(f"{gateway.url}{prefix}{end}"))
        assert gateway.seen[0].line == f"POST {prefix}/hooks/hfcal/dev HTTP/1.1"


@pytest.mark.parametrize("agent_id", ["a/b", "../x", ".../x", ODD, "~", "a%2Fb", "x" * 128])
def test_an_odd_agent_id_stays_one_part_of_the_path(agent_id):
    """Quoted, it reaches its own hook and no other."""
    with Gateway() as gateway:
        gateway.answers = [raw_answer(b'{"ok":true}')]
        wake(adapter(gateway.url), agent_id)
        path = gateway.seen[0].line.split(" ")[1]
        assert json.loads(gateway.seen[0].body)["agent_id"] == agent_id
    assert path.startswith("/hooks/hfcal/")
    rest = path.removeprefix("/hooks/hfcal/")
    assert "/" not in rest
    assert unquote(rest) == agent_id


@pytest.mark.parametrize("agent_id", [".", ".."])
def test_an_agent_id_that_would_leave_the_path_is_not_sent(agent_id):
    """Quoting leaves dots, and clients drop such parts."""
    with Gateway() as gateway:
        assert "hook" in reason(adapter(gateway.url), agent_id)
        assert not gateway.seen


def test_the_same_key_again_is_the_same_run():
    """A wake that is made again after a kill starts nothing new."""
    with Gateway() as gateway:
        gateway.map("hfcal/dev", "dev")
        for _ in range(2):
            wake(adapter(gateway.url))
        assert gateway.seen[0].body == gateway.seen[1].body
        assert list(gateway.runs) == ["key-1"]


# What comes back


def test_401_names_the_hooks_token(monkeypatch):
    """People take the gateway's."""
    monkeypatch.setenv("HOOKS_TOKEN", "gateway-token")
    with Gateway() as gateway:
        text = reason(adapter(gateway.url))
    assert "answered 401" in text
    assert "hooks.token" in text
    assert "gateway's token" in text
    assert "gateway-token" not in text


def as_json(text: str) -> Any:
    """JSON5 as OpenClaw's config has it: keys without quotes, a comma at the end."""

    def quoted(match: re.Match[str]) -> str:
        return match[0] if match[1] is None else f'"{match[1]}"'

    text = re.sub(r'"(?:[^"\\]|\\.)*"|([A-Za-z_]\w*)(?=\s*:)', quoted, text)
    return json.loads(re.sub(r",\s*([}\]])", r"\1", text))


@pytest.mark.parametrize("agent_id", ["main", "a/b", "..x", ODD, '"' * 128])
def test_a_404_prints_the_mapping_and_with_it_the_wake_goes_through(agent_id):
    """Pasted into the config as it is printed, whole, for that very agent."""
    with Gateway() as gateway:
        gateway.agents.add(agent_id)
        made = adapter(gateway.url)
        text = reason(made, agent_id)
        assert "answered 404" in text
        assert "hooks.mappings" in text
        gateway.mappings.append(as_json(text[text.index("{") :]))
        wake(made, agent_id)
        assert list(gateway.runs.values()) == [WAKE.message]
    (entry,) = gateway.mappings
    assert entry["agentId"] == agent_id
    assert entry["allowUnsafeExternalContent"] is True
    assert entry["deliver"] is False
    assert entry["action"] == "agent"


def test_the_mapping_of_a_hook_that_was_named_is_that_hooks():
    """Its path, not the default one."""
    with Gateway() as gateway:
        text = reason(adapter(gateway.url, hook="cal/{agent_id}/x"))
    assert as_json(text[text.index("{") :])["match"] == {"path": "cal/dev/x"}


@pytest.mark.parametrize("hook", ["agent", "wake"])
def test_a_404_of_a_hook_that_every_gateway_has_says_that_they_are_off(hook):
    """No mapping fixes that."""
    with Gateway() as gateway:
        gateway.answers = [raw_answer(b"Not Found", "404 Not Found")]
        text = reason(adapter(gateway.url, hook=hook))
    assert "hooks.enabled" in text
    assert "mappings" not in text


def test_400_tells_what_the_gateway_says():
    """Such as an agent that it does not know."""
    with Gateway() as gateway:
        text = reason(adapter(gateway.url, hook="agent"), "nobody")
    assert "answered 400" in text
    assert 'unknown agentId "nobody"' in text
    assert '"ok"' not in text


def test_429_waits_as_it_asks():
    """After 20 wrong tokens in a minute."""
    error = answered("429 Too Many Requests", b"Too Many Requests", Retry_After="42")
    assert error.retry_after == 42
    assert "429" in str(error)


@pytest.mark.parametrize("status", ["409 Conflict", "502 Bad Gateway", "503 Unavailable"])
def test_when_nothing_runs_it_is_tried_again(status):
    """The reason says so; a pause that is asked for is kept."""
    error = answered(status, b'{"ok":false,"error":"not admitted"}', Retry_After="7")
    assert f"answered {status[:3]}" in str(error)
    assert "not admitted" in str(error)
    assert "again" in str(error)
    assert error.retry_after == 7


@pytest.mark.parametrize(
    "body",
    [
        b'{"ok":false,"error":"no"}',
        b'{"ok":false}',
        b'{"ok":"true"}',
        b'{"ok":1}',
        b"{}",
        b"[]",
        b"true",
        b"",
        b"<!doctype html><title>Control</title>",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_200_without_an_ok_is_a_failed_wake(body):
    """A web page answers 200 to everything, and no agent has heard of it."""
    text = str(answered("200 OK", body))
    assert "answered 200" in text
    assert len(text) < 500


def test_a_redirect_is_not_followed():
    """The token goes nowhere else."""
    with Gateway() as other, Gateway() as gateway:
        gateway.answers = [raw_answer(b"", "302 Found", Location=f"{other.url}/hooks/agent")]
        assert "302" in reason(adapter(gateway.url))
        assert other.connections == 0


def test_admission_may_take_long():
    """A real gateway takes up to 15 s, and the default allows for it."""
    assert DEFAULT_TIMEOUT >= 20
    with Gateway() as gateway:
        gateway.map("hfcal/dev", "dev")
        gateway.seconds = 0.4
        wake(adapter(gateway.url))


def test_a_gateway_that_does_not_answer_in_time_may_have_it():
    """The next try has the same key, which the gateway knows."""
    with Gateway() as gateway:
        gateway.seconds = 20
        text = reason(adapter(gateway.url, timeout=0.3))
        gateway.stopping.set()
    assert "0.3 s" in text
    assert "same key" in text


def test_a_gateway_that_is_away_is_told():
    """By its address."""
    port = free_port()
    assert f"127.0.0.1:{port}" in reason(adapter(f"http://127.0.0.1:{port}"))


# The token


@pytest.mark.promise_9
@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("401 Unauthorized", f"wrong: {TOKEN}".encode()),
        ("400 Bad", json.dumps({"ok": False, "error": f"Bearer {TOKEN}"}).encode()),
        ("400 Bad", json.dumps({"sent": {"authorization": f"Bearer {TOKEN}"}}).encode()),
        ("500 Oops", b" " * 1990 + TOKEN.encode()),
        ("500 Oops", (TOKEN * 200).encode()),
        ("200 OK", f"<html>{TOKEN}</html>".encode()),
    ],
)
def test_a_token_that_is_echoed_is_masked(status, body):
    """Whole or cut."""
    assert "0ken-0123" not in str(answered(status, body))


@pytest.mark.promise_9
def test_a_long_token_that_is_echoed_often_is_masked(monkeypatch):
    """Also where the part of the answer that is read ends within it."""
    monkeypatch.setenv("HOOKS_TOKEN", "0123456789abcdef" * 60)
    with Gateway() as gateway:
        gateway.answers = [raw_answer(b"0123456789abcdef" * 240, "500 Oops")]
        assert "0123456789abcdef" not in reason(adapter(gateway.url))


@pytest.mark.parametrize("content", [TOKEN, f"{TOKEN}\n", f"{TOKEN}\r\n", f"  {TOKEN}  \n"])
def test_the_token_may_come_from_a_file(tmp_path, content):
    """A newline at its end, as every editor leaves one, is none of it."""
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8", newline="")
    with Gateway() as gateway:
        gateway.map("hfcal/dev", "dev")
        wake(adapter(gateway.url, token_env=None, token_file=str(file)))


@pytest.mark.parametrize(
    "content", [None, b"", b" \n", f"{TOKEN}\n{TOKEN}".encode(), b"\xff\xfe\0"]
)
def test_a_token_file_that_cannot_be_used_is_named(tmp_path, content):
    """And nothing is sent."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with Gateway() as gateway:
        assert str(file) in reason(adapter(gateway.url, token_env=None, token_file=str(file)))
        assert not gateway.seen


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_token_file_that_may_not_be_read_is_named(tmp_path):
    """With the reason."""
    file = tmp_path / "token"
    file.write_text(TOKEN, encoding="utf-8")
    file.chmod(0)
    text = reason(adapter("http://127.0.0.1:1", token_env=None, token_file=str(file)))
    assert str(file) in text
    assert "Permission denied" in text


def test_a_directory_is_no_token_file(tmp_path):
    """The reason names it."""
    text = reason(adapter("http://127.0.0.1:1", token_env=None, token_file=str(tmp_path)))
    assert str(tmp_path) in text


@pytest.mark.parametrize("value", [None, "", f"{TOKEN}\nX: y"])
def test_a_variable_without_a_token_is_named(monkeypatch, value):
    """And nothing is sent."""
    monkeypatch.delenv("HOOKS_TOKEN")
    if value is not None:
        monkeypatch.setenv("HOOKS_TOKEN", value)
    with Gateway() as gateway:
        assert "HOOKS_TOKEN" in reason(adapter(gateway.url))
        assert not gateway.seen


def test_blanks_around_a_token_do_not_show_it(monkeypatch):
    """They are left out, or told without it."""
    monkeypatch.setenv("HOOKS_TOKEN", f" {TOKEN} ")
    with Gateway() as gateway:
        gateway.answers = [raw_answer(b"", "401 Unauthorized")]
        reason(adapter(gateway.url))


# Its part of the config


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "token_file"),
        ({"token_file": "/a", "token_env": "A"}, "token_file"),
        ({"token_file": "relative"}, "token_file"),
        ({"token_file": ""}, "token_file"),
        ({"token_file": "~nobody-here/token"}, "token_file"),
        ({"token_env": ""}, "token_env"),
        ({"token_env": 5}, "token_env"),
        ({"token_env": f"{TOKEN}=="}, "token_env"),
        ({"token_env": f"{TOKEN}\n"}, "token_env"),
        ({"token_env": "A", "url": "127.0.0.1:18789"}, "url"),
        ({"token_env": "A", "url": f"http://me:{TOKEN}@h"}, "url"),
        ({"token_env": "A", "url": f"http://h/?token={TOKEN}"}, "url"),
        ({"token_env": "A", "url": f"http://h/#token={TOKEN}"}, "url"),
        ({"token_env": "A", "hook": ""}, "hook"),
        ({"token_env": "A", "hook": 5}, "hook"),
        ({"token_env": "A", "hook": "/a"}, "hook"),
        ({"token_env": "A", "hook": "a/"}, "hook"),
        ({"token_env": "A", "hook": "a//b"}, "hook"),
        ({"token_env": "A", "hook": "a/../b"}, "hook"),
        ({"token_env": "A", "hook": "a?b"}, "hook"),
        ({"token_env": "A", "hook": "a b"}, "hook"),
        ({"token_env": "A", "hook": "{agent}"}, "hook"),
        ({"token_env": "A", "hook": "http://h/hooks/x"}, "hook"),
        ({"token_env": "A", "timeout": 0}, "timeout"),
        ({"token_env": "A", "ca_file": "relative"}, "ca_file"),
    ],
)
def test_a_table_that_cannot_be_used_names_key_and_what_is_allowed(table, key):
    """A config error before anybody is woken, which shows no secret."""
    with pytest.raises(
        ConfigError, match=rf"wake\.{key} = .*allowed: |wake\.{key} = .*either"
    ) as caught:
        OpenClawAdapter.from_table(WakeTable(table, "wake"))
    assert TOKEN not in str(caught.value)


def test_a_token_written_out_is_refused_without_being_shown():
    """It is an unknown key, and the message says which one is meant."""
    with pytest.raises(ConfigError, match=r"wake\.token; did you mean token_") as caught:
        adapter("http://h", token=TOKEN)
    assert TOKEN not in str(caught.value)


def test_a_table_is_read():
    """A gateway on this host is the default."""
    made = OpenClawAdapter.from_table(WakeTable({"token_env": "A"}, "wake"))
    assert made.url == "http://127.0.0.1:18789"
    assert (made.hook, made.exchange) == ("hfcal/{agent_id}", Exchange(20.0, None))


def test_each_agent_may_have_a_gateway_of_its_own(tmp_path):
    """`[agent.<id>.wake]` instead of `[wake]`, whole."""
    with Gateway() as common, Gateway() as own:
        table = {"adapter": "openclaw", "token_env": "HOOKS_TOKEN"}
        settings = Settings(
            None,
            tmp_path / "state.json",
            agents=("dev", "main"),
            wake={**table, "url": common.url, "hook": "wake"},
            agent_wakes={"main": {**table, "url": own.url, "hook": "agent"}},
        )
        wakers = Wakers(settings, answer_on_stdout=False)
        for agent_id in ("dev", "main"):
            wakers.of(agent_id).wake(agent_id, WAKE, threading.Event())
        assert [json.loads(r.body).get("agentId") for r in common.seen] == ["dev"]
        assert [json.loads(r.body).get("agentId") for r in own.seen] == ["main"]
        assert own.seen[0].line == "POST /hooks/agent HTTP/1.1"


def test_a_bad_table_of_one_agent_is_named(tmp_path):
    """By where it stands in the file."""
    settings = Settings(
        None,
        Path(tmp_path / "state.json"),
        agents=("dev",),
        wake={"adapter": "print"},
        agent_wakes={"dev": {"adapter": "openclaw"}},
    )
    with pytest.raises(ConfigError, match=r"agent\.dev\.wake\.token_file"):
        Wakers(settings, answer_on_stdout=False)
