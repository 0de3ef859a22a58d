"""The announced size of an archive: as much comes out of it, and not one entry or byte more."""

from shared.errors import UnsafeArchive
from shared.extraction.tar_reader import Member
from shared.protocol.rest import ResultParams

UNANNOUNCED_BYTES = 1 << 50
UNANNOUNCED_ENTRIES = 10_000_000
"""What is taken at most where the server does not tell how much a result holds."""


class AnnouncedSize:
    """Counts the members of an archive as they come. Raises UnsafeArchive for the one that is too much."""

    def __init__(self, *, max_bytes: int = UNANNOUNCED_BYTES, max_entries: int = UNANNOUNCED_ENTRIES) -> None:
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        self.entries = 0
        self.raw_bytes = 0

    def __repr__(self) -> str:
        return f"<AnnouncedSize {self.entries} entries and {self.raw_bytes} bytes so far>"

    def count(self, member: Member) -> None:
        self.entries += 1
        self.raw_bytes += member.size_bytes
        if self.entries > self.max_entries:
            raise UnsafeArchive(f"The archive has more than the {self.max_entries:,} entries that were announced.")
        if self.raw_bytes > self.max_bytes:
            raise UnsafeArchive(f"The archive has more than the {self.max_bytes:,} bytes that were announced.")


def announced(params: ResultParams) -> AnnouncedSize:
    """What the server tells of this result; ask anew for each time that it is read."""
    if params.entries > 0:
        return AnnouncedSize(max_bytes=params.raw_size, max_entries=params.entries)
    return AnnouncedSize()
