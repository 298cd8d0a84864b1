"""The completion scripts: current, valid, and of use in a real shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.needs import needs

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "completions"
GENERATOR = ROOT / "tools" / "completions.py"

pytestmark = pytest.mark.skipif(not GENERATOR.exists(), reason="not in a checkout")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def complete_in_bash(*words: str) -> list[str]:
    """What bash offers for the last word, as readline would ask: `=` is a word of its own."""
    script = (
        f'source "{SCRIPTS / "hfcal.bash"}"; complete -p hfcal >/dev/null || exit 1; '
        'COMP_LINE="$1"; shift; COMP_POINT=${#COMP_LINE}; '
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'last="${COMP_WORDS[COMP_CWORD]}"; [[ $last == "=" ]] && last=""; _hfcal hfcal "$last"; '
        '(( ${#COMPREPLY[@]} == 0 )) || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    line = " ".join(words).replace(" = ", "=").replace(" =", "=")
    done = run(needs("bash"), "--norc", "--noprofile", "-uc", script, "bash", line, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_scripts_are_current() -> None:
    """The scripts in the checkout are what the app makes of itself."""
    done = run(sys.executable, str(GENERATOR), "--check")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_generator_refuses_other_words() -> None:
    """A misspelt option writes nothing."""
    assert run(sys.executable, str(GENERATOR), "--chekc").returncode == 2


@pytest.mark.parametrize(
    ("name", "script"), [("bash", "hfcal.bash"), ("zsh", "_hfcal"), ("fish", "hfcal.fish")]
)
def test_scripts_parse(name: str, script: str) -> None:
    """Each shell reads its script without complaint."""
    done = run(needs(name), "-n", str(SCRIPTS / script))

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["com"], ["complete"]),
        (["tick", "--dr"], ["--dry-run"]),
        (["--json", "tick", "--dr"], ["--dry-run"]),
        (["--state", "tick", "st"], ["status"]),
        (["--state", "=", "tick", "st"], ["status"]),
        (["config", ""], ["show", "path", "set", "init"]),
        (["config", "sh"], ["show"]),
        (["config", "show", "--js"], ["--json"]),
        (["tick", "--log-format", ""], ["text", "json"]),
        (["tick", "--log-format", "="], ["text", "json"]),
        (["tick", "--log-format", "=", "j"], ["json"]),
        (["status", "--agent", ""], []),
        (["complete", "--reason", "com"], []),
        (["--ver"], ["--version", "--verbose"]),
        (["no-such-command", ""], []),
    ],
)
def test_bash_completes(words: list[str], offered: list[str]) -> None:
    """Commands and options are offered where they fit, and nothing where nothing is known."""
    assert sorted(complete_in_bash("hfcal", *words)) == sorted(offered)


def test_bash_completes_files(tmp_path: Path) -> None:
    """An option that takes a file offers files, also those with a space in their name."""
    (tmp_path / "my config.toml").touch()

    offered = complete_in_bash("hfcal", "tick", "--config", f"{tmp_path}/my")

    assert offered == [f"{tmp_path}/my config.toml"]


def test_fish_completes() -> None:
    """fish offers the same."""
    fish = needs("fish")
    script = f"source '{SCRIPTS / 'hfcal.fish'}'; complete -C 'hfcal --state x tick --dr'"

    done = run(fish, "--no-config", "-c", script)

    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["--dry-run"]
