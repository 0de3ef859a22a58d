"""The handover of files of other users, which the node may neither read nor remove, when a container ends.

Behind a rootless engine a container's users are users of the machine that nobody else may act for. The engine may: it
gives what lies in a folder as a tar archive, and writes one into it. So what has another owner is read and written
again with the node's user as its owner, through the node but not onto its disk.
"""

import asyncio
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

BLOCK = 512
MAX_EXTENSION_BYTES = 1 << 20
"""Of one header that says more about the next: names and attributes."""
_OWNERS = (b"uid", b"gid", b"uname", b"gname")
_EXTENSIONS = frozenset(b"xLK")
_FILES = frozenset(b"01\x00")
_FOLDER = ord("5")
_ZEROS = bytes(BLOCK)
_MODE, _UID, _GID = slice(100, 108), slice(108, 116), slice(116, 124)
_SIZE, _CHECKSUM, _NAMES = slice(124, 136), slice(148, 156), slice(265, 329)


class NotATar(Exception):
    """What the engine sent is not what it should be."""


def is_closed(folder: Path) -> bool:
    """Whether something in it is another user's, and may not be read or removed by this process. Blocks."""
    me, waiting = os.geteuid(), [os.fspath(folder)]
    while waiting:
        path = waiting.pop()
        try:
            if os.lstat(path).st_uid != me and not _is_open(path, os.R_OK | os.W_OK | os.X_OK):
                return True
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False) and _is_anothers(entry, me):
                        return True
        except FileNotFoundError:
            continue
        except PermissionError:
            if _owner(path) != me:
                return True
    return False


def _owner(path: str) -> int | None:
    try:
        return os.lstat(path).st_uid
    except PermissionError:  # in a folder that is closed itself
        return None


def _is_anothers(file: "os.DirEntry[str]", me: int) -> bool:
    return file.stat(follow_symlinks=False).st_uid != me and not _is_open(file.path, os.R_OK)


def _is_open(path: str, how: int) -> bool:
    return os.access(path, how, effective_ids=True)


def is_own(folder: Path, name: bytes) -> bool:
    """Whether this entry of the folder belongs to this process's user, or is gone. Blocks."""
    try:
        found = os.lstat(b"%b/%b" % (os.fsencode(folder), name.removeprefix(b"./").lstrip(b"/")))
    except PermissionError:
        return False
    except OSError:
        return True
    return found.st_uid == os.geteuid()


async def folder_alone(folder: Path, name: str, uid: int, gid: int) -> AsyncIterator[bytes]:
    """An archive of the folder itself, under this name and without what it holds."""
    found = await asyncio.to_thread(os.lstat, folder)
    member = tarfile.TarInfo(name)
    member.type, member.uid, member.gid, member.mtime = tarfile.DIRTYPE, uid, gid, found.st_mtime
    member.mode = stat.S_IMODE(found.st_mode) | stat.S_IRWXU
    yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + 2 * _ZEROS


class _Member(msgspec.Struct, kw_only=True):
    """How much of an entry's content is still to come, and whether it is handed on."""

    left_bytes: int
    is_wanted: bool


class Handover:
    """Makes of an archive of a folder one of what in it is another's, with `uid` and `gid` as its owners.

    `is_own` tells it of a name, and may block; the archive does not, for Podman gives all to the container's user. With
    `folders_only` it makes things removable alone.
    """

    def __init__(self, uid: int, gid: int, is_own: Callable[[bytes], bool], *, folders_only: bool = False) -> None:
        self._is_own = is_own
        self._uid = uid
        self._gid = gid
        self._kinds = frozenset({_FOLDER}) | (frozenset() if folders_only else _FILES)
        self.entries = 0
        self._buffer = bytearray()
        self._extensions: list[tuple[bytes, bytes]] = []
        self._member: _Member | None = None

    def __repr__(self) -> str:
        return f"<Handover of {self.entries} entries>"

    async def rewritten(self, archive: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises NotATar."""
        async for chunk in archive:
            made = await asyncio.to_thread(self._taken, chunk)
            if made:
                yield made
        yield 2 * _ZEROS

    def _taken(self, chunk: bytes) -> bytes:
        return b"".join(self._fed(chunk))

    def _fed(self, chunk: bytes) -> Iterator[bytes]:
        self._buffer += chunk
        while True:
            if self._member is not None:
                piece = bytes(self._buffer[: self._member.left_bytes])
                del self._buffer[: len(piece)]
                self._member.left_bytes -= len(piece)
                if self._member.is_wanted and piece:
                    yield piece
                if self._member.left_bytes:
                    return
                self._member = None
            taken = self._next()
            if taken is None:
                return
            yield taken

    def _next(self) -> bytes | None:
        """The next headers as they are handed on, nothing if they are not; None if they are not complete."""
        if len(self._buffer) < BLOCK:
            return None
        header = bytes(self._buffer[:BLOCK])
        if header == _ZEROS:
            del self._buffer[:BLOCK]
            return b""
        kind, padded_bytes = header[156], -(-_number(header[_SIZE]) // BLOCK) * BLOCK
        if kind in _EXTENSIONS:
            if padded_bytes > MAX_EXTENSION_BYTES:
                raise NotATar(f"a header of {padded_bytes} bytes")
            if len(self._buffer) < BLOCK + padded_bytes:
                return None
            self._extensions.append((header, bytes(self._buffer[BLOCK : BLOCK + padded_bytes])))
            del self._buffer[: BLOCK + padded_bytes]
            return b""
        del self._buffer[:BLOCK]
        extensions, self._extensions = self._extensions, []
        has_content = kind in b"0\x007"
        told = _told_by(extensions)
        if b"size" in told:
            padded_bytes = -(-_digits(told[b"size"]) // BLOCK) * BLOCK
        is_wanted = kind in self._kinds and not self._is_own(told.get(b"path") or _short_name(header))
        self._member = _Member(left_bytes=padded_bytes if has_content else 0, is_wanted=is_wanted)
        if not is_wanted:
            return b""
        self.entries += 1
        return b"".join(_without_owner(*each) for each in extensions) + self._owned(header, kind)

    def _owned(self, header: bytes, kind: int) -> bytes:
        block = bytearray(header)
        mode = stat.S_IMODE(_number(header[_MODE])) | (stat.S_IRWXU if kind == _FOLDER else 0)
        block[_MODE] = b"%07o\x00" % mode
        block[_UID], block[_GID] = b"%07o\x00" % self._uid, b"%07o\x00" % self._gid
        block[_NAMES] = bytes(64)
        return _summed(block)


def _without_owner(header: bytes, content: bytes) -> bytes:
    if header[156] != ord("x"):
        return header + content
    kept = b"".join(record for name, record in _records(content) if name not in _OWNERS)
    block = bytearray(header)
    block[_SIZE] = b"%011o\x00" % len(kept)
    return _summed(block) + kept + bytes(-len(kept) % BLOCK)


def _told_by(extensions: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """What other headers say in the place of a size or a name."""
    found = {}
    for header, content in extensions:
        if header[156] == ord("x"):
            for name, record in _records(content):
                if name in {b"size", b"path"}:
                    found[name] = record.partition(b"=")[2].removesuffix(b"\n")
        elif header[156] == ord("L"):
            found[b"path"] = content.partition(b"\0")[0]
    return found


def _short_name(header: bytes) -> bytes:
    name, prefix = header[:100].partition(b"\0")[0], header[345:500].partition(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _digits(value: bytes) -> int:
    if not value.isdigit():
        raise NotATar(f"a number that is none: {value[:20]!r}")
    return int(value)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each `<length> <name>=<value>` line of a pax header, with its name."""
    at = 0
    while at < len(content) and content[at]:
        digits = content[at : at + 20].partition(b" ")[0]
        if not digits.isdigit() or not 0 < int(digits) <= len(content) - at:
            raise NotATar("a line of a header has no length")
        record = content[at : at + int(digits)]
        yield record.partition(b" ")[2].partition(b"=")[0], record
        at += len(record)


def _number(field: bytes) -> int:
    """Octal digits, or, where the first bit is set, a binary number."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \x00")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise NotATar(f"a number that is none: {digits!r}") from None


def _summed(block: bytearray) -> bytes:
    block[_CHECKSUM] = b" " * 8
    block[_CHECKSUM] = b"%06o\x00 " % sum(block)
    return bytes(block)
