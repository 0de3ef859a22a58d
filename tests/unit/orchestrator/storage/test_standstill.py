"""Nothing new is stored for a while after a process has stood still for long."""

from collections.abc import Callable

import pytest

from orchestrator.storage.standstill import LEAST_SECONDS, REFUSES_SECONDS, Standstill
from shared.errors import MessagingUnavailable

MARKS = 20.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refuses(standstill: Standstill) -> bool:
    try:
        standstill.check()
    except MessagingUnavailable:
        return True
    return False


@pytest.fixture
def after(clock: Clock) -> Callable[[float], bool]:
    """Whether it refuses, so many seconds after it was asked last."""
    standstill = Standstill(MARKS, clock=clock)

    def is_refused(seconds: float) -> bool:
        clock.now += seconds
        return refuses(standstill)

    return is_refused


def test_who_goes_on_all_the_time_takes_what_comes(after: Callable[[float], bool]) -> None:
    assert not any(after(MARKS / 2) for _ in range(5))


def test_half_as_long_as_marks_live_is_too_long(after: Callable[[float], bool]) -> None:
    assert after(MARKS / 2 + 0.1)


def test_it_is_over_when_all_that_was_under_way_has_been_given_up(after: Callable[[float], bool]) -> None:
    assert after(MARKS)
    assert after(REFUSES_SECONDS - 0.1)
    assert not after(0.2)


def test_where_marks_live_for_next_to_no_time_a_busy_machine_is_no_standstill(clock: Clock) -> None:
    standstill = Standstill(1.0, clock=clock)
    clock.now += LEAST_SECONDS
    assert not refuses(standstill)
