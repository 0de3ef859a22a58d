"""Seen revisions: which numbers have come by while all that is stored is read, a bit for each.

Of a key the last record alone is stored, so that a record which is known is stored still if its revision is among them.
"""


class SeenRevisions:
    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, revision: int) -> None:
        page = self._pages.get(revision >> 15)
        if page is None:
            page = self._pages[revision >> 15] = bytearray(1 << 12)
        page[(revision >> 3) & 0xFFF] |= 1 << (revision & 7)

    def __contains__(self, revision: object) -> bool:
        if not isinstance(revision, int):
            return False
        page = self._pages.get(revision >> 15)
        return page is not None and bool(page[(revision >> 3) & 0xFFF] >> (revision & 7) & 1)

    def __repr__(self) -> str:
        return f"<SeenRevisions in {len(self._pages)} pages>"
