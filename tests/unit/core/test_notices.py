"""hfcal.core.notices: a fault that lasts is said once, and then once an hour."""

from hfcal.core.notices import Notice, record_fault, record_recovery, render_notices
from hfcal.core.records import Trouble
from tests.unit.support import HOUR, NOON

PAGE = "docs/troubleshooting.md#"


def fault(
    troubles: dict[str, Trouble], kind: str = "timeout", message: str = "m", wall: float = NOON
) -> Notice | None:
    """A heartbeat of agent a that fails."""
    return record_fault(troubles, "a", "heartbeat", kind, message, wall)


def test_a_fault_that_begins_is_news():
    """It is told with its message."""
    assert fault({}) == Notice("a", "m", PAGE + "timeout", "heartbeat")


def test_a_fault_that_lasts_is_said_once_an_hour():
    """A tick every 30 s for three hours says it four times, and how long it has lasted."""
    troubles: dict[str, Trouble] = {}
    told = [fault(troubles, wall=NOON + 30 * n) for n in range(361)]
    said = [(n * 30, news.message) for n, news in enumerate(told) if news]
    assert said == [
        (0, "m"),
        (3600, "still, for 60 min: m"),
        (7200, "still, for 2 h: m"),
        (10800, "still, for 3 h: m"),
    ]


def test_a_fault_that_changes_is_news():
    """Another kind is told at once; the same kind with other words is not."""
    troubles: dict[str, Trouble] = {}
    fault(troubles, "timeout")
    assert fault(troubles, "timeout", "other words", NOON + 30) is None
    changed = fault(troubles, "unauthorized", "wrong key", NOON + 60)
    assert changed == Notice("a", "wrong key", PAGE + "unauthorized", "heartbeat")
    assert fault(troubles, "timeout", "m", NOON + 90) == Notice(
        "a", "m", PAGE + "timeout", "heartbeat"
    )


def test_a_fault_that_ends_is_news():
    """Once, with its length since it began, whatever kinds it had."""
    troubles: dict[str, Trouble] = {}
    fault(troubles, "timeout")
    fault(troubles, "server_error", wall=NOON + 60)
    ended = record_recovery(troubles, "a", "heartbeat", NOON + 600)
    assert ended == Notice(
        "a", "heartbeat recovered after 10 min", about="heartbeat", recovered=True
    )
    assert record_recovery(troubles, "a", "heartbeat", NOON + 630) is None
    assert troubles == {}


def test_all_well_is_no_news():
    """A tick that works prints nothing."""
    assert record_recovery({}, "a", "heartbeat", NOON) is None


def test_faults_about_different_things_are_told_apart():
    """A wake that fails doesn't hide a heartbeat that fails."""
    troubles: dict[str, Trouble] = {}
    assert record_fault(troubles, "a", "heartbeat", "timeout", "one", NOON)
    assert record_fault(troubles, "a", "wake", "wake_failed", "two", NOON)
    assert [trouble.message for trouble in troubles.values()] == ["one", "two"]
    record_recovery(troubles, "a", "heartbeat", NOON)
    assert list(troubles) == ["wake"]


def test_a_clock_that_was_set_back_silences_nothing():
    """What was said in the future is said again."""
    troubles: dict[str, Trouble] = {}
    fault(troubles, wall=NOON + 100 * HOUR)
    assert fault(troubles, wall=NOON) is not None
    assert fault(troubles, wall=NOON + 30) is None


def test_one_message_about_many_agents_is_one_line():
    """A backend that is away doesn't fill the mailbox once for each agent."""
    items = [Notice(f"agent-{n}", "cannot connect") for n in range(50)]
    items += [
        Notice("ops", "wake failed"),
        Notice("", "state was lost"),
        Notice("agent-0", "cannot connect"),
    ]
    assert render_notices(items) == [
        "agent-0, agent-1, agent-2 and 47 more: cannot connect",
        "ops: wake failed",
        "state was lost",
    ]
    assert render_notices([]) == []
