"""hfcal.doctor.render: findings as lines and as a document; what is alike is told once."""

from typing import Any

import pytest

from hfcal.doctor.finding import Finding
from hfcal.doctor.render import finding_lines, findings_document


def lines(*findings: Finding, quiet: bool = False, colour: bool = False) -> list[str]:
    """What a person sees."""
    return list(finding_lines(findings, quiet=quiet, colour=colour))


def failing(agent_id: str, message: str = "it failed", fix: str = "") -> Finding:
    """A finding about one agent."""
    return Finding("agent-failing", "error", message, fix or f"fix {agent_id}", agent_id)


DISK = Finding("disk", "ok", "/ has 5 MiB left")
NOTE = Finding("slot-early", "note", "slot 4: early", "set it")


def test_a_finding_has_its_fix_and_its_page_below_it():
    """What is well needs neither; a note is no problem."""
    assert lines(DISK, NOTE, failing("a", "agent a is odd")) == [
        "ok       /  has 5 MiB left".replace("/  ", "/ "),
        "note     slot 4: early",
        "         $ set it",
        "         docs/doctor.md#slot-early",
        "error    agent a is odd",
        "         $ fix a",
        "         docs/doctor.md#agent-failing",
        "1 problem",
    ]


def test_without_a_fix_there_is_the_page():
    """Which tells more."""
    assert lines(Finding("agent-gone", "warning", "gone")) == [
        "warning  gone",
        "         docs/doctor.md#agent-gone",
        "1 problem",
    ]


@pytest.mark.parametrize(
    ("findings", "last"),
    [((), ["all is well"]), ((DISK,), ["all is well"]), ((NOTE,), ["all is well"])],
)
def test_where_nothing_is_bad_all_is_well(findings, last):
    """Said to a person, not to cron."""
    assert lines(*findings)[-1:] == last
    assert "all is well" not in lines(*findings, quiet=True)


def test_quiet_leaves_out_what_is_well_and_nothing_else():
    """Notes, problems and their number stay."""
    shown = lines(DISK, NOTE, failing("a"), failing("b", "otherwise"), quiet=True)
    assert not any(line.startswith("ok") for line in shown)
    assert [line.split()[0] for line in shown if line[0] != " "] == ["note", "error", "error", "2"]
    assert lines(DISK, quiet=True) == []


def test_many_agents_with_the_same_message_are_one_line():
    """All of them count; the first one's fix is shown, and said to be for each."""
    shown = lines(*(failing(f"a{n}") for n in range(5)))
    assert len(shown) == 4
    assert shown[0].startswith("error    a0, a1, a2 and 2 more: it failed")
    assert shown[1] == "         $ fix a0  # and so for each"
    assert shown[-1] == "5 problems"


def test_a_fix_that_is_the_same_for_all_is_just_that():
    """Nothing is to be repeated."""
    shown = lines(*(failing(f"a{n}", fix="one for all") for n in range(2)))
    assert shown[1] == "         $ one for all"


def test_what_differs_by_the_slot_alone_is_alike_from_four_on():
    """Three are told one by one."""
    several = [failing(f"a{n}", f"slot {n}: late") for n in range(4)]
    assert len([line for line in lines(*several[:3]) if line.startswith("error")]) == 3
    (one,) = [line for line in lines(*several) if line.startswith("error")]
    assert one.endswith(": late")


def test_severities_are_not_mixed():
    """A warning about one agent and an error about another of the same code are two."""
    shown = lines(failing("a"), Finding("agent-failing", "warning", "it failed", "", "b"))
    assert [line.split()[0] for line in shown if line[0] != " "] == ["error", "warning", "2"]


def test_what_is_about_no_agent_is_like_nothing_else():
    """Two files that others can read are two findings."""
    one = Finding("state-readable", "warning", "it can be read")
    assert len([line for line in lines(one, one) if line.startswith("warning")]) == 2


def test_colour_is_on_the_severity_alone():
    """And only where it is asked for."""
    coloured = lines(failing("a"), colour=True)[0]
    assert coloured.startswith("\x1b[31merror   \x1b[0m ")
    assert "\x1b" not in "".join(lines(failing("a")))


@pytest.mark.parametrize("odd", ["a\nb", "\x1b[2J", "\u202e"])
def test_what_comes_from_elsewhere_stays_in_its_line(odd):
    """A message or a fix can't draw on the terminal."""
    shown = lines(Finding("agent-failing", "error", odd, odd))
    assert len(shown) == 4
    assert all(line.isprintable() for line in shown)


def test_the_document_has_every_finding():
    """Nothing is folded for programs; a fix has its older name as well."""
    document: Any = findings_document([DISK, failing("a"), failing("b")])
    assert (document["schema"], document["ok"]) == (1, False)
    assert [f["code"] for f in document["findings"]] == ["disk", *["agent-failing"] * 2]
    assert document["findings"][0]["agent_id"] is None
    assert document["findings"][1]["message"] == "agent a: it failed"
    assert document["findings"][1]["fix"] == document["findings"][1]["mend"] == "fix a"
    assert findings_document([DISK, NOTE])["ok"] is True
    assert findings_document([])["findings"] == []
