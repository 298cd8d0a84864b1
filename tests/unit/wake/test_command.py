"""hfcal.wake.command: starts a program, never through a shell; with real child processes."""

import contextlib
import json
import os
import signal
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.errors import ConfigError
from hfcal.wake import command as module
from hfcal.wake.adapter import WakeError
from hfcal.wake.command import CommandAdapter
from tests.rig.waiting import wait_until
from tests.unit.support import a_wake

WAKE = Wake(
    "key-1", "12", "calendar:12", "[calendar slot 12] grüße\nmore\n", {"slot_id": "12", "a": "ü"}
)
# Notes in the file of its first argument how it was started.
RECORDER = """
import json, os, sys
facts = {
    "arguments": sys.argv[2:],
    "stdin": sys.stdin.buffer.read().decode("utf-8", "surrogateescape"),
    "environment": dict(os.environ),
    "folder": os.getcwd(),
    "session": os.getsid(0) == os.getpid(),
    "descriptors": sorted(int(name) for name in os.listdir("/dev/fd")),
}
with open(sys.argv[1], "w", encoding="utf-8") as stream:
    json.dump(facts, stream)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where a started program notes what it saw."""
    return tmp_path / "notes"


def adapter(tmp: Path, *command: object, **more: Any) -> CommandAdapter:
    """An adapter that starts this command."""
    return CommandAdapter(
        **{"command": tuple(map(str, command)), "log_dir": tmp / "log", "timeout": 20.0, **more}
    )


def recorder(notes: Path, *arguments: str, **more: Any) -> CommandAdapter:
    """An adapter that starts a program which notes how it was started."""
    return adapter(notes.parent, sys.executable, "-I", "-c", RECORDER, notes, *arguments, **more)


def wake(starter: CommandAdapter, given: Wake = WAKE, agent_id: str = "dev") -> None:
    """One wake."""
    starter.wake(agent_id, given, threading.Event())


def reason(starter: CommandAdapter, stop: threading.Event | None = None) -> str:
    """Why a wake fails."""
    with pytest.raises(WakeError) as caught:
        starter.wake("dev", WAKE, stop or threading.Event())
    text = str(caught.value)
    assert text.isprintable()
    return text


class Lifeline:
    """Tells whether processes that hold the pipe's other end still live."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lifeline"
        os.mkfifo(self.path)
        self._end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._heard = b""

    def close(self) -> None:
        """Let go."""
        os.close(self._end)

    def heard(self, word: str) -> bool:
        """Whether a process has said this word."""
        self._read()
        return word.encode() in self._heard

    def cut(self) -> bool:
        """Whether no process holds the other end any more."""
        return self._read()

    def _read(self) -> bool:
        try:
            while more := os.read(self._end, 1000):
                self._heard += more
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[Lifeline]:
    """A pipe that started programs hold on to."""
    line = Lifeline(tmp_path)
    yield line
    line.close()


# What the program gets


def test_the_message_is_on_stdin(notes):
    """Byte for byte, where no argument asks for it."""
    wake(recorder(notes, "{agent_id}", "{slot}", "{source}"))
    facts = json.loads(notes.read_text(encoding="utf-8"))
    assert facts["stdin"] == WAKE.message
    assert facts["arguments"] == ["dev", "12", "calendar:12"]


def test_the_message_is_filled_in_where_an_argument_asks_for_it(notes):
    """Then stdin is empty."""
    wake(recorder(notes, "--message={message}", "{slot}{slot}", "{other}", "{{slot}}"))
    facts = json.loads(notes.read_text(encoding="utf-8"))
    assert facts["stdin"] == ""
    assert facts["arguments"] == [f"--message={WAKE.message}", "1212", "{other}", "{12}"]


def test_what_is_filled_in_is_not_filled_in_again(notes):
    """A message that holds a placeholder stays as it is."""
    given = a_wake(slot="{message}", message="{agent_id} {slot}")
    wake(recorder(notes, "{slot}", "{message}"), given)
    facts = json.loads(notes.read_text(encoding="utf-8"))
    assert facts["arguments"] == ["{message}", "{agent_id} {slot}"]


@pytest.mark.parametrize("arguments", [(), ("{message}",)], ids=["stdin", "argument"])
def test_a_path_that_is_no_utf_8_is_told_as_it_is(notes, arguments):
    """The commands in a message name the state file by its bytes, whatever those are."""
    message = os.fsdecode(b"hfcal complete --state /tmp/\xff.json\n")
    wake(recorder(notes, *arguments), a_wake(message=message))
    facts = json.loads(notes.read_text(encoding="utf-8"))
    told = facts["arguments"] if arguments else [facts["stdin"]]
    assert told == [message]


@pytest.mark.promise_10
def test_no_shell_reads_the_arguments(notes, tmp_path):
    """Whatever a backend put into a message arrives as one argument and runs nothing."""
    touched = tmp_path / "touched"
    evil = f"\"; touch {touched}; $(touch {touched}) `touch {touched}` | & > {touched} *\n'"
    wake(recorder(notes, "{message}", "$HOME", "~", "*"), a_wake(message=evil))
    facts = json.loads(notes.read_text(encoding="utf-8"))
    assert facts["arguments"] == [evil, "$HOME", "~", "*"]
    assert not touched.exists()


@pytest.mark.promise_9
def test_the_environment_tells_the_slot_and_hides_the_key(notes, monkeypatch):
    """The five variables are there, the rest is inherited, and HFCAL_API_KEY is not."""
    monkeypatch.setenv("HFCAL_API_KEY", "s3cret")
    monkeypatch.setenv("HFCAL_SLOT", "other")
    monkeypatch.setenv("OWN", "kept")
    wake(recorder(notes))
    environment = json.loads(notes.read_text(encoding="utf-8"))["environment"]
    assert environment["HFCAL_AGENT_ID"] == "dev"
    assert environment["HFCAL_SLOT"] == "12"
    assert environment["HFCAL_SOURCE"] == "calendar:12"
    assert environment["HFCAL_IDEMPOTENCY_KEY"] == "key-1"
    assert json.loads(environment["HFCAL_SLOT_JSON"]) == WAKE.details
    assert environment["OWN"] == "kept"
    assert "HFCAL_API_KEY" not in environment
    assert "s3cret" not in environment.values()


@pytest.mark.promise_4
def test_two_tries_of_one_wake_are_the_same(notes):
    """Arguments, stdin and environment, byte for byte."""
    seen = []
    for _ in range(2):
        wake(recorder(notes, "{source}"))
        seen.append(notes.read_bytes())
    assert seen[0] == seen[1]


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs a look at open files")
def test_the_program_gets_no_open_file_of_ours(notes, tmp_path):
    """Neither a lock nor a connection goes over to it."""
    with (tmp_path / "ours").open("w", encoding="utf-8") as ours:
        os.set_inheritable(ours.fileno(), True)
        wake(recorder(notes))
        descriptors = json.loads(notes.read_text(encoding="utf-8"))["descriptors"]
    assert set(descriptors) <= {0, 1, 2, 3}  # the last one is its own


# How it can fail


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "exited with 3"),
        ("echo no agent; exit 1", "exited with 1: no agent"),
        ("echo no agent >&2; exit 1", "exited with 1: no agent"),
        ("echo one; echo two >&2; exit 9", "exited with 9: one two"),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("echo oops; kill -SEGV $$", "was killed by SIGSEGV: oops"),
        ("printf '\\033[2J\\n\\377end'; exit 1", "exited with 1: [2J \ufffdend"),
    ],
)
def test_the_reason_tells_how_it_ended_and_its_last_words(tmp_path, script, told):
    """Exit code or signal, and the end of what it printed, on one safe line."""
    assert reason(adapter(tmp_path, "sh", "-c", script)) == f"sh {told}"


def test_of_much_output_the_end_is_told(tmp_path):
    """A reason is short, however much was printed."""
    script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; echo last; exit 1"
    text = reason(adapter(tmp_path, "sh", "-c", script))
    assert text.endswith("last")
    assert len(text) < 400


@pytest.mark.parametrize("kind", ["missing", "not executable", "directory", "no format"])
def test_a_program_that_cannot_be_started_is_named(tmp_path, kind):
    """The reason tells which one, and why."""
    program = tmp_path / "program"
    if kind == "directory":
        program.mkdir()
    elif kind != "missing":
        program.write_bytes(b"\0\1\2")
        program.chmod(0o755 if kind == "no format" else 0o644)
    text = reason(adapter(tmp_path, program))
    assert text.startswith("cannot start ")
    assert str(program) in text


def test_a_message_too_long_for_an_argument_is_a_failed_wake(tmp_path):
    """The system's limit is a reason, not a bug."""
    starter = adapter(tmp_path, "true", "{message}")
    with pytest.raises(WakeError, match="cannot start"):
        wake(starter, a_wake(message="x" * 5_000_000))


def test_a_nul_in_an_argument_is_a_failed_wake(tmp_path):
    """No argument can hold it."""
    with pytest.raises(WakeError, match="cannot start"):
        wake(adapter(tmp_path, "true", "{message}"), a_wake(message="a\0b"))


def test_without_room_for_temporary_files_a_wake_fails(tmp_path, monkeypatch):
    """A full or missing /tmp is a reason to try again later, not a bug."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert reason(adapter(tmp_path, "true"))


# Time


def test_a_timeout_says_what_an_agent_as_command_wants(tmp_path):
    """The reason names the time and mode = "detach", and has the last words."""
    started = time.monotonic()
    text = reason(adapter(tmp_path, "sh", "-c", "echo thinking; exec sleep 60", timeout=0.3))
    assert text.startswith("sh took longer than 0.3 s")
    assert 'mode = "detach"' in text
    assert text.endswith("thinking")
    assert time.monotonic() - started < 5


def test_a_timeout_ends_all_that_the_command_started(tmp_path, lifeline):
    """A grandchild in the same session dies with it."""
    script = f"(echo alive; exec sleep 60) > {lifeline.path} & wait"
    thread = threading.Thread(
        target=reason, args=(adapter(tmp_path, "sh", "-c", script, timeout=1),)
    )
    thread.start()
    wait_until(lambda: lifeline.heard("alive"))
    assert not lifeline.cut()
    thread.join(10)
    wait_until(lifeline.cut)


def test_a_timeout_ends_what_ignores_a_polite_word_too(tmp_path, lifeline, monkeypatch):
    """TERM first, then KILL."""
    monkeypatch.setattr(module, "_GRACE", 0.2)
    script = f"exec > {lifeline.path}; trap '' TERM; echo alive; while :; do sleep 1; done"
    reason(adapter(tmp_path, "sh", "-c", script, timeout=1))
    wait_until(lifeline.cut)
    assert lifeline.heard("alive")


def test_a_command_may_tidy_up_when_it_is_ended(tmp_path, notes):
    """TERM gives it the time to."""
    script = f"trap 'echo tidy > {notes}; exit 0' TERM; sleep 60 & wait"
    reason(adapter(tmp_path, "sh", "-c", script, timeout=0.5))
    assert notes.read_text(encoding="utf-8") == "tidy\n"


def test_a_grandchild_that_keeps_the_output_open_holds_up_nobody(tmp_path, lifeline):
    """sh -c 'sleep 60 &' is done when sh is."""
    script = f"exec 3> {lifeline.path}; echo $$ >&3; sleep 60 & exit 0"
    started = time.monotonic()
    wake(adapter(tmp_path, "sh", "-c", script))
    assert time.monotonic() - started < 5
    assert not lifeline.cut()
    end_session(lifeline)


def end_session(lifeline: Lifeline) -> None:
    """End what a command has left behind; its first word was the number of its session."""
    lifeline.cut()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(int(lifeline._heard.split()[0]), signal.SIGKILL)
    wait_until(lifeline.cut)


def test_a_command_that_reads_nothing_is_no_failure(tmp_path):
    """A large message that nobody reads holds up nobody."""
    started = time.monotonic()
    wake(adapter(tmp_path, "true"), a_wake(message="x" * 1_000_000))
    assert time.monotonic() - started < 5


def test_a_command_that_prints_without_end_is_ended_by_the_timeout(tmp_path):
    """It fills no pipe and no memory."""
    text = reason(adapter(tmp_path, "sh", "-c", "while :; do echo more; done", timeout=0.3))
    assert "took longer" in text
    assert len(text) < 600


def test_stop_ends_the_waiting(tmp_path, lifeline):
    """When hfcal is told to stop, the command is ended as at a time-out."""
    stop = threading.Event()
    told: list[str] = []
    script = f"exec > {lifeline.path}; echo alive; sleep 60 & wait"
    starter = adapter(tmp_path, "sh", "-c", script)
    thread = threading.Thread(target=lambda: told.append(reason(starter, stop)))
    thread.start()
    wait_until(lambda: lifeline.heard("alive"))
    stop.set()
    thread.join(10)
    wait_until(lifeline.cut)
    assert "told to stop" in told[0]
    assert "detach" not in told[0]


def test_after_stop_nothing_is_started(tmp_path, notes):
    """A wake whose turn comes later fails without its command having run."""
    stop = threading.Event()
    stop.set()
    assert "stop" in reason(adapter(tmp_path, "touch", notes), stop)
    assert not notes.exists()


def test_wakes_side_by_side_do_not_wait_for_one_another(tmp_path, lifeline):
    """A slow command holds up no other agent's."""
    stop = threading.Event()
    script = f"exec > {lifeline.path}; echo alive; exec sleep 60"
    slow = adapter(tmp_path, "sh", "-c", script)
    thread = threading.Thread(target=reason, args=(slow, stop))
    thread.start()
    wait_until(lambda: lifeline.heard("alive"))
    started = time.monotonic()
    wake(adapter(tmp_path, "true"), agent_id="ops")
    assert time.monotonic() - started < 5
    stop.set()
    thread.join(10)


# Detached


def test_a_detached_command_goes_on_without_us(tmp_path, lifeline, monkeypatch):
    """The wake is made when it has run for a while; it lives on in a session of its own."""
    monkeypatch.setattr(module, "_AT_ONCE", 0.3)
    script = f"exec 3> {lifeline.path}; echo $$ >&3; exec sleep 60"
    started = time.monotonic()
    wake(adapter(tmp_path, "sh", "-c", script, detach=True))
    assert time.monotonic() - started < 5
    wait_until(lambda: lifeline.heard("\n"))
    assert not lifeline.cut()
    session = int(lifeline._heard.split()[0])
    assert os.getsid(session) == session != os.getsid(0)
    end_session(lifeline)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(session, 0)


def is_our_child(pid: int) -> bool:
    """Whether the process lives, or waits for us to hear of its end."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="can't be looked at here")
def test_a_detached_command_that_has_ended_leaves_no_zombie(tmp_path, lifeline, monkeypatch):
    """A watch that runs for months doesn't fill the process table: the next wake tidies up."""
    monkeypatch.setattr(module, "_AT_ONCE", 0.3)
    script = f"exec 3> {lifeline.path}; echo $$ >&3; exec sleep 1"
    wake(adapter(tmp_path, "sh", "-c", script, detach=True))
    wait_until(lifeline.cut)
    session = int(lifeline._heard.split()[0])
    wake(adapter(tmp_path, "true"))
    wait_until(lambda: not is_our_child(session))


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo no key; exit 2", "exited with 2: no key"), ("kill -9 $$", "was killed by SIGKILL")],
)
def test_a_detached_command_that_fails_at_once_is_a_failed_wake(tmp_path, script, told):
    """An exit other than 0 within a second is told like any other."""
    assert reason(adapter(tmp_path, "sh", "-c", script, detach=True)) == f"sh {told}"


def test_a_detached_command_that_ends_at_once_is_a_wake(notes):
    """Exit 0 is success, and it gets what any command gets."""
    wake(recorder(notes, "{slot}", detach=True))
    facts = json.loads(notes.read_text(encoding="utf-8"))
    assert (facts["stdin"], facts["arguments"]) == (WAKE.message, ["12"])
    assert facts["session"]


def test_the_output_of_a_detached_command_is_in_the_log_directory(tmp_path):
    """A file that only we can read, in a directory that only we can enter, wherever it is."""
    old = os.umask(0)
    try:
        starter = adapter(tmp_path, "sh", "-c", "echo hello; echo there >&2", detach=True)
        wake(starter, agent_id="../a/b")
    finally:
        os.umask(old)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.read_text(encoding="utf-8") for path in files] == ["hello\nthere\n"]
    assert files[0].is_relative_to(tmp_path / "log")
    for path in (tmp_path / "log").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o700


def test_a_log_directory_that_cannot_be_made_is_a_failed_wake(tmp_path):
    """The reason is told, and the wake tried again later."""
    (tmp_path / "log").write_text("a file", encoding="utf-8")
    assert reason(adapter(tmp_path, "true", detach=True))


# Its part of the config


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "command"),
        ({"command": "echo hello"}, "command"),
        ({"command": []}, "command"),
        ({"command": ["echo", 5]}, "command"),
        ({"command": [""]}, "command"),
        ({"command": ["a\0b"]}, "command"),
        ({"command": ["true"], "mode": "later"}, "mode"),
        ({"command": ["true"], "timeout": "soon"}, "timeout"),
        ({"command": ["true"], "timeout": 0}, "timeout"),
        ({"command": ["true"], "log_dir": "relative"}, "log_dir"),
        ({"command": ["true"], "log_dir": 5}, "log_dir"),
    ],
)
def test_a_table_that_cannot_be_used_names_key_and_what_is_allowed(tmp_path, table, key):
    """A config error, before anybody is woken."""
    with pytest.raises(ConfigError, match=rf"wake\.{key} = .*allowed: "):
        CommandAdapter.from_table(WakeTable(table, "wake"), tmp_path)


def test_a_table_is_read(tmp_path):
    """The defaults are 30 s, and to wait."""
    starter = CommandAdapter.from_table(WakeTable({"command": ["a", "{slot}"]}, "wake"), tmp_path)
    assert (starter.command, starter.timeout, starter.detach) == (("a", "{slot}"), 30.0, False)
    table = {"command": ["a"], "mode": "detach", "timeout": "2m", "log_dir": "/var/log/x"}
    starter = CommandAdapter.from_table(WakeTable(table, "wake"), tmp_path)
    assert (starter.timeout, starter.detach, starter.log_dir) == (120.0, True, Path("/var/log/x"))
