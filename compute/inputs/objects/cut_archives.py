"""Cut archives: of a result of which a task reads some members, only the blocks travel in which these are.

The index beside the archive, which a digest in the record of the execution holds together, says where they are, and has
a CRC of each block. What is kept is a small archive with these members alone, which is unpacked as a whole one is.
Where the index is missing, is not what was recorded, or does not help, the caller takes the whole archive.
"""

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from compute.archive.tar_header import END_OF_ARCHIVE, EntryKind, entry_header, padding
from compute.inputs.objects.unpacking import MAX_ENTRIES, WantedMembers
from shared.errors import Damaged, InvalidInput
from shared.extraction.announced import AnnouncedSize
from shared.extraction.archive_index import Block, IndexReader
from shared.extraction.block_reading import BlockReader, ByteRange, Cutter, WantedBlocks, spans_of
from shared.extraction.tar_reader import Member, MemberKind

MOST_MEMBERS = 100_000
"""Of what is held in memory of one archive. Who wants more of it takes all of it."""
LINES_AT_ONCE = 5000
_SECOND_NS = 1_000_000_000
_KINDS = {
    MemberKind.FILE: EntryKind.FILE,
    MemberKind.DIRECTORY: EntryKind.DIRECTORY,
    MemberKind.SYMLINK: EntryKind.SYMLINK,
    MemberKind.HARD_LINK: EntryKind.HARD_LINK,
}


class NotCut(Exception):
    """The whole archive is to be read."""


class ArchiveCut:
    """Which members of an archive are wanted, and where they are in it: `spans`. Blocks. Raises NotCut.

    `index` is as it was published, and has been compared with its digest.
    """

    def __init__(self, index: bytes, members: Sequence[str], archive_bytes: int) -> None:
        self._index = index
        self._archive_bytes = archive_bytes
        try:
            self._members = self._chosen(members)
            self._files = sorted(
                (each for each in self._members if each.kind is MemberKind.FILE), key=lambda each: each.content_at
            )
            wanted = WantedBlocks(self._files)
            lines = self._lines()
            while wanted.offer(islice(lines, LINES_AT_ONCE)):
                pass
        except (Damaged, InvalidInput) as error:
            raise NotCut from error
        self._blocks = wanted.table
        self.spans = list(spans_of(self._blocks))

    def __repr__(self) -> str:
        return f"<ArchiveCut of {len(self._members)} members in {len(self.spans)} spans>"

    @property
    def size_bytes(self) -> int:
        """Of what has to travel."""
        return sum(each.end - each.start for each in self.spans)

    def pieces(self, most_bytes: int) -> Iterator[ByteRange]:
        """The spans, none larger than that."""
        for span in self.spans:
            for start in range(span.start, span.end, most_bytes):
                yield ByteRange(start, min(start + most_bytes, span.end))

    def begin(self, path: Path) -> "CutArchive":
        return CutArchive(path, self._members, BlockReader(self._blocks), Cutter(self._files))

    def _lines(self) -> Iterator[Member | Block]:
        announced = AnnouncedSize(max_entries=MAX_ENTRIES)
        return IndexReader(archive_bytes=self._archive_bytes, announced=announced).read(io.BytesIO(self._index))

    def _chosen(self, paths: Sequence[str]) -> list[Member]:
        """As they are unpacked of the whole archive."""
        wanted = WantedMembers(paths)
        for line in self._lines():
            if isinstance(line, Member):
                wanted.look(line)
        chosen = [taken for line in self._lines() if isinstance(line, Member) and (taken := wanted.take(line))]
        if wanted.missing() or len(chosen) > MOST_MEMBERS:
            raise NotCut
        return chosen


class CutArchive:
    """The small archive, written from what comes of the large one. Every method blocks; `close` in any case."""

    def __init__(self, path: Path, members: Sequence[Member], reader: BlockReader, cutter: Cutter) -> None:
        self._members = members
        self._reader = reader
        self._cutter = cutter
        self._padding = b""
        self._file = path.open("wb")
        self._gzip = zlib.compressobj(level=0, wbits=31)  # it is read once or twice, from a disk that has room for it
        self._add(each for each in members if each.kind is MemberKind.DIRECTORY)

    def __repr__(self) -> str:
        return f"<CutArchive {self._file.name}>"

    def feed(self, at: int, content: bytes) -> None:
        """What is there in the archive; portions come in their order. Raises ArchiveDamaged, OSError."""
        for tar_at, tar in self._reader.feed(at, content):
            self._place(self._cutter.feed(tar_at, tar))

    def finish(self) -> int:
        """How many bytes it has. Raises ArchiveDamaged, OSError."""
        self._reader.close()
        self._place(self._cutter.close())
        self._write(self._padding)
        self._add(each for each in self._members if each.kind in {MemberKind.SYMLINK, MemberKind.HARD_LINK})
        self._write(END_OF_ARCHIVE)
        self._file.write(self._gzip.flush())
        self._file.flush()
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def _place(self, events: Iterable[Member | memoryview]) -> None:
        for event in events:
            if isinstance(event, Member):
                self._write(self._padding)
                self._padding = padding(event.size_bytes)
                self._add((event,))
            else:
                self._write(event)

    def _add(self, members: Iterable[Member]) -> None:
        for each in members:
            self._write(
                entry_header(
                    _KINDS[each.kind],
                    each.name + (b"/" if each.kind is MemberKind.DIRECTORY else b""),
                    mode=each.mode,
                    mtime=each.mtime_ns // _SECOND_NS,
                    size_bytes=each.size_bytes,
                    link_target=each.link_target,
                )
            )

    def _write(self, content: bytes | memoryview) -> None:
        self._file.write(self._gzip.compress(content))
