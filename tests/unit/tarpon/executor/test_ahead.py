"""A map runs ahead of who reads it, and not for ever."""

import itertools
from typing import Any

import pytest

from tarpon.executor.ahead import MOST_AHEAD_BYTES, Ahead
from tarpon.executor.asynchronous import most_ahead


def submitted(ahead: Ahead[Any]) -> int:
    return sum(1 for _ in iter(lambda: ahead.may_submit() and ahead.submit_next(), False))


def test_an_endless_iterable_is_submitted_by_halves() -> None:
    ahead = Ahead(zip(itertools.count()), lambda arguments: (arguments[0], 1), 10)
    assert submitted(ahead) == 10
    assert [ahead.take() for _ in range(4)] == [0, 1, 2, 3]
    assert submitted(ahead) == 0
    assert ahead.take() == 4
    assert submitted(ahead) == 5
    assert ahead.rest() == list(range(5, 15))


def test_large_arguments_are_counted_by_their_bytes() -> None:
    ahead = Ahead(zip(itertools.count()), lambda arguments: (arguments[0], MOST_AHEAD_BYTES // 2), 10)
    assert submitted(ahead) == 2


def test_what_ends_is_submitted_and_taken_whole() -> None:
    ahead = Ahead(zip("abc"), lambda arguments: (arguments[0], 1), 2)
    taken = []
    while submitted(ahead) or ahead.rest():
        taken.append(ahead.take())
    assert taken == list("abc")
    assert ahead.take() is None


def test_how_far_it_is_has_to_make_sense() -> None:
    assert most_ahead(None, 10_000) == 20_000
    assert most_ahead(3, 10_000) == 3
    with pytest.raises(ValueError, match="buffersize"):
        most_ahead(0, 1)
