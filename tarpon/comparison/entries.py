"""Entries of two results side by side: which of them differ, and in what. Nothing is read of files here."""

from collections.abc import Iterator
from typing import NamedTuple

from shared.errors import Damaged
from shared.extraction.tar_reader import Member, MemberKind

ONLY_FIRST, ONLY_SECOND = "only-first", "only-second"
ALL_MODES = 0o7777
TYPE, MODE, SIZE, TARGET, CONTENT = "type", "mode", "size", "target", "content"


class NotInOrder(Damaged):
    """A result whose entries no writer of ours has sorted cannot be read beside another."""

    def __init__(self, name: bytes) -> None:
        super().__init__(
            f"The entries of a result are not in the order of their names, at {name[:160]!r}, so that it cannot be"
            " compared.",
            hint="Get both results with `tarpon job get`, and compare the folders: diff -r FOLDER FOLDER.",
        )


class ComparedEntry(NamedTuple):
    """`sha256` is that of a file's content."""

    name: bytes
    kind: MemberKind
    mode: int
    size_bytes: int = 0
    target: bytes = b""
    sha256: bytes = b""

    @property
    def is_file(self) -> bool:
        return self.kind is MemberKind.FILE


class EntryDifference(NamedTuple):
    """What is None is not there. `what` is ONLY_FIRST, ONLY_SECOND, or some of the others."""

    first: ComparedEntry | None
    second: ComparedEntry | None
    what: tuple[str, ...]

    @property
    def name(self) -> bytes:
        entry = self.first or self.second
        assert entry is not None
        return entry.name

    @property
    def has_contents(self) -> bool:
        """Whether both are files whose bytes differ."""
        return CONTENT in self.what


def of_member(member: Member, sha256: bytes) -> ComparedEntry:
    """The member has a plain name."""
    return ComparedEntry(member.name, member.kind, member.mode, member.size_bytes, member.link_target, sha256)


def differences(
    first: Iterator[ComparedEntry], second: Iterator[ComparedEntry], mode_mask: int = ALL_MODES
) -> Iterator[EntryDifference | None]:
    """For each path of the one or the other what differs, or None; one entry of each is in memory.

    Raises NotInOrder.
    """
    one, other = _in_order(first), _in_order(second)
    left, right = next(one, None), next(other, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _place(left) < _place(right)):
            yield EntryDifference(left, None, (ONLY_FIRST,))
            left = next(one, None)
        elif left is None or _place(right) < _place(left):
            yield EntryDifference(None, right, (ONLY_SECOND,))
            right = next(other, None)
        else:
            what = _what_differs(left, right, mode_mask)
            yield EntryDifference(left, right, what) if what else None
            left, right = next(one, None), next(other, None)


def _in_order(entries: Iterator[ComparedEntry]) -> Iterator[ComparedEntry]:
    before: list[bytes] = []
    for entry in entries:
        place = _place(entry)
        if place <= before:
            raise NotInOrder(entry.name)
        before = place
        yield entry


def _place(entry: ComparedEntry) -> list[bytes]:
    """In each folder by the bytes of the names, and a folder before what it holds."""
    return entry.name.split(b"/")


def _what_differs(first: ComparedEntry, second: ComparedEntry, mode_mask: int) -> tuple[str, ...]:
    if first.kind is not second.kind:
        return (TYPE,)
    differs = {
        MODE: (first.mode ^ second.mode) & mode_mask != 0,
        SIZE: first.size_bytes != second.size_bytes,
        TARGET: first.target != second.target,
        CONTENT: first.is_file and first.sha256 != second.sha256,
    }
    return tuple(what for what, is_so in differs.items() if is_so)
