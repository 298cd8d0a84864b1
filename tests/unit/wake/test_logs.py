"""hfcal.wake.logs: logs of detached commands are private and bounded; what a command inherits."""

import os
import shutil
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hfcal.core.records import Wake
from hfcal.wake.adapter import WakeError
from hfcal.wake.command import CommandAdapter
from hfcal.wake.logs import LOG_BYTES, LOG_FILES, bound_logs, open_log
from tests.rig.children import child, hear, tell
from tests.rig.waiting import wait_until
from tests.unit.support import a_wake

WAKE = Wake("key-1", "12", "calendar:12", "read me\n", {"slot_id": "12"})
IS_ROOT = os.geteuid() == 0
SOMEBODY = 65534  # another user, whoever that is


def detached(tmp: Path, *command: object) -> CommandAdapter:
    """An adapter that starts this command and lets it go on."""
    return CommandAdapter(tuple(map(str, command)), tmp / "log", detach=True)


def reason(starter: CommandAdapter, given: Wake = WAKE) -> str:
    """Why a wake fails."""
    with pytest.raises(WakeError) as caught:
        starter.wake("dev", given, threading.Event())
    assert str(caught.value).isprintable()
    return str(caught.value)


def mode(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


# Size

WRITER = """
    import sys
    with open(0, "rb", buffering=0) as given:
        for number in range(3):
            size = int(given.readline())
            line = b"%d " % number + b"x" * 96 + b"\\n"
            for _ in range(size // len(line)):
                sys.stderr.buffer.write(line)
            sys.stderr.flush()
            print("written", flush=True)
"""


@contextmanager
def a_command_that_writes(log: Path):
    """A process that writes so many bytes into a log as it is told to, and then says so."""
    with open_log(log.parent, log.name) as stream, child(WRITER, stderr=stream) as process:
        yield process


def test_a_log_is_cut_while_the_command_still_writes(tmp_path):
    """To its last half; what comes later goes on behind that, without a hole."""
    log = tmp_path / "dev" / "12.log"
    with a_command_that_writes(log) as process:
        for number, size in enumerate((3 * LOG_BYTES, 5 * LOG_BYTES, 100_000)):
            tell(process, str(size))
            assert hear(process) == "written"
            assert log.stat().st_size >= size * 0.99
            bound_logs(log.parent)
            content = log.read_bytes()
            assert len(content) <= LOG_BYTES
            assert b"\0" not in content
            assert content.endswith(b"%d " % number + b"x" * 96 + b"\n")
    assert len(content) > LOG_BYTES // 2
    assert content.count(b"cut the beginning") == 1
    assert mode(log) == 0o600


def test_a_log_of_the_size_that_is_allowed_is_left_alone(tmp_path):
    """Each byte of it."""
    log = tmp_path / "12.log"
    log.write_bytes(b"x" * LOG_BYTES)
    before = log.stat()
    bound_logs(tmp_path)
    assert log.stat().st_mtime_ns == before.st_mtime_ns
    assert log.stat().st_size == LOG_BYTES


def test_a_running_detached_command_is_bounded_by_its_adapter(tmp_path):
    """As each tick has it do while the agent is at work."""
    go = tmp_path / "go"
    os.mkfifo(go)
    script = f"head -c 3000000 /dev/zero | tr '\\0' x; read line < {go}; echo later"
    starter = detached(tmp_path, "sh", "-c", script)
    starter.wake("dev", WAKE, threading.Event())
    log = tmp_path / "log" / "dev" / "12.log"
    wait_until(lambda: log.stat().st_size == 3_000_000)
    starter.tidy("dev")
    assert log.stat().st_size <= LOG_BYTES
    go.write_text("\n", encoding="utf-8")
    wait_until(lambda: log.read_bytes().endswith(b"xlater\n"))
    assert log.stat().st_size <= LOG_BYTES


def test_a_command_that_is_waited_for_keeps_no_log(tmp_path):
    """So there is nothing to bound."""
    starter = CommandAdapter(("sh", "-c", "echo hello"), tmp_path / "log")
    starter.wake("dev", WAKE, threading.Event())
    starter.tidy("dev")
    assert list(tmp_path.iterdir()) == []


# Number


def test_the_newest_logs_are_kept(tmp_path):
    """Twenty for each agent, the one that is begun included."""
    for number in range(LOG_FILES + 6):
        path = tmp_path / "dev" / f"{number}.log"
        open_log(path.parent, path.name).close()
        os.utime(path, (1000 + number, 1000 + number))
    open_log(tmp_path / "dev", "new.log").close()
    kept = {path.name for path in (tmp_path / "dev").iterdir()}
    assert kept == {"new.log", *(f"{n}.log" for n in range(7, LOG_FILES + 6))}
    assert len(kept) == LOG_FILES


def test_another_try_of_the_same_slot_begins_its_log_anew(tmp_path):
    """And makes no room that it doesn't need."""
    for word in (b"first, and longer", b"second"):
        with open_log(tmp_path / "dev", "12.log") as log:
            log.write(word)
    assert (tmp_path / "dev" / "12.log").read_bytes() == b"second"


def test_another_agents_logs_do_not_count(tmp_path):
    """Nor what is no log."""
    (tmp_path / "ops").mkdir()
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "notes.txt").write_bytes(b"x" * 2 * LOG_BYTES)
    (tmp_path / "dev" / "folder.log").mkdir()
    os.utime(tmp_path / "dev" / "folder.log", (4e9, 4e9))
    for number in range(LOG_FILES + 5):
        (tmp_path / "ops" / f"{number}.log").touch()
    for number in range(LOG_FILES + 5):
        open_log(tmp_path / "dev", f"{number}.log").close()
    assert len(list((tmp_path / "ops").iterdir())) == LOG_FILES + 5
    assert (tmp_path / "dev" / "notes.txt").stat().st_size == 2 * LOG_BYTES
    assert len(list((tmp_path / "dev").iterdir())) == LOG_FILES + 2


def test_where_there_are_no_logs_nothing_is_done(tmp_path):
    """Neither an error nor a folder."""
    bound_logs(tmp_path / "missing")
    detached(tmp_path, "true").tidy("../dev")
    assert list(tmp_path.iterdir()) == []


# Privacy


@pytest.mark.promise_9
@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_logs_are_private_whatever_the_umask_is(tmp_path, mask):
    """0600 in 0700, from the first missing folder down."""
    old = os.umask(mask)
    try:
        open_log(tmp_path / "a" / "log" / "dev", "12.log").close()
    finally:
        os.umask(old)
    assert mode(tmp_path / "a") == 0o700
    for path in (tmp_path / "a").rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path):
    """The file behind it stays as it is, and the wake fails."""
    mine = tmp_path / "mine"
    mine.write_text("mine", encoding="utf-8")
    folder = tmp_path / "log" / "dev"
    folder.mkdir(parents=True)
    (folder / "12.log").symlink_to(mine)
    assert reason(detached(tmp_path, "echo", "hello"))
    assert mine.read_text(encoding="utf-8") == "mine"


def test_no_link_is_cut(tmp_path):
    """Whatever its name is, and however large what it leads to."""
    mine = tmp_path / "mine"
    mine.write_bytes(b"x" * 2 * LOG_BYTES)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "12.log").symlink_to(mine)
    bound_logs(tmp_path / "log")
    assert mine.stat().st_size == 2 * LOG_BYTES


def test_a_pipe_in_place_of_a_log_holds_up_nobody(tmp_path):
    """It is opened without waiting for a reader, or refused."""
    folder = tmp_path / "log" / "dev"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "12.log")
    ended = threading.Event()

    def one() -> None:
        with suppress(OSError):
            open_log(folder, "12.log").close()
        ended.set()

    threading.Thread(target=one, daemon=True).start()
    wait_until(ended.is_set)


@pytest.mark.skipif(not IS_ROOT, reason="only root can make another user's link")
@pytest.mark.parametrize("place", ["log", "log/dev"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_of_another_user_on_the_way_is_not_followed(tmp_path, place, there):
    """Nothing is written where it leads, and no command is started."""
    elsewhere = tmp_path / "elsewhere"
    if there:
        (elsewhere / "dev").mkdir(parents=True)
    link = tmp_path / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    os.lchown(link, SOMEBODY, SOMEBODY)
    assert "another user" in reason(detached(tmp_path, "touch", tmp_path / "started"))
    assert not (tmp_path / "started").exists()
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []
    assert elsewhere.exists() == there


# What a detached command inherits, and what keeps it from being started


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a look at open files")
def test_a_detached_command_inherits_its_own_three_files_only(tmp_path):
    """No lock, no connection, no state."""
    code = (
        "import os\n"
        "for n in os.listdir('/proc/self/fd'):\n"
        "    try: print(n, os.readlink('/proc/self/fd/' + n))\n"
        "    except OSError: pass\n"
    )
    with (tmp_path / "state.lock").open("w", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), True)
        detached(tmp_path, sys.executable, "-I", "-c", code).wake("dev", WAKE, threading.Event())
    text = (tmp_path / "log" / "dev" / "12.log").read_text(encoding="utf-8")
    assert {line.split()[0] for line in text.splitlines()} == {"0", "1", "2"}
    assert "state.lock" not in text


@pytest.mark.promise_9
@pytest.mark.parametrize("detach", [False, True])
def test_the_key_of_the_backend_is_no_business_of_a_command(tmp_path, monkeypatch, detach):
    """Whether it is waited for or not."""
    monkeypatch.setenv("HFCAL_API_KEY", "s3cret-key")
    script = f"env > {tmp_path / 'env'}"
    starter = CommandAdapter(("sh", "-c", script), tmp_path / "log", detach=detach)
    starter.wake("dev", WAKE, threading.Event())
    text = (tmp_path / "env").read_text(encoding="utf-8")
    assert "s3cret-key" not in text
    assert "HFCAL_SLOT=12" in text


@pytest.mark.parametrize("detach", [False, True])
def test_a_message_too_long_for_an_argument_names_stdin_as_the_way(tmp_path, detach):
    """And says what to leave out."""
    program = shutil.which("true") or "true"
    starter = CommandAdapter((program, "{message}"), tmp_path / "log", detach=detach)
    text = reason(starter, a_wake(message="x" * 5_000_000))
    assert "stdin" in text
    assert "{message}" in text
    assert len(text) < 300
    CommandAdapter((program,), tmp_path / "log", detach=detach).wake(
        "dev", a_wake(message="x" * 5_000_000), threading.Event()
    )


@pytest.mark.parametrize("kind", ["missing", "not executable", "directory"])
def test_a_detached_program_that_cannot_be_started_is_named(tmp_path, kind):
    """As one that is waited for is."""
    program = tmp_path / "program"
    if kind == "directory":
        program.mkdir()
    elif kind != "missing":
        program.touch(mode=0o600)
    told = "No such file" if kind == "missing" else "Permission denied"
    text = reason(detached(tmp_path, program))
    assert str(program) in text
    assert told in text
