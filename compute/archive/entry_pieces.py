"""Pieces of entries, cut out of the blocks of a tar, and their digests, made while the blocks are compressed.

So what a file's digest is of is what the archive has of it, whatever becomes of the file meanwhile.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.protocol.archive_index import EntryLine, FileLine
from shared.protocol.results.content_manifest import ManifestEntry, ManifestFile

_NOTHING = memoryview(b"")


class EntryPiece(NamedTuple):
    """What a block has of the content of an entry, which `begins` in it or does not, and `ends` in it or does not."""

    line: EntryLine
    content: memoryview = _NOTHING
    begins: bool = True
    ends: bool = True


class EntryPieces:
    """`cut` the blocks of a tar in their order, each with the lines of the entries that begin in it."""

    def __init__(self) -> None:
        self._waiting: deque[EntryLine] = deque()
        self._tar_bytes = 0

    def __repr__(self) -> str:
        return f"<EntryPieces of {self._tar_bytes} bytes>"

    def cut(self, block: bytes, lines: Iterable[EntryLine]) -> Iterator[EntryPiece]:
        waiting, before, view = self._waiting, self._tar_bytes, memoryview(block)
        waiting.extend(lines)
        self._tar_bytes += len(block)
        while waiting:
            line = waiting[0]
            if isinstance(line, FileLine):
                at = line.at - before
                end = at + line.size
                ends = end <= len(block)
                yield EntryPiece(line, view[max(0, at) : max(0, end)], at >= 0, ends)
                if not ends:
                    return
            else:
                yield EntryPiece(line)
            waiting.popleft()


class EntryDigests:
    """`add` blocks as to EntryPieces."""

    def __init__(self) -> None:
        self._pieces = EntryPieces()
        self._sha256 = hashlib.sha256()

    def __repr__(self) -> str:
        return f"<EntryDigests {self._pieces!r}>"

    def add(self, block: bytes, lines: Iterable[EntryLine]) -> list[ManifestEntry]:
        """The entries that end in this block."""
        ended: list[ManifestEntry] = []
        for line, content, begins, ends in self._pieces.cut(block, lines):
            if not isinstance(line, FileLine):
                ended.append(line)
                continue
            if begins:
                self._sha256 = hashlib.sha256(content)
            else:
                self._sha256.update(content)
            if ends:
                ended.append(manifest_file(line, self._sha256.hexdigest()))
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
