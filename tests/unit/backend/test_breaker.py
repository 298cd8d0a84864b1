"""hfcal.backend.breaker: one that is away costs one time-out, one that answers costs none."""

import threading

from hfcal.backend.breaker import IN_A_ROW, Breaker
from hfcal.errors import Fault

REFUSED = Fault("unreachable", "refused")
LOST = Fault("unreachable", "lost", maybe_done=True)
TIMEOUT = Fault("timeout", "waited")


def asked(breaker: Breaker, *answers: Fault | None) -> None:
    """One after another asks and is answered so."""
    for answer in answers:
        assert breaker.ask() is None
        breaker.note(answer)


def test_refused_connections_in_a_row_end_the_asking():
    breaker = Breaker()
    asked(breaker, *[REFUSED] * (IN_A_ROW - 1), None, *[REFUSED] * IN_A_ROW)
    fault = breaker.ask()
    assert fault is not None
    assert (fault.kind, fault.message) == ("unreachable", "refused (not asked)")


def test_a_lost_answer_is_an_answer():
    breaker = Breaker()
    asked(breaker, *[LOST] * 100)
    assert breaker.fault is None


def test_whoever_was_answered_once_is_there():
    """Time-outs of some agents say nothing of the others."""
    breaker = Breaker()
    asked(breaker, None, *[TIMEOUT] * 100)
    assert breaker.ask() is None


def test_with_one_worker_eight_time_outs_end_the_asking():
    breaker = Breaker()
    asked(breaker, *[TIMEOUT] * IN_A_ROW)
    assert breaker.ask() is not None


def test_after_a_time_out_nobody_asks_until_those_who_ask_know():
    """64 workers time out within a moment; the first one mustn't begin another time-out."""
    breaker = Breaker()
    for _ in range(64):
        assert breaker.ask() is None
    breaker.note(TIMEOUT)
    verdict: list[Fault | None] = []
    waiting = threading.Thread(target=lambda: verdict.append(breaker.ask()))
    waiting.start()
    for _ in range(63):
        assert not verdict
        breaker.note(TIMEOUT)
    waiting.join(10)
    assert [fault and fault.kind for fault in verdict] == ["timeout"]


def test_whoever_waits_goes_on_as_soon_as_somebody_is_answered():
    breaker = Breaker()
    for _ in range(3):
        assert breaker.ask() is None
    breaker.note(TIMEOUT)
    verdict: list[Fault | None] = []
    waiting = threading.Thread(target=lambda: verdict.append(breaker.ask()))
    waiting.start()
    breaker.note(None)
    waiting.join(10)
    assert verdict == [None]
