"""hfcal on a disk that fails from a step on: `python -m tests.crashes.faulty ENOSPC 3 tick`."""

from __future__ import annotations

import os
import sys

from hfcal.cli.app import main
from tests.crashes.steps import Fate, Steps

if __name__ == "__main__":
    how, at, *sys.argv[1:] = sys.argv[1:]
    Steps(Fate(int(at), how, on=True), os.open(os.devnull, os.O_WRONLY)).install()
    sys.exit(main())
