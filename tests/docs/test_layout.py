"""Where tests stand: beside the modules that they are about, and by the promises that they hold."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hfcal

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "tests" / "unit"
CONTRACT = ROOT / "docs" / "contract.md"

pytestmark = pytest.mark.skipif(not CONTRACT.exists(), reason="not in a checkout")


def promises() -> set[str]:
    """The marks of the promises that the contract numbers."""
    part = CONTRACT.read_text(encoding="utf-8").split("\n## Promises\n")[1].split("\n## ")[0]
    return {f"promise_{number}" for number in re.findall(r"^(\d+)\. ", part, re.MULTILINE)}


def marks_of_tests() -> Iterator[str]:
    """Each mark that stands on a test as a decorator."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield from (d.attr for d in node.decorator_list if isinstance(d, ast.Attribute))


def test_each_promise_has_a_mark_and_tests_that_hold_it() -> None:
    """A new promise needs both: `pytest --collect-only -m promise_3` shows what holds one."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = settings["tool"]["pytest"]["ini_options"]["markers"]
    marks = {name for name, _, _ in (line.partition(":") for line in lines) if "promise" in name}
    assert len(promises()) >= 10
    assert marks == promises()
    assert promises() - set(marks_of_tests()) == set()


def test_unit_tests_mirror_the_modules() -> None:
    """test_MODULE.py, or test_MODULE_ASPECT.py, in the folder of the module's package."""
    for test in UNIT.rglob("test_*.py"):
        package = Path(hfcal.__file__).parent / test.relative_to(UNIT).parent
        modules = {path.stem for path in package.glob("*.py")}
        name = test.stem.removeprefix("test_")
        assert any(name == m or name.startswith(f"{m}_") for m in modules), test
