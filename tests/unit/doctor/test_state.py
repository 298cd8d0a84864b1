"""hfcal.doctor.state: what a real state file shows of ticks, agents and updates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hfcal.clock import now
from hfcal.config.settings import Settings
from hfcal.core.records import Active, Refusal, State, Update
from hfcal.doctor.finding import Finding, Host
from hfcal.doctor.state import check_state
from hfcal.errors import UnreadableConfigError
from hfcal.state.file import StateFile
from tests.unit.support import an_active, ref

Change = Callable[[State], None]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host whose agent a was asked a moment ago."""
    path = tmp_path / "state" / "state.json"
    settings = Settings(None, path, agents=("a",), sources={"agents": "file"})
    made = Host(settings, (), tmp_path / "config.toml", StateFile(path), ())

    def asked(state: State) -> None:
        state.configured = ["a"]
        state.agent("a").heartbeat = state.agent("a").good_heartbeat = now().wall

    change(made, asked)
    return made


def change(host: Host, how: Change) -> None:
    """Save a change."""
    with host.state_file.transaction() as state:
        how(state)


def found(host: Host, how: Change | None = None) -> dict[str, Finding]:
    """The findings by their codes, after a change."""
    if how is not None:
        change(host, how)
    return {finding.code: finding for finding in check_state(host)}


def waits(state: State, seconds: float, agent_id: str = "a") -> Update:
    """An end that waits since so many seconds."""
    update = Update(state.take_number(), ref(), "finished", now().wall - seconds)
    state.agent(agent_id).queue.append(update)
    return update


def refuse(state: State, status: str) -> None:
    """An update that was refused for good."""
    update = Update(state.take_number(), ref(), status, now().wall)
    state.agent("a").refused.append(Refusal(update, now().wall, "answered 422"))


def test_where_all_is_well_nothing_is_bad(host):
    """The state and its ticks are looked at."""
    checked = found(host)
    assert set(checked) == {"state", "tick"}
    assert not any(finding.bad for finding in checked.values())


def test_without_a_state_no_tick_has_run(host):
    """Unless the config can't be read: then it may well be elsewhere."""
    host.state_file.path.unlink()
    assert set(found(host)) == {"state-missing"}
    unread = replace(host, errors=(UnreadableConfigError("no"),))
    assert found(unread) == {}


@pytest.mark.parametrize(
    ("content", "fixed_by_a_tick"), [(b"{", True), (b'{"schema": 99, "agents": {}}', False)]
)
def test_a_state_that_cannot_be_used_is_an_error(host, content, fixed_by_a_tick):
    """A tick rebuilds a damaged one; one of a newer hfcal is a person's business."""
    host.state_file.path.write_bytes(content)
    (finding,) = found(host).values()
    assert (finding.code, finding.severity) == ("state-unusable", "error")
    assert (finding.fix == "hfcal tick") is fixed_by_a_tick


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_state_that_others_can_use_is_told_with_its_fix(host, mode):
    """Whichever way."""
    host.state_file.path.chmod(mode)
    finding = found(host)["state-readable"]
    assert finding.fix == f"chmod 600 {host.state_file.path}"
    assert f"({mode:04o})" in finding.message


def test_a_directory_that_others_can_write_to_is_told(host):
    """They could put another state there."""
    host.state_file.path.parent.chmod(0o777)
    assert found(host)["state-readable"].fix == f"chmod 700 {host.state_file.path.parent}"


@pytest.mark.parametrize(
    ("every", "since", "code"),
    [
        (30.0, 100, "tick"),
        (30.0, 150, "tick-late"),
        (3600.0, 7000, "tick"),
        (3600.0, 7300, "tick-late"),
    ],
)
def test_a_tick_is_late_after_120_s_or_twice_its_interval(host, every, since, code):
    """Whichever is more."""

    def late(state: State) -> None:
        state.heartbeat_every = every
        state.agent("a").heartbeat = now().wall - since

    assert {"tick", "tick-late"} & set(found(host, late)) == {code}


def test_an_agent_that_was_never_asked_is_told(host):
    """A state may be made by an agent's command."""

    def never(state: State) -> None:
        state.agent("a").heartbeat = None

    assert "tick-never" in found(host, never)


@pytest.mark.parametrize(("kind", "told"), [("timeout", True), ("not_bound", False), ("", False)])
def test_a_failing_heartbeat_is_told_of_agents_that_the_backend_is_not_asked_about(
    host, kind, told
):
    """Whether an agent is bound is found by asking."""

    def fail(state: State) -> None:
        state.agent("a").error, state.agent("a").error_kind = "it failed" if kind else "", kind

    assert ("agent-failing" in found(host, fail)) is told


@pytest.mark.parametrize(("seconds", "told"), [(60, False), (300, True)])
def test_an_update_that_waits_too_long_is_told(host, seconds, told):
    """With why."""

    def wait(state: State) -> None:
        waits(state, seconds).error = "answered 503"

    checked = found(host, wait)
    assert ("updates-wait" in checked) is told
    if told:
        assert checked["updates-wait"].message == (
            "slot 12: finished waits for 5 min: answered 503"
        )


@pytest.mark.parametrize(
    ("active", "status", "verb"),
    [(an_active(), "ongoing", "retry"), (None, "finished", "retry"), (None, "ongoing", "drop")],
)
def test_what_was_refused_is_to_be_retried_unless_that_would_open_an_ended_slot(
    host, active: Active | None, status, verb
):
    """Each of the two has its command."""

    def refusing(state: State) -> None:
        state.agent("a").active = active
        refuse(state, status)

    finding = found(host, refusing)["update-refused"]
    assert finding.fix == f"hfcal queue {verb} --agent a 12"
    assert ("can't be sent any more" in finding.message) is (verb == "drop")


@pytest.mark.parametrize(
    ("source", "agents", "gone"),
    [
        ("file", ("a",), {"b"}),
        ("file", ("a", "b"), set()),
        ("environment", ("a",), {"b"}),
        ("option", ("a",), set()),
    ],
)
def test_an_agent_is_gone_when_those_who_keep_it_no_longer_do(host, source, agents, gone):
    """Whom a person names on the command line is not all there are."""
    settings = replace(host.settings, agents=agents, sources={"agents": source})

    def remember(state: State) -> None:
        waits(state, 1, "b")

    change(host, remember)
    told = [f for f in check_state(replace(host, settings=settings)) if f.code == "agent-gone"]
    assert {finding.agent_id for finding in told} == gone
    assert all("1 update not delivered yet" in finding.message for finding in told)


def test_another_version_than_the_last_ticks_is_told(host):
    """Cron may well have another one than this shell."""

    def other(state: State) -> None:
        state.version = "0.0.1"

    assert "0.0.1" in found(host, other)["other-version"].message


def test_a_slot_long_before_its_time_is_told_unless_the_time_counts(host):
    """What the backend lists is dispatched, which may be a surprise."""
    active: Any = an_active(
        slot={"id": 12, "status": "not_started", "date": "2999-01-01", "scheduled_at": "10:00:00"}
    )

    def early(state: State) -> None:
        state.agent("a").active = active

    assert found(host, early)["slot-early"].severity == "note"
    checked = found(replace(host, settings=replace(host.settings, due_check=True)))
    assert "slot-early" not in checked
