"""Making directories that nobody else can look into."""

from __future__ import annotations

import contextlib
from pathlib import Path


def make_private(directory: Path) -> None:
    """Make `directory` and what is missing above it, each 0700 whatever the umask is.

    Raises:
        OSError: It can't be made.
    """
    for missing in reversed([d for d in (directory, *directory.parents) if not d.exists()]):
        with contextlib.suppress(FileExistsError):
            missing.mkdir(mode=0o700)
