"""Unpacking of results that tasks read: archives that another node has made of what somebody's task left.

Nothing of an archive is trusted (shared/extraction/member_placing.py). No more comes out of it than the execution may
fill, and than the disk had room for when it began.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from compute.disk.disk_watch import disk_bytes
from compute.disk.file_copy import CopyStopped
from compute.disk.view_notes import Unpacked
from compute.inputs.failures import InputFailed, not_placed
from compute.inputs.objects.cache import free_bytes
from compute.inputs.objects.room import too_large
from compute.inputs.objects.stoppable import IsUnwanted
from shared.errors import ArchiveDamaged, CannotExtract, UnsafeArchive
from shared.extraction.announced import AnnouncedSize
from shared.extraction.gunzip import Gunzip
from shared.extraction.member_names import components_of
from shared.extraction.member_placing import MemberPlacing
from shared.extraction.oddities import Odd
from shared.extraction.placement_rules import PlacementRules
from shared.extraction.room import NoSpaceForResult
from shared.extraction.tar_reader import Member, MemberKind, TarReader
from shared.jobs.states import FailureReason

READ_BYTES = 1 << 20
MAX_ENTRIES = 1_000_000
_LOST = frozenset(
    {Odd.NAME_COLLIDES, Odd.NAME_IMPOSSIBLE, Odd.SYMLINK_IMPOSSIBLE, Odd.HARD_LINK_LEFT_OUT, Odd.FILE_TOO_LARGE}
)
"""Without these a task would work on less than the result. A link that leads out of it is no part of it."""
NAMED_LINKS = 3
MAX_LINK_CHARACTERS = 100
MAX_LINKS = 20_000
"""Of what is held in memory while an archive is unpacked."""


def unpack_result(
    archive: Path, members: Sequence[str], target: Path, limit_bytes: int, is_unwanted: IsUnwanted = lambda: False
) -> Unpacked:
    """Unpack the archive, or what is at these paths in it, into an empty folder, and tell what that is.

    It may have `limit_bytes` of files; 0 is no limit. Blocks. Raises InputFailed, CopyStopped, OSError.
    """
    room = free_bytes(target)
    most = min(limit_bytes or room, room)
    wanted = WantedMembers(members)
    rules = PlacementRules(umask=0o022)
    with _told(), _closing(MemberPlacing(target, max_bytes=most, max_entries=MAX_ENTRIES, rules=rules)) as placing:
        try:
            if members:  # hard links come after what they are other names of, and that may not be wanted
                wanted.look_through(archive, is_unwanted)
            _unpack(_events(archive, is_unwanted), wanted, placing)
        except UnsafeArchive:
            if placing.announced.raw_bytes > most:
                raise too_large(most, limit_bytes) from None
            raise
    if lost := {code: count for code, count in placing.oddities.counts.items() if code in _LOST}:
        told = ", ".join(f"{count:,} ({code})" for code, count in lost.items())
        raise not_placed(f"A result that the task reads has entries that this node's disk cannot have: {told}.")
    if missing := wanted.missing():
        told = f"The result that the task reads has no {', '.join(missing[:5])[:500]}."
        raise InputFailed(FailureReason.INPUT_NOT_FOUND, told)
    links = [each.path for each in placing.oddities.named if each.code is Odd.LINK_LEAVES_RESULT]
    return Unpacked(
        raw_bytes=placing.announced.raw_bytes,
        disk_bytes=disk_bytes((target,), threading.Event()),
        links_left_out=placing.oddities.counts[Odd.LINK_LEAVES_RESULT],
        links=tuple(each[:MAX_LINK_CHARACTERS] for each in links[:NAMED_LINKS]),
    )


def _unpack(events: Iterable[Member | memoryview], wanted: "WantedMembers", placing: MemberPlacing) -> None:
    for event in events:
        if not isinstance(event, Member):
            if wanted.is_on:
                placing.write(event)
        elif (member := wanted.take(event)) is not None:
            placing.begin(member)
    placing.finish()


@contextmanager
def _closing(placing: MemberPlacing) -> Iterator[MemberPlacing]:
    try:
        yield placing
    finally:
        placing.abort()


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with an archive, or with the disk, as the end of an execution."""
    try:
        yield
    except UnsafeArchive as error:
        raise not_placed(f"A result that the task reads is not unpacked: {error.message}") from None
    except ArchiveDamaged as error:
        detail = f"A result that the task reads is damaged: {error.message}"
        raise InputFailed(FailureReason.INPUT_DAMAGED, detail) from None
    except NoSpaceForResult as error:
        raise InputFailed(FailureReason.NODE_ERROR, f"A result that the task reads: {error.message}") from None
    except CannotExtract as error:
        raise not_placed(f"A result that the task reads: {error.message}") from None


def _events(archive: Path, is_unwanted: IsUnwanted) -> Iterator[Member | memoryview]:
    """Of all of it. Raises ArchiveDamaged, UnsafeArchive, CopyStopped."""
    gunzip, reader = Gunzip(), TarReader()
    with archive.open("rb") as file:
        while data := file.read(READ_BYTES):
            for tar in gunzip.feed(data):
                if is_unwanted():
                    raise CopyStopped
                yield from reader.feed(tar)
    gunzip.close()
    reader.close()


class WantedMembers:
    """Which members of an archive are unpacked: all, or those at some paths and below them.

    A file that is wanted under another of its names alone is made under that one.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.is_on = False
        """Whether the content that comes now is of a member that is unpacked."""
        self._paths = {components_of(path.strip("/").encode(errors="surrogateescape")): path for path in paths}
        self._longest = max(map(len, self._paths), default=0)
        self._found: set[tuple[bytes, ...]] = set()
        self._instead: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"<WantedMembers, {len(self._paths)} paths>"

    def look_through(self, archive: Path, is_unwanted: IsUnwanted) -> None:
        """As `look` at each member of the archive."""
        counted = AnnouncedSize(max_entries=MAX_ENTRIES)
        for event in _events(archive, is_unwanted):
            if isinstance(event, Member):
                counted.count(event)
                self.look(event)

    def look(self, member: Member) -> None:
        """One of all members, before any is taken."""
        if member.kind is MemberKind.HARD_LINK and self._has(member.name) and not self._has(member.link_target):
            self._instead.setdefault(member.link_target, member.name)
            if len(self._instead) > MAX_LINKS:
                raise UnsafeArchive(f"More than {MAX_LINKS:,} of its files are wanted under other names alone.")

    def take(self, member: Member) -> Member | None:
        """As it is made; None where it is not."""
        taken = self._taken(member)
        self.is_on = taken is not None and taken.kind is MemberKind.FILE
        return taken

    def _taken(self, member: Member) -> Member | None:
        if not self._paths or (self._has(member.name) and member.kind is not MemberKind.HARD_LINK):
            return member
        if member.kind is MemberKind.FILE and member.name in self._instead:
            return replace(member, name=self._instead[member.name])
        if member.kind is not MemberKind.HARD_LINK or not self._has(member.name):
            return None
        made = self._instead.get(member.link_target)
        if made is None:
            return member
        return None if made == member.name else replace(member, link_target=made)

    def _has(self, name: bytes) -> bool:
        components = components_of(name)
        above = [components[:length] for length in range(1, min(len(components), self._longest) + 1)]
        found = [each for each in above if each in self._paths]
        self._found.update(found)
        return bool(found)

    def missing(self) -> list[str]:
        """The paths at which there was nothing."""
        return [path for components, path in self._paths.items() if components not in self._found]
