"""hfcal.cli.exits: the codes are those that the contract names."""

import re
from pathlib import Path

import pytest

from hfcal.cli import exits
from hfcal.errors import HfcalError, InterruptedByUserError

CONTRACT = Path(__file__).parents[3] / "docs" / "contract.md"


def kinds(base: type[BaseException]) -> set[str]:
    """The kinds of an error and of all that are one."""
    found = {getattr(base, "kind", "")}
    return found.union(*(kinds(each) for each in base.__subclasses__()))


@pytest.mark.skipif(not CONTRACT.exists(), reason="not in a checkout")
def test_each_kind_has_the_code_that_the_contract_says():
    """The table's last column; what ends by a signal has the signal's number."""
    part = CONTRACT.read_text(encoding="utf-8").split("\n## Exit codes\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|.*\| (.*) \|$", part, re.MULTILINE)
    promised = {
        kind: int(code)
        for code, cell in rows
        if "," not in code
        for kind in re.findall(r"`(\w+)`", cell)
    }
    promised.pop("rejected")  # the backend's word, and no error of hfcal's own
    assert promised == exits.BY_KIND
    assert {"130", "143"} <= {code for codes, _ in rows for code in codes.split(", ")}
    assert exits.SIGNALLED + 2 == 130


def test_no_code_is_for_a_kind_that_there_is_not():
    """A kind that was renamed would end with 1."""
    known = kinds(HfcalError) | kinds(InterruptedByUserError)
    assert set(exits.BY_KIND) - known - {"undelivered"} == set()


def test_codes_are_told_apart():
    """A caller can tell wrong usage from a wrong config, and both from a bug."""
    codes = [exits.OK, exits.FAILED, exits.USAGE, exits.NO_SLOT, exits.UNREACHABLE]
    codes += [exits.CONFIG, exits.STATE, exits.INTERNAL, exits.SIGNALLED]
    assert len(set(codes)) == len(codes)
