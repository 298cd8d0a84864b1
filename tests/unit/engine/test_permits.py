"""hfcal.engine.permits: how many agents are remembered for a wake at once."""

from hfcal.engine.permits import WakePermits


def taken(permits: WakePermits) -> int:
    """How many permits can be taken now; they are."""
    count = 0
    while permits.acquire():
        count += 1
    return count


def test_one_place_a_worker_until_a_wake_has_been_seen():
    permits = WakePermits(8, lambda: 0.4)
    assert taken(permits) == 8
    permits.release(None)
    assert taken(permits) == 1


def test_short_wakes_fill_the_time_until_the_next_save():
    """0.1 s each: four rounds in 0.4 s, and the one under way."""
    permits = WakePermits(8, lambda: 0.4)
    assert permits.acquire()
    permits.release(0.1)
    assert taken(permits) == 8 * 5


def test_the_longest_wake_counts_and_there_is_a_bound():
    permits = WakePermits(8, lambda: 0.4)
    assert permits.acquire()
    permits.release(0.0)
    assert taken(permits) == 8 * 32
    permits.release(30.0)
    assert taken(permits) == 0
    for _ in range(8 * 32 - 1):
        permits.release(None)
    assert taken(permits) == 8


def test_who_waits_gets_a_place_in_turn():
    permits = WakePermits(1, lambda: 0.0)
    assert permits.acquire()
    got: list[str] = []

    def take(name: str) -> None:
        assert permits.acquire()
        got.append(name)

    permits.wait(lambda: take("first"))
    permits.wait(lambda: take("second"))
    permits.release(1.0)
    assert got == ["first"]
    permits.release(1.0)
    assert got == ["first", "second"]
