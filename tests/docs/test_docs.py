"""The docs: each kind of error has its anchor, each link leads somewhere, the site builds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not (ROOT / "mkdocs.yml").exists(), reason="not in a checkout")

_BLOCK = re.compile(r"^```\w*\n.*?^```$", re.MULTILINE | re.DOTALL)


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", _BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE)


def test_each_kind_of_error_has_its_anchor() -> None:
    """Every word that `error.kind` can be, as the code has them."""
    source = "\n".join(
        p.read_text("utf-8") for p in (ROOT / "hfcal").rglob("*.py") if "sim" not in p.parts
    )
    kinds = set(re.findall(r'^    kind = "(\w+)"$', source, re.MULTILINE))
    kinds |= set(re.findall(r'(?:Fault|HttpError)\(\s*"(\w+)"', source))
    assert len(kinds) > 15
    assert kinds - set(headings(DOCS / "troubleshooting.md")) == set()


def test_the_site_builds_and_no_link_is_broken(tmp_path: Path) -> None:
    """Strictly, and without anything from elsewhere in it."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.glob("*.html"):
        text = page.read_text("utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]+"', text)


def listed() -> set[str]:
    """The packages and modules in hfcal/ that docs/architecture.md lists."""
    text = (DOCS / "architecture.md").read_text("utf-8")
    tree = re.search(r"^hfcal/\n((?: .*\n)+)", text, re.MULTILINE)
    assert tree is not None
    found: set[str] = set()
    for line in tree[1].splitlines():
        names = re.match(r"  ((?:\w+(?:\.py|/)(?: |$))+)", line)
        assert names is not None, f"no package stands first in: {line}"
        found.update(names[1].split())
    return found


def test_each_package_has_its_line() -> None:
    """And no line names one that is gone."""
    folder = ROOT / "hfcal"
    expected = {f"{p.parent.name}/" for p in folder.glob("*/__init__.py")}
    expected |= {p.name for p in folder.glob("*.py") if p.name != "__init__.py"}
    assert listed() == expected
