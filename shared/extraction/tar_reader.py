"""Members of a tar archive, read from its bytes in whatever portions they come.

Reads POSIX ustar and pax archives and GNU's long names; names stay bytes. What a member may do is not judged here.
"""

from collections.abc import Iterator
from enum import Enum

import msgspec

from shared.errors import ArchiveDamaged, UnsafeArchive
from shared.extraction.tar_header import BLOCK, ZEROS, Header, nanoseconds, parse, records, text, whole, xattrs_of

MAX_METADATA_BYTES = 4 << 20
"""Of one extended header: nodes keep a mebibyte of extended attributes of a file, and tell access lists twice."""
MAX_METADATA_HEADERS = 16
"""Extended headers in a row. Real archives have at most three before a member."""
MAX_TRAILING_BYTES = 16 << 20
"""After the end only the padding of the last record may follow."""

_NONE: tuple[tuple[bytes, bytes], ...] = ()
_METADATA_FLAGS = {b"x", b"g", b"L", b"K"}


class MemberKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARD_LINK = "hard link"
    FIFO = "fifo"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"


_KINDS = {
    b"\x00": MemberKind.FILE,
    b"0": MemberKind.FILE,
    b"1": MemberKind.HARD_LINK,
    b"2": MemberKind.SYMLINK,
    b"3": MemberKind.CHARACTER_DEVICE,
    b"4": MemberKind.BLOCK_DEVICE,
    b"5": MemberKind.DIRECTORY,
    b"6": MemberKind.FIFO,
    b"7": MemberKind.FILE,
}


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One member as the archive names it: nothing has been checked.

    `size_bytes` is 0 for all but files; their content begins at byte `content_at` of the tar. `xattrs` are the names
    and values of extended attributes, which an index does not tell.
    """

    kind: MemberKind
    name: bytes
    link_target: bytes
    size_bytes: int
    mode: int
    mtime_ns: int
    content_at: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class TarReader:
    """Fed with bytes of tar; gives each `Member`, followed by the pieces of its content where it is a file.

    The pieces are views into what was fed and must be used before the next one is asked for. Raises ArchiveDamaged,
    from `close()` where the end of the archive has not come.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._given_bytes = 0
        self._content_left = 0
        self._padding_left = 0
        self._ended = False
        self._trailing_bytes = 0
        self._metadata_headers = 0
        self._global: dict[bytes, bytes] = {}
        self._own: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"<TarReader content_left={self._content_left} ended={self._ended}>"

    def feed(self, data: bytes) -> Iterator[Member | memoryview]:
        if self._rest:
            data, self._rest = self._rest + data, b""
        view = memoryview(data)
        at, end = 0, len(data)
        first = self._given_bytes
        while at < end and not self._ended:
            if self._content_left:
                piece = view[at : at + self._content_left]
                self._content_left -= len(piece)
                at += len(piece)
                yield piece
            elif self._padding_left:
                skipped = min(self._padding_left, end - at)
                self._padding_left -= skipped
                at += skipped
            else:
                taken, member = self._header(data, at, first + at)
                if not taken:
                    self._rest = data[at:]
                    self._given_bytes = first + at
                    return
                at += taken
                if member is not None:
                    yield member
        self._given_bytes = first + end
        self._count_trailing(end - at)

    def close(self) -> None:
        if not self._ended:
            raise ArchiveDamaged("The archive ends too early: its last members are missing.")

    def _header(self, data: bytes, at: int, tar_at: int) -> tuple[int, Member | None]:
        """How many bytes the header at `at` takes, 0 where it is not complete, and the member that it begins.

        `tar_at` is where that is in the whole tar.
        """
        block = data[at : at + BLOCK]
        if len(block) < BLOCK:
            return 0, None
        if block == ZEROS:
            self._ended = True
            return BLOCK, None
        try:
            header = parse(block)
            if header.flag not in _METADATA_FLAGS:
                return BLOCK, self._member(header, tar_at + BLOCK)
            body = data[at + BLOCK : at + BLOCK + self._metadata_size(header)]
            if len(body) < header.size_bytes:
                return 0, None
            self._remember(header.flag, body)
            # The padding may still be on its way.
            self._padding_left = -len(body) % BLOCK
            return BLOCK + len(body), None
        except ValueError as error:
            raise ArchiveDamaged(f"A header in the archive makes no sense: {error}.") from error

    def _metadata_size(self, header: Header) -> int:
        if header.size_bytes > MAX_METADATA_BYTES:
            raise UnsafeArchive(f"An extended header in the archive has {header.size_bytes:,} bytes.")
        if self._metadata_headers >= MAX_METADATA_HEADERS:
            raise UnsafeArchive(f"The archive has more than {MAX_METADATA_HEADERS} extended headers in a row.")
        return header.size_bytes

    def _remember(self, flag: bytes, body: bytes) -> None:
        self._metadata_headers += 1
        match flag:
            case b"L":
                self._own[b"path"] = text(body)
            case b"K":
                self._own[b"linkpath"] = text(body)
            case b"g":
                self._global |= records(body)
            case _:
                self._own |= records(body)

    def _member(self, header: Header, content_at: int) -> Member:
        kind = _KINDS.get(header.flag)
        if kind is None:
            raise ArchiveDamaged(
                f"The archive has a member of the unknown type {header.flag!r}.", hint="Try GNU tar: tar -xzf ..."
            )
        size_bytes, mtime_ns = header.size_bytes, header.mtime * 1_000_000_000
        name, link_target, xattrs = header.name, header.link_target, _NONE
        if self._metadata_headers or self._global:
            known = self._global | self._own
            name, link_target = known.get(b"path", name), known.get(b"linkpath", link_target)
            size_bytes = whole(known[b"size"]) if b"size" in known else size_bytes
            mtime_ns = nanoseconds(known[b"mtime"]) if b"mtime" in known else mtime_ns
            xattrs = xattrs_of(self._own)
            self._own, self._metadata_headers = {}, 0
        if header.flag == b"\x00" and name.endswith(b"/"):
            kind = MemberKind.DIRECTORY  # as the tar of 1979 wrote them
        if kind is not MemberKind.FILE:
            size_bytes = 0
        self._content_left, self._padding_left = size_bytes, -size_bytes % BLOCK
        return Member(
            kind=kind,
            name=name,
            link_target=link_target,
            size_bytes=size_bytes,
            mode=header.mode,
            mtime_ns=mtime_ns,
            content_at=content_at,
            xattrs=xattrs,
        )

    def _count_trailing(self, size_bytes: int) -> None:
        self._trailing_bytes += size_bytes
        if self._trailing_bytes > MAX_TRAILING_BYTES:
            raise UnsafeArchive("The archive goes on after its end.")
