"""The header of one tar entry, byte for byte.

The layout is that of POSIX.1-2008 (`pax`, "ustar Interchange Format" and "pax Extended Header"): one block of 512
bytes, preceded by an extended header where a name or a number does not fit. Owner and group are always 0 and without a
name.
"""

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)

_NAME_LIMIT = 100
_SIZE_LIMIT = 8**11
_NUMBERED_OWNER = b"0000000\x000000000\x00"
_MAGIC = b"ustar\x0000"
_DEVICE = b"0000000\x000000000\x00"
_TAIL = bytes(32 + 32) + _DEVICE + bytes(155 + 12)
_AFTER_LINK = _MAGIC + _TAIL
_BLANK_CHECKSUM = b" " * 8
_FIXED_SUM = sum(_NUMBERED_OWNER) + sum(_AFTER_LINK) + sum(_BLANK_CHECKSUM)


# Of a file without a link: everything behind the digits of the checksum.
_AFTER_PLAIN_CHECKSUM = b"\x00 0" + bytes(_NAME_LIMIT) + _AFTER_LINK
_PLAIN_FILE_SUM = _FIXED_SUM + ord("0")


class EntryKind(Enum):
    """The kinds of entries that are written, with their type flags."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    DIRECTORY = b"5"


def entry_header(
    kind: EntryKind,
    name: bytes,
    *,
    mode: int,
    mtime: int,
    size_bytes: int = 0,
    link_target: bytes = b"",
    attributes: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """The header block(s) of one entry; `mtime` is in whole seconds since 1970 and may be negative.

    `name` is relative; that of a directory ends with a slash. `attributes` are more records of the extended header.
    A size that is too large for the header's digits is there as a binary number too, as GNU has it: BusyBox knows no
    other, and takes what follows the entry for its content.
    """
    records = b""
    if len(name) > _NAME_LIMIT or not name.isascii():
        records, name = _record(b"path", name), _stand_in(name)
    if len(link_target) > _NAME_LIMIT or not link_target.isascii():
        records, link_target = records + _record(b"linkpath", link_target), _stand_in(link_target)
    if size_bytes >= _SIZE_LIMIT:
        records += _record(b"size", b"%d" % size_bytes)
    if not 0 <= mtime < _SIZE_LIMIT:
        records, mtime = records + _record(b"mtime", b"%d" % mtime), 0
    block = _block(kind.value, name, link_target, mode=mode, mtime=mtime, size_bytes=size_bytes)
    if not _is_utf8(records):
        records = _record(b"hdrcharset", b"BINARY") + records
    records += b"".join(_record(*each) for each in attributes)
    return _extended(records) + block if records else block


def plain_file_header(name: bytes, mode: int, size_bytes: int, mtime: int) -> bytes:
    """The same as entry_header gives for a file, at less cost for what most files are."""
    if len(name) > _NAME_LIMIT or not name.isascii() or size_bytes >= _SIZE_LIMIT or not 0 <= mtime < _SIZE_LIMIT:
        return entry_header(EntryKind.FILE, name, mode=mode, mtime=mtime, size_bytes=size_bytes)
    numbers, numbers_sum = _numbers(mode, size_bytes, mtime)
    checksum = _PLAIN_FILE_SUM + numbers_sum + sum(name)
    return b"%b%b%06o%b" % (name.ljust(_NAME_LIMIT, b"\x00"), numbers, checksum, _AFTER_PLAIN_CHECKSUM)


def padding(size_bytes: int) -> bytes:
    """The zeros that follow `size_bytes` of content up to the next block."""
    return bytes(-size_bytes % BLOCK)


def _block(flag: bytes, name: bytes, link_target: bytes, *, mode: int, mtime: int, size_bytes: int) -> bytes:
    numbers, numbers_sum = _numbers(mode, size_bytes, mtime)
    # Only what varies is added up: summing all 512 bytes for each file would take longer than reading a small file.
    checksum = _FIXED_SUM + numbers_sum + sum(name) + sum(link_target) + flag[0]
    return b"".join(
        (
            name.ljust(_NAME_LIMIT, b"\x00"),
            numbers,
            b"%06o\x00 " % checksum,
            flag,
            link_target.ljust(_NAME_LIMIT, b"\x00"),
            _AFTER_LINK,
        )
    )


@lru_cache(maxsize=4096)
def _numbers(mode: int, size_bytes: int, mtime: int) -> tuple[bytes, int]:
    """The fields between the name and the checksum, with their sum without that of the owner, which is fixed.

    Many files of one result agree in them.
    """
    size = b"%011o\x00" % size_bytes if size_bytes < _SIZE_LIMIT else b"\x80" + size_bytes.to_bytes(11, "big")
    varying = b"%07o\x00" % mode, b"%b%011o\x00" % (size, mtime)
    return _NUMBERED_OWNER.join(varying), sum(map(sum, varying))


def _extended(records: bytes) -> bytes:
    block = _block(b"x", b"././@PaxHeader", b"", mode=0o644, mtime=0, size_bytes=len(records))
    return block + records + padding(len(records))


def _record(keyword: bytes, value: bytes) -> bytes:
    """One `<length> <keyword>=<value>` line; the length counts the whole line, its own digits included."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, keyword, value)


def _stand_in(name: bytes) -> bytes:
    """What readers that know no extended headers see in place of a long or non-ASCII name."""
    return bytes(byte if byte < 128 else ord("_") for byte in name[:_NAME_LIMIT])


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
