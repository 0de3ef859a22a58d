"""How much may come out of an archive: what was announced of it, and not one entry or byte more."""

from shared.errors import UnsafeArchive
from tarpon.tar_reader import Member


class Announced:
    """Counts the members of an archive as they come. Raises UnsafeArchive for the one that is too much."""

    def __init__(self, *, max_bytes: int, max_entries: int) -> None:
        self.entries = 0
        self.raw_bytes = 0
        self.max_bytes = max_bytes
        self._max_entries = max_entries

    def __repr__(self) -> str:
        return f"<Announced {self.entries} entries and {self.raw_bytes} bytes so far>"

    def count(self, member: Member) -> None:
        self.entries += 1
        self.raw_bytes += member.size_bytes
        if self.entries > self._max_entries:
            raise UnsafeArchive(f"The archive has more than the {self._max_entries:,} entries that were announced.")
        if self.raw_bytes > self.max_bytes:
            raise UnsafeArchive(f"The archive has more than the {self.max_bytes:,} bytes that were announced.")
