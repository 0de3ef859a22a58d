"""Oddities: what of a result is not in the target as in the archive, with a stable code for each."""

import enum
from collections import Counter

import msgspec
from msgspec import field

MAX_NAMED = 10_000
"""Beyond these, entries are counted and no longer named."""


class Odd(enum.StrEnum):
    """Why an entry is not there, or is there in another form."""

    NAME_COLLIDES = "NameCollides"
    """Left out: the target takes its name for that of another entry."""
    RENAMED = "Renamed"
    """The same, and it was given another name."""
    NAME_IMPOSSIBLE = "NameImpossible"
    """Left out: the target's file system knows no such name."""
    LINK_LEAVES_RESULT = "LinkLeavesResult"
    """Left out: a symbolic link that leads, or could lead, out of the result."""
    SYMLINK_IMPOSSIBLE = "SymlinkImpossible"
    """Left out: the target's file system has no symbolic links."""
    HARD_LINK_COPIED = "HardLinkCopied"
    """A file of its own, with the same content: the target's file system has no hard links."""
    HARD_LINK_LEFT_OUT = "HardLinkLeftOut"
    """Left out: the file that it is another name of was left out too, or there is no room for copies."""
    FILE_TOO_LARGE = "FileTooLarge"
    """Left out: the target's file system cannot hold a file of this size, or not with its holes."""
    ATTRIBUTES_NOT_RESTORED = "AttributesNotRestored"
    """It is there without some of its extended attributes, which the target refuses."""
    ATTRIBUTES_IGNORED = "AttributesIgnored"
    """It is there without its extended attributes, which nobody has asked for."""
    METADATA_NOT_KEPT = "MetadataNotKept"
    """The target does not keep the permissions or times of files; told once."""

    @property
    def was_chosen(self) -> bool:
        """Whether this follows from what the user asked for, or concerns no entry's name or content."""
        return self in _CHOSEN


_CHOSEN = frozenset({Odd.RENAMED, Odd.LINK_LEAVES_RESULT, Odd.ATTRIBUTES_IGNORED, Odd.METADATA_NOT_KEPT})


class OddEntry(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """One entry of a result that is not in the target, or not as it was."""

    code: Odd
    path: str
    detail: str = ""
    execution: str = field(name="ExecutionID", default="")


class Oddities(msgspec.Struct, kw_only=True):
    """All of them: the first ones by name, and how many there are of each code."""

    named: list[OddEntry] = []
    counts: Counter[Odd] = field(default_factory=Counter)

    def add(self, code: Odd, components: tuple[bytes, ...], detail: str = "") -> None:
        self.counts[code] += 1
        if len(self.named) < MAX_NAMED:
            path = b"/".join(components).decode(errors="backslashreplace")
            self.named.append(OddEntry(code=code, path=path, detail=detail))

    def extend(self, others: "Oddities", *, execution: str) -> None:
        self.counts.update(others.counts)
        for each in others.named[: MAX_NAMED - len(self.named)]:
            self.named.append(msgspec.structs.replace(each, execution=execution))


class CannotHave(Exception):
    """The target cannot have one entry, and can have the others."""

    def __init__(self, code: Odd, detail: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
