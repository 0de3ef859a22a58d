"""Partitions by patterns, with the engine that searches for them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.frozen_inputs import EVERY_PART
from orchestrator.rules.inputs import patterns
from orchestrator.rules.inputs.partitions import parts_of_keys
from orchestrator.rules.inputs.patterns import Pattern, PatternInvalid, PatternTooSlow
from shared.jobs.inputs.partition import Partition

KEYS = (
    "data/2024-01-05/user_7.csv",
    "data/2024-01-05/user_12.csv",
    "data/2024-02-05/user_7.csv",
    "data/eu/west",
    "data/x",
    "data/ü日本/1",
)


def by(pattern: str) -> Partition:
    return Partition(type="regex", pattern=pattern)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"user_(\d+)", [6, 1, 6, 0, 0, 0]),
        ("[a-z]+", [2, 2, 2, 1, 4, 0]),
        (r"(\d+)-(\d+)", [1, 1, 0, 0, 0, 0]),
    ],
)
def test_shares_by_a_pattern_are_those_of_bacalhau(pattern: str, expected: list[int]) -> None:
    """As its own code, of version 1.9.3, has divided these keys."""
    assert parts_of_keys(KEYS, by(pattern), prefix="data/", count=7) == expected


@given(
    keys=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), unique=True, max_size=60),
    count=st.integers(min_value=1, max_value=40),
    pattern=st.sampled_from(["a", "(.)(.)?", r"\d*", "^$", ".*", r"\pL+"]),
)
def test_shares_by_a_pattern_are_together_exactly_the_whole(keys: list[str], count: int, pattern: str) -> None:
    parts = parts_of_keys(keys, by(pattern), prefix="a", count=count)
    shares = [[key for key, of in zip(keys, parts, strict=True) if of in {part, EVERY_PART}] for part in range(count)]
    assert Counter(key for share in shares for key in share) == Counter(keys)


@pytest.mark.parametrize("pattern", ["(", "a**b[", r"(a)\1", "(?=a)b", "a{2000}"])
def test_what_re2_does_not_know_is_refused_in_a_sentence(pattern: str) -> None:
    with pytest.raises(PatternInvalid, match="that can be searched for") as caught:
        Pattern(pattern)
    assert "re2" in caught.value.hint


def test_nested_repetitions_take_no_longer_than_others() -> None:
    """Python's own engine tries more ways through each of these texts than there are atoms."""
    texts = ["a" * 1000 for _ in range(1000)]
    assert list(Pattern("(a+)+(a*)*$b").searched(texts)) == [None] * 1000


def test_a_pattern_that_takes_too_long_is_ended() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "MAX_SECONDS", 0.0)
        with pytest.raises(PatternTooSlow):
            list(Pattern("a").searched(["b"]))
