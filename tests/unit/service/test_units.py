"""hfcal.service: units and crontab lines for settings of every kind."""

import re
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hfcal.config.load import load
from hfcal.config.paths import SYSTEM_STATE
from hfcal.config.settings import KEYS, Options, Settings
from hfcal.errors import ConfigError
from hfcal.service.crontab import crontab
from hfcal.service.installed import Installed
from hfcal.service.units import one_text, steps, timer, watcher
from hfcal.state.file import LOCK_TIMEOUT
from hfcal.wake.adapter import ServiceRequirements
from tests.rig.needs import needs

AGENTS = ServiceRequirements(34.0, programs=True)
MINE = Settings(Path("/home/me/c.toml"), Path("/home/me/state.json"))
# A value for each variable, and what it is printed as.
VALUES = {
    "HFCAL_BACKEND_URL": ("https://host/100%/", "https://host/100%"),
    "HFCAL_CLAW_IDENTIFIER": ('a"b\\c$d;', 'a"b\\c$d;'),
    "HFCAL_AGENTS": (" a%1, b'2 ", "a%1,b'2"),
    "HFCAL_HEARTBEAT_INTERVAL": ("1m", "60.0"),
    "HFCAL_REQUEST_TIMEOUT": ("250ms", "0.25"),
    "HFCAL_CONCURRENCY": ("9", "9"),
    "HFCAL_DUE_CHECK": ("yes", "true"),
    "HFCAL_LOG_LEVEL": ("DEBUG", "debug"),
    "HFCAL_LOG_FORMAT": ("json", "json"),
    "HFCAL_LOG_FILE": ("/var/log/5 % of it", "/var/log/5 % of it"),
}
FROM_VARIABLE = {"log_file": "environment"}
NOT_AS_VARIABLE = {"HFCAL_STATE", "HFCAL_API_KEY"}


def installed(
    settings: Settings = MINE,
    needs: ServiceRequirements = AGENTS,
    program: str = "/opt/hfcal",
    **more: Any,
) -> Installed:
    """What is to be run, with the usual where a test doesn't care."""
    given = {"user": "me", "system": True, "lock_timeout": LOCK_TIMEOUT, **more}
    return Installed((program,), settings, needs, **given)


def lines(unit_text: str) -> list[str]:
    """The lines of units that systemd acts on."""
    return [line for line in unit_text.splitlines() if line and line[0] not in "#["]


def service(*args: Any, **more: Any) -> list[str]:
    """The lines of the service that a timer starts."""
    return lines(timer(installed(*args, **more))[0].text)


def cron_command(text: str) -> str:
    """The command that cron hands to the shell, as its source has it: a backslash goes before %."""
    line = text.splitlines()[-1].removeprefix("* * * * * ")
    found, escaped = "", False
    for char in line:
        if char == "%" and not escaped:
            return found
        found = found[:-1] + char if char == "%" else found + char
        escaped = char == "\\" and not escaped
    return found


# Variables and options


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('backend_url = "http://h"\nagents = ["a"]\n', encoding="utf-8")
    return path


def test_each_variable_is_printed(config: Path) -> None:
    """And read back as what it was; config and state are options at any rate."""
    names = {key.environment for key in KEYS.values() if key.environment}
    assert names == VALUES.keys() | NOT_AS_VARIABLE
    given = {name: text for name, (text, _) in VALUES.items()}
    given |= {"HFCAL_STATE": "/s/state.json", "HFCAL_CONFIG": str(config)}
    whole = installed(load(Options(), given))
    wanted = {name: text for name, (_, text) in VALUES.items()}
    assert whole.environment == wanted
    words = shlex.split(cron_command(crontab(whole)))
    assert dict(word.split("=", 1) for word in words[: len(wanted)]) == wanted
    paths = ["--config", str(config), "--state", "/s/state.json"]
    assert words[len(wanted) :] == ["/opt/hfcal", "tick", *paths]
    unit = service(load(Options(), given))
    assert 'Environment="HFCAL_CLAW_IDENTIFIER=a\\"b\\\\c$d;"' in unit
    assert 'Environment="HFCAL_AGENTS=a%%1,b\'2"' in unit
    again = load(Options(), {**given, **whole.environment})
    assert all(getattr(again, name) == getattr(whole.settings, name) for name in KEYS)


def test_a_key_in_a_variable_is_refused(config: Path) -> None:
    """With what to do instead, and without the key."""
    with pytest.raises(ConfigError, match="api_key_file") as caught:
        installed(load(Options(config), {"HFCAL_API_KEY": "s3cret"}))
    assert "s3cret" not in caught.value.message


def test_options_are_printed(config: Path) -> None:
    """Each as it was given."""
    options = Options(
        config, Path("/s"), "http://h:1", "srv1", ("a", "b,c"), "7", log_format="json"
    )
    words = installed(load(options, {}), lock_timeout=90.0).words("tick")
    assert " ".join(words[4:]) == (
        "--state /s --backend-url http://h:1 --claw srv1 --agent a --agent b,c --concurrency 7 "
        "--log-format json --lock-timeout 90.0"
    )


def test_a_secret_of_a_wake_table_is_asked_for() -> None:
    """By its name; nobody but its owner can put it where it's needed."""
    whole = installed(needs=ServiceRequirements(variables=("TOKEN",)))
    assert "#EnvironmentFile=" in timer(whole)[0].text
    assert "TOKEN" in crontab(whole)


# Odd paths


@pytest.mark.parametrize(
    "odd", ["/opt/it's 5%/hfcal", r"/opt/a\%b", r"/opt/a\\%'%", "/opt/$HOME/`id`", "/opt/ü \\"]
)
def test_each_word_is_one_word_to_cron_and_the_shell(odd: str) -> None:
    """Also a backslash in front of a percent sign, which cron would take for its own."""
    whole = installed(program=odd)
    assert shlex.split(cron_command(crontab(whole))) == whole.words("tick")


def test_a_line_that_cron_would_refuse_is_refused() -> None:
    """Vixie cron takes 998 bytes."""
    many = tuple(f"agent-{n}" for n in range(100))
    with pytest.raises(ConfigError, match="config file"):
        crontab(installed(replace(MINE, agents=many, sources={"agents": "option"})))


@pytest.mark.parametrize("odd", ["/a\nUser=root", "/a\rb", "/a\x1b", "/a\udcff"])
def test_a_line_break_in_a_path_is_refused(odd: str) -> None:
    """It would be a line of its own."""
    with pytest.raises(ConfigError, match="can't stand in a unit"):
        installed(program=odd)
    for changes in ({"state_file": Path(odd)}, {"log_file": Path(odd), "sources": FROM_VARIABLE}):
        with pytest.raises(ConfigError, match="can't stand in a unit"):
            installed(replace(MINE, **changes))


def test_dollar_signs_are_not_looked_up() -> None:
    """The first word can't have one doubled, so none is: the colon turns them all off."""
    odd = replace(MINE, state_file=Path("/s/$x y"))
    (line,) = [w for w in service(odd, program="/opt/$a/hfcal") if "ExecStart" in w]
    assert line == 'ExecStart=:/opt/$a/hfcal tick --config /home/me/c.toml --state "/s/$x y"'


def test_quotes_in_the_programs_path_are_left_to_env() -> None:
    """systemd takes them in any word but the first."""
    assert r"""ExecStart=/usr/bin/env "/a\"b\\c'd" tick""" in "".join(service(program="/a\"b\\c'd"))
    with pytest.raises(ConfigError, match="equals signs"):
        timer(installed(program="/a'=b"))


@pytest.mark.parametrize("odd", ["$a", "it's", '"', "a\\b", "5% a", "a=b;c"])
@pytest.mark.parametrize("required", [AGENTS, ServiceRequirements()])
def test_systemd_takes_odd_paths(odd: str, required: ServiceRequirements, tmp_path: Path) -> None:
    """It looks for the program, and has nothing to say of the rest."""
    analyze = needs("systemd-analyze")
    program = tmp_path / odd / "hfcal"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    settings = replace(MINE, state_file=Path(f"/s/{odd}"), claw_identifier=odd)
    whole = installed(replace(settings, sources={"claw_identifier": "environment"}), required)
    whole = replace(whole, program=(str(program),), user="root")
    for make in (timer, watcher):
        files = [tmp_path / unit.name for unit in make(whole)]
        for file, unit in zip(files, make(whole), strict=True):
            file.write_text(unit.text, encoding="utf-8")
        done = subprocess.run(
            [analyze, "verify", *map(str, files)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        said = [line for line in done.stderr.splitlines() if "hfcal" in line]
        assert said == []


# Limits


@pytest.mark.parametrize(
    ("interval", "request_timeout", "wake", "watchdog", "start", "stop"),
    [
        (30, 10, 34, 180, 600, 124),
        (300, 10, 0, 900, 900, 120),
        (30, 300, 3604, 4614, 4614, 4564),
    ],
)
def test_no_limit_is_shorter_than_a_pass(
    interval: float, request_timeout: float, wake: float, watchdog: int, start: int, stop: int
) -> None:
    """Of the watchdog, of the start, and of the stop."""
    settings = replace(MINE, heartbeat_interval=interval, request_timeout=request_timeout)
    found = lines(watcher(installed(settings, ServiceRequirements(wake)))[0].text)
    assert f"WatchdogSec={watchdog}s" in found
    assert f"TimeoutStartSec={start}s" in found
    assert f"TimeoutStopSec={stop}s" in found


def test_a_wrong_config_is_not_started_again() -> None:
    """2 and 5 come back however often it is started."""
    found = lines(watcher(installed())[0].text)
    assert {"Restart=always", "RestartPreventExitStatus=2 5"} <= set(found)


def test_a_timer_is_no_faster_than_ten_seconds() -> None:
    """For less there is `watch`."""
    fast = installed(replace(MINE, heartbeat_interval=1.0))
    assert "OnUnitActiveSec=10s" in timer(fast)[1].text


# State


def test_systemd_makes_the_state_directory() -> None:
    """Where it's systemd's to make, and nobody else's."""
    wanted = ["StateDirectory=hfcal", "StateDirectoryMode=0700"]
    hosts = replace(MINE, state_file=SYSTEM_STATE)
    assert [line for line in service(hosts) if "StateDir" in line] == wanted
    assert "StateDir" not in "".join(service())
    assert "StateDir" not in "".join(service(hosts, system=False))


def test_a_shared_state_directory_is_not_systemds() -> None:
    """systemd would chown and chmod it back at each start; it is told how to make it."""
    whole = installed(replace(MINE, state_file=SYSTEM_STATE, group="agents"))
    text = one_text(whole, timer(whole))
    assert "StateDir" not in text
    wanted = "install -d -o me -g agents -m 2770 /var/lib/hfcal"
    assert steps(whole, timer(whole))[0] == wanted
    assert f"# then: {wanted}\n" in text


# Restrictions

BREAKS_AGENTS = (
    "RestrictSUIDSGID",
    "MemoryDenyWriteExecute",
    "PrivateTmp",
    "RestrictNamespaces",
    "ProtectHome",
    "UMask",
    "ProtectKernelTunables",
    "ProtectKernelLogs",
    "SystemCallFilter",
    "CapabilityBoundingSet",
)
STRICT = {
    "PrivateTmp=yes",
    "RestrictNamespaces=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "CapabilityBoundingSet=",
    "UMask=0077",
    "ProtectKernelTunables=yes",
    "ProtectKernelLogs=yes",
}
FOR_ALL = {"NoNewPrivileges=yes", "LockPersonality=yes", "RestrictRealtime=yes", "LimitCORE=0"}
FOR_SYSTEM = FOR_ALL | {
    "ProtectSystem=full",
    "ProtectControlGroups=yes",
    "ProtectKernelModules=yes",
    "ProtectHostname=yes",
}
# What only a manager with privileges can do.
PRIVILEGED = ("Protect", "Private", "Capability", "User=", "StateDir")


def test_agents_in_the_unit_are_not_broken() -> None:
    """They get what takes nothing from them, and stay when the unit stops."""
    found = set(service())
    assert found >= FOR_SYSTEM | {"KillMode=process"}
    assert not [line for line in found if line.startswith(BREAKS_AGENTS)]


def test_hfcal_alone_gets_the_strict_ones() -> None:
    """Nothing foreign runs in the unit."""
    found = set(service(needs=ServiceRequirements()))
    assert found >= FOR_SYSTEM | STRICT
    assert "KillMode=process" not in found


@pytest.mark.parametrize("needs", [AGENTS, ServiceRequirements()])
def test_a_users_manager_is_asked_for_nothing_that_it_cannot_do(needs: ServiceRequirements) -> None:
    """It has no privileges."""
    found = service(needs=needs, system=False)
    assert set(found) >= FOR_ALL
    assert not [line for line in found if line.startswith(PRIVILEGED)]


def test_what_sudo_minds_stands_together() -> None:
    """The comment names the first and the last; all that use seccomp imply NoNewPrivileges."""
    text = timer(installed())[0].text
    found = re.search(r"^NoNewPrivileges=yes\n(.*)\nRestrictRealtime=yes$", text, re.M | re.S)
    assert found is not None
    assert "from NoNewPrivileges to RestrictRealtime" in text
    outside = set(service()) - set(found[0].splitlines())
    restrictions = {line for line in outside if line.startswith(("Protect", "Restrict", "Lock"))}
    assert restrictions == {"ProtectSystem=full", "ProtectControlGroups=yes"}


@pytest.mark.parametrize(
    ("changes", "needs", "left_out"),
    [
        ({"group": "agents"}, ServiceRequirements(), "UMask=0077"),
        ({"state_file": Path("/tmp/s")}, ServiceRequirements(), "PrivateTmp=yes"),
        ({"log_file": Path("/var/tmp/log")}, ServiceRequirements(), "PrivateTmp=yes"),
        ({}, ServiceRequirements(writes=(Path("/tmp/spool"),)), "PrivateTmp=yes"),
        ({}, ServiceRequirements(reads=(Path("/tmp/token"),)), "PrivateTmp=yes"),
        ({"state_file": Path("/usr/local/var/s")}, ServiceRequirements(), "ProtectSystem=full"),
        ({}, ServiceRequirements(writes=(Path("/etc/spool"),)), "ProtectSystem=full"),
    ],
)
def test_a_restriction_that_breaks_hfcal_is_left_out(
    changes: dict[str, Any], needs: ServiceRequirements, left_out: str
) -> None:
    """What it writes must be writable, what it reads must be there."""
    missing = (FOR_SYSTEM | STRICT) - set(service(replace(MINE, **changes), needs))
    assert missing == {left_out}


def test_root_keeps_its_capabilities() -> None:
    """It reads and writes others' files by them."""
    assert "CapabilityBoundingSet=" not in service(needs=ServiceRequirements(), user="root")
