"""hfcal.config.toml_edit: one value of a TOML text is changed, and nothing else."""

import re
import tomllib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hfcal.config.toml_edit import changed, dotted, quoted, written
from hfcal.errors import UsageError
from tests.unit.support import thorough

NAMES = ["a", "b", "c=#d", "é"]
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
scalars = st.booleans() | st.integers() | st.text(st.sampled_from('a #="\\\n[é'), max_size=5)
values = scalars | st.lists(scalars, max_size=2)
tables = st.recursive(
    values, lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=2), max_leaves=4
)
MULTILINE = ['[ # in\n  "x # y",\n\n  1, # last\n]', '"""\n# none\n[a]\n"""', "'''#'''", "{a = 1}"]
lines = st.one_of(
    st.builds(
        lambda path, value, after: f"{quoted(path)} =  {value}{after}",
        names,
        values.map(written) | st.sampled_from(MULTILINE),
        st.sampled_from(["", "  # after"]),
    ),
    names.map(lambda path: f"[ {quoted(path)} ]"),
    st.sampled_from(["# a comment", "  # [a]", ""]),
)


def comments(text: str) -> list[str]:
    """The lines that are a comment, but for those in a value."""
    return re.findall(r"(?m)^(?:# a comment|  # \[a\])$", text.replace("\r\n", "\n"))


@given(st.lists(lines, min_size=1, max_size=8), names, tables, st.sampled_from(["\n", "\r\n"]))
@thorough
def test_any_value_of_any_text_can_be_set(parts, path, value, end):
    """Every comment stays, in its order, and so do the line ends; all else means what it did."""
    text = "\n".join([*parts, ""])
    try:
        wanted: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assume(False)
    place = wanted
    for name in path[:-1]:
        place = place.setdefault(name, {}) if isinstance(place, dict) else None
    try:
        result = changed(text.replace("\n", end), path, value)
    except UsageError as error:
        assert "is no table" in error.message
        assert not isinstance(place, dict)
        return
    place[path[-1]] = value
    assert tomllib.loads(result) == wanted
    assert comments(result) == comments(text)
    assert result.count("\n") == result.count(end)


@pytest.mark.parametrize("key", ["", "a b", "a = 1\nb", "a = 0 #", "a] #", "[a]", "a.", "\udcff"])
def test_what_is_no_key_has_no_names(key):
    """A text that holds more than a key is none."""
    assert dotted(key) is None
    assert dotted('a . "b.c"') == ("a", "b.c")
