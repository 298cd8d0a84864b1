"""hfcal.system.files: what kind of file system a path is on."""

import pytest

from hfcal.config import risks
from hfcal.config.risks import network_file_system

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home rw shared:2 master:1 - nfs4 server:/home rw
31 30 0:27 / /home/local rw - xfs /dev/sdb rw
32 22 0:28 / /mnt/with\\040space rw - fuse.sshfs there: rw
33 22 0:29 / /mnt/twice rw - cifs //there/share rw
34 22 0:30 / /mnt/twice rw - tmpfs tmpfs rw
35 22 0:31 / /homely rw - 9p share rw
36 22 0:32 / /var/lib/docker rw - overlay overlay rw
not a mount
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/var/lib/hfcal/state.json", None),
        ("/var/lib/docker/state.json", None),
        ("/home/me/state.json", "nfs4"),
        ("/home", "nfs4"),
        ("/home/local/state.json", None),
        ("/homely/state.json", "9p"),
        ("/mnt/with space/state.json", "fuse.sshfs"),
        ("/mnt/twice/state.json", None),
    ],
)
def test_the_mount_that_holds_the_path_counts(path, kind, tmp_path, monkeypatch):
    """The deepest mount point, and of several on one point the last."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(risks, "_MOUNTS", mounts)
    assert network_file_system(tmp_path.joinpath(path)) == kind


def test_where_mounts_are_not_told_nothing_is_found(tmp_path, monkeypatch):
    """Other systems than Linux have no such file."""
    assert network_file_system(tmp_path) is None
    monkeypatch.setattr(risks, "_MOUNTS", tmp_path / "missing")
    assert network_file_system(tmp_path) is None
