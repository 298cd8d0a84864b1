"""hfcal.engine.permits: how many agents are remembered for a wake at once."""

from hfcal.engine.permits import Places


def taken(places: Places) -> int:
    """How many places can be taken now; they are."""
    count = 0
    while places.take():
        count += 1
    return count


def test_one_place_a_worker_until_a_wake_has_been_seen():
    places = Places(8, lambda: 0.4)
    assert taken(places) == 8
    places.free(None)
    assert taken(places) == 1


def test_short_wakes_fill_the_time_until_the_next_save():
    """0.1 s each: four rounds in 0.4 s, and the one under way."""
    places = Places(8, lambda: 0.4)
    assert places.take()
    places.free(0.1)
    assert taken(places) == 8 * 5


def test_the_longest_wake_counts_and_there_is_a_bound():
    places = Places(8, lambda: 0.4)
    assert places.take()
    places.free(0.0)
    assert taken(places) == 8 * 32
    places.free(30.0)
    assert taken(places) == 0
    for _ in range(8 * 32 - 1):
        places.free(None)
    assert taken(places) == 8


def test_who_waits_gets_a_place_in_turn():
    places = Places(1, lambda: 0.0)
    assert places.take()
    got: list[str] = []

    def take(name: str) -> None:
        assert places.take()
        got.append(name)

    places.wait(lambda: take("first"))
    places.wait(lambda: take("second"))
    places.free(1.0)
    assert got == ["first"]
    places.free(1.0)
    assert got == ["first", "second"]
