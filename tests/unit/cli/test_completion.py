"""hfcal.cli.completion: what TAB offers, by the state file."""

from pathlib import Path

import pytest

from hfcal.cli.app import main
from hfcal.core.records import Refusal, Update
from hfcal.state.file import StateFile
from tests.unit.support import NOON, an_active, ref


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state of two agents, one at a slot, and of a third one that is configured."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("HFCAL_CONFIG", "HFCAL_STATE", "HFCAL_AGENTS", "HFCAL_AGENT_ID"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "state.json"
    with StateFile(path).transaction() as state:
        state.configured = ["idle", "busy"]
        state.agent("busy").active = an_active(ref(12, "plan-7-2026-11-23"))
        state.agent("busy").queue.append(Update(state.take_number(), ref(12), "ongoing", NOON))
        state.agent("gone").queue.append(Update(state.take_number(), ref(13), "ongoing", NOON))
        state.agent("gone").queue.append(Update(state.take_number(), ref(13), "finished", NOON))
        refusal = Refusal(
            Update(state.take_number(), ref("--all"), "finished", NOON), NOON, "answered 422"
        )
        state.agent("gone").refused.append(refusal)
    return path


def offered(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[str]:
    """What is offered."""
    assert main(["_complete", *map(str, words)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out.splitlines()


def test_agents_are_those_that_are_configured_or_remembered(path, capsys):
    """Each once."""
    assert offered(capsys, "agents", "--state", path) == ["idle", "busy", "gone"]


def test_active_slots_and_those_with_updates_are_told_apart(path, capsys):
    """Each slot once, however many updates it has."""
    assert offered(capsys, "active", "--state", path) == ["12"]
    assert offered(capsys, "queued", "--state", path) == ["12", "13", "--all"]


def test_with_agents_slots_are_only_theirs(path, capsys):
    """The agents are all, since more of them may be named."""
    assert offered(capsys, "queued", "--state", path, "--agent", "gone") == ["13", "--all"]
    assert offered(capsys, "active", "--state", path, "--agent", "gone") == []
    assert offered(capsys, "agents", "--state", path, "--agent", "gone")[-1] == "gone"


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"schema": 99}'])
def test_where_nothing_can_be_read_nothing_is_offered(path, capsys, content):
    """And nothing is said, since a person is typing."""
    path.unlink() if content is None else path.write_bytes(content)
    assert offered(capsys, "agents", "--state", path) == []


def test_another_kind_offers_nothing(path, capsys):
    """A shell of another version may ask."""
    assert offered(capsys, "nonsense", "--state", path) == []
