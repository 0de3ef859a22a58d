"""Known keys: a filter that tells most of what the index of filed jobs does not have, without a look into it."""

from collections.abc import Hashable, Iterable


class KnownKeys:
    """Keys of which most that were never added are told apart from the others at no cost, in 4 MiB however many."""

    def __init__(self) -> None:
        self._bits = bytearray(1 << 22)

    def add(self, key: Hashable) -> None:
        at = hash(key) & (1 << 25) - 1
        self._bits[at >> 3] |= 1 << (at & 7)

    def add_all(self, keys: Iterable[Hashable]) -> None:
        bits = self._bits
        for key in keys:
            at = hash(key) & (1 << 25) - 1
            bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: Hashable) -> bool:
        """Whether it may have been added; it was not where this is false."""
        at = hash(key) & (1 << 25) - 1
        return bool(self._bits[at >> 3] >> (at & 7) & 1)

    def __repr__(self) -> str:
        return f"<KnownKeys: {sum(each.bit_count() for each in self._bits)} bits>"
