"""How a downloaded .tar.gz becomes files, in one pass and without trusting it.

The archive was made on a machine that ran somebody's task, so each name, link, type and size in it may be chosen by an
attacker. What is refused: absolute names, `..`, links that leave the target, writing through a link, devices and fifos,
and more bytes or entries than were announced. Special mode bits are dropped; owners are those of the caller.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from shared.errors import CannotExtract, UnsafeArchive
from tarpon.gunzip import Gunzip
from tarpon.tar_reader import Member, MemberKind, TarReader
from tarpon.target_folder import Parts, TargetFolder, shown

READ_BYTES = 1 << 20


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """What came out; `raw_bytes` is the content of regular files."""

    entries: int
    raw_bytes: int


class Extraction:
    """Fed with the compressed bytes of an archive in whatever portions; extracts them below `target` as they come.

    Use it as a context manager, or call `close()` after the last bytes, or `abort()`. Blocks: call it from a thread.

    Raises UnsafeArchive where the archive tries what it must not, ArchiveDamaged where it is cut or damaged (also from
    `close()`), CannotExtract where the target cannot take it. What has been written until then stays, and directories
    may lack their final modes.
    """

    def __init__(self, target: Path, *, max_bytes: int, max_entries: int) -> None:
        try:
            self._target = TargetFolder(target)
        except OSError as error:
            raise _cannot_write((os.fsencode(target),), error) from error
        self._gunzip = Gunzip()
        self._reader = TarReader()
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._entries = 0
        self._raw_bytes = 0
        self._file: _OpenFile | None = None
        self._open = True

    def __repr__(self) -> str:
        return f"<Extraction to={self._target!r} entries={self._entries} raw_bytes={self._raw_bytes} open={self._open}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None and self._open:
            self.close()
        else:
            self.abort()

    def feed(self, data: bytes) -> None:
        for tar in self._gunzip.feed(data):
            for event in self._reader.feed(tar):
                if isinstance(event, Member):
                    self._begin(event)
                else:
                    self._write(event)

    def close(self) -> Extracted:
        """Check that the archive is complete, and give the directories their modes and times."""
        try:
            self._gunzip.close()
            self._reader.close()
            self._end_file()
            self._finish_directories()
        finally:
            self.abort()
        return Extracted(entries=self._entries, raw_bytes=self._raw_bytes)

    def abort(self) -> None:
        """Close all files and leave what was written as it is. May be called again."""
        self._open = False
        if self._file is not None:
            os.close(self._file.descriptor)
            self._file = None
        self._target.close()

    def _begin(self, member: Member) -> None:
        self._end_file()
        self._count(member)
        parts = _parts(member.name)
        try:
            self._place(member, parts)
        except OSError as error:
            raise _cannot_write(parts, error) from error

    def _count(self, member: Member) -> None:
        self._entries += 1
        self._raw_bytes += member.size_bytes
        if self._entries > self._max_entries:
            raise UnsafeArchive(f"The archive has more than the {self._max_entries:,} entries that were announced.")
        if self._raw_bytes > self._max_bytes:
            raise UnsafeArchive(f"The archive has more than the {self._max_bytes:,} bytes that were announced.")

    def _place(self, member: Member, parts: Parts) -> None:
        if not parts and member.kind is not MemberKind.DIRECTORY:
            raise UnsafeArchive(f"The archive has a {member.kind.value} without a name.")
        match member.kind:
            case MemberKind.FILE:
                descriptor = self._target.create_file(parts)
                self._file = _OpenFile(descriptor=descriptor, parts=parts, member=member)
            case MemberKind.DIRECTORY:
                self._target.create_directory(parts, mode=member.mode, mtime_ns=member.mtime_ns)
            case MemberKind.SYMLINK:
                self._target.create_symlink(parts, member.link_target, mtime_ns=member.mtime_ns)
            case MemberKind.HARD_LINK:
                self._target.create_hard_link(parts, _link_parts(member, parts))
            case MemberKind.FIFO | MemberKind.CHARACTER_DEVICE | MemberKind.BLOCK_DEVICE:
                raise UnsafeArchive(f"The archive has a {member.kind.value}, {shown(parts)}.")

    def _write(self, content: memoryview) -> None:
        assert self._file is not None
        try:
            while content:
                content = content[os.write(self._file.descriptor, content) :]
        except OSError as error:
            raise _cannot_write(self._file.parts, error) from error

    def _end_file(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            os.fchmod(file.descriptor, file.member.mode & 0o777)
            os.utime(file.descriptor, ns=(file.member.mtime_ns, file.member.mtime_ns))
        except OSError as error:
            raise _cannot_write(file.parts, error) from error
        finally:
            os.close(file.descriptor)

    def _finish_directories(self) -> None:
        try:
            self._target.finish()
        except OSError as error:
            raise _cannot_write((), error) from error


class _OpenFile(msgspec.Struct, frozen=True, kw_only=True):
    descriptor: int
    parts: Parts
    member: Member


def extract(source: BinaryIO, target: Path, *, max_bytes: int, max_entries: int) -> Extracted:
    """Extract the .tar.gz that `source` gives below `target`; see Extraction for what is raised."""
    with Extraction(target, max_bytes=max_bytes, max_entries=max_entries) as extraction:
        while data := source.read(READ_BYTES):
            extraction.feed(data)
        return extraction.close()


def _parts(name: bytes) -> Parts:
    """The components of a member's name, none for the target itself."""
    parts = tuple(part for part in name.split(b"/") if part not in {b"", b"."})
    if name.startswith(b"/") or b".." in parts or b"\x00" in name:
        raise UnsafeArchive(f"The archive has the name {os.fsdecode(name[:160])!r}, which leaves the target.")
    return parts


def _link_parts(member: Member, parts: Parts) -> Parts:
    """The components of a hard link's target, which is a name within the archive."""
    target = _parts(member.link_target)
    if not target:
        raise UnsafeArchive(f"{shown(parts)} is a hard link to the target itself.")
    return target


def _cannot_write(parts: Parts, error: OSError) -> CannotExtract:
    what = shown(parts) if parts else "The target"
    return CannotExtract(f"{what} cannot be written: {error.strerror or error}.")
