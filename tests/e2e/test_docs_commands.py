"""The docs' console blocks: each command runs, and prints what stands below it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeBackend, MakeHost
from tests.e2e.host import Host
from tests.rig.backend import Backend

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SLOT = {"agent": "developer", "id": 12}

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="not in a checkout")


def _nothing_yet(_: Backend, host: Host) -> None:
    """A new host, without a config."""
    host.config.unlink()


def _refused(backend: Backend, host: Host) -> None:
    """An agent whose completion was refused."""
    backend.add_slots(_SLOT)
    host.ok("tick")
    backend.fault(path="update", status=409, body='{"detail": "slot is skipped"}')
    host.run("complete")


PAGES: dict[str, Callable[[Backend, Host], None]] = {
    "index.md": _nothing_yet,
    "operating.md": _refused,
}


def blocks(page: str, kind: str) -> list[str]:
    """The page's blocks of this kind."""
    found = _BLOCK.findall((DOCS / page).read_text("utf-8"))
    return [text for word, text in found if word == kind]


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block with what it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def _same(line: str, pattern: str) -> bool:
    """Whether a line is as the page has it: … stands for anything, widths don't count."""
    parts = (re.escape(" ".join(part.split())) for part in pattern.split("…"))
    return re.fullmatch(r"\s*.*\s*".join(parts), " ".join(line.split())) is not None


def _shown(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_a_command_prints_what_the_page_says(
    page: str, make_backend: MakeBackend, make_host: MakeHost
) -> None:
    """In the order of the page, in a home of its own, against the page's scenario."""
    scenario = tomllib.loads("".join(blocks(page, "toml")))
    backend = make_backend(**scenario)
    host = make_host(backend)
    PAGES[page](backend, host)
    programs = host.root / "bin"
    programs.mkdir()
    program = programs / "hfcal"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hfcal "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    said = {"/home/me": str(host.home), "http://127.0.0.1:8000": backend.url}
    path = f"{programs}:{host.environment()['PATH']}"
    for command, wanted in (pair for b in blocks(page, "console") for pair in commands(b)):
        words = command
        for theirs, ours in said.items():
            words = words.replace(theirs, ours)
        done = subprocess.run(
            ["/bin/sh", "-c", words],
            env=host.environment(PATH=path, COLUMNS="200", LANG="C.UTF-8"),
            cwd=host.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        printed = done.stdout + done.stderr
        for theirs, ours in said.items():
            printed = printed.replace(ours, theirs)
        lines, patterns = _shown(printed), _shown("\n".join(wanted))
        if "…" in patterns:  # a line that leaves out lines
            cut = patterns.index("…")
            lines = lines[:cut] + lines[len(lines) - len(patterns) + cut + 1 :]
            patterns.remove("…")
        odd = [(a, b) for a, b in zip_longest(lines, patterns, fillvalue="") if not _same(a, b)]
        assert not odd, f"$ {command}\n{printed}"


def test_no_console_block_is_left_out() -> None:
    """Each page with commands and their output is one of those above."""
    pages = {page.name for page in DOCS.glob("*.md") if "$ hfcal" in page.read_text("utf-8")}
    assert pages == set(PAGES)


def test_commands_md_is_current() -> None:
    """It is what the app says of itself."""
    generator = str(ROOT / "tools" / "commanddocs.py")
    done = subprocess.run(
        [sys.executable, generator, "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
