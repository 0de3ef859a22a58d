"""The content of a result, entry by entry, as its archive would have it: cut out of the stream of its tar.

So there is one way in which a tree is walked, and one opinion of what becomes of a link, a hole, a file that changes
while it is read, or one that nobody may read.
"""

import hashlib
import os
from collections.abc import Generator, Iterator
from typing import NamedTuple

from compute.archive.entry_pieces import EntryPiece, EntryPieces, manifest_file
from compute.archive.tar_stream import TarStream
from compute.disk.file_attributes import Records
from compute.disk.result_contents import ALL, ResultContents
from shared.protocol.archive_index import FileLine
from shared.protocol.results.content_manifest import ManifestEntry

KEPT_BYTES = 4 << 20
"""Of a file up to this size the content is given; what is larger is read again when it is sent."""


class FoundEntry(NamedTuple):
    """`content` is None of what is no file, and of a large one."""

    entry: ManifestEntry
    content: bytes | None = None
    md5: bytes = b""

    @property
    def kept_bytes(self) -> int:
        return len(self.content) if self.content is not None else 0


class ContentStream:
    """`entries()`, called once, gives all there is, in the order of the archive. Blocks, and raises as TarStream does.

    At most one file of `KEPT_BYTES` is in memory beside what a TarStream has there.
    """

    def __init__(self, root: str | os.PathLike[str], contents: ResultContents = ALL) -> None:
        self.tar = _Tar(root, contents)
        self.stopping = False
        self._pieces = EntryPieces()
        self._file: _File | None = None

    def __repr__(self) -> str:
        return f"<ContentStream {self.tar!r}>"

    def entries(self) -> Generator[FoundEntry, None, None]:
        blocks = self.tar.blocks()
        try:
            for block in blocks:
                for piece in self._pieces.cut(block, self.tar.take_lines()):
                    yield from self._found(piece)
                if self.stopping:
                    return
        finally:
            blocks.close()

    def _found(self, piece: EntryPiece) -> Iterator[FoundEntry]:
        """The entry, if it ends with this piece."""
        line, content, begins, ends = piece
        if not isinstance(line, FileLine):
            yield FoundEntry(line)
            return
        if begins or self._file is None:
            self._file = _File(line)
        self._file.add(content)
        if ends:
            yield self._file.found()


class _File:
    def __init__(self, line: FileLine) -> None:
        self._line = line
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._content = bytearray() if line.size <= KEPT_BYTES else None

    def add(self, piece: memoryview) -> None:
        self._sha256.update(piece)
        self._md5.update(piece)
        if self._content is not None:
            self._content += piece

    def found(self) -> FoundEntry:
        line, md5 = self._line, self._md5.digest()
        entry = manifest_file(line, self._sha256.hexdigest(), md5.hex())
        return FoundEntry(entry, None if self._content is None else bytes(self._content), md5)


class _Tar(TarStream):
    def _attributes(self, file: int | str, path: bytes) -> Records:
        """An object has none, and neither has the manifest."""
        try:
            has_some = bool(os.listxattr(file))
        except OSError:
            has_some = False
        if has_some:
            self._warn(path, "was published without its extended attributes: plain objects have none")
        return ()
