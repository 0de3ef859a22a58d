"""The time of records does not jump because somebody sets the machine's clock for a moment."""

import logging

import pytest

from orchestrator.storage.steady_clock import BELIEVED_AFTER_NS, STEP_NS, SteadyClock

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND


class Machine:
    """Its clock on the wall is wrong by `wrong`."""

    def __init__(self) -> None:
        self.running = 77 * SECOND
        self.wrong = 0
        self.time = SteadyClock(START, self.running)

    def after(self, nanoseconds: int) -> int:
        """What time it is said to be, as a distance from the right time."""
        self.running += nanoseconds
        right = START + self.running - 77 * SECOND
        return self.time.now(right + self.wrong, self.running) - right


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_it_goes_with_the_clock_on_the_wall(machine: Machine) -> None:
    assert [machine.after(HOUR) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("wrong", [SECOND, -SECOND, STEP_NS])
def test_small_corrections_are_followed_at_once(machine: Machine, wrong: int) -> None:
    machine.wrong = wrong
    assert machine.after(SECOND) == wrong


@pytest.mark.parametrize("wrong", [2 * HOUR, -2 * HOUR, 26 * HOUR])
def test_a_clock_that_is_wrong_for_a_moment_changes_nothing(machine: Machine, wrong: int) -> None:
    machine.wrong = wrong
    assert machine.after(SECOND) == 0
    machine.wrong = -wrong
    assert machine.after(30 * SECOND) == 0
    machine.wrong = 0
    assert machine.after(30 * SECOND) == 0


def test_a_step_that_lasts_is_believed(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.wrong = 2 * HOUR
    with caplog.at_level(logging.WARNING):
        assert machine.after(SECOND) == 0
        assert machine.after(BELIEVED_AFTER_NS) == 0
        assert machine.after(SECOND) == 2 * HOUR
        assert machine.after(SECOND) == 2 * HOUR
    assert [record.getMessage() for record in caplog.records] == [
        "This machine's clock was set by +7200 s. That is believed when it stays so for 10 minutes.",
        "This machine's clock stays set by +7200 s, so that is the time now.",
    ]


def test_a_clock_that_is_set_again_has_to_last_again(machine: Machine) -> None:
    machine.wrong = 2 * HOUR
    machine.after(SECOND)
    machine.after(BELIEVED_AFTER_NS - SECOND)
    machine.wrong = 3 * HOUR
    assert machine.after(2 * SECOND) == 0
    assert machine.after(BELIEVED_AFTER_NS) == 0
    assert machine.after(SECOND) == 3 * HOUR
