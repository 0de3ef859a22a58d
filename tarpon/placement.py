"""How members of an archive become files below a folder, within what was announced.

Each name, link, type and size may be chosen by an attacker. What is refused: absolute names, `..`, links that leave the
target, writing through a link, devices and fifos, and more bytes or entries than were announced. Special mode bits are
dropped; owners are those of the caller.
"""

import os
from functools import lru_cache
from pathlib import Path

from shared.errors import CannotExtract, UnsafeArchive
from tarpon.tar_reader import Member, MemberKind
from tarpon.target_folder import Parts, TargetFolder, shown

_NO_NAMES = frozenset({b"", b".", b".."})
_CACHED_BYTES = 4096
"""Longer names of folders are not remembered."""


class Placement:
    """Takes a member with `begin`, the content of a file with `write`, and so on; `finish` ends it. Blocks.

    All methods raise UnsafeArchive where the archive tries what it must not, and CannotExtract where the target cannot
    take it. What has been written until then stays.
    """

    def __init__(self, target: Path, *, max_bytes: int, max_entries: int) -> None:
        try:
            self._target = TargetFolder(target)
        except OSError as error:
            raise _cannot_write((os.fsencode(target),), error) from error
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self.entries = 0
        self.raw_bytes = 0
        # One file is open at a time. These are no struct of their own, because one more for each file would be felt.
        self._file: Member | None = None
        self._descriptor = -1
        self._parts: Parts = ()

    def __repr__(self) -> str:
        return f"<Placement to={self._target!r} entries={self.entries} raw_bytes={self.raw_bytes}>"

    def finish(self) -> None:
        """After the last member: give the directories their modes and times."""
        self._end_file()
        try:
            self._target.finish()
        except OSError as error:
            raise _cannot_write((), error) from error

    def abort(self) -> None:
        """Close all files and leave what was written as it is. May be called again."""
        if self._file is not None:
            os.close(self._descriptor)
            self._file = None
        self._target.close()

    def begin(self, member: Member) -> None:
        if self._file is not None:
            self._end_file()
        self._count(member)
        parts = parts_of(member.name)
        try:
            if member.kind is MemberKind.FILE and parts:
                self._descriptor = self._target.create_file(parts)
                self._file, self._parts = member, parts
            else:
                self._place(member, parts)
        except OSError as error:
            raise _cannot_write(parts, error) from error

    def _count(self, member: Member) -> None:
        self.entries += 1
        self.raw_bytes += member.size_bytes
        if self.entries > self._max_entries:
            raise UnsafeArchive(f"The archive has more than the {self._max_entries:,} entries that were announced.")
        if self.raw_bytes > self._max_bytes:
            raise UnsafeArchive(f"The archive has more than the {self._max_bytes:,} bytes that were announced.")

    def _place(self, member: Member, parts: Parts) -> None:
        if not parts and member.kind is not MemberKind.DIRECTORY:
            raise UnsafeArchive(f"The archive has a {member.kind.value} without a name.")
        match member.kind:
            case MemberKind.DIRECTORY:
                self._target.create_directory(parts, mode=member.mode, mtime_ns=member.mtime_ns)
            case MemberKind.SYMLINK:
                self._target.create_symlink(parts, member.link_target, mtime_ns=member.mtime_ns)
            case MemberKind.HARD_LINK:
                self._target.create_hard_link(parts, _link_parts(member, parts))
            case MemberKind.FILE:
                raise AssertionError("a file has no content of its own to place here")
            case MemberKind.FIFO | MemberKind.CHARACTER_DEVICE | MemberKind.BLOCK_DEVICE:
                raise UnsafeArchive(f"The archive has a {member.kind.value}, {shown(parts)}.")

    def write(self, content: memoryview) -> None:
        """The next bytes of the file that has begun."""
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            raise _cannot_write(self._parts, error) from error

    def _end_file(self) -> None:
        if self._file is None:
            return
        member, self._file = self._file, None
        try:
            os.fchmod(self._descriptor, member.mode & 0o777)
            os.utime(self._descriptor, ns=(member.mtime_ns, member.mtime_ns))
        except OSError as error:
            raise _cannot_write(self._parts, error) from error
        finally:
            os.close(self._descriptor)


def parts_of(name: bytes) -> Parts:
    """The components of a member's name, none for the target itself. Raises UnsafeArchive where it could leave it."""
    folder, _, last = name.rpartition(b"/")
    if last in _NO_NAMES or b"\x00" in last or name[:1] == b"/" or len(folder) > _CACHED_BYTES:
        parts = _split(name)
    else:
        parents = _split_folder(folder)
        parts = None if parents is None else (*parents, last)
    if parts is None:
        raise UnsafeArchive(f"The archive has the name {os.fsdecode(name[:160])!r}, which leaves the target.")
    return parts


def _split(name: bytes) -> Parts | None:
    parts = tuple(part for part in name.split(b"/") if part not in {b"", b"."})
    return None if name[:1] == b"/" or b".." in parts or b"\x00" in name else parts


_split_folder = lru_cache(maxsize=64)(_split)
"""The files of a directory come one after another."""


def _link_parts(member: Member, parts: Parts) -> Parts:
    """The components of a hard link's target, which is a name within the archive."""
    target = parts_of(member.link_target)
    if not target:
        raise UnsafeArchive(f"{shown(parts)} is a hard link to the target itself.")
    return target


def _cannot_write(parts: Parts, error: OSError) -> CannotExtract:
    what = shown(parts) if parts else "The target"
    return CannotExtract(f"{what} cannot be written: {error.strerror or error}.")
