"""A missing program is a skip by its name, and a failure where it is known to be there."""

import pytest

from tests.rig.needs import needs

MISSING = "hfcal-no-such-program"


def test_what_is_there_is_found(monkeypatch):
    """Whatever is known of it."""
    monkeypatch.setenv("HFCAL_CI_HAS", MISSING)
    assert needs("sh").endswith("/sh")


@pytest.mark.parametrize("known", ["", "sh", f"{MISSING}-2", f"x{MISSING}"])
def test_what_is_missing_is_skipped_by_name(monkeypatch, known):
    """Where nobody said that it is there."""
    monkeypatch.setenv("HFCAL_CI_HAS", known)
    with pytest.raises(pytest.skip.Exception, match=MISSING):
        needs(MISSING)


@pytest.mark.parametrize(
    "known", [MISSING, f"zsh {MISSING}", f"zsh,{MISSING},fish", f"zsh, {MISSING}"]
)
def test_what_should_be_there_and_is_not_fails(monkeypatch, known):
    """Else a broken set-up would leave out tests unseen."""
    monkeypatch.setenv("HFCAL_CI_HAS", known)
    with pytest.raises(pytest.fail.Exception, match=MISSING):
        needs(MISSING)
