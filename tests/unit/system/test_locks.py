"""hfcal.system.locks: kernel locks, one holder at a time, none ever stuck."""

import os
import signal
import stat
import threading
import time

import pytest

from hfcal.errors import LockedError, StateError
from hfcal.state.agent_locks import AgentLocks
from hfcal.system.locks import LockFile
from tests.rig.children import child, hear, run_child, tell

HOLDER = """
    import sys
    from pathlib import Path
    from hfcal.system.locks import LockFile

    lock = LockFile(Path(sys.argv[1]))
    assert lock.try_take()
    print("held", flush=True)
    sys.stdin.readline()
    lock.release()
    print("released", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path):
    """Where the lock file is."""
    return tmp_path / "a.lock"


def free(path) -> bool:
    """Whether anybody can take the lock now."""
    lock = LockFile(path)
    taken = lock.try_take()
    lock.release()
    return taken


def test_one_holder_at_a_time_also_within_one_process(path):
    """Two threads of one process are told apart like two processes."""
    lock = LockFile(path)
    assert lock.try_take()
    assert not LockFile(path).try_take()
    lock.release()
    assert free(path)


@pytest.mark.promise_5
def test_one_holder_at_a_time_among_processes(path):
    """Another process's lock is respected until it lets go."""
    with child(HOLDER, path) as holder:
        assert hear(holder) == "held"
        assert not free(path)
        tell(holder)
        assert hear(holder) == "released"
        assert free(path)


def test_releasing_what_is_not_held_is_nothing(path):
    """Letting go twice, or without having it, harms nobody."""
    lock = LockFile(path)
    lock.release()
    assert lock.try_take()
    lock.release()
    lock.release()
    assert free(path)


def test_a_killed_holder_leaves_no_lock(path):
    """The kernel drops the lock of a process that got SIGKILL."""
    with child(HOLDER, path) as holder:
        assert hear(holder) == "held"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert free(path)


def test_whoever_waits_gets_the_lock_of_a_killed_holder(path):
    """Waiting ends with the holder's death, not with the time-out."""
    lock = LockFile(path)
    with child(HOLDER, path) as holder:
        assert hear(holder) == "held"
        killer = threading.Timer(0.1, holder.kill)
        killer.start()
        started = time.monotonic()
        lock.take(30)
        killer.join()
    assert time.monotonic() - started < 10
    assert not free(path)
    lock.release()


def test_waiting_has_an_end_and_names_the_holder(path):
    """A LockedError tells the holder's process, what it runs, and the option to wait longer."""
    with child(HOLDER, path, "tick") as holder:
        assert hear(holder) == "held"
        started = time.monotonic()
        with pytest.raises(LockedError, match=rf"0\.2 s by pid {holder.pid}: .*tick") as caught:
            LockFile(path).take(0.2)
        assert 0.2 <= time.monotonic() - started < 5
        assert str(path) in caught.value.message
        assert "--lock-timeout" in caught.value.message
        assert caught.value.kind == "locked"


def test_a_wait_that_was_given_up_takes_no_lock_later(path):
    """When the holder lets go after the time-out, the lock is free for everybody."""
    lock = LockFile(path)
    assert lock.try_take()
    before = set(threading.enumerate())
    with pytest.raises(LockedError):
        LockFile(path).take(0.05)
    # Only the thread that still waits: others of this process may end meanwhile.
    waiting = [thread for thread in threading.enumerate() if thread not in before]
    lock.release()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()
    assert waiting
    assert free(path)


def test_a_holders_note_cannot_act_on_a_terminal(path):
    """What stands in a lock file is shown on one line, without control characters."""
    path.write_bytes(b"pid 1: \x1b[2J\n\xff\nevil" + b"x" * 1000)
    shown = LockFile(path).holder()
    assert shown.isprintable()
    assert len(shown) <= 120


def test_an_unknown_holder_is_another_process(path):
    """A holder that couldn't note itself is told all the same."""
    assert LockFile(path).holder() == "another process"
    path.write_bytes(b"")
    assert LockFile(path).holder() == "another process"


@pytest.mark.parametrize("exec_too", [True, False])
def test_children_inherit_no_lock(path, exec_too):
    """Neither a program that the holder started nor a fork of it keeps the lock alive."""
    code = """
        import os, subprocess, sys
        from pathlib import Path
        from hfcal.system.locks import LockFile

        path = Path(sys.argv[1])
        lock = LockFile(path)
        assert lock.try_take()
        if sys.argv[2] == "True":
            program = subprocess.Popen(["sleep", "60"], close_fds=False)
            os.close(lock._descriptor)
            pids = [program.pid]
        else:
            pids = [os.fork()]
            if pids[0] == 0:
                sys.stdin.read()
                os._exit(0)
            lock.release()
        other = LockFile(path)
        print(other.try_take())
        other.release()
        sys.stdout.flush()
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        os._exit(0)
    """
    assert run_child(code, path, exec_too).strip() == "True"


def test_a_lock_file_stays_when_it_is_released(path):
    """A deleted lock file would let two processes hold the lock at once."""
    assert free(path)
    inode = path.stat().st_ino
    assert free(path)
    assert path.stat().st_ino == inode


def test_a_lock_file_that_is_a_link_is_refused(path, tmp_path):
    """Nothing outside the directory is opened for writing."""
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    path.symlink_to(victim)
    with pytest.raises(StateError, match=str(path)):
        LockFile(path).try_take()
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_lock_that_cannot_be_made_is_a_state_error(tmp_path):
    """The message names the path."""
    with pytest.raises(StateError, match="cannot lock"):
        LockFile(tmp_path / "missing" / "a.lock").take(1)


def test_each_agent_has_a_lock_of_its_own(tmp_path):
    """Who holds one agent's lock keeps nobody from another's, however they are called."""
    locks = AgentLocks(tmp_path)
    agents = ["a", "b", "a/b", "a_b", "..", ".", "../a", "x" * 128, "x" * 127, "~", "*"]
    held = [locks.try_take(agent_id) for agent_id in agents]
    assert all(held)
    assert [locks.try_take(agent_id) for agent_id in agents] == [None] * len(agents)
    assert all(place.parent == tmp_path for place in tmp_path.rglob("*"))
    for lock in held:
        assert lock is not None
        lock.release()


def test_a_lock_of_a_shared_directory_is_never_closed_to_the_group(path, monkeypatch):
    """Not even while it is made: another user may come at any instant. Nothing else is left."""
    path.parent.chmod(0o2770)
    seen = []
    for name in ("open", "fchmod", "fchown", "link", "unlink"):
        real = getattr(os, name)

        def noting(*args, real=real, **options):
            result = real(*args, **options)
            if path.exists():
                seen.append(stat.S_IMODE(path.stat().st_mode))
            return result

        monkeypatch.setattr(os, name, noting)
    assert free(path)
    assert set(seen) == {0o660}
    assert list(path.parent.iterdir()) == [path]


def test_where_there_are_no_hard_links_a_lock_is_shared_all_the_same(path, monkeypatch):
    """A little later."""

    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    path.parent.chmod(0o2770)
    monkeypatch.setattr(os, "link", refuse)
    assert free(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is in every group")
def test_a_lock_of_ours_gets_its_directorys_group(path):
    """When it is opened: it may be older than the sharing."""
    assert free(path)
    os.chown(path.parent, -1, 61_100)
    path.parent.chmod(0o2770)
    path.chmod(0o660)
    assert free(path)
    assert path.stat().st_gid == 61_100
    path.parent.chmod(0o700)
    path.chmod(0o600)
    assert free(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
