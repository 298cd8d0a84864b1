"""hfcal.state.commit: many threads' changes, few saves, none lost."""

import errno
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import hfcal.state.commit
from hfcal.core.records import State
from hfcal.errors import StateError
from hfcal.state.commit import GroupCommit
from hfcal.state.file import StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is."""
    return tmp_path / "state.json"


@pytest.fixture
def commit(path: Path) -> GroupCommit:
    """A group commit to a new state file."""
    return GroupCommit(StateFile(path))


def on_disk(path: Path) -> State:
    """The state as anybody can read it."""
    state = StateFile(path).read()
    assert state is not None
    return state


def add(agent_id: str) -> Callable[[State], str]:
    """A change that notes an agent, and tells its name."""

    def change(state: State) -> str:
        state.configured.append(agent_id)
        return f"noted {agent_id}"

    return change


def work(commit: GroupCommit, *jobs: Callable[[], object]) -> list[State]:
    """Run each job in a worker of its own, and this thread as the owner; the states saved."""
    left = list(jobs)
    saved: list[State] = []

    def counted(job: Callable[[], object]) -> None:
        try:
            job()
        finally:
            commit.call(partial(left.remove, job), lambda _: None)
            commit.stop_work()
            commit.recheck()

    threads = [threading.Thread(target=counted, args=(job,)) for job in jobs]
    for thread in threads:
        commit.start_work()
        thread.start()
    try:
        commit.run(lambda: not left, saved.append)
    except BaseException as error:
        commit.close(error)
        raise
    finally:
        for thread in threads:
            thread.join(10)
    return saved


def test_a_commit_returns_once_its_change_is_on_disk(commit, path):
    """Whoever has its result may act on it: a kill can't take it back."""
    seen = []

    def job() -> None:
        result = commit.commit(add("a"))
        seen.append((result, on_disk(path).configured))

    work(commit, job)
    assert seen == [("noted a", ["a"])]


def test_many_changes_are_few_saves(commit, path):
    """What is handed in at the same time is saved together, and each gets its own result."""
    ready = threading.Barrier(40)
    results = {}

    def job_of(agent_id: str) -> Callable[[], None]:
        def job() -> None:
            ready.wait(10)
            results[agent_id] = commit.commit(add(agent_id))

        return job

    names = [f"agent-{number}" for number in range(40)]
    saves = work(commit, *[job_of(name) for name in names])
    assert sorted(on_disk(path).configured) == sorted(names)
    assert results == {name: f"noted {name}" for name in names}
    assert len(saves) < 20


def test_a_worker_that_is_busy_holds_up_nobodys_change_for_long(commit):
    """Changes are saved a few times a second while others are still at work."""
    done = threading.Event()
    waited = []

    def busy() -> None:
        done.wait(10)

    def quick() -> None:
        for name in ("a", "b", "c"):
            started = time.monotonic()
            commit.commit(add(name))
            waited.append(time.monotonic() - started)
        done.set()

    work(commit, busy, quick)
    assert max(waited) < 2


def test_when_all_workers_wait_nobody_is_waited_for(path, monkeypatch):
    """Jobs that no worker has taken up yet can't hand in more."""
    monkeypatch.setattr(hfcal.state.commit, "_LEAST_GAP", 60.0)
    monkeypatch.setattr(hfcal.state.commit, "_MOST_GAP", 60.0)
    commit = GroupCommit(StateFile(path), workers=1)
    told: list[str] = []

    def worker() -> None:
        told.append(commit.commit(add("a")))
        commit.recheck()

    commit.start_work()
    commit.start_work()  # the job that waits in line
    thread = threading.Thread(target=worker)
    began = time.monotonic()
    thread.start()
    commit.run(lambda: bool(told), lambda _: None)
    thread.join(10)
    assert time.monotonic() - began < 30
    assert on_disk(path).configured == ["a"]


def test_what_is_done_later_is_done_by_the_owner_after_the_save(commit, path):
    """The result comes on the owner's thread, when it is on disk, in the order handed in."""
    seen: list[object] = []

    def job() -> None:
        commit.later(
            add("a"), lambda result: seen.append((result, on_disk(path).configured)), seen.append
        )
        commit.later(
            add("b"), lambda result: seen.append((result, threading.current_thread())), seen.append
        )
        commit.call(lambda: seen.append("called"), seen.append)

    work(commit, job)
    assert seen == [
        ("noted a", ["a", "b"]),
        ("noted b", threading.current_thread()),
        "called",
    ]


def test_a_call_alone_writes_nothing(commit, path):
    """Having something called isn't a change."""
    called = []
    assert work(commit, lambda: commit.call(lambda: called.append(1), called.append)) == []
    assert called == [1]
    assert not path.exists()


def test_after_each_save_the_owner_gets_the_state(commit):
    """It sees what others queued meanwhile."""
    states = work(commit, lambda: commit.commit(add("a")))
    assert [state.configured for state in states] == [["a"]]


def errors_of(commit: GroupCommit, *changes: Callable[[State], object]) -> list[BaseException]:
    """What workers get that hand in these changes, none of which can be saved."""
    errors: list[BaseException] = []

    def hand_in(change: Callable[[State], object]) -> None:
        try:
            commit.commit(change)
        except StateError as error:
            errors.append(error)

    work(commit, *[partial(hand_in, change) for change in changes])
    assert commit.error in errors
    return errors


def test_a_change_that_cannot_be_saved_is_told_to_all(commit, path, monkeypatch):
    """Each waiting worker and the owner get the error, and the old state stays."""
    work(commit, lambda: commit.commit(add("before")))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    errors = errors_of(commit, *map(add, "abc"))
    monkeypatch.undo()
    assert ["free some room" in str(error) for error in errors] == [True] * 3
    assert on_disk(path).configured == ["before"]


def test_what_cannot_be_undone_is_saved_once_there_is_room(commit, path, monkeypatch):
    """A wake that was made is noted although the disk was full for a moment; the rest fails."""
    write = os.write
    tries: list[object] = []
    errors: list[str] = []

    def full(descriptor: int, content: bytes) -> int:
        tries.append(threading.current_thread())
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    def job() -> None:
        commit.later(add("other"), errors.append, lambda error: errors.append(str(error)))
        assert commit.commit(add("woken"), must_save=True) == "noted woken"

    monkeypatch.setattr(os, "write", full)
    work(commit, job)
    assert on_disk(path).configured == ["woken"]
    assert ["free some room" in error for error in errors] == [True]
    assert commit.error is not None
    assert not commit.busy


def test_what_must_be_kept_is_given_up_in_the_end(commit, monkeypatch):
    """A disk that stays full holds nobody for ever; nor does a tick that is to stop."""
    errors: list[str] = []

    def full(*_: object) -> int:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def job() -> None:
        with pytest.raises(StateError) as caught:
            commit.commit(add("woken"), must_save=True)
        errors.append(str(caught.value))

    monkeypatch.setattr(os, "write", full)
    monkeypatch.setattr(hfcal.state.commit, "_PATIENCE", 0.3)
    work(commit, job)
    worker = threading.Thread(target=job)
    monkeypatch.undo()
    monkeypatch.setattr(os, "write", full)
    commit.start_work()
    worker.start()
    commit.run(lambda: commit.error is not None, lambda _: None)
    commit.close(StateError("the tick is over"))
    worker.join(10)
    assert ["free some room" in errors[0], errors[1]] == [True, "the tick is over"]


def test_a_change_that_fails_half_way_leaves_no_trace(commit, path):
    """What it had changed by then is saved neither now nor with the next change."""
    work(commit, lambda: commit.commit(add("before")))

    def bug(state: State) -> None:
        state.configured.append("half")
        raise StateError("a bug")

    assert len(errors_of(commit, bug)) == 1
    following = GroupCommit(commit._file)
    work(following, lambda: following.commit(add("after")))
    assert on_disk(path).configured == ["before", "after"]


def test_one_agents_bug_is_not_anothers(commit, path):
    """A change that fails is told to whoever handed it in; the others are saved all the same."""
    seen: list[object] = []

    def bug(state: State) -> None:
        state.configured.append("half")
        raise KeyError("a bug")

    def job() -> None:
        commit.later(add("a"), seen.append, seen.append)
        commit.later(bug, lambda _: seen.append("saved"), lambda error: seen.append(type(error)))
        commit.later(add("b"), seen.append, seen.append)

    work(commit, job)
    assert sorted(map(str, seen)) == ["<class 'KeyError'>", "noted a", "noted b"]
    assert on_disk(path).configured == ["a", "b"]


def test_a_bug_in_what_a_worker_waits_for_is_that_workers(commit, path):
    """The others' changes are saved, and the owner goes on."""
    met: list[str] = []

    def bug() -> None:
        try:
            commit.commit(lambda _: 1 / 0)
        except ZeroDivisionError as error:
            met.append(str(error))

    work(commit, bug, lambda: commit.commit(add("a")))
    assert met == ["division by zero"]
    assert on_disk(path).configured == ["a"]


def test_after_the_end_nobody_waits_in_vain(commit):
    """Whoever comes late gets the error at once instead of waiting for ever."""
    late: list[BaseException] = []
    commit.close(StateError("stopped"))
    with pytest.raises(StateError, match="stopped"):
        commit.commit(add("a"))
    commit.later(add("a"), lambda _: None, late.append)
    commit.call(lambda: None, late.append)
    commit.call_at_once(lambda: None, late.append)
    assert [str(error) for error in late] == ["stopped"] * 3


def test_who_waits_at_the_end_gets_the_error(commit):
    """A change handed in before the end, and never saved, is told to whoever waits for it."""
    errors: list[BaseException] = []
    waiting = threading.Event()

    def job() -> None:
        waiting.set()
        try:
            commit.commit(add("a"))
        except StateError as error:
            errors.append(error)

    worker = threading.Thread(target=job)
    worker.start()
    waiting.wait(10)
    commit.close(StateError("stopped"))
    worker.join(10)
    assert [str(error) for error in errors] == ["stopped"]


def test_a_recheck_makes_the_owner_look_again(commit):
    """It ends when it is done, also if nothing was handed in."""
    over: list[bool] = []

    def end() -> None:
        over.append(True)
        commit.recheck()

    timer = threading.Timer(0.05, end)
    timer.start()
    commit.run(lambda: bool(over), lambda _: None)
    timer.join()
