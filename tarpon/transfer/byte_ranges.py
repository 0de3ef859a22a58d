"""Byte ranges of an object, fetched over several connections at once and handed on in their order."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing

from shared.extraction.block_reading import ByteRange
from shared.runtime.aio import first_leaf
from tarpon.transfer.stored_object import PORTION_BYTES, StoredObject

CONNECTIONS = 4
RANGE_BYTES = 8 << 20

Deliver = Callable[[int, bytes], Awaitable[None]]
"""Takes where a portion begins in the object, and the portion."""


def pieces(spans: Iterable[ByteRange], *, range_bytes: int = RANGE_BYTES) -> Iterator[ByteRange]:
    """The same bytes in spans of at most `range_bytes`."""
    for span in spans:
        for start in range(span.start, span.end, range_bytes):
            yield ByteRange(start, min(start + range_bytes, span.end))


async def fetch_in_order(
    source: StoredObject, spans: Iterable[ByteRange], deliver: Deliver, *, connections: int = CONNECTIONS
) -> None:
    """Fetch all `spans` and give them to `deliver` one portion after another.

    At most `connections` ranges of RANGE_BYTES are in memory, however slow `deliver` is. Raises what StoredObject.read
    raises, RangesIgnored included, and what `deliver` raises; nothing runs any more then.
    """
    rest = pieces(spans)
    ahead: deque[_Range] = deque()
    try:
        async with asyncio.TaskGroup() as group:
            while True:
                while len(ahead) < connections and (span := next(rest, None)) is not None:
                    ahead.append(_Range(span))
                    group.create_task(ahead[-1].fetch(source), name=f"range at {span.start}")
                if not ahead:
                    break
                await ahead[0].hand_over(deliver)
                ahead.popleft()
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from None


class _Range:
    """One range on its way: `fetch` fills it in a task of its own, `hand_over` empties it."""

    def __init__(self, span: ByteRange) -> None:
        self._span = span
        self._portions: asyncio.Queue[bytes] = asyncio.Queue(RANGE_BYTES // PORTION_BYTES)

    def __repr__(self) -> str:
        return f"<_Range {self._span.start}-{self._span.end}, {self._portions.qsize()} portions ready>"

    async def fetch(self, source: StoredObject) -> None:
        async with aclosing(source.read(self._span.start, self._span.end, only_ranges=True)) as portions:
            async for portion in portions:
                await self._portions.put(portion)

    async def hand_over(self, deliver: Deliver) -> None:
        at = self._span.start
        while at < self._span.end:
            portion = await self._portions.get()
            await deliver(at, portion)
            at += len(portion)
