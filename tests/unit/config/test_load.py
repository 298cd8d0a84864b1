"""hfcal.config.load: option, environment, config file, default become one set of settings."""

import os
import pwd
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from hfcal.config import paths
from hfcal.config.load import load
from hfcal.config.paths import config_path
from hfcal.config.settings import KEYS, Options, Settings
from hfcal.config.values import duration
from hfcal.errors import ConfigError, HfcalError, UsageError
from tests.unit.support import thorough

SECRET = "s3cret-Key-value"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks for Linux's directories")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory without any config, on a host without any."""
    for name in list(os.environ):
        if name.startswith(("HFCAL_", "XDG_")):
            monkeypatch.delenv(name)
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")
    monkeypatch.setattr(paths, "SYSTEM_STATE", tmp_path / "lib" / "state.json")
    return place


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where a test's config file is."""
    return tmp_path / "config.toml"


def settle(config: Path | None = None, text: str | None = None, **environment: str) -> Settings:
    """The settings with this config file, holding this text, and these variables."""
    if config is not None and text is not None:
        config.write_text(text, encoding="utf-8")
    return load(Options(config=config), environment)


def refusal(config: Path, text: str, kind: type[HfcalError] = ConfigError) -> str:
    """Why a config file is refused."""
    with pytest.raises(kind) as caught:
        settle(config, text)
    return caught.value.message


# Where a value comes from

DEFAULTS = {
    "backend_url": "",
    "claw_identifier": os.uname().nodename,
    "agents": (),
    "api_key": "",
    "heartbeat_interval": 30.0,
    "request_timeout": 10.0,
    "concurrency": 64,
    "history_cap": 32,
    "abandon_after": 4 * 3600.0,
    "due_check": False,
    "calendar_timezone": "UTC",
    "group": "",
    "report_agent_status": True,
    "wake": None,
}

# key: (TOML, variable and its text, option and its text, the three values)
PLACES: dict[str, tuple[str, tuple[str, str] | None, tuple[str, Any] | None, list[object]]] = {
    "backend_url": (
        '"http://file/"',
        ("HFCAL_BACKEND_URL", "https://variable:1/x"),
        ("backend_url", "http://option"),
        ["http://file", "https://variable:1/x", "http://option"],
    ),
    "claw_identifier": (
        '"file"',
        ("HFCAL_CLAW_IDENTIFIER", "variable"),
        ("claw", "option"),
        ["file", "variable", "option"],
    ),
    "agents": (
        '["f1", "f2"]',
        ("HFCAL_AGENTS", "v1, v2,,v1"),
        ("agents", ("o1", "o2")),
        [("f1", "f2"), ("v1", "v2"), ("o1", "o2")],
    ),
    "state_file": (
        '"/file/state.json"',
        ("HFCAL_STATE", "/variable/state.json"),
        ("state", Path("/option/state.json")),
        [Path("/file/state.json"), Path("/variable/state.json"), Path("/option/state.json")],
    ),
    "api_key": ('"file"', ("HFCAL_API_KEY", " variable\n"), None, ["file", "variable"]),
    "heartbeat_interval": (
        '"2m"',
        ("HFCAL_HEARTBEAT_INTERVAL", "45"),
        ("interval", "10s"),
        [120.0, 45.0, 10.0],
    ),
    "request_timeout": ("2.5", ("HFCAL_REQUEST_TIMEOUT", "500ms"), None, [2.5, 0.5]),
    "concurrency": (
        "3",
        ("HFCAL_CONCURRENCY", "4"),
        ("concurrency", "5"),
        [3, 4, 5],
    ),
    "history_cap": ("7", None, None, [7]),
    "abandon_after": ("0", None, None, [0.0]),
    "due_check": ("true", ("HFCAL_DUE_CHECK", "false"), None, [True, False]),
    "calendar_timezone": ('"Europe/Berlin"', None, None, ["Europe/Berlin"]),
    "group": ("100", None, None, ["100"]),
    "report_agent_status": ("false", None, None, [False]),
    "log_level": ('"debug"', ("HFCAL_LOG_LEVEL", "ERROR"), None, ["debug", "error"]),
    "log_format": (
        '"json"',
        ("HFCAL_LOG_FORMAT", "text"),
        ("log_format", "json"),
        ["json", "text", "json"],
    ),
    "log_file": (
        '"/file.log"',
        ("HFCAL_LOG_FILE", "/variable.log"),
        None,
        [Path("/file.log"), Path("/variable.log")],
    ),
}


@pytest.mark.parametrize("key", DEFAULTS)
def test_without_any_word_the_default_counts(key):
    """The defaults are those of the contract."""
    assert getattr(settle(), key) == DEFAULTS[key]


@pytest.mark.parametrize("key", PLACES)
def test_option_before_environment_before_file(config, key):
    """A setting is taken from the first of: option, environment, config file."""
    toml, variable, option, values = PLACES[key]
    config.write_text(f"{key} = {toml}\n", encoding="utf-8")
    environment: dict[str, str] = {}
    given: dict[str, Any] = {"config": config}
    expected = [("file", values[0])]
    for where, source in (("environment", variable), ("option", option)):
        if source is not None:
            expected.append((where, values[len(expected)]))
    for where, value in expected:
        if where == "environment" and variable is not None:
            environment[variable[0]] = variable[1]
        elif where == "option" and option is not None:
            given[option[0]] = option[1]
        settled = load(Options(**given), environment)
        assert getattr(settled, key) == value
        assert settled.sources[key] == where


@pytest.mark.parametrize("key", [key for key, place in PLACES.items() if place[1]])
def test_an_empty_variable_counts_as_unset(config, key):
    """A unit file that sets a variable to nothing changes nothing."""
    toml, variable, _, values = PLACES[key]
    assert variable is not None
    config.write_text(f"{key} = {toml}\n", encoding="utf-8")
    settled = load(Options(config=config), {variable[0]: ""})
    assert getattr(settled, key) == values[0]


def test_every_key_has_its_place_in_these_tests():
    """A new key is tested like the others."""
    assert set(KEYS) == set(PLACES) | {"api_key_file"}


@linux_only
def test_the_users_config_is_used_before_the_hosts(home):
    """~/.config/hfcal/config.toml, else /etc/hfcal/config.toml."""
    mine = home / ".config" / "hfcal" / "config.toml"
    assert config_path(Options(), {}) == mine
    assert settle().config_file is None
    paths.SYSTEM_CONFIG.parent.mkdir()
    paths.SYSTEM_CONFIG.write_text('claw_identifier = "host"', encoding="utf-8")
    assert settle().claw_identifier == "host"
    mine.parent.mkdir(parents=True)
    mine.write_text('claw_identifier = "mine"', encoding="utf-8")
    assert settle().claw_identifier == "mine"


def test_a_named_config_is_used_before_any(config):
    """--config, else HFCAL_CONFIG; both made absolute."""
    environment = {"HFCAL_CONFIG": "~/other.toml"}
    assert config_path(Options(config=config), environment) == config
    assert config_path(Options(), environment) == Path(os.environ["HOME"]) / "other.toml"
    assert config_path(Options(config=Path("here.toml")), {}) == Path.cwd() / "here.toml"


# Refused

GOOD_DURATIONS = {
    0: 0,
    90: 90,
    2.5: 2.5,
    "90": 90,
    "90s": 90,
    " 90s ": 90,
    "30m": 1800,
    "4h": 14_400,
    "1h30m": 5400,
    "1.5h": 5400,
    "500ms": 0.5,
    "2d": 172_800,
}


@pytest.mark.parametrize("value", GOOD_DURATIONS)
def test_durations_are_seconds_or_text(value):
    """90, 90s, 30m, 4h and their like are taken."""
    assert duration(value) == GOOD_DURATIONS[value]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "-5s",
        "5 parsecs",
        "1h 30m",
        "1e3",
        "5S",
        "nan",
        "9" * 400,
        True,
        None,
        [],
        -1,
        1e300,
        10**400,
        float("inf"),
        float("nan"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_durations_are_refused_with_what_is_allowed(value):
    """The message tells how a duration is written, whatever was given."""
    with pytest.raises(ValueError, match="allowed: seconds or text like 90s, 30m, 4h"):
        duration(value)


BAD = [
    ("backend_url", '"localhost:8000"'),
    ("backend_url", '"ftp://host"'),
    ("backend_url", '"http://"'),
    ("backend_url", '"http:///path"'),
    ("backend_url", '"http://host?x=1"'),
    ("backend_url", '"http://host/a b"'),
    ("backend_url", '"http://hösts"'),
    ("backend_url", "5"),
    ("claw_identifier", '""'),
    ("claw_identifier", '"a b"'),
    ("agents", '"a b"'),
    ("agents", '["a b"]'),
    ("agents", "[5]"),
    ("agents", "5"),
    ("state_file", "5"),
    ("state_file", '""'),
    ("state_file", '"a\\u0000b"'),
    ("heartbeat_interval", "0"),
    ("heartbeat_interval", '"8d"'),
    ("heartbeat_interval", "nan"),
    ("request_timeout", "0"),
    ("request_timeout", "301"),
    ("concurrency", "0"),
    ("concurrency", "513"),
    ("concurrency", "1.5"),
    ("concurrency", "true"),
    ("concurrency", '"many"'),
    ("history_cap", "-1"),
    ("abandon_after", "-1"),
    ("abandon_after", '"never"'),
    ("due_check", '"perhaps"'),
    ("due_check", "2"),
    ("calendar_timezone", '"Mars/Olympus"'),
    ("group", '"no-such-group"'),
    ("group", "true"),
    ("calendar_timezone", '"../../etc/passwd"'),
    ("calendar_timezone", '""'),
    ("calendar_timezone", '"Europe"'),
    ("report_agent_status", "[]"),
    ("log_level", '"loud"'),
    ("log_format", '"xml"'),
    ("log_file", "5"),
]


@pytest.mark.parametrize(("key", "toml"), BAD)
def test_a_bad_value_names_key_value_and_what_is_allowed(config, key, toml):
    """A person can fix the file from the message alone."""
    message = refusal(config, f"{key} = {toml}\n")
    assert str(config) in message
    assert key in message
    assert "allowed:" in message
    shown = toml.strip('"[]').replace("\\u0000", "\\x00")
    assert shown.lower() in message.lower()


@pytest.mark.parametrize("variable", ["HFCAL_BACKEND_URL", "HFCAL_CONCURRENCY", "HFCAL_DUE_CHECK"])
def test_a_bad_variable_is_named(variable):
    """A bad value in the environment is told by the variable's name."""
    with pytest.raises(ConfigError, match=rf"{variable} = 'odd value': .*allowed:"):
        load(Options(), {variable: "odd value"})


@pytest.mark.parametrize("agent_id", ["a b", "", "x" * 129, "é", "a\tb"])
def test_a_bad_agent_id_is_wrong_usage_outside_the_file(config, agent_id):
    """From option or environment it is wrong usage, from the file a wrong config."""
    with pytest.raises(UsageError, match="allowed: 1 to 128 printable ASCII"):
        load(Options(agents=("good", agent_id)), {})
    if agent_id:
        with pytest.raises(UsageError, match="HFCAL_AGENTS"):
            settle(HFCAL_AGENTS=f"good,{agent_id}")
    config.write_text(tomli_w.dumps({"agents": [agent_id]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="allowed: 1 to 128 printable ASCII"):
        settle(config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("beckend_url = 'http://x'", ["beckend_url", "did you mean backend_url?"]),
        ("heartbeat = 5", ["heartbeat", "heartbeat_interval"]),
        ("zzz = 5", ["zzz", "known: ", "backend_url", "wake"]),
        ("[wakes]\nadapter = 'print'", ["wakes", "did you mean wake?"]),
        ("[agent.dev]\nwoke = {}", ["agent.dev.woke", "wake"]),
    ],
)
def test_an_unknown_key_is_named_with_the_closest_known_one(config, text, words):
    """A misspelt key is an error, not silence."""
    message = refusal(config, text)
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("wake = 5", "[wake]"),
        ("agent = 5", "[agent.developer.wake]"),
        ("agent = []", "[agent.developer.wake]"),
        ("[agent]\ndev = 5", "[agent.dev.wake]"),
        ("[agent.dev]\nwake = 5", "[agent.dev.wake]"),
        ("[agent.'a b'.wake]\n", "1 to 128 printable ASCII"),
        ("[agent.''.wake]\n", "1 to 128 printable ASCII"),
    ],
)
def test_tables_that_are_none_are_refused(config, text, wanted):
    """The message says what kind of table is wanted, and for whom."""
    assert wanted in refusal(config, text)


@pytest.mark.parametrize("content", [b"key = ", b"\xff\xfe", b"[" * 5000, b"a = 1\na = 2"])
def test_what_is_no_toml_is_refused_by_its_path(config, content):
    """A broken file is a config error that names the file."""
    config.write_bytes(content)
    with pytest.raises(ConfigError, match=str(config)):
        settle(config)


def test_a_named_config_must_be_there(config):
    """A missing file is an error only where a person named it."""
    with pytest.raises(ConfigError, match=f"{config} does not exist"):
        settle(config)
    with pytest.raises(ConfigError, match="does not exist"):
        settle(HFCAL_CONFIG=str(config))
    assert settle().config_file is None


def test_a_config_that_is_a_directory_is_refused(config):
    """It can't be read, and the message says why."""
    config.mkdir()
    with pytest.raises(ConfigError, match=f"cannot read {config}"):
        settle(config)


@given(
    st.dictionaries(
        st.sampled_from([key.environment for key in KEYS.values() if key.environment]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
        | st.sampled_from([" " * 20 + "8", "00000000000008", "²", "\u0663s", "http://[", "~", "."]),
        max_size=3,
    )
)
@thorough
def test_any_environment_is_taken_or_refused(environment):
    """No text in a variable ends in anything but settings or an error for people."""
    try:
        settled = load(Options(), environment)
    except HfcalError as error:
        assert error.kind in {"config", "usage"}
        return
    assert settled.state_file.is_absolute()


toml_values = st.recursive(
    st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*KEYS, "wake", "agent"]), toml_values, max_size=2))
@thorough
def test_any_value_in_the_file_is_taken_or_refused(document):
    """No value of any type ends in anything but settings or a config error."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "config.toml"
        config.write_text(tomli_w.dumps(document), encoding="utf-8")
        try:
            settled = settle(config)
        except ConfigError as error:
            assert error.message
            return
    assert settled.state_file.is_absolute()


# Secrets


def test_the_key_comes_from_environment_key_file_or_config(config, tmp_path):
    """HFCAL_API_KEY before api_key_file before api_key."""
    key_file = tmp_path / "key"
    key_file.write_text("from-file\n", encoding="utf-8")
    text = f"api_key = 'from-config'\napi_key_file = '{key_file}'\n"
    assert settle(config, "api_key = 'from-config'").api_key == "from-config"
    assert settle(config, text).api_key == "from-file"
    assert settle(config, text, HFCAL_API_KEY="from-variable").api_key == "from-variable"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"one\ntwo\n", "schlüssel".encode()])
def test_a_key_file_that_cannot_be_used_is_named(config, tmp_path, content):
    """It must hold one line of printable ASCII; its content is never shown."""
    key_file = tmp_path / "key"
    if content is not None:
        key_file.write_bytes(content)
    message = refusal(config, f"api_key_file = '{key_file}'\n")
    assert str(key_file) in message
    assert "two" not in message


@pytest.mark.parametrize(
    "text",
    [
        f"api_key = ['{SECRET}']",
        f"api_key = '{SECRET}\\u00e9'".replace("'", '"'),
        f'api_key = "{SECRET}\\n{SECRET}"',
        f"backend_url = 'https://user:{SECRET}@host/'",
        f"backend_url = 'https://{SECRET}@host/'",
    ],
)
def test_no_error_shows_a_secret(config, text):
    """A secret that can't be used, or stands in the wrong place, is refused without being shown."""
    assert SECRET not in refusal(config, text)


def test_no_error_shows_a_secret_of_the_environment():
    """The same holds for variables."""
    for variable, text in (
        ("HFCAL_API_KEY", f"{SECRET}\x01"),
        ("HFCAL_BACKEND_URL", f"http://user:{SECRET}@host"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(Options(), {variable: text})
        assert SECRET not in caught.value.message


def test_the_key_is_in_no_representation(config):
    """A traceback or log line that shows the settings doesn't show the key."""
    assert SECRET not in repr(settle(config, f"api_key = '{SECRET}'"))


# The state file


@linux_only
def test_the_state_is_in_the_users_state_directory(home):
    """~/.local/state/hfcal/state.json unless something says otherwise."""
    assert settle().state_file == home / ".local" / "state" / "hfcal" / "state.json"


def test_the_hosts_config_has_the_hosts_state():
    """/var/lib/hfcal/state.json when the config is /etc/hfcal/config.toml."""
    paths.SYSTEM_CONFIG.parent.mkdir()
    paths.SYSTEM_CONFIG.write_text("", encoding="utf-8")
    assert settle().state_file == paths.SYSTEM_STATE
    assert settle(HFCAL_STATE="/else/where").state_file == Path("/else/where")


def test_a_state_path_is_made_absolute(config):
    """From any folder and with ~ it leads to one file."""
    assert settle(HFCAL_STATE="~/s.json").state_file == Path(os.environ["HOME"]) / "s.json"
    assert load(Options(state=Path("s.json")), {}).state_file == Path.cwd() / "s.json"


@pytest.mark.parametrize("home_variable", [None, "", "relative/home"])
def test_without_a_home_the_state_has_no_place(monkeypatch, home_variable):
    """No HOME and no entry in the password file: an error that names HFCAL_STATE."""

    def unknown(_: int) -> object:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    if home_variable is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home_variable)
    with pytest.raises(ConfigError, match="HFCAL_STATE"):
        settle()
    assert settle(HFCAL_STATE="/var/s.json").state_file == Path("/var/s.json")


def test_without_a_home_a_path_below_it_is_no_path_below_here(monkeypatch, config):
    """Never a relative path: ~ that means nothing is an error that names HFCAL_STATE."""

    def unknown(_: int) -> object:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    assert "HFCAL_STATE" in refusal(config, "state_file = '~/s.json'\n")


# What is passed over for an agent's own commands


@pytest.mark.parametrize(
    "text",
    [None, "odd = ", "concurrency = 'many'\n", "unknown = 1\n", "api_key_file = '/no/such'\n"],
)
def test_a_broken_config_never_refuses_an_agents_word(config, text):
    """With HFCAL_STATE or --state the state file is found, whatever the config is like."""
    if text is not None:
        config.write_text(text, encoding="utf-8")
    for options, environment in (
        (Options(config=config), {"HFCAL_STATE": "/s.json"}),
        (Options(config=config, state=Path("/s.json")), {"HFCAL_CONCURRENCY": "odd"}),
        (Options(), {"HFCAL_CONFIG": str(config), "HFCAL_STATE": "/s.json"}),
    ):
        assert load(options, environment, pass_over=lambda _: None).state_file == Path("/s.json")


@linux_only
def test_without_a_word_the_default_is_found_all_the_same(config, home):
    """A broken config doesn't keep the default from leading to the state file."""
    config.write_text("odd = ", encoding="utf-8")
    settled = load(Options(config=config), {}, pass_over=lambda _: None)
    assert settled.state_file == home / ".local" / "state" / "hfcal" / "state.json"


@pytest.mark.parametrize("text", ["odd = ", "unknown = 1\n"])
def test_a_broken_config_of_the_host_still_means_the_hosts_state(text):
    """The default is /var/lib/hfcal/state.json while the config is /etc/hfcal/config.toml."""
    paths.SYSTEM_CONFIG.parent.mkdir()
    paths.SYSTEM_CONFIG.write_text(text, encoding="utf-8")
    assert load(Options(), {}, pass_over=lambda _: None).state_file == paths.SYSTEM_STATE


def test_what_can_be_read_counts_beside_what_cannot(config):
    """One bad value doesn't take the others away."""
    config.write_text("concurrency = 'many'\nbackend_url = 'http://x'\n", encoding="utf-8")
    assert load(Options(config=config), {}, pass_over=lambda _: None).backend_url == "http://x"


def test_a_home_that_cannot_be_looked_into_is_no_bug(monkeypatch):
    """Where the user's config can't even be looked for, an agent's word is taken all the same."""
    monkeypatch.setenv("HOME", "/" + "x" * 5000)
    settled = load(Options(), {"HFCAL_STATE": "/s.json"}, pass_over=lambda _: None)
    assert settled.state_file == Path("/s.json")


# What commands need


def test_what_is_missing_is_told_with_all_places_to_set_it(config):
    """An error for a missing backend or agents names key, variable and option."""
    settled = settle(config, "")
    with pytest.raises(ConfigError) as no_backend:
        settled.require_backend()
    with pytest.raises(ConfigError) as no_agents:
        settled.require_agents()
    for caught, words in (
        (no_backend, ("backend_url", "HFCAL_BACKEND_URL", "--backend-url", str(config))),
        (no_agents, ("agents", "HFCAL_AGENTS", "--agent", str(config))),
    ):
        assert all(word in caught.value.message for word in words)
    settled = settle(config, "backend_url = 'http://x'\nagents = ['a']")
    settled.require_backend()
    settled.require_agents()


def test_wake_tables_are_kept_for_whoever_reads_them(config):
    """The [wake] table, and those of single agents by their ids."""
    settled = settle(
        config, "[wake]\nadapter = 'print'\n[agent.dev.wake]\nadapter = 'x'\n[agent.ops]\n"
    )
    assert settled.wake == {"adapter": "print"}
    assert settled.agent_wakes == {"dev": {"adapter": "x"}}
