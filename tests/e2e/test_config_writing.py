"""`hfcal config init` and `config set`: what they write, and what they leave alone."""

from __future__ import annotations

import stat
import tomllib
from typing import Any

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


MANY_DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("request_timeout", "soon", "request_timeout"),
        ("hartbeat_interval", "30s", "did you mean heartbeat_interval?"),
        ("wake.adaptor", "print", "adaptor"),
        ("agents.developer", "1", "agents"),
        ("api_key", "secret-key", "api_key_file"),
        ('"api_key"', "secret-key", "api_key_file"),
        (" api_key ", "secret-key", "api_key_file"),
        ("api_key = 0 #", "secret-key", "is no key"),
        ("backend_url", "http://user:secret-key@host", "without user or password"),
        ("request_timeout", "2026-01-01", "= '2026-01-01'"),
        ("agent.my.agent.wake.adapter", "print", 'agent."my.agent".wake.adapter'),
        ("wake.adapter", "print", "hfcal config set wake '{adapter = \"print\"}'"),
        ("request timeout", "5", "is no key"),
        ("backend_url", "\udcff", "UTF-8"),
        ("agents", "[1]", "1 is no agent id"),
        ("agents", "[developer]", 'a list of texts like ["developer", "operator"]'),
        ("agents", '["a b"]', "128 printable ASCII"),
        ("agents", "a b", "128 printable ASCII"),
        ("agents", "", "ids with commas"),
        ("concurrency", "1\nb = 2", "1 to 512"),
        ("concurrency", "1, 2", "1 to 512"),
        ("concurrency", "1]\nb = [2", "1 to 512"),
        ("concurrency", MANY_DIGITS, "1 to 512"),
        ("concurrency", "0x" + MANY_DIGITS, "1 to 512"),
        ("wake.timeout", MANY_DIGITS, "wake.timeout"),
        ("wake.parallel", "0x" + MANY_DIGITS, "1 to 64"),
        ("agents", f"[{MANY_DIGITS}]", "a list of texts"),
    ],
)
def test_what_is_not_allowed_leaves_the_file_alone(
    key: str, value: str, says: str, make_host: MakeHost, dead_url: str
) -> None:
    """It is wrong usage that says which key, and what is allowed; a secret is not told again."""
    host = make_host(dead_url)
    before = host.config.read_bytes()
    done = host.run("config", "set", key, value)
    assert done.code == 2, done
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
    """One question at a time, with the host's name offered; a wrong answer is asked for again."""
    backend = make_backend(agents=["developer", "operator"])
    host = make_host(backend)
    host.config.unlink()
    with host.terminal("config", "init", columns=200) as terminal:
        for question, answer in (
            ("URL of the backend", "foo"),
            ("allowed: a URL", backend.url),
            ("Identifier of this claw", "srv1"),
            ("Ids of the agents", " , ,"),
            ("at least one agent", "developer, operator"),
            ("API key, empty for none", ""),
            ("Command that wakes", " "),
            ("a program and its arguments", "/bin/true"),
        ):
            terminal.shows(question)
            terminal.type(answer.encode() + b"\n")
        terminal.shows("next: hfcal doctor")
        assert terminal.end() == 0
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert found["agents"] == ["developer", "operator"]
    assert "api_key_file" not in found


@pytest.mark.parametrize(("keys", "code"), [(b"\x04", 1), (b"\x03", 130)])
def test_init_that_is_broken_off_writes_nothing(
    keys: bytes, code: int, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """By Ctrl-D or Ctrl-C."""
    host = make_host(make_backend())
    host.config.unlink()
    with host.terminal("config", "init") as terminal:
        terminal.shows("URL of the backend")
        terminal.type(keys)
        assert terminal.end() == code
    assert not host.config.exists()


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


WITH_COMMENTS = """# mine
backend_url = "{url}"
agents = ["developer"]

# how they are woken
[wake]
adapter = "command"
command = ["/bin/true"]

# about one agent
[agent.operator.wake]
adapter = "print"
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_new_key_stands_behind_the_last_of_its_table(
    end: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """So a comment goes on to stand above what it is about; the line ends stay."""
    host = make_host(make_backend())
    before = WITH_COMMENTS.format(url=host.backend_url).replace("\n", end)
    host.config.write_bytes(before.encode())
    host.ok("config", "set", "request_timeout", "20s")
    host.ok("config", "set", "wake.parallel", "4")
    wanted = before.replace(
        f'["developer"]{end}', f'["developer"]{end}request_timeout = "20s"{end}'
    ).replace(f'["/bin/true"]{end}', f'["/bin/true"]{end}parallel = 4{end}')
    assert host.config.read_bytes().decode() == wanted


def test_text_is_text_and_ids_are_quoted(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """What looks like a number may be a name; an id with dots stands in quotes, as in TOML."""
    host = make_host(make_backend())
    host.ok("config", "set", "claw_identifier", "42")
    host.ok("config", "set", "agents", "12")
    host.ok("config", "set", 'agent."my.agent".wake.adapter', "print")
    host.ok("config", "set", "wake", '{adapter = "print"}')
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert (found["claw_identifier"], found["agents"]) == ("42", ["12"])
    assert found["agent"] == {"my.agent": {"wake": {"adapter": "print"}}}
    assert found["wake"] == {"adapter": "print"}


def test_inline_tables_take_another_agent(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """However the file was written."""
    host = make_host(make_backend())
    text = host.config.read_text(encoding="utf-8")
    host.write_config(f'agent = {{x = {{wake = {{adapter = "print"}}}}}}\n{text}')
    host.ok("config", "set", "agent.y.wake.adapter", "print")
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert sorted(found["agent"]) == ["x", "y"]


def test_several_at_once_lose_nothing(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """Each that said `set` is in the file."""
    host = make_host(make_backend())
    keys = ("request_timeout", "concurrency", "history_cap", "abandon_after", "heartbeat_interval")
    running = [host.start("config", "set", key, "7") for key in keys]
    assert [one.end().code for one in running] == [0] * len(keys)
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert [found[key] for key in keys] == [7] * len(keys)


def test_init_takes_all_that_it_is_given(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """State, key file, concurrency and log format too; paths from this folder."""
    backend = make_backend()
    host = make_host(backend)
    host.config.unlink()
    (host.root / "key").write_text("a-key", encoding="utf-8")
    words = [*INIT, "--backend-url", backend.url, "--state", "here/state.json"]
    words += ["--concurrency", "3", "--api-key-file", "key", "--log-format", "JSON"]
    host.ok(*words)
    found = tomllib.loads(host.config.read_text(encoding="utf-8"))
    assert found["state_file"] == str(host.root / "here" / "state.json")
    assert found["api_key_file"] == str(host.root / "key")
    assert (found["concurrency"], found["log_format"]) == (3, "json")


INIT = ("config", "init", "--agent", "developer", "--claw", "srv1", "--wake-command", "/bin/true")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--backend-url", "foo"], 2, "--backend-url = 'foo': allowed: a URL"),
        (["--backend-url", "http://u:secret-key@x"], 2, "without user or password"),
        (["--wake-url", "http://127.0.0.1/"], 2, "either --wake-command or --wake-url"),
        (["--wake-command", "", "--wake-url", "http://u:secret-key@x"], 2, "--wake-url = "),
        (["--wake-command", " "], 2, "a program and its arguments"),
        (["--wake-command", "/bin/echo '"], 2, "--wake-command = "),
        (["--wake-command", "\udcff"], 2, "UTF-8"),
        (["--agent", "a b"], 2, "128 printable ASCII"),
        (["--state", "\udcff"], 2, "UTF-8"),
        (["--concurrency", "0"], 2, "--concurrency = '0': allowed: a whole number from 1 to 512"),
        (["--concurrency", "many"], 2, "from 1 to 512"),
        (["--concurrency", MANY_DIGITS], 2, "from 1 to 512"),
        (["--log-format", "xml"], 2, "--log-format = 'xml': allowed: text, json"),
        (["--api-key-file", "/no/such"], 2, "/no/such can't be read"),
        (["--api-key-file", "\udcff"], 2, "UTF-8"),
        (["HFCAL_CONCURRENCY=many"], 5, "HFCAL_CONCURRENCY = 'many'"),
        ([f"HFCAL_CONCURRENCY={MANY_DIGITS}"], 5, "from 1 to 512"),
        ([f"HFCAL_REQUEST_TIMEOUT={MANY_DIGITS}"], 5, "HFCAL_REQUEST_TIMEOUT"),
    ],
)
def test_init_writes_nothing_when_something_is_wrong(
    words: list[str], code: int, says: str, make_host: MakeHost, dead_url: str
) -> None:
    """An option is wrong usage, a variable a wrong config; no secret is told again."""
    host = make_host(dead_url)
    host.config.unlink()
    env = dict(word.split("=", 1) for word in words if word.startswith("HFCAL_"))
    options = [word for word in words if not word.startswith("HFCAL_")]
    done = host.run(*INIT, "--backend-url", dead_url, *options, env=env)
    assert done.code == code, done
    assert says in done.stderr
    assert "secret-key" not in done.stderr + done.stdout
    assert not any(host.config.parent.iterdir())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 401}, "unauthorized"),
        ({"status": 404, "body": '{"detail": "Not Found"}'}, "rejected"),
        ({"status": 405}, None),
    ],
)
def test_init_tells_what_is_wrong_with_the_backend(
    fault: dict[str, Any], kind: str | None, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """All but that it is too old to be asked."""
    backend = make_backend()
    host = make_host(backend)
    backend.fault(path="status", count=0, **fault)
    words = ["--backend-url", backend.url, "--agent", "developer", "--wake-command", "/bin/true"]
    error = host.ok("config", "init", *words, "--force", "--json").json["backend_error"]
    assert (error and error["kind"]) == kind
