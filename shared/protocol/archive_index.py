"""The index beside an archive, by which one file can be found and read without the rest: its format.

`<executionID>.index.json.gz` is JSON Lines in one gzip member, in the order in which things come in the archive:

    {"kind":"index","version":1}                                                   first
    {"kind":"file","path":"outputs/a","mode":420,"mtime":1700000000,"size":5,"at":1536}
    {"kind":"directory","path":"outputs","mode":493,"mtime":1700000000}
    {"kind":"symlink","path":"outputs/b","mode":511,"mtime":1700000000,"target":"a"}
    {"kind":"hardlink","path":"outputs/c","mode":420,"mtime":1700000000,"target":"outputs/a"}
    {"kind":"block","tar_at":0,"tar_bytes":1048576,"at":10,"bytes":52341,"crc32":123}
    {"kind":"end","entries":4,"blocks":1,"tar_bytes":4096,"bytes":52371}             last

`at` of a file is where its content begins in the tar, `at` of a block where it begins in the .tar.gz. A block is raw
deflate (RFC 1951) that refers to nothing before it, of `bytes` bytes, and gives `tar_bytes` bytes of tar whose CRC is
`crc32`, 64 KiB or more except for the last one; where much of it is zeros, `data` tells how much is not. Each block's
line comes after those of the entries that begin in it. Names are relative and end without a slash; one that is not
UTF-8 has `path_base64` (`target_base64`) instead. Readers skip keys and kinds that they do not know, and refuse another
version.
"""

import base64

import msgspec

VERSION = 1
WHOLE = -1
"""Of a block: nothing is known of zeros in it, or there are none."""
MAX_LINE_BYTES = 64 << 10
"""A path has at most 4,096 bytes and so has a target; each byte takes at most six in JSON."""


class IndexLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    """Numbers are bytes, `mtime` whole seconds since 1970."""


class IndexHead(IndexLine, frozen=True, kw_only=True, tag="index"):
    version: int


class NamedLine(IndexLine, frozen=True, kw_only=True):
    """An entry of the archive."""

    path: str = ""
    path_base64: str = ""
    mode: int
    mtime: int

    @property
    def name(self) -> bytes:
        return _bytes(self.path, self.path_base64)

    @property
    def shown(self) -> str:
        """As it may be printed: valid text, with what is none replaced."""
        return self.path or self.name.decode(errors="replace")


class FileLine(NamedLine, frozen=True, kw_only=True, tag="file"):
    size: int = 0
    at: int = 0


class DirectoryLine(NamedLine, frozen=True, kw_only=True, tag="directory"):
    pass


class LinkLine(NamedLine, frozen=True, kw_only=True):
    target: str = ""
    target_base64: str = ""

    @property
    def link_target(self) -> bytes:
        return _bytes(self.target, self.target_base64)


class SymlinkLine(LinkLine, frozen=True, kw_only=True, tag="symlink"):
    pass


class HardLinkLine(LinkLine, frozen=True, kw_only=True, tag="hardlink"):
    """`target` is the path of an entry before it."""


class BlockLine(IndexLine, frozen=True, kw_only=True, tag="block"):
    """`data` bytes of its tar, or a few more, need room on a disk; the others are zeros and may become holes."""

    tar_at: int = 0
    tar_bytes: int
    at: int
    bytes: int
    crc32: int
    data: int = WHOLE


class IndexEnd(IndexLine, frozen=True, kw_only=True, tag="end"):
    """`bytes` is the size of the whole .tar.gz."""

    entries: int
    blocks: int
    tar_bytes: int
    bytes: int


EntryLine = FileLine | DirectoryLine | SymlinkLine | HardLinkLine
AnyLine = IndexHead | EntryLine | BlockLine | IndexEnd


def spelled(name: bytes) -> tuple[str, str]:
    """A name as text, and in base64 where it is none; the other one is empty."""
    try:
        return name.decode(), ""
    except UnicodeDecodeError:
        return "", base64.b64encode(name).decode("ascii")


def _bytes(text: str, encoded: str) -> bytes:
    # Whatever the locale: what is written down is UTF-8.
    return base64.b64decode(encoded) if encoded else text.encode(errors="surrogateescape")
