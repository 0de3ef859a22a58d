"""Pieces of entries, cut out of the blocks of a tar, and their digests, made while the blocks are compressed.

So what a file's digest is of is what the archive has of it, whatever becomes of the file meanwhile.
"""

import hashlib
from collections.abc import Sequence

from shared.protocol.archive_index import EntryLine, FileLine
from shared.protocol.results.content_manifest import ManifestEntry, ManifestFile

_NOTHING = memoryview(b"")


EntryPiece = tuple[EntryLine, memoryview, bool, bool]
"""The line of an entry, what a block has of its content, and whether that begins in the block, and ends in it."""


class EntryPieces:
    """`cut` the blocks of a tar in their order, each with the lines of the entries that begin in it."""

    def __init__(self) -> None:
        self._waiting: list[EntryLine] = []
        self._tar_bytes = 0

    def __repr__(self) -> str:
        return f"<EntryPieces of {self._tar_bytes} bytes>"

    def cut(self, block: bytes, lines: Sequence[EntryLine]) -> list[EntryPiece]:
        before, length, view = self._tar_bytes, len(block), memoryview(block)
        self._tar_bytes += length
        waiting, self._waiting = [*self._waiting, *lines], []
        pieces: list[EntryPiece] = []
        for number, line in enumerate(waiting):
            if not isinstance(line, FileLine):
                pieces.append((line, _NOTHING, True, True))
                continue
            at = line.at - before
            end = at + line.size
            pieces.append((line, view[max(0, at) : end], at >= 0, end <= length))
            if end > length:
                self._waiting = waiting[number:]
                break
        return pieces


class EntryDigests:
    """`add` blocks as to EntryPieces."""

    def __init__(self) -> None:
        self._pieces = EntryPieces()
        self._sha256 = hashlib.sha256()

    def __repr__(self) -> str:
        return f"<EntryDigests {self._pieces!r}>"

    def add(self, block: bytes, lines: Sequence[EntryLine]) -> list[ManifestEntry]:
        """The entries that end in this block."""
        ended: list[ManifestEntry] = []
        sha256 = self._sha256
        for line, content, begins, ends in self._pieces.cut(block, lines):
            if not isinstance(line, FileLine):
                ended.append(line)
                continue
            if begins:
                sha256 = hashlib.sha256(content)
            else:
                sha256.update(content)
            if ends:
                ended.append(manifest_file(line, sha256.hexdigest()))
        self._sha256 = sha256
        return ended


def manifest_file(line: FileLine, sha256: str, md5: str = "") -> ManifestFile:
    """Digests are in hexadecimal."""
    return ManifestFile(
        path=line.path,
        path_base64=line.path_base64,
        mode=line.mode,
        mtime=line.mtime,
        size=line.size,
        sha256=sha256,
        md5=md5,
    )
