"""A name with a typing error is answered with the one that may have been meant."""

from collections.abc import Iterator

import pytest

from orchestrator.rules.near_names import LONGEST, MOST_COMPARED, MOST_NEAR, near_names

KNOWN = {"sweep-1", "sweep-2", "train", "Train-Big", "a"}


def near(text: str) -> tuple[str, ...]:
    return near_names(text, KNOWN.__contains__, sorted(KNOWN))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("sweap-1", "sweep-1"),
        ("swep-1", "sweep-1"),
        ("sweeep-1", "sweep-1"),
        ("sewep-1", "sweep-1"),
        ("weep-2", "sweep-2"),
        ("train1", "train"),
        ("TRAIN", "train"),
        ("train-big", "Train-Big"),
        ("trai", "train"),
    ],
)
def test_one_typing_error_is_seen_through(text: str, meant: str) -> None:
    assert near(text)[0] == meant


def test_names_that_begin_alike_are_told_too() -> None:
    assert near("sweep") == ("sweep-1", "sweep-2")
    assert near("train-larger") == ("train",)


@pytest.mark.parametrize("text", ["something-else", "", "s", "sw", "x" * (LONGEST + 1)])
def test_what_is_far_from_all_names_has_none_near(text: str) -> None:
    assert near(text) == ()


def test_what_it_costs_does_not_depend_on_how_many_names_there_are() -> None:
    asked = looked_at = 0

    def is_known(_: str) -> bool:
        nonlocal asked
        asked += 1
        return False

    def names() -> Iterator[str]:
        nonlocal looked_at
        for number in range(100_000):
            looked_at += 1
            yield f"job-{number}"

    assert near_names("z" * LONGEST, is_known, names()) == ()
    assert looked_at <= MOST_COMPARED
    assert asked < 100 * LONGEST
    many = [f"sweep-{number}" for number in range(100_000)]
    assert len(near_names("sweep-x", set(many).__contains__, many)) == MOST_NEAR
