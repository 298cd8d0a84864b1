"""What a woken agent gets: the message, its commands, the environment, the arguments."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.rig.backend import CLAW
from tests.rig.waiting import wait_until

FACTS = {
    *("slot_id", "scheduled_at", "priority", "slot_type", "event_type", "event_data"),
    "estimated_duration",
}


def test_the_first_line_says_what_it_is_about(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By event, by job, else by slot; control characters in it become one space."""
    job: dict[str, object] = {"event_type": "job"}
    event: dict[str, object] = {"event_type": "system_event"}
    cases: dict[str, tuple[dict[str, object], str]] = {
        "event": (
            {**event, "event_data": {"event": "ScheduleToday"}},
            "[calendar system_event] ScheduleToday",
        ),
        "job": (
            {**job, "event_data": {"type": "review", "code": "HF-7"}},
            "[calendar job review/HF-7] please handle this",
        ),
        "newer": (
            {**job, "event_data": {"type": "task", "task_code": "T-1", "working_sessions": [1]}},
            "[calendar job task/T-1] please handle this",
        ),
        "evil": (
            {**job, "event_data": {"type": "a\nb", "code": "c\r\n\x1b[31m\u2028d"}},
            "[calendar job a b/c [31m d] please handle this",
        ),
        "bare": (event, "[calendar slot 5] scheduled work — please proceed"),
        "plain": ({}, "[calendar slot 6] scheduled work — please proceed"),
    }
    backend = make_backend(
        agents=list(cases),
        slots=[{"agent": a, "id": n, **c[0]} for n, (a, c) in enumerate(cases.items(), 1)],
    )
    host = make_host(backend, *cases)
    assert host.tick().code == 0
    wakes = {wake.agent_id: wake for wake in host.wakes}
    # Not splitlines(), which would also split where a terminal wouldn't.
    firsts = {name: wake.message.split("\n")[0] for name, wake in wakes.items()}
    assert firsts == {name: line for name, (_, line) in cases.items()}
    for name, (slot, _) in cases.items():
        lines = wakes[name].message.split("\n")
        assert lines[1] == ""
        facts = json.loads(lines[2])
        assert set(facts) >= FACTS
        assert facts["event_data"] == slot.get("event_data")
        assert facts["event_type"] == slot.get("event_type")


def test_the_wake_is_complete_by_itself(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """The slot's facts as JSON, the environment, the source and a key; no API key."""
    backend = make_backend(
        api_key="k1",
        slots=[
            {
                "agent": "developer",
                "plan_id": 7,
                "priority": 60,
                "scheduled_at": "00:00",
                "slot_type": "entertainment",
                "event_type": "entertainment",
                "event_data": {"game": "Gō\u202e", "deep": [{"a": None}]},
                "estimated_duration": 20,
            }
        ],
    )
    host = make_host(backend, env={"HFCAL_API_KEY": "k1"})
    host.tick()
    (wake,) = host.wakes
    virtual = backend.slots[0]["former_virtual_id"]
    facts = json.loads(wake.message.split("\n")[2])
    assert {key: facts[key] for key in FACTS} == {
        "slot_id": virtual,
        "scheduled_at": "00:00:00",
        "priority": 60,
        "slot_type": "entertainment",
        "event_type": "entertainment",
        "event_data": {"game": "Gō\u202e", "deep": [{"a": None}]},
        "estimated_duration": 20,
    }
    assert "\u202e" not in wake.message
    env = wake.env
    assert (wake.agent_id, wake.slot) == ("developer", virtual)
    assert env["HFCAL_SOURCE"] == f"calendar:{virtual}"
    assert json.loads(env["HFCAL_SLOT_JSON"]) == facts
    assert len(wake.key) >= 16
    assert "HFCAL_API_KEY" not in env
    assert "k1" not in env.values()


def test_the_messages_commands_run_as_they_stand_from_anywhere(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """With an empty environment, in another folder, and with odd characters in every path."""
    backend = make_backend(
        agents=["de've$HOME", "operator"],
        slots=[{"agent": "de've$HOME", "id": 4}, {"agent": "operator", "plan_id": 7}],
    )
    host = make_host(backend, "de've$HOME", "operator", name='it\'s $(a) `host` "x"')
    assert host.tick().code == 0
    ends = {"de've$HOME": ("complete", "finished"), "operator": ("abort", "aborted")}
    for wake in host.wakes:
        verb, status = ends[wake.agent_id]
        line = wake.line(verb)
        words = shlex.split(line)
        assert words[0].startswith("/")
        assert words[words.index("--agent") + 1] == wake.agent_id
        assert words[words.index("--slot") + 1] == wake.slot
        assert words[words.index("--state") + 1] == str(host.state)
        assert words[words.index("--config") + 1] == str(host.config)
        done = subprocess.run(
            ["/usr/bin/env", "-i", "/bin/sh", "-c", f"{line} --json"],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        document = json.loads(done.stdout)
        assert (document["status"], document["delivered"]) == (status, True)
        assert document["slot"] == wake.slot
    assert sorted(slot["status"] for slot in backend.slots) == ["aborted", "finished"]


def test_without_a_config_file_the_commands_name_the_state_alone(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A host set up by the environment: no `--config`, and a relative state made absolute."""
    backend = make_backend(slots=[{"agent": "developer", "id": 4}])
    # Without [wake] there is nobody to wake, so a file is needed for that alone.
    host = make_host(backend)
    wake = host.root / "wake-only.toml"
    wake.write_text('[wake]\nadapter = "print"\n', encoding="utf-8")
    host.config.unlink()
    env = {"HFCAL_BACKEND_URL": backend.url, "HFCAL_AGENTS": "developer"}
    env |= {"HFCAL_CLAW_IDENTIFIER": CLAW, "HFCAL_STATE": "sub/state.json"}
    result = host.ok("tick", "--config", "wake-only.toml", "-q", env=env)
    line = next(line for line in result.stdout.splitlines() if " complete --agent " in line)
    words = shlex.split(line)
    assert words[words.index("--state") + 1] == str(host.root / "sub" / "state.json")
    assert words[words.index("--config") + 1] == str(wake)


@pytest.mark.promise_10
def test_arguments_are_filled_in_and_no_shell_is_used(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`{agent_id}`, `{slot}`, `{source}`, `{message}` in place; stdin is empty with a message."""
    evil = "$(touch hacked); {slot} `id`"
    backend = make_backend(
        slots=[
            {
                "agent": "developer",
                "id": 4,
                "event_type": "system_event",
                "event_data": {"event": evil},
            }
        ]
    )
    keep = 'printf "%s\\n" "$@" > args; cat > stdin'
    command = ["/bin/sh", "-c", keep, "sh", "{agent_id}/{slot}", "{source}", "{message}", "{other}"]
    host = make_host(backend, wake={"command": command})
    assert host.tick().code == 0
    lines = (host.root / "args").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["developer/4", "calendar:4", f"[calendar system_event] {evil}"]
    assert lines[-1] == "{other}"
    assert (host.root / "stdin").read_bytes() == b""
    assert not (host.root / "hacked").exists()


def test_a_detached_command_outlives_the_tick(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`mode = "detach"`: the tick doesn't wait; output goes to `log_dir`; an early exit fails."""
    backend = make_backend(
        agents=["a1", "a2"], slots=[{"agent": "a1", "id": 4}, {"agent": "a2", "id": 5}]
    )
    host = make_host(backend, "a1", "a2", wake={"mode": "detach"})
    until = 'until [ -f "$1/go" ]; do sleep 0.05; done; echo worked; touch "$1/done"'
    host.on_wake(f"case $HFCAL_SLOT in 5) echo broken; exit 3;; esac; {until}")
    result = host.tick()
    assert result.actions == {"a1": "dispatched", "a2": "wake_failed"}
    assert result.seconds < 10
    assert "exited with 3" in result.agents["a2"]["error"]["message"]
    assert not (host.inbox / "done").exists()
    (host.inbox / "go").touch()
    wait_until((host.inbox / "done").exists)
    logs = [path for path in (host.state_dir / "log").rglob("*") if path.is_file()]
    assert sorted(path.read_text(encoding="utf-8") for path in logs) == ["broken\n", "worked\n"]
    assert {path.stat().st_mode & 0o777 for path in logs} == {0o600}


def test_the_print_adapter_leaves_stdout_to_json(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """The message is on stdout, or on stderr when stdout holds the JSON document."""
    backend = make_backend(slots=[{"agent": "developer", "id": n} for n in (4, 5)])
    host = make_host(backend, wake={"adapter": "print", "command": None})
    first = host.ok("tick")
    assert "[calendar slot 4]" in first.stdout
    assert first.stderr == ""
    host.ok("complete")
    second = host.tick()
    assert second.actions == {"developer": "dispatched"}
    assert "[calendar slot 5]" in second.stderr
