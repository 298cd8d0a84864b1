"""hfcal.cli.options: what options may say."""

import pytest

from hfcal.cli.options import duration_option
from hfcal.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5s", 1.5), ("250ms", 0.25), ("30m", 1800), ("4h", 14_400)],
)
def test_a_duration_is_seconds_or_has_a_unit(text, seconds):
    """As in the config."""
    assert duration_option("--for", text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1 fortnight", "nan", "inf", "1e999", "4h30"])
def test_what_is_no_duration_is_wrong_usage_that_names_the_option(text):
    """With the value."""
    with pytest.raises(UsageError, match="--for = ") as caught:
        duration_option("--for", text)
    assert repr(text) in caught.value.message
