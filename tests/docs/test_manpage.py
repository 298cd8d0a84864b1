"""The man page: current, complete, and good roff."""

import subprocess
import sys
from pathlib import Path

import pytest

from hfcal.cli.app import COMMANDS
from tests.rig.needs import needs

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "tools" / "manpage.py"
PAGE = ROOT / "man" / "hfcal.1"

pytestmark = pytest.mark.skipif(not GENERATOR.exists(), reason="not in a checkout")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_it_is_current() -> None:
    """It is what the app makes of itself."""
    done = run(sys.executable, str(GENERATOR), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run(sys.executable, str(GENERATOR), "--chekc").returncode == 2


def test_it_has_every_command() -> None:
    """Each under a heading of its own."""
    text = PAGE.read_text(encoding="utf-8")
    assert all(f".SS hfcal {name}" in text for name in COMMANDS)


def test_roff_has_nothing_to_say() -> None:
    """It renders without a warning."""
    done = run(needs("groff"), "-man", "-Tutf8", "-ww", "-z", str(PAGE))
    assert (done.returncode, done.stderr) == (0, "")
