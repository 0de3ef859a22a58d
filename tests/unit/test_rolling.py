"""What a rolling restart has to keep."""

from typing import Any

import pytest

from tests.whole_set.rolling import is_well

WELL: dict[str, Any] = {
    "lost": [],
    "ran_again": [],
    "longest_submit_seconds": 2.0,
    "p95_seconds": {"quiet": 0.3, "and back": 0.8},
}


def test_a_restart_in_which_nothing_is_lost_is_well() -> None:
    assert is_well(WELL)


@pytest.mark.parametrize(
    "found",
    [
        {"lost": ["j-1"]},
        {"ran_again": ["j-1"]},
        {"longest_submit_seconds": 5.1},
        {"p95_seconds": {"quiet": 0.3, "and back": 1.0}},
    ],
    ids=["a job is lost", "a job ran again", "a submit is refused for long", "jobs take long"],
)
def test_what_users_would_feel_is_not(found: dict[str, Any]) -> None:
    assert not is_well(WELL | found)
