"""The first difference of two contents, found by ranges: where it is, and what is there."""

import asyncio
from typing import NamedTuple

from tarpon.archive.contents import PartReader

RANGE_BYTES = 4 << 20
"""So much of each is in memory."""
FIRST_RANGE_BYTES = 64 << 10
"""Most that differ do so at once."""
BEFORE_BYTES, AFTER_BYTES = 60, 100
"""Of text, at most, around the difference in its line."""
BINARY_BYTES = 16
_TEXT_CONTROLS = frozenset("\t\r\x0c\x1b")


class FirstDifference(NamedTuple):
    """The contents are the same up to byte `at`. `line` counts from 1, and is 0 of what is no text.

    `first` and `second` are what there is of both: of text the line, cut where it is long, else BINARY_BYTES from
    `shown_at` on. Nothing is where one has ended.
    """

    at: int
    line: int
    shown_at: int
    first: bytes
    second: bytes


class Content(NamedTuple):
    """Of a file, by its parts."""

    reader: PartReader
    size_bytes: int

    async def between(self, begin: int, end: int) -> bytes:
        """As much of it as there is."""
        return await self.reader.read(begin, min(end, self.size_bytes))


async def first_difference(first: Content, second: Content) -> FirstDifference | None:
    """None where they have the same bytes. Raises DownloadFailed and Damaged."""
    in_both, at, lines, size = min(first.size_bytes, second.size_bytes), 0, 0, FIRST_RANGE_BYTES
    while at < in_both:
        end = min(at + size, in_both)
        one, other = await _read(first, second, at, end)
        same = len(one) if one == other else same_bytes(one, other)
        lines += one.count(b"\n", 0, same)
        at, size = at + same, RANGE_BYTES
        if at < end:
            return await _shown(first, second, at, lines + 1)
    return None if first.size_bytes == second.size_bytes else await _shown(first, second, at, lines + 1)


def same_bytes(first: bytes, second: bytes) -> int:
    """How many bytes at their beginning are the same."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


async def _shown(first: Content, second: Content, at: int, line: int) -> FirstDifference:
    begin = max(0, at - BEFORE_BYTES)
    one, other = await _read(first, second, begin, at + AFTER_BYTES)
    if _is_text(one) and _is_text(other):
        shown = one.rfind(b"\n", 0, at - begin) + 1
        return FirstDifference(at, line, begin + shown, _line(one, shown), _line(other, shown))
    begin = at - at % BINARY_BYTES
    one, other = await _read(first, second, begin, begin + BINARY_BYTES)
    return FirstDifference(at, 0, begin, one, other)


async def _read(first: Content, second: Content, begin: int, end: int) -> tuple[bytes, bytes]:
    try:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(first.between(begin, end), name="first content")
            other = group.create_task(second.between(begin, end), name="second content")
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None  # one reason is enough
    return one.result(), other.result()


def _line(content: bytes, begin: int) -> bytes:
    end = content.find(b"\n", begin)
    return content[begin:] if end < 0 else content[begin : end + 1]


def _is_text(content: bytes) -> bool:
    """Whether it is, but for a letter that is cut at either end."""
    for begin in range(4):
        for end in range(4):
            try:
                text = content[begin : len(content) - end].decode()
            except UnicodeDecodeError:
                continue
            return all(letter.isprintable() or letter == "\n" or letter in _TEXT_CONTROLS for letter in text)
    return False
