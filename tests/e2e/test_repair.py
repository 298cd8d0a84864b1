"""`hfcal queue` and `forget`: what a person fixes by hand."""

from __future__ import annotations

import fcntl

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import Backend


@pytest.fixture
def refusing(make_backend: MakeBackend) -> Backend:
    """A backend that refuses one end for good."""
    return make_backend(
        agents=["developer", "operator"],
        slots=[{"agent": "developer", "id": 4}, {"agent": "operator", "id": 5}],
    )


def refused(backend: Backend, make_host: MakeHost) -> Host:
    """A host whose agent developer was refused the end of slot 4."""
    host = make_host(backend, "developer", "operator")
    host.tick()
    backend.fault(path="update", status=422, count=1)
    assert host.run("complete", "--agent", "developer").code == 1
    return host


def test_a_refused_end_is_listed_and_sent_again_by_hand(
    refusing: Backend, make_host: MakeHost
) -> None:
    """The person who fixed the backend says retry; the next tick delivers."""
    host = refused(refusing, make_host)
    listed = host.ok("queue", "list", "--json").json
    assert [(r["agent_id"], r["ident"], r["status"]) for r in listed["refused"]] == [
        ("developer", "4", "finished")
    ]
    assert "finished" in host.ok("queue", "list").stdout
    assert host.ok("queue", "list", "--agent", "operator", "--json").json["refused"] == []
    done = host.ok("queue", "retry", "4", "--yes", "--json").json["done"]
    assert done == [{"agent_id": "developer", "ident": "4", "updates": ["finished"]}]
    (entry,) = host.status()["history"]
    assert entry["outcome"] == "queued"
    assert host.tick().code == 0
    assert refusing.slot(4)["status"] == "finished"
    status = host.status()
    assert (status["queued"], status["refused"]) == ([], [])
    assert status["history"][0]["outcome"] == "delivered"


def test_what_waits_goes_at_once_after_retry(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """After a 503 a tick waits; by hand it doesn't."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", status=503, count=1, retry_after=3000)
    host.ok("complete")
    host.tick()
    assert backend.slot(4)["status"] == "ongoing"
    assert (
        "retrying finished of slot 4 of agent developer"
        in host.ok("queue", "retry", "4", "-y").stdout
    )
    host.tick()
    assert backend.slot(4)["status"] == "finished"


def test_dropped_is_never_sent(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Neither what waits nor what was refused; the slot isn't dispatched again."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.away()
    host.ok("complete")
    host.ok("queue", "drop", "4", "--yes")
    backend.well()
    assert host.tick().code == 0
    assert backend.told() == [("4", "ongoing")]
    (entry,) = host.status()["history"]
    assert (entry["outcome"], entry["reason"]) == ("local", "dropped by hand")


def test_a_dropped_ongoing_is_led_by_another(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The first update of a slot is always `ongoing`, whatever a person dropped."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    backend.fault(path="update", status=503, count=1)
    host.tick()
    assert [u["status"] for u in host.status()["queued"]] == ["ongoing"]
    host.ok("queue", "drop", "4", "--yes")
    host.ok("complete")
    host.tick()
    assert backend.told() == [("4", "ongoing"), ("4", "finished")]


def test_nothing_is_done_without_a_yes(refusing: Backend, make_host: MakeHost) -> None:
    """Not on a terminal `--yes` is needed; on one it asks, and no is no."""
    host = refused(refusing, make_host)
    forget = ("forget", "developer", "--drop")
    for words in (("queue", "drop", "4"), ("queue", "retry", "4"), forget):
        assert host.run(*words).code == 2
    with host.terminal("queue", "drop", "4", columns=100) as terminal:
        terminal.shows("Drop finished of slot 4 of agent developer: the backend is never told?")
        terminal.type(b"n\n")
        assert terminal.end() == 1
    with host.terminal("queue", "drop", "4") as terminal:
        terminal.shows("?")
        terminal.type(b"\x04")
        assert terminal.end() == 1
    assert "nothing was changed" in terminal.text
    assert len(host.status()["refused"]) == 1
    with host.terminal("queue", "drop", "4") as terminal:
        terminal.shows("?")
        terminal.type(b"y\n")
        assert terminal.end() == 0
    assert host.status()["refused"] == []


def test_what_is_not_there_or_in_use_is_told(refusing: Backend, make_host: MakeHost) -> None:
    """An unknown slot or agent, and an agent that another hfcal is at."""
    host = refused(refusing, make_host)
    for words, kind in (
        (("queue", "drop", "77", "--yes"), "not_queued"),
        (("queue", "drop", "4", "--yes", "--agent", "operator"), "not_queued"),
        (("forget", "nobody", "--yes"), "unknown_agent"),
    ):
        done = host.run(*words, "--json")
        assert (done.code, done.error["kind"]) == (1, kind)
    lock = host.state.with_name("state.json.locks") / "agent-developer.lock"
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = host.run("queue", "drop", "4", "--yes", "--json")
    assert (done.code, done.error["kind"]) == (6, "locked")
    assert len(host.status()["refused"]) == 1


def test_an_agent_with_something_to_lose_is_forgotten_only_with_drop(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A queued update or an active slot holds it back."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    done = host.run("forget", "developer", "--yes", "--json")
    assert (done.code, done.error["kind"]) == (1, "in_use")
    assert "slot 4 is ongoing" in done.error["message"]
    backend.away()
    host.ok("complete")
    assert "1 update not delivered yet" in host.run("forget", "developer", "--yes").stderr
    forgot = host.ok("forget", "developer", "--yes", "--drop", "--json").json
    assert forgot == {"forgotten": "developer", "lost": ["1 update not delivered yet"]}
    status = host.status()
    assert (status["queued"], status["last_heartbeats"]) == ([], {})
    (entry,) = status["history"]
    assert (entry["outcome"], entry["reason"]) == ("local", "dropped by hand")


def test_what_was_refused_is_forgotten_only_with_drop(
    refusing: Backend, make_host: MakeHost
) -> None:
    """It is shown until somebody drops it; a hold is named, and goes as well."""
    host = refused(refusing, make_host)
    host.ok("hold", "--agent", "developer")
    done = host.run("forget", "developer", "--yes", "--json")
    assert (done.code, done.error["kind"]) == (1, "in_use")
    assert "1 update refused" in done.error["message"]
    with host.terminal("forget", "developer", "--drop", columns=200) as terminal:
        terminal.shows("losing: it is held, 1 update refused by the backend?")
        terminal.type(b"y\n")
        assert terminal.end() == 0
    assert host.status()["refused"] == []


@pytest.mark.promise_2
@pytest.mark.parametrize("words", [("queue", "drop", "4"), ("forget", "developer", "--drop")])
def test_what_an_agent_says_while_a_person_is_asked_is_not_lost(
    words: tuple[str, ...], make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Only what the person was shown is dropped."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    host = make_host(backend)
    host.tick()
    backend.away()
    host.ok("pause")
    with host.terminal(*words, columns=200) as terminal:
        terminal.shows("?")
        host.ok("complete")
        terminal.type(b"y\n")
        terminal.end()
    assert "finished" in [update["status"] for update in host.status()["queued"]]
    backend.well()
    host.tick()
    assert backend.slot(4)["status"] == "finished"


def test_the_same_refusal_again_is_said_once(refusing: Backend, make_host: MakeHost) -> None:
    """However often a person retries."""
    host = refused(refusing, make_host)
    refusing.fault(path="update", status=422, count=0)
    reason = host.status()["history"][0]["reason"]
    for _ in range(2):
        host.ok("queue", "retry", "4", "--yes")
        host.tick()
    assert host.status()["history"][0]["reason"] == reason


def test_tab_completes_what_the_state_knows(refusing: Backend, make_host: MakeHost) -> None:
    """Agents, active slots and queued ones, one a line; nothing without a state."""
    host = make_host(refusing, "developer", "operator")
    assert host.ok("_complete", "agents").stdout == ""
    refused(refusing, lambda *_, **__: host)
    assert host.ok("_complete", "agents").stdout.split() == ["developer", "operator"]
    assert host.ok("_complete", "active").stdout.split() == ["5"]
    assert host.ok("_complete", "queued").stdout.split() == ["4"]
    assert host.ok("_complete", "active", "--agent=developer").stdout == ""
    assert host.ok("_complete", "active", "--agent=operator").stdout.split() == ["5"]
    assert host.ok("_complete", "queued", "--agent=developer").stdout.split() == ["4"]
    assert host.ok("_complete", "queued", "--agent=operator").stdout == ""
    assert len(host.ok("_complete", "agents", "--agent=operator").stdout.split()) == 2
    assert "_complete" not in host.ok("--help").stdout


def test_a_hold_is_forgotten_only_with_drop(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Or the next tick would wake an agent that a person has held."""
    host = make_host(make_backend())
    host.ok("hold", "--agent", "developer")
    refusal = host.run("forget", "developer", "--yes", "--state", str(host.state))
    assert refusal.code == 1
    fix = f"hfcal forget --drop --state {host.state} developer"
    assert f"it is held; lose that with: {fix}" in refusal.stderr
    assert host.status()["held"]
    host.ok("forget", "developer", "--drop", "--yes")
    assert host.status()["held"] == []


def test_what_is_asked_says_what_will_be_done(refusing: Backend, make_host: MakeHost) -> None:
    """Before it is done, and in words that no agent's name can twist."""
    host = refused(refusing, make_host)
    for verb, then in (("drop", "the backend is never told"), ("retry", "the next tick sends")):
        asked = host.run("queue", verb, "4").stderr
        assert f"would {verb} finished of slot 4 of agent developer: {then}" in asked
