"""The state file where it can't be read, written or locked: exit 6, or set aside and said."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hfcal.clock import now
from hfcal.core.ids import SlotRef
from hfcal.core.records import SCHEMA, Active, ActiveState, State, Update
from hfcal.state.codec import encode_state
from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.needs import needs
from tests.rig.result import Result
from tests.rig.waiting import DEADLINE, wait_until

# Runs several commands one after the other, each as in a process of its own but for the start.
SEVERAL = """\
import contextlib, io, json, sys
from hfcal.cli import main
def run(words):
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        code = main(words)
    for stream in streams: stream.flush()
    return [code, *[stream.buffer.getvalue().decode() for stream in streams]]
"""
ALL = "print(json.dumps([run(words) for words in json.loads(sys.argv[1])]))\n"

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


def results(ended: Result, commands: Sequence[Any]) -> Any:
    """What the commands of `SEVERAL` came to."""
    assert ended.stdout, ended
    ends = json.loads(ended.stdout.splitlines()[-1])
    return [
        Result(tuple(words), code, stdout, stderr, 0.0)
        for words, (code, stdout, stderr) in zip(commands, ends, strict=True)
    ]


def run_all(host: Host, *commands: Sequence[str], before: str = "") -> list[Result]:
    """What these commands come to; `before` is Python code that runs first."""
    ended = host.python(SEVERAL + before + ALL, json.dumps(commands))
    found: list[Result] = results(ended, commands)
    return found


def at_work(*idents: int) -> State:
    """A state in which developer is at the first slot, and operator's others wait to be told."""
    moment = now()
    state = State(moment.wall, configured=["developer"])
    state.agent("developer").active = Active(
        SlotRef([idents[0]]), ActiveState.ONGOING, moment, announced=True
    )
    for ident in idents[1:]:
        for status in ("ongoing", "finished"):
            state.agent("operator").queue.append(
                Update(state.take_number(), SlotRef([ident]), status, moment.wall)
            )
    return state


def write(path: Path, content: bytes) -> Path:
    """Put a file there as hfcal would."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(content)
    return path


# Damage


def damaged(number: int) -> dict[str, tuple[bytes, int]]:
    """Files that are no states, with the number of updates in them that can be saved.

    Those of the n-th one are of slot 10 * n + 1 and the next.
    """
    found: dict[str, tuple[bytes, int]] = {
        "empty": (b"", 0),
        "zeros": (b"\0" * 4096, 0),
        "page": (b"<html>\n<title>404</title>\xff\xfe", 0),
        "deep": (b'{"schema":1,"created":' + b"[" * 100_000, 0),
        "text": (b'{"schema":"1"}\x1b[2J', 0),
    }
    for name in ("torn", "edited", "repeating"):
        first = 10 * (number + len(found)) + 1
        content = encode_state(at_work(9, first, first + 1))
        if name == "torn":
            cut = content.index(b'"finished"', content.index(f"[{first + 1}]".encode()))
            found[name] = (content[:cut], 3)
        elif name == "edited":
            found[name] = (content.replace(b'"state":"ongoing"', b'"state":"Ongoing"'), 4)
        else:
            found[name] = (content.replace(b'"number":2', b'"number":1'), 4)
    return found


@pytest.mark.promise_7
def test_a_damaged_state_is_kept_said_once_and_rebuilt(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """`status` says so with 6; a tick keeps it byte for byte and delivers what waited in it."""
    kinds = damaged(0)
    idents = [10 * n + i for n in range(len(kinds)) for i in (1, 2)]
    backend = make_backend(
        agents=["developer", "operator"],
        slots=[{"agent": "operator", "id": ident} for ident in idents],
    )
    host = make_host(backend)
    commands: list[Sequence[str]] = []
    paths = {name: host.root / name / "state.json" for name in kinds}
    for name, path in paths.items():
        write(path, kinds[name][0])
        where = ("--state", str(path))
        commands += [("status", "--json", *where), ("tick", *where), ("tick", *where)]
        commands.append(("status", "--json", *where))
    ends = iter(run_all(host, *commands))
    for name, (content, saved) in kinds.items():
        looked, first, second, after = (next(ends) for _ in range(4))
        path = paths[name]
        assert (looked.code, looked.error["kind"]) == (6, "state"), name
        assert f"{path} is damaged" in looked.error["message"]
        (aside,) = path.parent.glob("state.json.corrupt-*")
        assert aside.read_bytes() == content
        assert (first.code, first.stdout) == (0, ""), (name, first)
        (line,) = first.stderr.splitlines()
        assert str(path) in line
        assert aside.name in line
        assert f"{saved} waiting updates" in line
        assert line.isprintable()
        assert (second.code, second.stdout + second.stderr) == (0, ""), name
        assert after.json["queued"] == []
        assert after.json["last_errors"] == {}
    told = backend.told("operator")
    assert [word for word in told if word[0] == "61"] == [("61", "ongoing"), ("61", "finished")]
    assert len(told) == sum(saved for _, saved in kinds.values()) == len(set(told))


@pytest.mark.promise_2
@pytest.mark.promise_7
def test_an_agents_word_at_a_damaged_state_is_kept(lone_host: Host) -> None:
    """Refused, nothing changes but the copy; accepted, it is queued behind what was saved."""
    content = encode_state(at_work(9, 11))[:-20]
    path = write(lone_host.state, content)
    agent = ("--agent", "developer", "--json")
    refused, again, taken, same = run_all(
        lone_host,
        ("complete", *agent),
        ("pause", *agent),
        ("complete", "--slot", "9", *agent),
        ("complete", "--slot", "9", *agent),
    )
    for end in (refused, again):
        assert (end.code, end.error["kind"]) == (3, "no_active_slot")
        assert "damaged" in end.stderr
    assert (taken.code, taken.json["delivered"]) == (0, False)
    assert "damaged" in taken.stderr
    assert (same.code, same.json["already"]) == (0, True)
    assert "damaged" not in same.stderr
    (aside,) = path.parent.glob("state.json.corrupt-*")
    assert aside.read_bytes() == content
    queued = [(u["agent_id"], u["ident"], u["status"]) for u in lone_host.status()["queued"]]
    waited = [("operator", "11", "ongoing"), ("operator", "11", "finished")]
    assert queued == [*waited, ("developer", "9", "finished")]


@pytest.mark.promise_7
def test_a_newer_hfcals_state_is_left_alone(lone_host: Host) -> None:
    """Exit 6 from whatever is asked, which says what to do; not a byte changes."""
    document = {"schema": SCHEMA + 1, "created": "in words now", "agents": []}
    path = write(lone_host.state, json.dumps(document, indent=1).encode())
    before = lone_host.snapshot()
    agent = ("--agent", "developer")
    for end in run_all(
        lone_host,
        ("tick", "--json"),
        ("tick", "--dry-run", "--json"),
        ("status", "--json"),
        ("status", "--check", "--json"),
        ("complete", "--json"),
        *[(verb, *agent, "--json") for verb in ("complete", "abort", "pause", "hold", "release")],
    ):
        assert (end.code, end.error["kind"]) == (6, "state"), end
        assert str(path) in end.error["message"]
        assert "newer hfcal" in end.error["message"]
    after = lone_host.snapshot()
    assert after[str(path)] == before[str(path)]
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == ["state.json"]


# What stands in its place


def test_a_state_path_that_cannot_hold_a_state_is_refused(lone_host: Host) -> None:
    """A directory, a pipe, a socket, a loop, something below a file: 6, at once, by its name."""
    place = lone_host.root / "odd"
    (place / "directory").mkdir(parents=True)
    os.mkfifo(place / "fifo")
    with contextlib.chdir(place), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    (place / "loop").symlink_to(place / "pool")
    (place / "pool").symlink_to(place / "loop")
    write(place / "file", b"mine")
    names = ["directory", "fifo", "socket", "loop", "file/state.json"]
    words = [("tick", "--json"), ("complete", "--agent", "a", "--json"), ("status", "--json")]
    commands = [(*w, "--state", str(place / name)) for name in names for w in words]
    for end in run_all(lone_host, *commands):
        assert (end.code, end.error["kind"]) == (6, "state"), end
        assert end.words[-1] in end.error["message"]
        assert "bug" not in end.stderr
    assert (place / "file").read_bytes() == b"mine"
    assert (place / "loop").is_symlink()


def test_a_link_is_followed_and_stays(lone_host: Host) -> None:
    """The file behind it is replaced, with the locks beside that one; also one yet to be made."""
    far = lone_host.root / "far" / "real.json"
    write(far, encode_state(at_work(9)))
    near = lone_host.root / "near"
    near.mkdir()
    (near / "link.json").symlink_to(Path("..") / "far" / "real.json")
    (near / "dangling.json").symlink_to(lone_host.root / "new" / "state.json")
    before = far.with_name("before.json")
    before.hardlink_to(far)
    dangling = ("--state", str(near / "dangling.json"))
    done, nothing, tick = run_all(
        lone_host,
        ("complete", "--json", "--state", str(near / "link.json")),
        ("complete", "--json", *dangling),
        ("tick", "--json", *dangling),
    )
    assert (done.code, done.json["slot"]) == (0, "9")
    assert not far.samefile(before)
    assert (nothing.code, nothing.error["kind"]) == (3, "no_active_slot")
    assert tick.code == 4
    assert json.loads((lone_host.root / "new" / "state.json").read_bytes())["schema"] == SCHEMA
    assert sorted(p.name for p in near.iterdir()) == ["dangling.json", "link.json"]
    assert all(p.is_symlink() for p in near.iterdir())
    assert (far.parent / "real.json.locks").is_dir()


@root_only
def test_another_users_link_is_refused(lone_host: Host) -> None:
    """Who may write in that directory could lead us anywhere; the message tells whose it is."""
    target = write(lone_host.root / "target.json", encode_state(at_work(9)))
    before = target.read_bytes()
    link = lone_host.root / "link.json"
    link.symlink_to(target)
    other = pwd.getpwnam("daemon")
    os.lchown(link, other.pw_uid, other.pw_gid)
    where = ("--state", str(link), "--json")
    for end in run_all(lone_host, ("tick", *where), ("complete", *where), ("status", *where)):
        assert (end.code, end.error["kind"]) == (6, "state")
        assert str(link) in end.error["message"]
        assert "daemon" in end.error["message"]
    assert target.read_bytes() == before


# Whose it is

# Loads all that the commands need, and then does without root's rights.
AS_NOBODY = """
import os, pwd
for words in json.loads(sys.argv[2]): run(words)
entry = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(entry.pw_gid)
os.setuid(entry.pw_uid)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user can reach."""
    place = Path(tempfile.mkdtemp(prefix="hfcal-test-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@root_only
def test_another_users_state_is_refused_with_what_to_do(lone_host: Host, public: Path) -> None:
    """Exit 6 with the path, the owner and `sudo -u`; a directory of ours that is read-only too."""
    config = public / "config.toml"
    shutil.copy(lone_host.config, config)
    config.chmod(0o644)
    daemon = pwd.getpwnam("daemon")
    theirs = write(public / "theirs" / "state.json", encode_state(at_work(9)))
    closed = write(public / "closed" / "state.json", encode_state(at_work(9)))
    for path in (theirs, closed):
        path.chmod(0o600)
        for place in (path, path.parent):
            os.chown(place, daemon.pw_uid, daemon.pw_gid)
    theirs.parent.chmod(0o755)
    mine = public / "mine"
    mine.mkdir(mode=0o500)
    os.chown(mine, pwd.getpwnam("nobody").pw_uid, -1)
    words = [("tick", "--json"), ("complete", "--json"), ("status", "--json")]
    places = [theirs, closed, mine / "state.json"]
    commands = [(*w, "--state", str(path)) for path in places for w in words][:-2]
    good = write(lone_host.root / "good" / "state.json", encode_state(at_work(9)))
    bad = write(lone_host.root / "bad" / "state.json", b"")
    first = [(*w, "--state", str(path)) for path in (good, bad) for w in reversed(words)]
    ended = lone_host.python(
        SEVERAL + AS_NOBODY + ALL,
        json.dumps(commands),
        json.dumps(first),
        env={"HFCAL_CONFIG": str(config)},
    )
    ends = results(ended, commands)
    for end in ends:
        assert (end.code, end.error["kind"]) == (6, "state"), end
        assert end.words[-1] in end.error["message"]
    for end in ends[:-1]:
        # Where the password file is not for everybody, the number stands for the name.
        owner = "daemon" if "daemon" in end.error["message"] else f"#{daemon.pw_uid}"
        assert f"belongs to {owner}" in end.error["message"]
        assert f"sudo -u {owner}" in end.error["message"]
    assert "sudo" not in ends[-1].error["message"]
    assert "Permission denied" in ends[-1].error["message"]
    assert list(theirs.parent.iterdir()) == [theirs]


# Locks


@pytest.mark.parametrize("name", ["ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_refused(lone_host: Host, name: str) -> None:
    """Exit 6, and the message says to move the state; looking needs no lock."""
    path = write(lone_host.state, encode_state(at_work(9)))
    before = path.read_bytes()
    without = f"""
import errno, fcntl, os
def flock(*_): raise OSError(errno.{name}, os.strerror(errno.{name}))
fcntl.flock = flock
"""
    *refused, status = run_all(
        lone_host,
        ("tick", "--json"),
        ("complete", "--json"),
        ("hold", "--all", "--json"),
        ("status", "--json"),
        before=without,
    )
    for end in refused:
        assert (end.code, end.error["kind"]) == (6, "state"), end
        assert str(path) in end.error["message"]
        assert "--state or HFCAL_STATE" in end.error["message"]
    assert status.code == 0
    assert path.read_bytes() == before


# A command that stops in the middle of a save, with the state's lock.
HOLDER = """\
import os
import sys
def stop(_):
    print("held", flush=True)
    sys.stdin.readline()
os.fsync = stop
from hfcal.cli import main
sys.argv = ["hfcal", "hold", "--all"]
sys.exit(main())
"""


def test_a_lock_that_stays_taken_names_its_holder_and_ends_with_it(lone_host: Host) -> None:
    """After --lock-timeout 6 `locked`, also of a stopped process; a killed one holds nothing."""
    path = write(lone_host.state, encode_state(at_work(9)))
    locks = path.with_name("state.json.locks")
    locks.mkdir(mode=0o700)
    (locks / "state.lock").write_bytes(b"pid 1: \x1b[2J\xff\0garbage" * 100)
    before = path.read_bytes()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=lone_host.environment(),
        cwd=lone_host.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        short = ("--lock-timeout", "300ms", "--json")
        for stopped in (False, True):
            if stopped:
                holder.send_signal(signal.SIGSTOP)
            commands = [("complete", *short), ("tick", *short), ("status", "--json")]
            complete, tick, status = run_all(lone_host, *commands)
            for end in (complete, tick):
                assert (end.code, end.error["kind"]) == (6, "locked"), end
                assert f"held for 0.3 s by pid {holder.pid}: hold --all" in end.error["message"]
                assert "--lock-timeout" in end.error["message"]
            assert status.code == 0
        assert path.read_bytes() == before
        waiting = lone_host.start("complete", "--agent", "developer", "--json")
        # It takes the agent's lock first, and then waits for the state's.
        wait_until((locks / "agent-developer.lock").exists)
        holder.kill()
        end = waiting.end(DEADLINE)
    finally:
        holder.kill()
        holder.communicate()
    assert (end.code, end.json["slot"]) == (0, "9")
    assert end.seconds < 15


# A disk that is full, or can't be written

# In a file system of its own, which nobody else sees.
MOUNTED = 'mount -t tmpfs -o size=$1,mode=0700 none "$2" && shift 2 && exec "$@"'


@pytest.fixture
def unshare() -> str:
    """The program that gives a command a name space of its own, where this user may mount."""
    program = needs("unshare")
    words = [program, "-m", "sh", "-c", 'mount -t tmpfs -o size=4k none "$1"', "sh", "/tmp"]
    if subprocess.run(words, capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("this user may not mount here")
    return program


FILLED = """
import os, subprocess
from pathlib import Path
place = Path(sys.argv[1])
state = place / "state.json"
filler = place / "filler"
found = {}
def note(name, *words, at=state):
    found[name] = [*run([*words, "--state", str(at)]), state.read_text(), os.listdir(place)]
note("began", "tick", "--json")
with filler.open("wb", buffering=0) as stream:
    try:
        while True: stream.write(b"x" * 512)
    except OSError: pass
subprocess.run(sys.argv[2], shell=True, check=True)
note("full", "tick", "--json")
note("word", "hold", "--all", "--reason", "x" * 200, "--json")
note("look", "status", "--json")
filler.unlink()
note("room", "tick", "--json")
closed = place.with_name("closed")
closed.mkdir()
subprocess.run(["mount", "--bind", place, closed], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", closed], check=True)
note("ro tick", "tick", "--json", at=closed / "state.json")
note("ro word", "complete", "--json", at=closed / "state.json")
note("ro look", "status", "--json", at=closed / "state.json")
note("again", "complete", "--json")
print(json.dumps(found))
"""


@pytest.mark.promise_1
@pytest.mark.promise_6
def test_a_full_disk_and_a_read_only_one_stop_nothing_for_good(
    make_backend: MakeBackend, make_host: MakeHost, unshare: str
) -> None:
    """Exit 6 and the old file; nobody is woken who isn't remembered; with room all goes on."""
    backend = make_backend()
    host = make_host(backend)
    place = host.root / "disk"
    place.mkdir()
    slot = json.dumps([{"agent": "developer", "id": 4, "note": "x" * 3000}])
    add = f"{needs('curl')} -s -f -o /dev/null -X POST -d '{slot}' {backend.url}/_sim/slots"
    mounted = [unshare, "-m", "sh", "-c", MOUNTED, "sh", "32k", str(place)]
    ended = subprocess.run(
        [*mounted, sys.executable, "-c", SEVERAL + FILLED, str(place), add],
        env=host.environment(),
        cwd=host.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    codes = {name: end[0] for name, end in found.items()}
    assert codes == {
        "began": 0,
        "full": 6,
        "word": 6,
        "look": 0,
        "room": 0,
        "ro tick": 6,
        "ro word": 6,
        "ro look": 0,
        "again": 0,
    }, found
    texts = {name: end[3] for name, end in found.items()}
    assert texts["full"] == texts["word"] == texts["look"] == texts["began"]
    assert texts["ro tick"] == texts["ro word"] == texts["room"]
    for name in ("full", "word"):
        message = json.loads(found[name][1])["error"]["message"]
        assert "No space left on device" in message
        assert "free some room" in message
        assert str(place / "state.json") in message
    for name in ("ro tick", "ro word"):
        message = json.loads(found[name][1])["error"]["message"]
        assert "Read-only file system" in message
        assert str(place.with_name("closed") / "state.json") in message
        assert "--state or HFCAL_STATE" in message
    room = json.loads(found["room"][1])
    assert room["agents"][0]["action"] == "dispatched"
    assert [wake.slot for wake in host.wakes] == ["4"]
    assert backend.told() == [("4", "ongoing"), ("4", "finished")]
    assert not [n for n in found["again"][4] if "corrupt" in n]


def test_a_directory_is_no_state_file(lone_host: Host) -> None:
    """Not even the root."""
    for place in ("/", str(lone_host.root)):
        for command in ("tick", "status", "complete"):
            end = lone_host.run(command, "--state", place, "--json")
            assert (end.code, end.error["kind"]) == (6, "state")


def test_an_end_that_was_saved_from_a_damaged_state_ends_its_slot(
    make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """What the backend still lists as running is not adopted, and the agent is free."""
    slots = [{"agent": "developer", "id": 12}, {"agent": "developer", "id": 13, "priority": 1}]
    backend = make_backend(slots=slots)
    host = make_host(backend)
    host.tick()
    backend.fault(path="update", drop_before=True, count=1)
    host.ok("complete")
    host.state.write_bytes(host.state.read_bytes()[:-20])
    assert host.tick().agents["developer"]["slot"] == "13"
    assert backend.slot(12)["status"] == "finished"
