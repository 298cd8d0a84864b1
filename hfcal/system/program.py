"""How this hfcal is started again from anywhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def own_program() -> tuple[str, ...]:
    """This hfcal, as words that start it from anywhere."""
    called = Path(sys.argv[0])
    for script in (called, Path(sys.executable).with_name("hfcal")):
        if script.name == "hfcal" and script.is_file() and os.access(script, os.X_OK):
            return (os.path.abspath(script),)  # noqa: PTH100  # a link may be the stable name
    return (sys.executable, "-m", "hfcal")
