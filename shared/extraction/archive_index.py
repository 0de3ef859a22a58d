"""The index beside an archive, read line by line and without trusting it.

shared/protocol/archive_index.py tells the format. Its writer is the machine that ran somebody's task, so all that
follows from it is bounded by what was announced of the archive, and a line that contradicts the others is an error.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO

import msgspec
from isal import isal_zlib

from shared.errors import ArchiveDamaged, Damaged, UnsafeArchive
from shared.extraction.announced import AnnouncedSize
from shared.extraction.gunzip import Gunzip
from shared.extraction.tar_header import BLOCK
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.archive_index import (
    MAX_LINE_BYTES,
    VERSION,
    BlockLine,
    DirectoryLine,
    EntryLine,
    FileLine,
    HardLinkLine,
    IndexEnd,
    IndexHead,
    SymlinkLine,
)

MAX_BLOCK_BYTES = 16 << 20
"""What one block holds at most; the writer's have 1 MiB. A block is decompressed in memory."""
_MAX_PACKED_BYTES = MAX_BLOCK_BYTES + (MAX_BLOCK_BYTES >> 8)  # what does not compress becomes a little larger
_LEAST_BLOCK_BYTES = 64 << 10
"""Of each block but the last one, so that there are not many more of them than there is content."""
_MAX_RATIO = 1040
"""Deflate cannot pack 1,033 bytes into one (RFC 1951), so that the archive bounds what its index may name."""
MAX_UNKNOWN_LINES = 10_000
"""Lines of kinds that only a later Tarpon knows."""

_READ_BYTES = 256 << 10
_GZIP_HEADER_BYTES = 10
_MAX_SECONDS = 10**12 - 1
_SHOWN = 80


class IndexDamaged(Damaged):
    """The index of an archive makes no sense, or contradicts what was announced of the archive."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(
            f"The index of the archive cannot be used: {what}.",
            hint=hint or "`tarpon job get JOB` without a path needs no index.",
        )


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the archive that can be decompressed alone: raw deflate, see shared/protocol/archive_index.py.

    `data_bytes` of its tar need room on a disk that keeps holes.
    """

    tar_at: int
    tar_bytes: int
    at: int
    bytes: int
    crc32: int
    data_bytes: int = 0


class _Kind(msgspec.Struct):
    kind: str = ""


_known = msgspec.json.Decoder(IndexHead | FileLine | DirectoryLine | SymlinkLine | HardLinkLine | BlockLine | IndexEnd)
_any = msgspec.json.Decoder(_Kind)
_KINDS = frozenset({"index", "file", "directory", "symlink", "hardlink", "block", "end"})

_KIND_OF: dict[type[EntryLine], MemberKind] = {
    FileLine: MemberKind.FILE,
    DirectoryLine: MemberKind.DIRECTORY,
    SymlinkLine: MemberKind.SYMLINK,
    HardLinkLine: MemberKind.HARD_LINK,
}


class IndexReader:
    """Gives the entries and blocks of an index in its order, which are held to what was announced of the archive.

    One line and one piece of the decompressed index are in memory at a time. Raises IndexDamaged; where it does, what
    has been given before is worth nothing.
    """

    def __init__(self, *, archive_bytes: int, announced: AnnouncedSize) -> None:
        self._archive_bytes = archive_bytes
        self._announced = announced
        self._has_begun = False
        self._end: IndexEnd | None = None
        self._blocks = 0
        self._has_short_block = False
        self._unknown = 0
        self._tar_bytes = 0  # of the blocks so far
        self._next_at = _GZIP_HEADER_BYTES
        self._content_end = 0  # of the last file

    def __repr__(self) -> str:
        return f"<IndexReader {self._announced!r}, {self._blocks} blocks>"

    def read(self, source: IO[bytes]) -> Iterator[Member | Block]:
        for line in lines_of(source, IndexDamaged):
            known = self._decoded(line)
            match known:
                case None:
                    pass
                case FileLine() | DirectoryLine() | SymlinkLine() | HardLinkLine():
                    yield self._entry(known)
                case BlockLine():
                    yield self._block(known)
                case IndexHead():
                    self._begin(known)
                case IndexEnd():
                    self._finish(known)
        if self._end is None:
            raise IndexDamaged("it ends too early")

    def _decoded(self, line: bytes) -> IndexHead | EntryLine | BlockLine | IndexEnd | None:
        """None is a line of a kind that is not known here."""
        known: IndexHead | EntryLine | BlockLine | IndexEnd | None
        try:
            known = _known.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if _kind_of(line) in _KINDS:
                raise IndexDamaged(f"the line {_shown(line)} makes no sense ({error})") from error
            known = None
        if self._end is not None:
            raise IndexDamaged("it goes on after its end")
        if not self._has_begun and not isinstance(known, IndexHead):
            raise IndexDamaged("its first line does not say what it is")
        if known is None:
            self._unknown += 1
            if self._unknown > MAX_UNKNOWN_LINES:
                raise IndexDamaged("it is full of lines that are not known here")
        return known

    def _begin(self, head: IndexHead) -> None:
        if self._has_begun:
            raise IndexDamaged("it begins twice")
        if head.version != VERSION:
            raise IndexDamaged(
                f"it has version {head.version}, and only {VERSION} is known here",
                hint="Update Tarpon on this machine, or use `tarpon job get JOB` without a path.",
            )
        self._has_begun = True

    def _entry(self, line: EntryLine) -> Member:
        try:
            name = line.name
            target = line.link_target if isinstance(line, SymlinkLine | HardLinkLine) else b""
        except ValueError as error:
            raise IndexDamaged(f"a name in it makes no sense ({error})") from error
        size_bytes = at = 0
        if isinstance(line, FileLine):
            size_bytes, at = line.size, line.at
            self._check_content(line)
        member = Member(
            kind=_KIND_OF[type(line)],
            name=name,
            link_target=target,
            size_bytes=size_bytes,
            mode=line.mode & 0o7777,
            mtime_ns=min(max(line.mtime, -_MAX_SECONDS), _MAX_SECONDS) * 1_000_000_000,
            content_at=at,
        )
        try:
            self._announced.count(member)
        except UnsafeArchive as error:
            raise IndexDamaged(f"it names too much: {error.message.removesuffix('.')}") from error
        return member

    def _check_content(self, line: FileLine) -> None:
        """No byte of the tar may be the content of two files, so the files cannot be more than the archive is."""
        if line.size < 0 or line.at < self._content_end + BLOCK or line.at % BLOCK:
            raise IndexDamaged(f"{_shown(line.shown.encode(errors='replace'))} is where another entry is")
        self._content_end = line.at + line.size

    def _block(self, line: BlockLine) -> Block:
        self._blocks += 1
        if self._has_short_block:
            raise IndexDamaged("a block that is not the last one is too short")
        self._has_short_block = line.tar_bytes < _LEAST_BLOCK_BYTES
        if line.tar_at != self._tar_bytes or line.at != self._next_at:
            raise IndexDamaged("its blocks do not follow one another")
        if not 0 < line.tar_bytes <= MAX_BLOCK_BYTES or not 0 < line.bytes <= _MAX_PACKED_BYTES:
            raise IndexDamaged(f"a block in it has {line.tar_bytes:,} bytes, packed {line.bytes:,}")
        if line.tar_bytes > line.bytes * _MAX_RATIO:
            raise IndexDamaged(f"a block of {line.bytes:,} bytes cannot hold {line.tar_bytes:,}")
        self._tar_bytes += line.tar_bytes
        self._next_at += line.bytes
        if self._next_at > self._archive_bytes:
            raise IndexDamaged("its blocks are more than the archive")
        return Block(
            tar_at=line.tar_at,
            tar_bytes=line.tar_bytes,
            at=line.at,
            bytes=line.bytes,
            crc32=line.crc32,
            data_bytes=_data_bytes(line),
        )

    def _finish(self, end: IndexEnd) -> None:
        found = (self._announced.entries, self._blocks, self._tar_bytes, self._archive_bytes)
        if (end.entries, end.blocks, end.tar_bytes, end.bytes) != found:
            raise IndexDamaged("what it counts at its end is not what it has")
        if self._content_end > self._tar_bytes:
            raise IndexDamaged("its files are more than its blocks")
        self._end = end


def lines_of(source: IO[bytes], damaged: Callable[[str], Damaged]) -> Iterator[bytes]:
    """The lines of what is compressed, of which each is complete and none too long; else raises what is `damaged`."""
    gunzip = Gunzip()
    rest = b""
    try:
        while data := source.read(_READ_BYTES):
            for piece in gunzip.feed(data):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if len(line) > MAX_LINE_BYTES:
                        raise damaged("a line in it is too long")
                    yield line
                if len(rest) > MAX_LINE_BYTES:
                    raise damaged("a line in it is too long")
        gunzip.close()
    except ArchiveDamaged as error:
        raise damaged("its compressed data is damaged") from error
    if rest:
        raise damaged("its last line is cut")


def _data_bytes(line: BlockLine) -> int:
    """As the index says; one that says nothing knows at least which blocks are zeros and nothing else."""
    if line.data >= 0:
        return min(line.data, line.tar_bytes)
    return 0 if line.crc32 == _crc32_of_zeros(line.tar_bytes) else line.tar_bytes


@lru_cache(maxsize=8)  # all blocks but the last have the same size
def _crc32_of_zeros(size_bytes: int) -> int:
    return isal_zlib.crc32(bytes(size_bytes))


def _kind_of(line: bytes) -> str:
    try:
        return _any.decode(line).kind
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IndexDamaged(f"the line {_shown(line)} is not JSON ({error})") from error


def _shown(line: bytes) -> str:
    return repr(line[:_SHOWN].decode(errors="replace"))
