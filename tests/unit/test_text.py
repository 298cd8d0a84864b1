"""hfcal.text: text from elsewhere, safe for a terminal, a log line, a prompt, a file name."""

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hfcal.text import file_name, json_line, one_line
from tests.unit.support import json_values, texts, thorough


def acts_on_a_screen(text: str) -> bool:
    """Whether a character of it is more than a glyph."""
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return any(unicodedata.category(character) in unsafe for character in text)


@pytest.mark.promise_10
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("  plain  ", "plain"),
        ("a\nb", "a b"),
        ("a\r\n\t\0b", "a b"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\x7fb", "a b"),
        ("a\u202eb", "a b"),
        ("a\u2028b", "a b"),
        ("a\ud800b", "a b"),
        ("grüße — 日本", "grüße — 日本"),
        ("", ""),
        ("\n\n", ""),
    ],
)
def test_one_line_shows_text_and_nothing_else(text, line):
    """Each run of control, format and surrogate characters is one space."""
    assert one_line(text) == line


def test_one_line_cuts_what_is_too_long():
    """A longer text ends in … and is no longer than the limit."""
    assert one_line("x" * 300) == "x" * 300
    assert one_line("x" * 301) == "x" * 299 + "…"
    assert one_line("é" * 10, 5) == "éééé…"
    assert one_line("x" * 10_000_000, 5) == "xxxx…"


@pytest.mark.promise_10
@given(texts | st.text(st.characters(categories=["Cc", "Cf", "L", "Zs"])), st.integers(1, 50))
@thorough
def test_one_line_is_one_safe_line(text, limit):
    """Whatever it is given, it acts on no screen, fits its limit, and stays as it is."""
    line = one_line(text, limit)
    assert not acts_on_a_screen(line)
    assert len(line) <= limit
    assert one_line(line, limit) == line


@pytest.mark.promise_10
@given(json_values | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "L"])))
@example("\x7f")
@example({"\x7f": "\U000e0001"})
@thorough
def test_json_line_is_safe_and_says_the_same(value):
    """It reads back as it was, and holds nothing that acts on a screen or breaks the line."""
    line = json_line(value)
    assert json.loads(line) == value
    assert not acts_on_a_screen(line)


def test_json_line_is_readable_in_any_language():
    """Letters stay letters; only what can't be shown is escaped."""
    assert json_line({"a": "grüße 日本 \u202e\n"}) == '{"a": "grüße 日本 \\u202e\\n"}'


@pytest.mark.parametrize("text", ["developer", "plan-7-2026-11-23", "a.b_c", "12", "A" * 80])
def test_a_harmless_text_is_its_own_file_name(text):
    """People find a file by the name that they know."""
    assert file_name(text) == text


odd_names = texts | st.text("./\\~-_aA0 ", max_size=12) | st.sampled_from(["x" * 79, "x" * 81])


@pytest.mark.promise_10
@given(odd_names)
@thorough
def test_no_text_leads_out_of_its_directory(text):
    """A file name is short, of harmless characters, neither . nor .., and always the same."""
    name = file_name(text)
    assert name
    assert name.strip(".")
    assert len(name) <= 100
    assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)
    assert file_name(text) == name


@given(odd_names, odd_names)
@thorough
def test_two_texts_never_share_a_file_name(one, other):
    """Different texts have different names."""
    assert (file_name(one) == file_name(other)) is (one == other)


@pytest.mark.parametrize("text", ["a/b", "..", "", "x" * 200, "ü"])
def test_the_name_of_one_text_is_not_the_name_of_another(text):
    """Not even of a text that looks like it."""
    assert file_name(file_name(text)) != file_name(text)
