"""What every command promises its callers, the same for all: docs/json.md and the exit codes.

The commands are the app's own, so a new one without cases here fails. Each case runs on a new host
with `--json` before its words, on another with it after them, without it, and with `-q`.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hfcal.cli import exits
from hfcal.cli.app import COMMANDS, make_app
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import Backend
from tests.rig.result import Result

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"

# Where a document has a list, however empty; what stands in a setting or a wake is its own.
LISTS = {
    "agents",
    "agents[].warnings",
    "deliveries",
    "stale",
    "warnings",
    "active",
    "active[].idents",
    "next",
    "held",
    "queued",
    "refused",
    "history",
    "released",
    "done",
    "done[].updates",
    "lost",
    "findings",
    "files",
    "steps",
    "settings.agents.value",
    "wake.command",
}
# The first line tells that they are at work; then they go on until a signal ends them.
STREAMS = {"watch": 2, "sim": 1}

Prepare = Callable[[Backend, Host], object]


def _new(_: Backend, host: Host) -> None:
    """No tick has run."""


def _ticked(_: Backend, host: Host) -> None:
    host.ok("tick")


def _active(backend: Backend, host: Host) -> None:
    backend.add_slots({"agent": "developer", "id": 4})
    host.ok("tick")


def _listed(backend: Backend, _: Host) -> None:
    backend.add_slots({"agent": "developer", "id": 4})


def _paused(backend: Backend, host: Host) -> None:
    _active(backend, host)
    host.ok("pause")


def _held(_: Backend, host: Host) -> None:
    host.ok("hold", "--all")


def _refusing(backend: Backend, host: Host) -> None:
    _active(backend, host)
    backend.fault(path="update", status=409, body='{"detail": "slot is skipped"}')


def _refused(backend: Backend, host: Host) -> None:
    """The start was refused, so that its slot goes on here."""
    backend.fault(path="update", status=409, body='{"detail": "slot is skipped"}')
    backend.add_slots({"agent": "developer", "id": 4})
    host.run("tick")


def _cut_off(backend: Backend, host: Host) -> None:
    _active(backend, host)
    backend.away()


def _away(backend: Backend, _: Host) -> None:
    backend.away()


def _no_config(_: Backend, host: Host) -> None:
    host.config.unlink()


def _no_agents(_: Backend, host: Host) -> None:
    host.configure(agents=[])


def _broken_config(_: Backend, host: Host) -> None:
    host.write_config("backend_url = [")


def _newer_state(_: Backend, host: Host) -> None:
    host.state_dir.mkdir(parents=True)
    host.state.write_text('{"schema": 2}', encoding="utf-8")


def _gone_agent(backend: Backend, host: Host) -> None:
    _ticked(backend, host)
    host.configure(agents=["operator"])


def _failing_wake(_: Backend, host: Host) -> None:
    host.on_wake("exit 3")


def _everything(backend: Backend, host: Host) -> None:
    """Something in each list of status."""
    backend.add_slots({"agent": "developer", "id": 4})
    backend.fault(path="update", agent="developer", status=409, body='{"detail": "skipped"}')
    host.run("tick")
    host.ok("hold", "--all")


@dataclass(frozen=True)
class Case:
    """One way that a command goes.

    Attributes:
        words: What follows its name; BACKEND stands for the backend's URL.
        code: Its exit code.
        prepare: What was before.
        prints: Whether it prints anything on stdout without `--json`.
        quiet: Whether it still does with `-q`.
        notes: Whether it says something on stderr, too.
    """

    words: str = ""
    code: int = exits.OK
    prepare: Prepare = _new
    prints: bool = True
    quiet: bool = True
    notes: bool = False


def does(words: str = "", prepare: Prepare = _new) -> Case:
    """A command that does something, and confirms it; with `-q` it doesn't."""
    return Case(words, prepare=prepare, quiet=False)


def fails(code: int, words: str = "", prepare: Prepare = _new) -> Case:
    """A command that fails with nothing but a message."""
    return Case(words, code, prepare, prints=False, notes=True)


_INIT = "--backend-url BACKEND --agent developer --wake-command /bin/true --claw srv1"
_REFUSAL = Case("", exits.FAILED, _refusing, quiet=False, notes=True)
_UNDELIVERED = Case("--require-delivery", exits.UNREACHABLE, _cut_off, quiet=False, notes=True)
_QUEUED = Case("", exits.OK, _cut_off, quiet=False, notes=True)

# Of each command at least one that goes well; that of wrong usage is added to all.
CASES: dict[str, list[Case]] = {
    "tick": [
        Case(prepare=_listed, prints=False),
        Case("--dry-run", prepare=_listed),
        Case("", exits.UNREACHABLE, _away, prints=False, notes=True),
        Case("--dry-run", exits.UNREACHABLE, _away),
        fails(exits.CONFIG, "", _no_agents),
        fails(exits.STATE, "", _newer_state),
    ],
    "watch": [Case("--interval 100ms", prepare=_listed), fails(exits.CONFIG, "", _no_agents)],
    "complete": [
        does("--summary well", _active),
        _QUEUED,
        _REFUSAL,
        _UNDELIVERED,
        fails(exits.NO_SLOT),
        fails(exits.STATE, "", _newer_state),
    ],
    "abort": [does("", _active), _QUEUED, _UNDELIVERED, fails(exits.NO_SLOT, "", _ticked)],
    "pause": [does("", _active), _REFUSAL, fails(exits.NO_SLOT, "--slot 5", _active)],
    "resume": [does("", _paused), fails(exits.NO_SLOT, "", _ticked)],
    "hold": [does("--all"), fails(exits.STATE, "--all", _newer_state)],
    "release": [
        does("--all"),
        does("--all", _held),
        fails(exits.STATE, "--all", _newer_state),
    ],
    "status": [
        Case(prepare=_everything),
        Case(notes=True),
        Case("--check", prepare=_ticked, quiet=False),
        Case("--check", exits.FAILED),
        fails(exits.FAILED, "--agent nosuch", _ticked),
        fails(exits.STATE, "", _newer_state),
    ],
    "queue list": [Case(), Case(prepare=_refused), fails(exits.STATE, "", _newer_state)],
    "queue retry": [does("4 --yes", _refused), fails(exits.FAILED, "5 --yes", _refused)],
    "queue drop": [does("4 --yes", _refused), fails(exits.USAGE, "4", _refused)],
    "forget": [
        does("developer --yes", _gone_agent),
        fails(exits.FAILED, "nosuch", _ticked),
        fails(exits.FAILED, "developer", _active),
    ],
    "wake test": [
        does("--agent developer"),
        Case("--agent developer", exits.FAILED, _failing_wake, prints=False, notes=True),
        fails(exits.CONFIG, "--agent developer", _broken_config),
    ],
    "config show": [Case(), Case(prepare=_no_agents), fails(exits.CONFIG, "", _broken_config)],
    "config path": [Case(), Case(prepare=_no_config), fails(exits.USAGE, "extra")],
    "config set": [
        does("request_timeout 20s"),
        fails(exits.USAGE, "request_timeout soon"),
        fails(exits.CONFIG, "request_timeout 20s", _broken_config),
    ],
    "config init": [
        does(_INIT, _no_config),
        fails(exits.USAGE, "", _no_config),
        fails(exits.CONFIG, _INIT),
    ],
    "doctor": [
        Case(prepare=_ticked, quiet=False),
        Case("", exits.FAILED, _away),
    ],
    "service systemd": [
        Case("--user"),
        does("--user --output-dir units"),
        fails(exits.CONFIG, "", _no_agents),
    ],
    "service cron": [Case(), fails(exits.CONFIG, "", _broken_config)],
    "metrics": [
        Case(prepare=_ticked),
        Case("--textfile here.prom", prints=False),
        Case("", exits.STATE, _newer_state, notes=True),
        fails(exits.FAILED, "--textfile nowhere/here.prom"),
    ],
    "sim": [Case(), fails(exits.USAGE, "--scenario nowhere.toml")],
    "demo": [Case(quiet=False), fails(exits.USAGE, "extra")],
}


def command_names() -> Iterator[str]:
    """Each command of the app, and each subcommand."""
    root = make_app()
    for name in COMMANDS:
        command = root.get_command(None, name)  # type: ignore[arg-type]
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield name
        else:
            yield from (f"{name} {subcommand}" for subcommand in subcommands)


def _all_cases() -> Iterator[Any]:
    for name in command_names():
        for case in [*CASES.get(name, []), fails(exits.USAGE, "--nosuch")]:
            short = case.words.removeprefix(_INIT) or case.prepare.__name__.lstrip("_")
            yield pytest.param(name, case, id=f"{name} {short} {case.code}")


def test_each_command_has_a_case_that_goes_well_and_one_that_fails() -> None:
    """So that a new command can't be left out, nor stay here when it is gone."""
    assert set(CASES) == set(command_names())
    for name, cases in CASES.items():
        codes = {case.code for case in cases}
        assert exits.OK in codes, name
        assert len(codes) > 1, name


@pytest.mark.parametrize(("name", "case"), list(_all_cases()))
def test_a_command_keeps_the_contract(
    name: str, case: Case, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """One document on stdout, lists are lists, an error has words, and the exit code agrees."""

    def run(*, before: str = "", after: str = "") -> Result:
        backend = make_backend(agents=["developer", "operator"])
        host = make_host(backend)
        case.prepare(backend, host)
        words = f"{before} {name} {case.words.replace('BACKEND', backend.url)} {after}".split()
        result = run_to_end(host, name, words, case)
        assert result.code == case.code, result
        assert "Traceback" not in result.stdout + result.stderr, result
        return result

    plain = [run(), *([run(after="-q")] if case.prints else [])]
    told = [run(before="--json"), run(after="--json")]
    for result in told:
        documents = [json.loads(line) for line in result.stdout.splitlines()]
        assert len(documents) == (STREAMS.get(name, 1) if case.code == exits.OK else 1), result
        for document in documents:
            assert isinstance(document, dict), result
            assert_lists_are_lists(document)
            assert_code_agrees(document, result)
        assert bool(result.stderr) == case.notes, result
    one, other = (json.loads(result.stdout.splitlines()[0]) for result in told)
    assert one.keys() == other.keys()
    assert [bool(r.stdout) for r in plain] == ([True, case.quiet] if case.prints else [False])
    for result in plain:
        assert bool(result.stderr) == case.notes, result
        assert all(line.startswith(("hfcal: ", "Try '")) for line in result.stderr.splitlines())


def run_to_end(host: Host, name: str, words: list[str], case: Case) -> Result:
    """Run it; one that would go on is ended by a signal, once it has said enough."""
    if name not in STREAMS or case.code != exits.OK:
        return host.run(*words)
    running = host.start(*words)
    lines = STREAMS[name] if "--json" in words else 1
    stdout = "".join(f"{running.line()}\n" for _ in range(lines))
    running.send(signal.SIGTERM)
    end = running.end()
    more = end.stdout if name == "sim" else ""  # a watch may have made another pass meanwhile
    return Result(end.words, end.code, stdout + more, end.stderr, end.seconds)


def assert_lists_are_lists(document: dict[str, Any]) -> None:
    """At each place of `LISTS` there is a list, and nowhere else."""
    for path, value in places(document):
        assert isinstance(value, list) == (path in LISTS), (path, value)


def places(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each place in a document with its value, but for what the backend or a person has written."""
    if path == "active[].slot":
        return
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, f"{path}.{key}" if path else key)
    if isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                yield from places(inner, f"{path}[]")


def assert_code_agrees(document: dict[str, Any], result: Result) -> None:
    """0 if and only if all is well; otherwise the one of the error's kind."""
    error = document.get("error")
    if error is not None:
        assert isinstance(error["message"], str), error
        assert error["message"].strip(), error
        assert not PAGE.exists() or error["kind"] in documented_kinds(), error
    if document.get("delivered") is False and result.code == exits.OK:
        assert error is None or error["kind"] not in {"undelivered", "rejected"}, document
    elif error is not None:
        assert result.code == exits.BY_KIND.get(error["kind"], exits.FAILED), result
        assert result.code != exits.OK, result
        assert result.stderr.startswith("hfcal: "), result
    else:
        assert (result.code == exits.OK) == is_well(document), result


def is_well(document: dict[str, Any]) -> bool:
    """What a document without an error says of how it went."""
    if "check" in document:
        assert document["check"]["message"]
        return document["check"]["ok"] is True
    if "summary" in document:
        return bool(document["summary"]["failed"] == 0)
    return document.get("ok", True) is True


def documented_kinds() -> set[str]:
    """The kinds that troubleshooting.md tells about."""
    return set(re.findall(r"^### (\w+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
