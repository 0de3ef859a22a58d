"""The canary of the tests hears what would let somebody in, and nothing else."""

import logging
from collections.abc import Iterator

import pytest

from tests.canary import Canary

LETS_IN = [
    "https://s3.example.com/b/k?X-Amz-Algorithm=A&X-Amz-Signature=0a1b",
    "SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4",
    "tj1_" + "a" * 80,
    "tk1_" + "a" * 80,
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwIn0.c2lnbmF0dXJlLW9mLXRoaXM",
]


@pytest.fixture
def heard(canary: Canary) -> Iterator[list[str]]:
    yield canary.heard
    canary.heard.clear()


@pytest.mark.parametrize("text", LETS_IN)
def test_what_lets_in_is_heard_at_any_level_and_not_repeated(heard: list[str], text: str) -> None:
    logging.getLogger("compute.somewhere").debug("asked %s", text)
    assert len(heard) == 1
    assert text not in heard[0]


def test_what_a_library_says_is_heard_as_it_is_written(heard: list[str]) -> None:
    logging.getLogger("shared.somewhere").error("failed", exc_info=ValueError(LETS_IN[0]))
    logging.getLogger("shared.somewhere").error("failed", exc_info=ValueError(LETS_IN[1]))
    assert len(heard) == 1


@pytest.mark.parametrize("text", ["X-Amz-Signature is missing", "a token tj1_... is over", "NAB3 of a node", "eyJ"])
def test_other_texts_are_nothing_to_it(heard: list[str], text: str) -> None:
    logging.getLogger("tarpon.somewhere").warning(text)
    assert heard == []
