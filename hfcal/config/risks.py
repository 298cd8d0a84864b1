"""What works, but is risky in this set-up: reported once by a tick."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hfcal.config.settings import Settings

RISKS = ("file system", "plain http", "key file")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True)
class Risk:
    """One risk.

    Attributes:
        about: One of `RISKS`.
        code: Its name in docs/doctor.md.
        kind: What it is there; another kind is another risk.
        message: For people, with what to do.
        fix: A command that does it; empty for none.
    """

    about: str
    code: str
    kind: str
    message: str
    fix: str = ""


def risks_of(settings: Settings, state_file: Path) -> Iterator[Risk]:
    """The risks of these settings on this host."""
    kind = network_file_system(state_file)
    if kind is not None:
        yield Risk(
            "file system",
            "network-file-system",
            kind,
            f"the state {state_file} is on a network file system ({kind}), where locks and saves "
            "may fail or be lost; put it on a local disk with --state or HFCAL_STATE",
        )
    url = urlsplit(settings.backend_url)
    if settings.api_key and url.scheme == "http" and not _LOOPBACK.fullmatch(url.hostname or ""):
        yield Risk(
            "plain http",
            "plain-http",
            url.netloc,
            f"the API key goes to {settings.backend_url} unencrypted, readable by the network; "
            "use an https URL",
        )
    file = settings.api_key_file
    if settings.api_key and file is not None and _readable_by_others(file):
        fix = f"chmod 600 {shlex.quote(str(file))}"
        yield Risk(
            "key file",
            "key-readable",
            str(file),
            f"{file} can be read by every user of this host: {fix}",
            fix,
        )


def _readable_by_others(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & 0o004)
    except OSError:
        return False


_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = r"(nfs|cifs|smb|9p|afs|ceph|lustre|beegfs|gfs|davfs|fuse\.(sshfs|glusterfs|s3fs|rclone))"


def network_file_system(path: Path) -> str | None:
    """The type of the network file system that `path` is on; None for a local one.

    Args:
        path: Absolute. Where the system isn't Linux, nothing is found.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        path = path.resolve()
    except (OSError, RuntimeError):
        return None
    found: tuple[int, str] = (-1, "")
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 6 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # Of several on one point, the last one mounted is what is seen.
        if path.is_relative_to(point) and len(point) >= found[0]:
            found = (len(point), after.split(" ")[0])
    return found[1] if re.match(_NETWORK, found[1]) else None
