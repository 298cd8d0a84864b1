"""hfcal.wake.spool: one file for each wake, whole or not at all."""

import grp
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hfcal.config.table import WakeTable
from hfcal.core.records import Wake
from hfcal.errors import ConfigError
from hfcal.wake.adapter import WakeError
from hfcal.wake.spool import SpoolAdapter
from tests.rig.children import child, hear, run_child, tell
from tests.rig.waiting import wait_until
from tests.unit.support import a_wake

DETAILS = {"slot_id": "12", "event_type": "job", "event_data": {"type": "review", "c": "ü\u202e"}}
WAKE = Wake("key-1", "12", "calendar:12", "[calendar slot 12] grüße\nmore\n", DETAILS)
NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-(.+)\.json")
IS_ROOT = os.geteuid() == 0
SOMEBODY = 65534  # another user, whoever that is


def adapter(directory: Path, **table: Any) -> SpoolAdapter:
    """An adapter as the config file makes it."""
    reader = WakeTable({"dir": str(directory), **table}, "wake")
    made = SpoolAdapter.from_table(reader)
    reader.end()
    return made


def wake(made: SpoolAdapter, given: Wake = WAKE, agent_id: str = "dev") -> None:
    """One wake."""
    made.wake(agent_id, given, threading.Event())


def reason(made: SpoolAdapter, agent_id: str = "dev") -> str:
    """Why a wake fails."""
    with pytest.raises(WakeError) as caught:
        wake(made, agent_id=agent_id)
    assert str(caught.value).isprintable()
    return str(caught.value)


def below(folder: Path) -> list[str]:
    """All files below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def mode(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(value: int) -> Iterator[None]:
    """A umask, for a while."""
    old = os.umask(value)
    try:
        yield
    finally:
        os.umask(old)


# What is written


def test_one_file_holds_the_whole_wake(tmp_path):
    """The webhook's JSON with the key, in the agent's folder, under a name that tells the time."""
    wake(adapter(tmp_path / "spool"))
    (name,) = below(tmp_path / "spool")
    folder, _, file = name.partition("/")
    assert folder == "dev"
    found = NAME.fullmatch(file)
    assert found
    assert found[1] == "key-1"
    content = (tmp_path / "spool" / name).read_bytes()
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == 1
    assert json.loads(content) == {
        "agent_id": "dev",
        "slot": "12",
        "source": "calendar:12",
        "message": WAKE.message,
        "event_type": "job",
        "event_data": DETAILS["event_data"],
        "idempotency_key": "key-1",
    }
    assert "\u202e" not in content.decode()


def test_a_message_with_a_path_that_is_no_utf_8_is_written_all_the_same(tmp_path):
    """It comes back as it was."""
    message = os.fsdecode(b"hfcal complete --state /tmp/\xff.json\n")
    wake(adapter(tmp_path), a_wake(message=message))
    (name,) = below(tmp_path)
    assert json.loads((tmp_path / name).read_bytes())["message"] == message


def test_names_sort_by_time(tmp_path):
    """Whatever the keys are."""
    made = adapter(tmp_path)
    keys = [f"{9 - number}-key" for number in range(10)]
    for key in keys:
        wake(made, a_wake(key=key))
        wait_for_the_next_millisecond()
    found = [name.partition("Z-")[2] for name in below(tmp_path)]
    assert found == [f"{key}.json" for key in keys]


def wait_for_the_next_millisecond() -> None:
    """Which is all that a name tells of the time."""
    moment = time.time_ns() // 1_000_000
    wait_until(lambda: time.time_ns() // 1_000_000 > moment)


def test_the_same_wake_again_writes_no_second_file(tmp_path):
    """As long as the agent has not taken the first one."""
    made = adapter(tmp_path)
    for key in ("key-1", "key-2", "key-1", "key-2"):
        wake(made, a_wake(key=key))
    assert len(below(tmp_path)) == 2
    (taken,) = (name for name in below(tmp_path) if name.endswith("key-1.json"))
    (tmp_path / taken).unlink()
    wake(made, a_wake(key="key-1"))
    assert len(below(tmp_path)) == 2


def test_another_agents_file_is_not_this_ones(tmp_path):
    """Each has a folder."""
    for agent_id in ("dev", "ops"):
        wake(adapter(tmp_path), agent_id=agent_id)
    assert [name.partition("/")[0] for name in below(tmp_path)] == ["dev", "ops"]


# Whole or not at all

WRITER = """
    import sys, threading
    from pathlib import Path
    from hfcal.core.records import Wake
    from hfcal.wake.spool import SpoolAdapter
    made = SpoolAdapter(Path(sys.argv[1]))
    print("ready", flush=True)
    input()
    for number in range(150):
        wake = Wake(f"key-{number}", "12", "calendar:12", "x" * 50_000, {})
        made.wake("dev", wake, threading.Event())
"""


def test_a_reader_never_sees_a_part(tmp_path):
    """Each *.json that it finds, at any moment, is whole."""
    folder = tmp_path / "dev"
    folder.mkdir()
    seen: set[str] = set()
    with child(WRITER, tmp_path) as process:
        assert hear(process) == "ready"
        tell(process)
        while process.poll() is None:
            for path in folder.glob("[!.]*"):
                if path.name not in seen:
                    assert NAME.fullmatch(path.name)
                    assert len(json.loads(path.read_bytes())["message"]) == 50_000
                    seen.add(path.name)
        assert process.returncode == 0
    assert len(list(folder.iterdir())) == 150


KILLED = """
    import os, signal, sys, threading
    from pathlib import Path
    from hfcal.core.records import Wake
    from hfcal.wake.spool import SpoolAdapter
    calls = 0
    def kill(*_, **__):
        global calls
        calls += 1
        if calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*_, **__)
    real = getattr(os, sys.argv[2])
    setattr(os, sys.argv[2], kill)
    wake = Wake("key-1", "12", "calendar:12", "x" * 50_000, {})
    SpoolAdapter(Path(sys.argv[1])).wake("dev", wake, threading.Event())
"""


@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_kill_before_the_end_leaves_no_json(tmp_path, call):
    """And the next try writes the one file."""
    (tmp_path / "dev").mkdir(mode=0o700)
    with child(KILLED, tmp_path, call, 1) as process:
        process.communicate(timeout=60)
        assert process.returncode == -9
    assert not list(tmp_path.rglob("*.json"))
    wake(adapter(tmp_path))
    found = [path for path in (tmp_path / "dev").glob("*.json") if path.name[:1] != "."]
    assert len(found) == 1
    assert json.loads(found[0].read_bytes())["idempotency_key"] == "key-1"


FULL = """
    import resource, sys, threading
    from pathlib import Path
    from hfcal.core.records import Wake
    from hfcal.wake.adapter import WakeError
    from hfcal.wake.spool import SpoolAdapter
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    wake = Wake("key-1", "12", "calendar:12", "x" * 50_000, {})
    try:
        SpoolAdapter(Path(sys.argv[1])).wake("dev", wake, threading.Event())
    except WakeError as error:
        print(error)
"""


def test_without_room_the_wake_fails_and_leaves_nothing(tmp_path):
    """The reason names the folder; a later try has its room to itself."""
    text = run_child(FULL, tmp_path)
    assert str(tmp_path / "dev") in text
    assert below(tmp_path) == []


@pytest.mark.skipif(IS_ROOT, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_failed_wake(tmp_path):
    """With the reason."""
    (tmp_path / "spool").mkdir(mode=0o500)
    assert "Permission denied" in reason(adapter(tmp_path / "spool"))


@pytest.mark.parametrize("place", ["spool", "spool/dev"])
def test_a_file_where_a_folder_should_be_is_a_failed_wake(tmp_path, place):
    """It is left as it is."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine", encoding="utf-8")
    assert "cannot write into" in reason(adapter(tmp_path / "spool"))
    assert (tmp_path / place).read_text(encoding="utf-8") == "mine"


# Who may read it


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_files_and_folders_are_private_whatever_the_umask_is(tmp_path, mask):
    """0600 and 0700, from the first missing folder down."""
    with umask(mask):
        wake(adapter(tmp_path / "a" / "b" / "spool"))
    for path in (tmp_path / "a").rglob("*"):
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    assert mode(tmp_path / "a") == 0o700


@pytest.mark.parametrize("mask", [0, 0o777])
@pytest.mark.parametrize(
    ("given", "folder"), [("0600", 0o700), ("0640", 0o750), ("660", 0o770), ("0644", 0o755)]
)
def test_the_mode_counts_for_files_and_with_x_for_folders(tmp_path, mask, given, folder):
    """Whatever the umask is."""
    with umask(mask):
        wake(adapter(tmp_path / "spool", mode=given))
    (name,) = below(tmp_path / "spool")
    assert mode(tmp_path / "spool" / name) == int(given, 8)
    assert mode(tmp_path / "spool" / "dev") == folder
    assert mode(tmp_path / "spool") == folder


def test_a_mode_that_was_changed_counts_from_the_next_wake(tmp_path):
    """For the agent's folder too, which is there already."""
    wake(adapter(tmp_path, mode="0600"))
    wake(adapter(tmp_path, mode="0660"), a_wake(key="key-2"))
    assert mode(tmp_path / "dev") == 0o770
    assert [mode(tmp_path / name) for name in below(tmp_path)] == [0o600, 0o660]


def a_group() -> str:
    """A group that files can be given to; another one than our own if there is one."""
    ours = [g for g in grp.getgrall() if IS_ROOT or g.gr_gid in os.getgroups()]
    others = [g for g in ours if g.gr_gid != os.getegid()]
    for group in others or ours:
        return group.gr_name
    pytest.skip("needs a group with a name")


def test_the_group_gets_files_and_folders(tmp_path):
    """So that an agent of another user can read and remove them."""
    group = a_group()
    wake(adapter(tmp_path / "spool", mode="0660", group=group))
    number = grp.getgrnam(group).gr_gid
    (name,) = below(tmp_path / "spool")
    for path in (tmp_path / "spool", tmp_path / "spool" / "dev", tmp_path / "spool" / name):
        assert path.stat().st_gid == number
    assert mode(tmp_path / "spool" / name) == 0o660
    assert mode(tmp_path / "spool" / "dev") & 0o777 == 0o770


# Ids and links that lead elsewhere


@pytest.mark.parametrize(
    "agent_id",
    ["../x", "..", ".", "a/b", "/etc", "../../../../tmp/x", ".hidden", "~", "x" * 128, "*"],
)
def test_no_agent_id_leaves_the_directory(tmp_path, agent_id):
    """Each has one folder of its own there."""
    spool = tmp_path / "deep" / "spool"
    wake(adapter(spool), agent_id=agent_id)
    (name,) = below(tmp_path)
    assert len(Path(name).parts) == 4
    assert name.startswith("deep/spool/")
    content = json.loads((tmp_path / name).read_bytes())
    assert content["agent_id"] == agent_id


def test_ids_that_look_alike_share_no_folder(tmp_path):
    """What had to be changed is told apart."""
    ids = ["a/b", "a_b", "a:b", "a\\b", ".a", "..a", "a"]
    for number, agent_id in enumerate(ids):
        wake(adapter(tmp_path), a_wake(key=f"k{number}"), agent_id)
    assert len(list(tmp_path.iterdir())) == len(ids)


def test_a_link_in_place_of_the_agents_folder_is_not_followed(tmp_path):
    """Wherever it leads, and whoever made it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "dev").symlink_to(elsewhere)
    assert "cannot write into" in reason(adapter(tmp_path / "spool"))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root can make another user's link")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("below_it", ["", "more"])
def test_a_link_of_another_user_in_place_of_the_directory_is_not_followed(
    tmp_path, there, below_it
):
    """Nor one on the way to it, whether it leads somewhere or nowhere yet."""
    elsewhere = tmp_path / "elsewhere"
    if there:
        elsewhere.mkdir()
    link = tmp_path / "spool"
    link.symlink_to(elsewhere)
    os.lchown(link, SOMEBODY, SOMEBODY)
    assert "another user" in reason(adapter(link / below_it))
    assert not there or list(elsewhere.iterdir()) == []
    assert there or not elsewhere.exists()


def test_ones_own_link_in_place_of_the_directory_is_followed(tmp_path):
    """Such as one to a larger disk."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "disk")
    wake(adapter(tmp_path / "spool"))
    assert len(below(tmp_path / "disk")) == 1


# Its part of the config


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "dir"),
        ({"dir": "relative"}, "dir"),
        ({"dir": ""}, "dir"),
        ({"dir": 5}, "dir"),
        ({"dir": "/a\0b"}, "dir"),
        ({"dir": "~nobody-here/spool"}, "dir"),
        ({"dir": "/a", "mode": 0o660}, "mode"),
        ({"dir": "/a", "mode": "rw"}, "mode"),
        ({"dir": "/a", "mode": ""}, "mode"),
        ({"dir": "/a", "mode": "60"}, "mode"),
        ({"dir": "/a", "mode": "00660"}, "mode"),
        ({"dir": "/a", "mode": "0o660"}, "mode"),
        ({"dir": "/a", "mode": "0668"}, "mode"),
        ({"dir": "/a", "mode": "0400"}, "mode"),
        ({"dir": "/a", "mode": "0060"}, "mode"),
        ({"dir": "/a", "mode": "0770"}, "mode"),
        ({"dir": "/a", "mode": "4660"}, "mode"),
        ({"dir": "/a", "group": "no-such-group-here"}, "group"),
        ({"dir": "/a", "group": ""}, "group"),
        ({"dir": "/a", "group": 5}, "group"),
        ({"dir": "/a", "group": "a\0b"}, "group"),
    ],
)
def test_a_table_that_cannot_be_used_names_key_and_what_is_allowed(table, key):
    """A config error, before anybody is woken."""
    with pytest.raises(ConfigError, match=rf"wake\.{key} = .*allowed: "):
        SpoolAdapter.from_table(WakeTable(table, "wake"))


def test_a_table_is_read():
    """Private by default."""
    made = SpoolAdapter.from_table(WakeTable({"dir": "/var/spool/x"}, "wake"))
    assert (made.directory, made.mode, made.group) == (Path("/var/spool/x"), 0o600, None)
