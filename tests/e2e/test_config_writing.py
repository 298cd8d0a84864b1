"""`hfcal config init` and `config set`: what they write, and what they leave alone."""

from __future__ import annotations

import stat
import tomllib

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost

HAND_WRITTEN = """# mine
agents = ["developer"]  # the only one
claw_identifier = "srv1"
backend_url = "{url}"

[wake]
# how
adapter = "command"
command = ["/bin/true"]
"""


def test_set_changes_one_key_and_nothing_else(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Comments, order and mode stay; a link is followed; each kind of value is understood."""
    host = make_host(make_backend())
    before = HAND_WRITTEN.format(url=host.backend_url)
    real = host.root / "real.toml"
    real.write_text(before, encoding="utf-8")
    real.chmod(0o640)
    host.config.unlink()
    host.config.symlink_to(real)
    host.ok("config", "set", "wake.timeout", "60s")
    host.ok("config", "set", "due_check", "true")
    host.ok("config", "set", "agents", "developer, operator")
    host.ok("config", "set", "agent.operator.wake.adapter", "print")
    text = real.read_text(encoding="utf-8")
    assert host.config.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert [line for line in before.splitlines() if "#" in line and "only one" not in line] == [
        line for line in text.splitlines() if "#" in line and "only one" not in line
    ]
    found = tomllib.loads(text)
    assert found["wake"] == {"adapter": "command", "command": ["/bin/true"], "timeout": "60s"}
    assert (found["due_check"], found["agents"]) == (True, ["developer", "operator"])
    assert found["agent"]["operator"]["wake"] == {"adapter": "print"}
    assert [p.name for p in host.config.parent.iterdir()] == [host.config.name]


@pytest.mark.parametrize(
    ("key", "value", "code", "says"),
    [
        ("request_timeout", "soon", 5, "request_timeout"),
        ("hartbeat_interval", "30s", 5, "did you mean heartbeat_interval?"),
        ("wake.adaptor", "print", 5, "adaptor"),
        ("agents.developer", "1", 5, "agents"),
        ("api_key", "secret-key", 2, "api_key_file"),
    ],
)
def test_what_is_not_allowed_leaves_the_file_alone(
    key: str, value: str, code: int, says: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """And says which key, and what is."""
    host = make_host(make_backend())
    before = host.config.read_bytes()
    done = host.run("config", "set", key, value)
    assert done.code == code
    assert says in done.stderr
    assert "secret-key" not in done.stderr
    assert host.config.read_bytes() == before
    assert [p.name for p in host.config.parent.iterdir()] == [host.config.name]


def test_set_does_not_touch_a_broken_file_and_makes_a_missing_one(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """A new one is 0600."""
    host = make_host(make_backend())
    host.write_config("backend_url = [")
    assert host.run("config", "set", "history_cap", "5").code == 5
    assert host.config.read_text(encoding="utf-8") == "backend_url = ["
    host.config.unlink()
    host.ok("config", "set", "history_cap", "5")
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o600
    assert tomllib.loads(host.config.read_text(encoding="utf-8")) == {"history_cap": 5}


def test_init_takes_options_and_the_result_works(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """Without a terminal; then a tick runs by it. An old file is replaced only with --force."""
    backend = make_backend()
    host = make_host(backend)
    words = ["config", "init", "--backend-url", backend.url, "--claw", "srv1"]
    words += ["--agent", "developer", "--wake-command", "/bin/echo 'two words' {message}"]
    assert host.run(*words).code == 5
    done = host.ok(*words, "--force", "--json")
    assert done.json == {"path": str(host.config), "backend_error": None}
    stranger = host.ok(*words, "--force", "--json", "--agent", "stranger").json
    assert stranger["backend_error"]["kind"] == "not_bound"
    host.ok(*words, "--force")
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o600
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert found["wake"]["command"] == ["/bin/echo", "two words", "{message}"]
    host.ok("config", "show")


def test_init_asks_on_a_terminal(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """One question at a time, with the host's name offered."""
    backend = make_backend()
    host = make_host(backend)
    host.config.unlink()
    with host.terminal("config", "init") as terminal:
        for question, answer in (
            ("URL of the backend", backend.url),
            ("Identifier of this claw", ""),
            ("Ids of the agents", "developer, operator"),
            ("Command that wakes", "/bin/true"),
        ):
            terminal.shows(question)
            terminal.type(answer.encode() + b"\n")
        terminal.shows("next: hfcal doctor")
        assert terminal.end() == 0
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert found["agents"] == ["developer", "operator"]


def test_init_says_what_is_missing_and_what_does_not_answer(
    make_host: MakeHost, dead_url: str
) -> None:
    """Nothing is written before all is there; a backend that is away is said, not a failure."""
    host = make_host(dead_url)
    host.config.unlink()
    done = host.run("config", "init", "--backend-url", dead_url)
    assert (done.code, host.config.exists()) == (2, False)
    assert "--agent" in done.stderr
    words = ("--backend-url", dead_url, "--agent", "developer", "--wake-url", "http://127.0.0.1/x")
    done = host.ok("config", "init", *words)
    assert dead_url in done.stderr
    assert "written all the same" in done.stderr
    assert host.config.exists()
