"""`hfcal config`, and where settings come from: option, environment, file, default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host


def shown(host: Host, *words: str, **env: str | None) -> dict[str, tuple[Any, str]]:
    """Each setting's value and source by `config show --json`."""
    settings = host.ok("config", "show", "--json", *words, env=env).json["settings"]
    return {name: (item["value"], item["source"]) for name, item in settings.items()}


def test_option_beats_environment_beats_file_beats_default(lone_host: Host) -> None:
    """For each setting that has all of them; `config show` says where each value came from."""
    host = lone_host
    host.configure(
        state_file="/file/state.json",
        concurrency=3,
        heartbeat_interval="45m",
        abandon_after="1h30m",
        log_format="text",
    )
    found = shown(host)
    assert found["backend_url"] == (host.backend_url, "file")
    assert found["claw_identifier"] == ("srv1", "file")
    assert found["agents"] == (["developer"], "file")
    assert found["state_file"] == ("/file/state.json", "file")
    assert found["concurrency"] == (3, "file")
    assert found["heartbeat_interval"] == (2700, "file")
    assert found["request_timeout"] == (10, "default")
    assert found["history_cap"] == (32, "default")
    assert found["abandon_after"] == (5400, "file")
    assert found["due_check"] == (False, "default")
    assert found["report_agent_status"] == (True, "default")
    env: dict[str, str | None] = {
        "HFCAL_BACKEND_URL": "http://env:1/",
        "HFCAL_CLAW_IDENTIFIER": "env-claw",
        "HFCAL_AGENTS": "e1, e2,e1",
        "HFCAL_STATE": "/env/state.json",
        "HFCAL_CONCURRENCY": "5",
        "HFCAL_HEARTBEAT_INTERVAL": "90s",
        "HFCAL_REQUEST_TIMEOUT": "2m",
        "HFCAL_DUE_CHECK": "true",
        "HFCAL_LOG_FORMAT": "json",
    }
    found = shown(host, **env)
    assert found["backend_url"] == ("http://env:1", "environment")
    assert found["claw_identifier"] == ("env-claw", "environment")
    assert found["agents"] == (["e1", "e2"], "environment")
    assert found["state_file"] == ("/env/state.json", "environment")
    assert found["concurrency"] == (5, "environment")
    assert found["heartbeat_interval"] == (90, "environment")
    assert found["request_timeout"] == (120, "environment")
    assert found["due_check"] == (True, "environment")
    assert found["log_format"] == ("json", "environment")
    options = ["--backend-url", "http://opt:2", "--claw", "opt-claw", "--agent", "o1"]
    options += ["--agent", "o2", "--state", "sub/state.json", "--concurrency", "7"]
    found = shown(host, *options, **env)
    assert found["backend_url"] == ("http://opt:2", "option")
    assert found["claw_identifier"] == ("opt-claw", "option")
    assert found["agents"] == (["o1", "o2"], "option")
    assert found["state_file"] == (str(host.root / "sub/state.json"), "option")
    assert found["concurrency"] == (7, "option")
    assert shown(host, **dict.fromkeys(env, ""))["agents"] == (["developer"], "file")


def test_the_config_file_is_found_by_option_environment_or_home(lone_host: Host) -> None:
    """`config path` says which; a file that was named but is missing is exit 5."""
    host = lone_host
    other = host.root / "other.toml"
    other.write_text('agents = ["other"]\n', encoding="utf-8")
    paths = [
        host.ok("config", "path"),
        host.ok("config", "path", env={"HFCAL_CONFIG": str(other)}),
        host.ok("config", "path", "--config", "x.toml", env={"HFCAL_CONFIG": str(other)}),
        host.ok("config", "path", env={"HFCAL_CONFIG": ""}),
    ]
    found = [Path(result.stdout.removesuffix("\n")) for result in paths]
    assert found == [host.config, other, host.root / "x.toml", host.config]
    assert host.ok("config", "path", "--json").json["path"] == str(host.config)
    assert shown(host, "--config", "other.toml")["agents"] == (["other"], "file")
    missing = host.run("config", "show", "--config", "nowhere.toml", "--json")
    assert (missing.code, missing.error["kind"]) == (5, "config")
    assert str(host.root / "nowhere.toml") in missing.error["message"]
    host.config.unlink()
    env: dict[str, str | None] = {"HFCAL_BACKEND_URL": host.backend_url, "HFCAL_AGENTS": "a1"}
    dry = host.tick("--dry-run", env=env)
    assert (dry.code, list(dry.actions)) == (4, ["a1"])


def test_a_relative_path_is_of_where_it_stands(lone_host: Host) -> None:
    """In the file of the file's folder; as an option, in a variable or a command of this one."""
    host = lone_host
    folder = host.config.parent
    (folder / "key").write_text("a-key", encoding="utf-8")
    host.configure(state_file="state/s.json", log_file="../hfcal.log", api_key_file="key")
    found = shown(host)
    assert found["state_file"] == (str(folder / "state" / "s.json"), "file")
    assert found["log_file"] == (str(folder.parent / "hfcal.log"), "file")
    assert found["api_key_file"] == (str(folder / "key"), "file")
    by_variable = shown(host, HFCAL_STATE="s.json")["state_file"]
    assert by_variable == (str(host.root / "s.json"), "environment")
    host.ok("config", "set", "log_file", "h.log")
    host.ok("config", "set", "api_key_file", '"~/.config/hfcal/key"')
    found = shown(host)
    assert found["log_file"] == (str(host.root / "h.log"), "file")
    assert found["api_key_file"] == (str(folder / "key"), "file")
    host.ok("config", "set", "log_file", "-")
    assert shown(host)["log_file"] == ("-", "file")


def test_secrets_are_masked(lone_host: Host) -> None:
    """Keys and what looks like one in a wake table are never shown; files' names are."""
    lone_host.wake = {"command": ["wake", "--password"], "timeout": "20s"}
    lone_host.configure(api_key="TOPSECRET")
    texts = [lone_host.ok("config", "show").stdout, lone_host.ok("config", "show", "--json").stdout]
    by_env = lone_host.ok("config", "show", env={"HFCAL_API_KEY": "OTHERSECRET"}).stdout
    assert not [text for text in [*texts, by_env] if "SECRET" in text]
    assert all("api_key" in text for text in texts)
    assert "environment" in next(line for line in by_env.splitlines() if "api_key " in line)
    lone_host.configure(api_key="line\nbreakSECRET")
    bad = lone_host.run("config", "show")
    assert bad.code == 5
    assert "SECRET" not in bad.stderr + bad.stdout
    assert "api_key" in bad.stderr


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('bakend_url = "http://x"', ["bakend_url", "did you mean backend_url?"]),
        ("history_cpa = 3", ["history_cpa", "did you mean history_cap?"]),
        ("concurrency = 0", ["concurrency", "0", "1 to 512"]),
        ('heartbeat_interval = "soon"', ["heartbeat_interval", "soon", "90s"]),
        ('backend_url = "ftp://x"', ["backend_url", "ftp://x", "http"]),
        ('agents = "a\\nb"', ["agents", "128 printable ASCII"]),
        ('agents = ["' + "a" * 129 + '"]', ["agents", "128 printable ASCII"]),
        ("backend_url = ", ["config.toml", "TOML"]),
        ("concurrency = " + "9" * 5000, ["config.toml", "TOML", "too many digits"]),
        ("concurrency = 0x" + "f" * 5000, ["concurrency", "too many digits", "1 to 512"]),
        ("agents = [0x" + "f" * 5000 + "]", ["agents", "too many digits", "128 printable ASCII"]),
        (
            'backend_url = "http://x"\nagents = ["a"]\nwake.parallel = 0x' + "f" * 5000,
            ["wake.parallel", "too many digits", "1 to 64"],
        ),
    ],
)
def test_a_bad_config_names_key_value_and_what_is_allowed(
    text: str, named: list[str], lone_host: Host
) -> None:
    """Exit 5, on one line, for a tick as for `config show`; with the closest known key."""
    lone_host.write_config(text + "\n")
    result = lone_host.run("tick", "--json")
    assert (result.code, result.error["kind"]) == (5, "config")
    assert all(part in result.error["message"] for part in named), result.error
    assert result.stderr.count("\n") == 1


def test_a_bad_agent_id_from_option_or_environment_is_wrong_usage(lone_host: Host) -> None:
    """Newline, space, 129 characters, non-ASCII: exit 2; 128 characters are an id."""
    host = lone_host
    for command, bad in (
        *(("tick", bad) for bad in ("a\nb", "a" * 129)),
        *(("complete", bad) for bad in ("a\nb", "a" * 129, "é", "")),
    ):
        result = host.run(command, "--agent", bad, "--json")
        assert (result.code, result.error["kind"]) == (2, "usage"), (bad, result)
    result = host.run("complete", "--json", env={"HFCAL_AGENT_ID": "a b"})
    assert (result.code, result.error["kind"]) == (2, "usage")
    assert "HFCAL_AGENT_ID" in result.error["message"]
    result = host.tick("--dry-run", env={"HFCAL_AGENTS": "fine,not fine"})
    assert (result.code, result.error["kind"]) == (2, "usage")
    assert list(host.tick("--dry-run", "--agent", "a" * 128).actions) == ["a" * 128]


def test_one_agents_own_wake_table_wins(make_backend: MakeBackend, make_host: MakeHost) -> None:
    """`[agent.<id>.wake]` instead of `[wake]`, for that agent alone."""
    backend = make_backend(
        agents=["developer", "operator"],
        slots=[{"agent": "developer", "id": 1}, {"agent": "operator", "id": 2}],
    )
    host = make_host(backend, "developer", "operator")
    table = '[agent.operator.wake]\nadapter = "print"\n'
    host.write_config(host.config.read_text(encoding="utf-8") + table)
    result = host.run("tick")
    assert result.code == 0
    assert "[calendar slot 2]" in result.stdout
    assert [wake.agent_id for wake in host.wakes] == ["developer"]
