"""Of two contents the first byte in which they differ is found, and shown with what is around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarpon.comparison.first_difference import (
    AFTER_BYTES,
    BEFORE_BYTES,
    FIRST_RANGE_BYTES,
    RANGE_BYTES,
    Content,
    FirstDifference,
    first_difference,
    same_bytes,
)


class InMemory:
    """A PartReader of bytes in memory, which has seen how much was asked for at once."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.most = 0

    async def read(self, start: int, end: int) -> bytes:
        assert 0 <= start <= end <= len(self._content) or start >= end
        self.most = max(self.most, end - start)
        return self._content[start:end]

    def close(self) -> None:
        pass


async def found(first: bytes, second: bytes) -> FirstDifference | None:
    return await first_difference(Content(InMemory(first), len(first)), Content(InMemory(second), len(second)))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"a\nb 1\nc\n", b"a\nb 2\nc\n", FirstDifference(4, 2, 2, b"b 1\n", b"b 2\n")),
        (b"a\nb\n", b"a\nb\nc\n", FirstDifference(4, 3, 4, b"", b"c\n")),
        (b"", b"x", FirstDifference(0, 1, 0, b"", b"x")),
        (b"no end", b"no End", FirstDifference(3, 1, 0, b"no end", b"no End")),
        (bytes(20) + b"\1", bytes(20) + b"\2", FirstDifference(20, 0, 16, bytes(4) + b"\1", bytes(4) + b"\2")),
        ("ä".encode() * 200, "ä".encode() * 100 + "ö".encode() * 100, None),
    ],
    ids=["a line", "an end", "nothing", "no line end", "binary", "cut letters"],
)
async def test_the_place_and_what_is_there_is_told(
    first: bytes, second: bytes, expected: FirstDifference | None
) -> None:
    difference = await found(first, second)
    assert difference is not None
    if expected is not None:
        assert difference == expected
    else:
        assert (difference.at, difference.line) == (201, 1), "a letter of two bytes of which the first is the same"


async def test_what_is_the_same_has_no_difference() -> None:
    assert await found(b"a" * 100_000, b"a" * 100_000) is None
    assert await found(b"", b"") is None


async def test_of_large_contents_little_is_in_memory_and_long_lines_are_cut() -> None:
    size = FIRST_RANGE_BYTES + 2 * RANGE_BYTES + 12_345
    first, second = bytearray(b"x" * size), bytearray(b"x" * size)
    second[size - 1000] = ord("y")
    one, other = InMemory(bytes(first)), InMemory(bytes(second))
    difference = await first_difference(Content(one, size), Content(other, size))
    assert difference is not None
    assert (difference.at, difference.line) == (size - 1000, 1)
    assert len(difference.first) == len(difference.second) == BEFORE_BYTES + AFTER_BYTES
    assert max(one.most, other.most) == RANGE_BYTES


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_the_bytes_that_are_the_same_are_counted(first: bytes, second: bytes) -> None:
    count = same_bytes(first, second)
    assert first[:count] == second[:count]
    assert count == min(len(first), len(second)) or first[count] != second[count]
