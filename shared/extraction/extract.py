"""Extraction of a downloaded .tar.gz, in one pass and without trusting it.

The archive was made on a machine that ran somebody's task. What of it is refused: shared/extraction/member_placing.py.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from shared.extraction.content_check import ContentCheck
from shared.extraction.gunzip import Gunzip
from shared.extraction.member_placing import MemberPlacing
from shared.extraction.oddities import Oddities
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.placing_thread import PlacingThread
from shared.extraction.tar_reader import Member, TarReader

READ_BYTES = 1 << 20


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; `raw_bytes` is the content of regular files, `files` the number of those that are there."""

    entries: int
    raw_bytes: int
    files: int = 0
    oddities: Oddities = msgspec.field(default_factory=Oddities)


class Extraction:
    """Fed with the compressed bytes of an archive in whatever portions; extracts them below `target` as they come.

    Use it as a context manager, or call `close()` after the last bytes, or `abort()`. Blocks: call it from a thread.
    It may be behind: what cannot be placed is raised some portions later.

    Raises UnsafeArchive where the archive tries what it must not, ArchiveDamaged where it is cut or damaged (also from
    `close()`), CannotExtract where the target cannot take it. What has been written until then stays, and directories
    may lack their final modes. With a `check` of the content `close()` raises DigestMismatch as well.
    """

    def __init__(
        self,
        target: Path,
        *,
        max_bytes: int,
        max_entries: int,
        rules: PlacementRules | None = None,
        check: ContentCheck | None = None,
    ) -> None:
        self._placement = MemberPlacing(target, max_bytes=max_bytes, max_entries=max_entries, rules=rules)
        self._gunzip = Gunzip()
        self._reader = TarReader()
        self._placing = PlacingThread[bytes](self._place)
        self._check = check
        self._checking = PlacingThread[list[Member | memoryview]](check.take) if check is not None else None
        self._open = True

    def __repr__(self) -> str:
        return f"<Extraction {self._placement!r} open={self._open}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and self._open:
            self.close()
        else:
            self.abort()

    def feed(self, data: bytes) -> None:
        for tar in self._gunzip.feed(data):
            self._placing.give(tar)

    def _place(self, tar: bytes) -> None:
        placement = self._placement
        events: Iterable[Member | memoryview] = self._reader.feed(tar)
        if self._checking is not None:
            events = list(events)
            self._checking.give(events)
        for event in events:
            if isinstance(event, Member):
                placement.begin(event)
            else:
                placement.write(event)

    def close(self) -> Extracted:
        """Check that the archive is complete, and give the directories their modes and times."""
        try:
            self._gunzip.close()
            self._placing.finish()
            self._reader.close()
            self._placement.finish()
            if self._check is not None and self._checking is not None:
                self._checking.finish()
                self._check.finish()
        finally:
            self.abort()
        return self.extracted

    @property
    def extracted(self) -> Extracted:
        placement = self._placement
        announced = placement.announced
        return Extracted(
            entries=announced.entries,
            raw_bytes=announced.raw_bytes,
            files=placement.files,
            oddities=placement.oddities,
        )

    def abort(self) -> None:
        """Close all files and leave what was written as it is. May be called again."""
        self._open = False
        self._placing.close()
        if self._checking is not None:
            self._checking.close()
        self._placement.abort()


def extract(
    source: BinaryIO, target: Path, *, max_bytes: int, max_entries: int, rules: PlacementRules | None = None
) -> Extracted:
    """Extract the .tar.gz that `source` gives below `target`; see Extraction for what is raised."""
    with Extraction(target, max_bytes=max_bytes, max_entries=max_entries, rules=rules) as extraction:
        while data := source.read(READ_BYTES):
            extraction.feed(data)
        return extraction.close()
