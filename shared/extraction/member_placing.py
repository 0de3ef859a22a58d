"""Placing of an archive's members as files below a folder, within what was announced.

Each name, link, type and size may be chosen by an attacker. What is refused: absolute names, `..`, writing through a
link, devices and fifos, and more bytes or entries than were announced. Special mode bits are dropped; owners are those
of the caller. What the target cannot have is left out and told in `oddities`, and the rest is placed.
"""

import errno
import os
from pathlib import Path

from shared.errors import CannotExtract, UnsafeArchive
from shared.extraction.announced import AnnouncedSize
from shared.extraction.attributes import Attributes, KnownKept, restore, set_metadata, without_access_list
from shared.extraction.file_copy import write_all
from shared.extraction.member_names import Components, components_of
from shared.extraction.oddities import CannotHave, Odd, Oddities
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.room import NO_SPACE, NoSpaceForResult
from shared.extraction.tar_reader import Member, MemberKind
from shared.extraction.target_folder import TargetFolder, shown
from shared.runtime.holes import GRANULE_BYTES, data_of, has_no_holes


class MemberPlacing:
    """Takes a member with `begin`, the content of a file with `write`, and so on; `finish` ends it. Blocks.

    All methods raise UnsafeArchive where the archive tries what it must not, and CannotExtract where the target cannot
    take it. What has been written until then stays.
    """

    def __init__(self, target: Path, *, max_bytes: int, max_entries: int, rules: PlacementRules | None = None) -> None:
        self.announced = AnnouncedSize(max_bytes=max_bytes, max_entries=max_entries)
        self.oddities = Oddities()
        self.files = 0
        """Those that are there, under all their names."""
        self._rules = rules or PlacementRules()
        try:
            self._target = TargetFolder(target, self._rules, self.oddities, max_copied_bytes=max_bytes)
        except OSError as error:
            raise _cannot_write((os.fsencode(target),), error) from error
        # One file is open at a time. These are no struct of their own, because one more for each file would be felt.
        self._file: Member | None = None
        self._descriptor = -1
        self._components: Components = ()
        self._at = 0
        self._data_end = 0
        self._known = KnownKept()

    def __repr__(self) -> str:
        return f"<MemberPlacing to={self._target!r} {self.announced!r}>"

    def finish(self) -> None:
        """After the last member: give the directories their modes and times."""
        self._end_file()
        try:
            for descriptor, components, made in self._target.directories():
                self._settle(descriptor, components, made.permissions, made.mtime_ns, made.xattrs)
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
        self.announced.count(member)
        components = components_of(member.name)
        try:
            if member.kind is MemberKind.FILE and components:
                self._descriptor = self._target.create_file(components, member.size_bytes)
                self._file, self._components = member, components
                self._at = self._data_end = 0
            else:
                self._place(member, components)
        except CannotHave as odd:
            self.oddities.add(odd.code, components, odd.detail)
        except OSError as error:
            raise _cannot_write(components, error) from error

    def _place(self, member: Member, components: Components) -> None:
        if not components and member.kind is not MemberKind.DIRECTORY:
            raise UnsafeArchive(f"The archive has a {member.kind.value} without a name.")
        match member.kind:
            case MemberKind.DIRECTORY:
                self._target.create_directory(components, member.mode, member.mtime_ns, member.xattrs)
            case MemberKind.SYMLINK:
                self._target.create_symlink(components, member.link_target, mtime_ns=member.mtime_ns)
            case MemberKind.HARD_LINK:
                self._target.create_hard_link(components, _link_components(member, components))
                self.files += 1
            case MemberKind.FILE:
                raise AssertionError("a file has no content of its own to place here")
            case MemberKind.FIFO | MemberKind.CHARACTER_DEVICE | MemberKind.BLOCK_DEVICE:
                raise UnsafeArchive(f"The archive has a {member.kind.value}, {shown(components)}.")

    def write(self, content: memoryview) -> None:
        """The next bytes of the file that has begun. Zeros become holes."""
        if self._file is None:
            return  # it was left out
        size_bytes = len(content)
        try:
            # It may be all of a small file, of which there are very many.
            if size_bytes < GRANULE_BYTES or has_no_holes(self._at, content):
                written = os.pwrite(self._descriptor, content, self._at)
                if written < size_bytes:
                    write_all(self._descriptor, content[written:], self._at + written)
                self._data_end = self._at + size_bytes
            else:
                for at, data in data_of(self._at, content):
                    write_all(self._descriptor, data, at)
                    self._data_end = at + len(data)
            self._at += size_bytes
        except OSError as error:
            self._give_up_file(error)

    def _end_file(self) -> None:
        if self._file is None:
            return
        member = self._file
        try:
            if self._data_end < self._at:
                os.ftruncate(self._descriptor, self._at)
            permissions, mtime_ns = self._rules.permissions(member.mode), member.mtime_ns
            if member.xattrs:
                self._settle(self._descriptor, self._components, permissions, mtime_ns, member.xattrs)
            elif not self._known.set(self._descriptor, permissions, mtime_ns) and self._settle(
                self._descriptor, self._components, permissions, mtime_ns, ()
            ):
                self._known.note(permissions, mtime_ns)
        except OSError as error:
            self._give_up_file(error)
            return
        self._file = None
        os.close(self._descriptor)
        self.files += 1

    def _give_up_file(self, error: OSError) -> None:
        """Leave the file out where it is too large for the file system; raise where the others would fail too."""
        self._file = None
        os.close(self._descriptor)
        if error.errno != errno.EFBIG:
            raise _cannot_write(self._components, error) from error
        self._target.remove(self._components)
        self.oddities.add(Odd.FILE_TOO_LARGE, self._components, "the file system has no files of this size")

    def _settle(
        self, descriptor: int, components: Components, permissions: int, mtime_ns: int, attributes: Attributes
    ) -> bool:
        """Whether the file system keeps the permissions and time."""
        if attributes:
            permissions = without_access_list(permissions, attributes)
        problem = set_metadata(descriptor, permissions, mtime_ns)
        if problem and not self.oddities.counts[Odd.METADATA_NOT_KEPT]:
            self.oddities.add(
                Odd.METADATA_NOT_KEPT, components, f"the file system does not keep the {problem} of files"
            )
        missing = restore(descriptor, attributes, self._rules) if attributes else ""
        if missing:
            asked = self._rules.xattrs or self._rules.capabilities
            self.oddities.add(Odd.ATTRIBUTES_NOT_RESTORED if asked else Odd.ATTRIBUTES_IGNORED, components, missing)
        return not problem


def _link_components(member: Member, components: Components) -> Components:
    """The components of a hard link's target, which is a name within the archive."""
    target = components_of(member.link_target)
    if not target:
        raise UnsafeArchive(f"{shown(components)} is a hard link to the target itself.")
    return target


def _cannot_write(components: Components, error: OSError) -> CannotExtract:
    what = shown(components) if components else "The target"
    message = f"{what} cannot be written: {error.strerror or error}."
    if error.errno in NO_SPACE:
        return NoSpaceForResult(message)
    return CannotExtract(message)
