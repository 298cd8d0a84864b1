"""hfcal.wake.message: what an agent gets to read when it is woken."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfcal.core.protocol import BadAnswerError, parse_slot
from hfcal.system.program import own_program
from hfcal.wake.message import Commands, first_line, new_wake
from tests.unit.support import TODAY, json_values, listed, texts, thorough

PLAN = f"plan-7-{TODAY}"
COMMANDS = Commands(("/opt/hfcal",), Path("/var/lib/state.json"), Path("/etc/config.toml"))
agent_ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
idents = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"event_type": "system_event", "event_data": {"event": "SummaryToday"}},
            "[calendar system_event] SummaryToday",
        ),
        (
            {"event_type": "SystemEvent", "event_data": {"event": "Own Name"}},
            "[calendar system_event] Own Name",
        ),
        (
            {"event_type": "job", "event_data": {"type": "task", "code": "HF-42"}},
            "[calendar job task/HF-42] please handle this",
        ),
        (
            {"event_type": "job", "event_data": {"type": "task", "task_code": "HF-43"}},
            "[calendar job task/HF-43] please handle this",
        ),
        (
            {"event_type": "job", "event_data": {"type": "task", "code": 44}},
            "[calendar job task/44] please handle this",
        ),
        ({"event_type": "job", "event_data": {"type": "task"}}, None),
        ({"event_type": "job", "event_data": {"code": ""}}, None),
        ({"event_type": "job", "event_data": None}, None),
        ({"event_type": "system_event", "event_data": {}}, None),
        ({"event_type": "system_event", "event_data": {"event": ["x"]}}, None),
        ({"event_type": "entertainment", "event_data": {"event": "x", "code": "y"}}, None),
        ({"event_type": "unknown", "event_data": {"event": "x"}}, None),
        ({}, None),
    ],
)
def test_the_first_line_says_what_it_is_about(fields, line):
    """A system event with a name, a job with a code, else the slot."""
    usual = "[calendar slot 12] scheduled work — please proceed"
    assert first_line(listed(12, **fields)) == (line or usual)


def test_a_virtual_slot_is_called_by_its_virtual_id():
    """The ident of the wake is the one that it has then."""
    assert PLAN in first_line(listed(PLAN))
    wake = new_wake("dev", listed(PLAN), COMMANDS)
    assert (wake.slot, wake.source) == (PLAN, f"calendar:{PLAN}")
    assert new_wake("dev", listed(12, plan_id=7), COMMANDS).source == "calendar:12"


@pytest.mark.promise_10
@pytest.mark.parametrize(
    "event", ["a\nb", "a\r\n\r\nb", "a\x1b\x07b", "a\u2028b", "a\u202eb", "\na b\n"]
)
def test_control_characters_in_the_first_line_become_one_space(event):
    """No event name can start a line of its own."""
    slot = listed(12, event_type="system_event", event_data={"event": event})
    assert first_line(slot) == "[calendar system_event] a b"


def test_the_message_has_the_slot_as_one_json_object():
    """After an empty line, with the facts that an agent needs, whatever else the slot has."""
    slot = listed(
        12,
        scheduled_at="09:30",
        priority=80,
        slot_type="on_call",
        event_type="job",
        event_data={"type": "task", "code": "HF-42", "text": "grüße\nzeile"},
        estimated_duration=20,
        mood="fine",
    )
    wake = new_wake("dev", slot, COMMANDS)
    lines = wake.message.split("\n")
    assert lines[1] == ""
    assert json.loads(lines[2]) == wake.details
    assert wake.details == {
        "slot_id": "12",
        "scheduled_at": "09:30",
        "priority": 80,
        "slot_type": "on_call",
        "event_type": "job",
        "event_data": {"type": "task", "code": "HF-42", "text": "grüße\nzeile"},
        "estimated_duration": 20,
    }
    assert "grüße" in wake.message


def test_an_unknown_word_is_passed_on_as_it_is():
    """What hfcal doesn't know the agent may know."""
    wake = new_wake("dev", listed(12, slot_type="Focus", event_type="ritual"), COMMANDS)
    assert (wake.details["slot_type"], wake.details["event_type"]) == ("Focus", "ritual")


@pytest.mark.parametrize("verb", ["complete", "abort"])
def test_the_exact_commands_stand_alone_on_their_lines(verb):
    """With agent, slot, state and config, hfcal by its absolute path."""
    wake = new_wake("dev", listed(12), COMMANDS)
    line = (
        f"/opt/hfcal {verb} --agent dev --slot 12 "
        "--state /var/lib/state.json --config /etc/config.toml"
    )
    assert wake.message.split("\n").count(line) == 1


def test_without_a_config_file_no_config_is_named():
    """The state file alone is enough for an agent's commands."""
    commands = Commands(("/opt/hfcal",), Path("/s.json"), None)
    assert "--config" not in new_wake("dev", listed(12), commands).message
    assert "--state /s.json" in new_wake("dev", listed(12), commands).message


@pytest.mark.promise_10
@given(agent_ids, idents)
@thorough
def test_every_word_of_a_command_is_quoted_for_a_shell(agent_id, ident):
    """No agent id and no slot's id means anything else to a shell."""
    line = COMMANDS.line("complete", agent_id, ident)
    words = ["/opt/hfcal", "complete", "--agent", agent_id, "--slot", ident]
    assert shlex.split(line) == [
        *words,
        "--state",
        "/var/lib/state.json",
        "--config",
        "/etc/config.toml",
    ]
    assert "\n" not in line


@pytest.mark.parametrize("ident", ["12", "$(touch oops)", "a;b", "'; exit 1 #", '"`x`"', "-n", "*"])
def test_the_commands_run_as_they_stand(tmp_path, ident):
    """From another folder, with an empty environment, by a plain shell."""
    program = tmp_path / "a folder's $HOME" / "hfcal"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n', encoding="ascii")
    program.chmod(0o755)
    state = tmp_path / "st ate.json"
    wake = new_wake("de'v", listed(ident), Commands((str(program),), state, None))
    line = next(line for line in wake.message.split("\n") if " complete " in line)
    ran = subprocess.run(
        ["/bin/sh", "-c", line], cwd="/", env={}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [
        *["complete", "--agent", "de'v", "--slot", ident],
        *["--state", str(state)],
    ]


def test_each_wake_has_a_key_of_its_own():
    """A new run is told from a repeated try by its key."""
    keys = {new_wake("dev", listed(12), COMMANDS).key for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 32 and key.isalnum() for key in keys)


odd_slots = st.dictionaries(
    st.sampled_from(["slot_type", "event_type", "event_data", "scheduled_at", "priority"]),
    json_values | st.sampled_from(["job", "system_event", {"event": "a\nb"}, {"code": "\x7f"}]),
)


@pytest.mark.promise_10
@given(odd_slots, texts)
@thorough
def test_any_slot_makes_a_message_that_is_bounded_and_safe(fields, event):
    """Nothing that a backend lists breaks the message's form or reaches a screen as control."""
    try:
        slot = parse_slot({"id": 12, "event_data": {"event": event}, **fields})
    except BadAnswerError:
        return
    message = new_wake("dev", slot, COMMANDS).message
    lines = message.split("\n")
    assert lines[0].startswith("[calendar ")
    assert lines[0].isprintable()
    assert json.loads(lines[2])["slot_id"] == "12"
    assert len(message) < 40_000
    assert sum(line.startswith("/opt/hfcal ") for line in lines) == 2
    assert not any(ord(c) < 32 or ord(c) == 127 for c in message.replace("\n", ""))


def executable(path: Path) -> Path:
    """A program at this path."""
    path.write_text("#!/bin/sh\n", encoding="ascii")
    path.chmod(0o755)
    return path


def test_hfcal_is_named_by_the_path_that_it_was_called_by(tmp_path, monkeypatch):
    """Made absolute, and a link stays a link: it may be the name that outlives an upgrade."""
    real = executable(tmp_path / "real")
    link = tmp_path / "hfcal"
    link.symlink_to(real)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["./hfcal", "tick"])
    assert own_program() == (str(link),)


def test_else_by_what_python_has_beside_it(tmp_path, monkeypatch):
    """python -m hfcal names the installed script, or itself where there is none."""
    python = executable(tmp_path / "python")
    monkeypatch.setattr(sys, "argv", ["/somewhere/hfcal/__main__.py"])
    monkeypatch.setattr(sys, "executable", str(python))
    assert own_program() == (str(python), "-m", "hfcal")
    script = executable(tmp_path / "hfcal")
    assert own_program() == (str(script),)
