"""Who waits before another try waits longer each time, and not for the same time as all others."""

from shared.runtime.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    pauses = Backoff(1.0, 5.0, spread=0.0)
    assert [pauses.next_seconds() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_after_a_success_they_begin_anew() -> None:
    pauses = Backoff(1.0, 5.0, spread=0.0)
    assert [pauses.next_seconds(), pauses.next_seconds()] == [1.0, 2.0]
    pauses.reset()
    assert pauses.next_seconds() == 1.0


def test_each_is_drawn_from_its_share_of_the_bound() -> None:
    full, half = Backoff(1.0, 1.0), Backoff(1.0, 1.0, spread=0.5)
    drawn = [full.next_seconds() for _ in range(200)]
    assert 0.0 <= min(drawn) < 0.5 < max(drawn) <= 1.0
    assert all(0.5 <= half.next_seconds() <= 1.0 for _ in range(200))


def test_none_is_shorter_than_what_was_asked_for() -> None:
    assert Backoff(1.0, 2.0).next_seconds(at_least=7.0) == 7.0
