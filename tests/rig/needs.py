"""Programs that a test wants, and that a machine may lack."""

from __future__ import annotations

import os
import re
import shutil

import pytest


def needs(program: str) -> str:
    """The path of a program; without it the test is skipped, by the program's name.

    What the variable HFCAL_CI_HAS names, separated by spaces or commas, must be there: a test that
    wants it fails, so that none is left out unseen where it is known to run.
    """
    found = shutil.which(program)
    if found is not None:
        return found
    if program in re.split(r"[\s,]+", os.environ.get("HFCAL_CI_HAS", "")):
        pytest.fail(f"HFCAL_CI_HAS says that {program} is here, and it is not on the PATH")
    pytest.skip(f"no {program} here")
