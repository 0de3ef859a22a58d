"""The index beside an archive, written while the archive is made. What is in it tells shared/protocol/archive_index.py.

Where the disk does not take it, there is no index: a result without one is better than none.
"""

from collections.abc import Sequence
from pathlib import Path

from compute.archive.line_file import LineFile
from shared.protocol.archive_index import VERSION, BlockLine, EntryLine, IndexEnd, IndexHead


class ArchiveIndex(LineFile):
    """Add the lines of a block's entries and then the block, in order; `finish()`; else as a LineFile."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._entries = 0
        self._blocks = 0
        self._tar_bytes = 0
        self.write([IndexHead(version=VERSION)])

    def __repr__(self) -> str:
        return f"<ArchiveIndex: {self._entries} entries in {self._blocks} blocks>"

    def add(self, entries: Sequence[EntryLine], block: BlockLine) -> None:
        self._entries += len(entries)
        self._blocks += 1
        self._tar_bytes += block.tar_bytes
        self.write([*entries, block])

    def finish(self, archive_bytes: int) -> None:
        self.write(
            [IndexEnd(entries=self._entries, blocks=self._blocks, tar_bytes=self._tar_bytes, bytes=archive_bytes)]
        )
        self.end()
