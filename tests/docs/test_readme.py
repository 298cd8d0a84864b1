"""README.md: its commands run as they stand, and every link and cited page exists."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.needs import needs

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.exists(), reason="not in a checkout")

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"docs/(\w+\.md)(?:, ([A-Z][\w-]*(?: [a-z][\w-]*)*|command))?")


def blocks(language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(README.read_text("utf-8")) if kind == language]


def headings(page: Path) -> list[str]:
    text = _BLOCK.sub("", page.read_text("utf-8"))
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with hfcal and an agent on the PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "hfcal").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hfcal "$@"\n')
    (programs / "my-agent").write_text('#!/bin/sh\ncat > "$HOME/woken-$2.txt"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


@pytest.fixture
def environment(home: Path) -> Iterator[dict[str, str]]:
    """An environment in which README's backend is a simulator with README's scenario."""
    (scenario,) = blocks("toml")
    (home / "scenario.toml").write_text(scenario, encoding="utf-8")
    environment = {"HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "hfcal", "sim", "--port", "0", "--scenario", "scenario.toml"]
    with subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True
    ) as simulator:
        assert simulator.stdout is not None
        try:
            yield {**environment, "HFCAL_BACKEND_URL": simulator.stdout.readline().strip()}
        finally:
            simulator.terminate()
    assert simulator.returncode == 0


def test_commands_run(home: Path, environment: dict[str, str]) -> None:
    """Every command in a sh block exits with 0, in the order of the page."""
    for block in blocks("sh"):
        done = subprocess.run(
            [needs("bash"), "-euo", "pipefail", "-c", block],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"

    woken = (home / "woken-developer.txt").read_text("utf-8")
    assert woken.startswith("[calendar job review/HF-42] please handle this\n")
    assert (home / "woken-operator.txt").exists()


def test_commands_are_marked() -> None:
    """What runs is in sh blocks; what can't, in blocks of a kind that is known to be skipped."""
    kinds = {kind for kind, _ in _BLOCK.findall(README.read_text("utf-8"))}

    assert kinds == {"sh", "console", "toml"}
    assert len(blocks("sh")) >= 5


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda p: p.name,
)
def test_links_lead_somewhere(page: Path) -> None:
    """A link in README or docs leads to a file that exists, and to a heading in it."""
    for link in _LINK.findall(_BLOCK.sub("", page.read_text("utf-8"))):
        if "://" in link:
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if fragment:
            assert fragment in map(anchor, headings(target)), link


def test_pages_cited_in_code_exist() -> None:
    """A comment or docstring that sends its reader to a page, or a heading, sends them right."""
    missing = []
    for source in [*sorted((ROOT / "hfcal").rglob("*.py")), ROOT / "pyproject.toml"]:
        text = re.sub(r"\s+(?:# )?", " ", source.read_text("utf-8"))
        for name, heading in _CITED.findall(text):
            page = ROOT / "docs" / name
            if not page.exists():
                missing.append(f"{source.relative_to(ROOT)}: docs/{name}")
            elif heading and not any(h.startswith(heading) for h in headings(page)):
                missing.append(f"{source.relative_to(ROOT)}: docs/{name}, {heading}")
    assert not missing
