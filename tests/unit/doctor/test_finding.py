"""hfcal.doctor.finding: the commands that fix, to be pasted into a shell."""

import shlex
from pathlib import Path

import pytest

from hfcal.config.settings import Settings
from hfcal.doctor.finding import Finding, Host
from hfcal.errors import HfcalError, UnreadableConfigError
from hfcal.state.file import StateFile


def host(tmp_path: Path, *errors: HfcalError, given: tuple[str, ...] = ()) -> Host:
    """What is examined, with the config file that is to be there."""
    config, state = tmp_path / "my config.toml", tmp_path / "state.json"
    return Host(Settings(config, state), errors, config, StateFile(state), given)


def test_a_message_names_its_agent_once():
    """Unless it does so by itself."""
    assert Finding("x", "error", "it failed", agent_id="a").whole_message == "agent a: it failed"
    assert Finding("x", "error", "agent a is odd", agent_id="a").whole_message == "agent a is odd"
    assert Finding("x", "error", "agent ab is odd", agent_id="a").whole_message.startswith(
        "agent a: "
    )
    assert Finding("x", "error", "it failed").whole_message == "it failed"


@pytest.mark.parametrize(
    ("severity", "bad"), [("ok", False), ("note", False), ("warning", True), ("error", True)]
)
def test_warnings_and_errors_are_bad(severity, bad):
    """Notes are for who wants to know."""
    assert Finding("x", severity, "m").bad is bad


def test_a_command_goes_to_the_same_config_and_state(tmp_path):
    """As given on the command line, whatever is in the path."""
    found = host(tmp_path, given=("--state", "/my state"))
    words = shlex.split(found.command("queue", "retry", about="plan 7; x"))
    assert words == ["hfcal", "queue", "retry", "plan 7; x", "--state", "/my state"]


def test_what_looks_like_an_option_is_none(tmp_path):
    """A backend chooses the idents of slots."""
    words = shlex.split(host(tmp_path, given=("--state", "s")).command("forget", about="--all"))
    assert words == ["hfcal", "forget", "--state", "s", "--", "--all"]


def test_a_key_is_set_by_hfcal_where_that_works(tmp_path):
    """It makes a file that is missing; one that is wrong besides is for a person's editor."""
    found = host(tmp_path)
    assert found.set_key("agents", "x") == "hfcal config set agents x"
    assert found.edit() == "hfcal config init"
    found.config.write_text("agents = 5\n", encoding="utf-8")
    assert host(tmp_path).set_key("agents", "x") == f"${{EDITOR:-vi}} '{found.config}'"
    found.config.write_text('agents = ["a"]\n', encoding="utf-8")
    assert host(tmp_path).set_key("agents", "x, y") == "hfcal config set agents 'x, y'"


def test_a_config_that_is_a_directory_is_looked_at(tmp_path):
    """No editor opens it."""
    found = host(tmp_path)
    found.config.mkdir()
    assert found.edit() == f"ls -ld '{found.config}'"


def test_a_config_that_cannot_be_read_leaves_all_unknown(tmp_path):
    """A value that isn't allowed does not."""
    assert host(tmp_path, UnreadableConfigError("no")).is_config_unread
    assert not host(tmp_path, HfcalError("no")).is_config_unread


def test_a_state_that_cannot_be_used_is_none(tmp_path):
    """The check of the state says why."""
    found = host(tmp_path)
    assert found.state() is None
    found.state_file.path.write_text("{", encoding="utf-8")
    assert found.state() is None
