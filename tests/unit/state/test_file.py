"""hfcal.state.file: read whole, changed under a lock, replaced whole."""

import errno
import json
import os
import signal
import stat
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from hfcal.core.records import SCHEMA, AgentState, State, Update
from hfcal.errors import LockedError, StateError
from hfcal.state.codec import encode_state
from hfcal.state.file import StateFile
from tests.rig.children import child, hear, run_child, tell
from tests.rig.waiting import wait_until
from tests.unit.support import NOON, ref


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is to be; its directories are missing yet."""
    return tmp_path / "var" / "hfcal" / "state.json"


@pytest.fixture
def lost() -> list[str]:
    """What was said of lost states."""
    return []


@pytest.fixture
def file(path: Path, lost: list[str]) -> StateFile:
    """A state file that was never written."""
    return StateFile(path, lock_timeout=5, on_lost=lost.append)


def save(file: StateFile, url: str) -> None:
    """One transaction."""
    with file.transaction() as state:
        state.backend_url = url


def url_in(path: Path) -> str | None:
    """What anybody who reads the file finds."""
    state = StateFile(path).read()
    return None if state is None else state.backend_url


def changed(path: Path, before: str | None) -> bool:
    """Whether another process has written since."""
    return url_in(path) != before


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def damage(path: Path, content: bytes) -> None:
    """Make the state file unreadable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# Reading and changing


def test_looking_for_a_state_makes_nothing(file, path):
    """A reader leaves no file, no directory and no lock behind."""
    assert file.read() is None
    assert not file.exists()
    assert not path.parent.parent.exists()


def test_a_change_is_there_for_whoever_reads_next(file, path):
    """What a transaction changed is in the file when it ends."""
    save(file, "http://one")
    assert file.exists()
    assert url_in(path) == "http://one"
    save(StateFile(path), "http://two")
    with file.transaction() as state:
        assert state.backend_url == "http://two"


def test_a_block_that_raises_changes_nothing(file, path):
    """Neither the file nor what this process knows of it."""
    save(file, "http://one")
    with pytest.raises(KeyError), file.transaction() as state:
        state.backend_url = "http://two"
        raise KeyError
    assert url_in(path) == "http://one"
    assert file.peek().backend_url == "http://one"


def test_a_block_that_changes_nothing_writes_nothing(file, path):
    """An idle tick doesn't wear out the disk."""
    save(file, "http://one")
    before = path.stat()
    save(file, "http://one")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_known_is_forgotten_when_another_process_replaces_it(file, path):
    """A look never shows an old state for the present one."""
    save(file, "http://one")
    known = file.known()
    assert known is not None
    assert known.backend_url == "http://one"
    save(StateFile(path), "http://two")
    assert file.known() is None
    assert file.peek().backend_url == "http://two"


def test_a_link_to_the_state_is_followed(tmp_path, path):
    """The file behind the link is replaced, and the link stays."""
    path.parent.mkdir(parents=True)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    save(StateFile(link), "http://one")
    assert link.is_symlink()
    assert url_in(path) == "http://one"


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_regular_file_is_refused(file, path, kind):
    """Neither waits nor fails oddly: a StateError that names the path."""
    path.parent.mkdir(parents=True)
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StateError, match="not a regular file"):
        file.read()
    with pytest.raises(StateError, match=str(path)):
        save(file, "http://one")


def test_a_path_below_a_file_is_refused(tmp_path):
    """A StateError names the path that can't be."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    file = StateFile(tmp_path / "file" / "state.json")
    for use in (file.read, file.exists, lambda: save(file, "")):
        with pytest.raises(StateError, match=r"file/state\.json"):
            use()


# Permissions


@pytest.mark.promise_9
def test_files_are_0600_and_directories_0700_whatever_the_umask(file, path):
    """Nobody else reads a state, also where the umask is 0 or the file was open before."""
    old = os.umask(0)
    try:
        save(file, "http://one")
        lock = file.agent_locks.try_take("a")
        assert lock is not None
        lock.release()
    finally:
        os.umask(old)
    for place in path.parent.parent.rglob("*"):
        assert mode(place) == (0o700 if place.is_dir() else 0o600), place
    assert mode(path.parent.parent) == 0o700
    path.chmod(0o644)
    save(file, "http://two")
    assert mode(path) == 0o600


def test_a_link_in_the_place_of_the_new_file_is_not_followed(file, path, tmp_path):
    """Nothing outside the state's directory is written."""
    save(file, "http://one")
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    for place in path.parent.iterdir():
        if place.is_file() and place != path:
            place.unlink()
    (path.parent / ".state.json.new").symlink_to(victim)
    with pytest.raises(StateError):
        save(file, "http://two")
    assert victim.read_text(encoding="utf-8") == "mine"
    assert url_in(path) == "http://one"


# Damage

DAMAGE = {
    "empty": b"",
    "NUL bytes": b"\0" * 512,
    "torn": encode_state(State(NOON, backend_url="http://one"))[:-9],
    "no JSON": b"<html>",
    "no state": b'{"schema": 1}',
    "a list": b"[]",
    "too deep": b"[" * 100_000,
}


@pytest.mark.promise_7
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_state_is_kept_beside_the_new_one_and_said_loudly(file, path, lost, kind):
    """Its bytes stay as they were, the message names where, and work goes on."""
    damage(path, DAMAGE[kind])
    save(file, "http://new")
    (aside,) = path.parent.glob("state.json.corrupt-*")
    assert aside.read_bytes() == DAMAGE[kind]
    assert url_in(path) == "http://new"
    assert len(lost) == 1
    assert str(path) in lost[0]
    assert aside.name in lost[0]


@pytest.mark.promise_7
def test_a_rebuilt_state_asks_the_backend_what_runs(file, path):
    """It is as new: young, and in need of a sync."""
    damage(path, b"")
    before = time.time()
    with file.transaction() as state:
        assert state.sync.needed
        assert state.created >= before - 1


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_reader_says_that_it_is_damaged_and_changes_nothing(file, path, kind):
    """Only the next tick sets a damaged state aside."""
    damage(path, DAMAGE[kind])
    with pytest.raises(StateError, match="is damaged"):
        file.read()
    assert path.read_bytes() == DAMAGE[kind]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.promise_2
@pytest.mark.promise_7
def test_queued_updates_are_saved_from_a_damaged_state(file, path, lost):
    """What an agent was promised reaches the backend all the same, in order."""
    state = State(NOON)
    for agent_id in ("a", "b"):
        for status in ("ongoing", "finished"):
            update = Update(state.take_number(), ref(), status, NOON)
            state.agent(agent_id).queue.append(update)
    document = json.loads(encode_state(state))
    document["created"] = "yesterday"
    damage(path, json.dumps(document).encode())
    with file.transaction() as rebuilt:
        rebuilt.backend_url = "http://new"
    read = StateFile(path).read()
    assert read is not None
    for agent_id in ("a", "b"):
        assert [u.status for u in read.agents[agent_id].queue] == ["ongoing", "finished"]
    assert "4 waiting updates" in lost[0]


@pytest.mark.promise_2
@pytest.mark.promise_7
def test_saved_updates_keep_the_order_of_the_queue(file, path):
    """Numbers don't decide: an ongoing that was put first later on stays first."""
    queue = [Update(7, ref(), "ongoing", NOON), Update(3, ref(), "finished", NOON)]
    state = State(NOON, agents={"a": AgentState(queue=queue)}, next_number=8)
    document = json.loads(encode_state(state))
    del document["created"]
    damage(path, json.dumps(document).encode())
    with file.transaction() as rebuilt:
        assert [u.status for u in rebuilt.agents["a"].queue] == ["ongoing", "finished"]


@pytest.mark.promise_7
def test_each_damaged_state_is_kept(file, path):
    """A second one within the same second doesn't vanish either."""
    for content in (b"first", b"second", b"third"):
        damage(path, content)
        save(file, content.decode())
    kept = {aside.read_bytes() for aside in path.parent.glob("state.json.corrupt-*")}
    assert kept == {b"first", b"second", b"third"}


@pytest.mark.promise_7
def test_a_newer_hfcals_state_is_left_alone(file, path, lost):
    """Every use is a StateError that says so; not a byte changes."""
    content = json.dumps({"schema": SCHEMA + 1, "new": True}).encode()
    damage(path, content)
    before = path.stat()
    for use in (file.read, file.peek, lambda: save(file, "http://new")):
        with pytest.raises(StateError, match="newer hfcal"):
            use()
    after = path.stat()
    assert path.read_bytes() == content
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(path.parent.glob("*corrupt*")) == []
    assert lost == []


# Several processes

WRITER = """
    import sys
    from pathlib import Path
    from hfcal.state.file import StateFile

    file = StateFile(Path(sys.argv[1]))
    print("ready", flush=True)
    for number in range(int(sys.argv[2])):
        with file.transaction() as state:
            state.take_number()
            state.backend_url = f"{number:04}" * (number * 37 % 3000)
            state.claw_identifier = state.backend_url
"""


@pytest.mark.promise_6
def test_a_reader_without_a_lock_never_sees_a_torn_file(path):
    """While another process writes, each look finds a whole state, or none before the first."""
    seen = set()
    with child(WRITER, path, 150) as writer:
        while writer.poll() is None:
            state = StateFile(path).read()
            if state is not None:
                assert state.backend_url == state.claw_identifier
                seen.add(state.next_number)
    assert writer.returncode == 0
    assert len(seen) > 5


@pytest.mark.promise_2
def test_no_change_is_lost_between_processes(path):
    """Transactions of several processes follow one another."""
    with child(WRITER, path, 40) as one, child(WRITER, path, 40) as two:
        file = StateFile(path)
        for _ in range(40):
            with file.transaction() as state:
                state.take_number()
        assert (one.wait(30), two.wait(30)) == (0, 0)
    assert file.peek().next_number == 1 + 3 * 40


@pytest.mark.promise_6
def test_a_writer_killed_at_any_moment_leaves_a_whole_state_and_no_lock(path):
    """After SIGKILL the file reads, and the next transaction doesn't wait."""
    for number in range(6):
        with child(WRITER, path, 100_000) as writer:
            assert hear(writer) == "ready"
            before = url_in(path)
            wait_until(partial(changed, path, before))
            for _ in range(number):
                url_in(path)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        state = StateFile(path).read()
        assert state is not None
        assert state.backend_url == state.claw_identifier
        save(StateFile(path, lock_timeout=1), f"mine {number}")
        assert url_in(path) == f"mine {number}"


KILLED_AT_STEPS = """
    import os, signal, sys
    from pathlib import Path
    from hfcal.state.file import StateFile

    path = Path(sys.argv[1])

    def save(url):
        with StateFile(path, lock_timeout=1).transaction() as state:
            state.backend_url = url

    def deadly(name, last):
        call = getattr(os, name)
        def instead(*arguments, **options):
            last[0] -= 1
            if last[0] == 0:
                if name == "write":
                    call(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        setattr(os, name, instead)

    for step in range(1, 100):
        save("old")
        process = os.fork()
        if process == 0:
            last = [step]
            for name in ("open", "write", "fchmod", "fsync", "replace", "rename", "close"):
                deadly(name, last)
            save("new")
            os._exit(0)
        _, status = os.waitpid(process, 0)
        print(StateFile(path).read().backend_url, flush=True)
        if status == 0:
            break
"""


@pytest.mark.promise_6
def test_a_kill_at_any_step_of_a_save_leaves_the_old_state_or_the_new_one(path):
    """Killed before each system call in turn, also in the middle of a write."""
    found = run_child(KILLED_AT_STEPS, path).split()
    assert found == sorted(found, reverse=True)
    assert set(found) == {"old", "new"}
    assert len(found) > 6


# A full disk

FULL = """
    import resource, sys
    from pathlib import Path
    from hfcal.errors import StateError
    from hfcal.state.file import StateFile

    path = Path(sys.argv[1])
    file = StateFile(path)
    with file.transaction() as state:
        state.backend_url = "old"
    before = path.read_bytes()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with file.transaction() as state:
            state.backend_url = "x" * 10_000
    except StateError as error:
        print(error)
    assert path.read_bytes() == before
    assert file.peek().backend_url == "old"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with file.transaction() as state:
        state.backend_url = "x" * 10_000
    assert StateFile(path).read().backend_url == "x" * 10_000
"""


@pytest.mark.promise_6
def test_a_state_that_cannot_be_written_leaves_the_old_one(path):
    """When the disk takes no more the old file stays, and the next save works once it does."""
    pytest.importorskip("resource")
    assert str(path) in run_child(FULL, path)


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_says_what_to_do(file, path, monkeypatch, call):
    """The message asks for room and says that nothing is lost."""
    save(file, "http://old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StateError, match="free some room"):
        save(file, "http://new")
    monkeypatch.undo()
    assert url_in(path) == "http://old"
    assert not path.with_name(".state.json.new").exists()  # it would take room
    save(file, "http://new")
    assert url_in(path) == "http://new"


def test_a_file_system_without_fsync_will_do(file, path, monkeypatch):
    """A state on such a disk is as good as it gets."""

    def unsupported(_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unsupported)
    save(file, "http://one")
    assert url_in(path) == "http://one"


# The lock

HOLDER = """
    import sys
    from pathlib import Path
    from hfcal.state.file import StateFile

    with StateFile(Path(sys.argv[1])).transaction() as state:
        print("held", flush=True)
        sys.stdin.readline()
        state.backend_url = "holder"
"""


def test_a_state_that_stays_locked_names_the_holder(path):
    """After the lock time-out a LockedError tells which process has it."""
    with child(HOLDER, path) as holder:
        assert hear(holder) == "held"
        with pytest.raises(LockedError, match=f"pid {holder.pid}.*--lock-timeout"):
            save(StateFile(path, lock_timeout=0.1), "http://mine")
        with pytest.raises(LockedError):
            save(StateFile(path, lock_timeout=0), "http://mine")
        tell(holder)
        assert holder.wait(10) == 0
    assert url_in(path) == "holder"


def test_a_transaction_waits_for_the_one_before(path):
    """It gets the lock, and the other's change, as soon as that one ends."""
    with child(HOLDER, path) as holder:
        assert hear(holder) == "held"
        threading.Timer(0.1, tell, (holder,)).start()
        with StateFile(path, lock_timeout=10).transaction() as state:
            assert state.backend_url == "holder"
        assert holder.wait(10) == 0
