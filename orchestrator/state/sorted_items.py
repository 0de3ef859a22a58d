"""Sorted items, of which any comes or goes at a cost that hardly depends on how many there are."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

Key = tuple[int, str]

CHUNK = 512


class SortedItems(Generic[T]):
    """Items by a key each, no two of which are the same; the key of an item does not change while it is here.

    At most twice `chunk` of them are moved in memory when one comes or goes.
    """

    __slots__ = ("_chunk", "_chunks", "_count", "_key")

    def __init__(self, key: Callable[[T], Key], *, chunk: int = CHUNK) -> None:
        self._key = key
        self._chunk = chunk
        self._chunks: list[list[T]] = []
        """In order, and none of them empty."""
        self._count = 0

    def add(self, item: T) -> None:
        key = self._key(item)
        if not self._chunks or self._key(self._chunks[-1][-1]) < key:
            self._append(item)  # the rule
        else:
            self._insert(item, key)
        self._count += 1

    def _append(self, item: T) -> None:
        if not self._chunks or len(self._chunks[-1]) >= self._chunk:
            self._chunks.append([])
        self._chunks[-1].append(item)

    def _insert(self, item: T, key: Key) -> None:
        at = self._chunk_of(key)
        chunk = self._chunks[at]
        insort(chunk, item, key=self._key)
        if len(chunk) > 2 * self._chunk:
            self._chunks[at : at + 1] = [chunk[: self._chunk], chunk[self._chunk :]]

    def remove(self, item: T) -> None:
        """An item that is here."""
        key = self._key(item)
        at = self._chunk_of(key)
        chunk = self._chunks[at]
        place = bisect_left(chunk, key, key=self._key)
        assert chunk[place] is item
        del chunk[place]
        if not chunk:
            del self._chunks[at]
        self._count -= 1

    def _chunk_of(self, key: Key) -> int:
        """The first chunk whose last item does not come before the key; there is one."""
        return bisect_left(self._chunks, key, key=lambda chunk: self._key(chunk[-1]))

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk

    def __reversed__(self) -> Iterator[T]:
        for chunk in reversed(self._chunks):
            yield from reversed(chunk)

    def beyond(self, key: Key) -> Iterator[T]:
        """Those that come after this key, in order."""
        at = self._chunk_of(key)
        if at < len(self._chunks):
            first = self._chunks[at]
            yield from first[bisect_right(first, key, key=self._key) :]
            for chunk in self._chunks[at + 1 :]:
                yield from chunk

    def before(self, key: Key) -> Iterator[T]:
        """Those that come before this key, the last of them first."""
        at = self._chunk_of(key)
        if at < len(self._chunks):
            last = self._chunks[at]
            yield from reversed(last[: bisect_left(last, key, key=self._key)])
        for chunk in reversed(self._chunks[:at]):
            yield from reversed(chunk)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<SortedItems of {self._count}>"
