"""The manifest of a result's content, read line by line and without trusting it.

shared/protocol/results/content_manifest.py tells the format. Its writer is the machine that ran somebody's task.
"""

from collections.abc import Iterator
from typing import IO

import msgspec

from shared.errors import Damaged
from shared.extraction.archive_index import lines_of
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.archive_index import DirectoryLine, HardLinkLine, SymlinkLine
from shared.protocol.results.content_manifest import (
    VERSION,
    ContentDigest,
    ManifestEnd,
    ManifestEntry,
    ManifestFile,
    ManifestHead,
)

MAX_UNKNOWN_LINES = 10_000
"""Lines of kinds that only a later Tarpon knows."""
_MAX_SECONDS = 10**12 - 1
_MOST = 2**63 - 1
"""JSON knows no bounds of numbers, and the digest does."""


class ManifestDamaged(Damaged):
    """The manifest of a result makes no sense, or is not that of the result."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"The manifest of the result cannot be used: {what}.", hint=hint or "Run the job again.")


class _Kind(msgspec.Struct):
    kind: str = ""


_known = msgspec.json.Decoder(ManifestHead | ManifestFile | DirectoryLine | SymlinkLine | HardLinkLine | ManifestEnd)
_any = msgspec.json.Decoder(_Kind)
_KINDS = frozenset({"manifest", "file", "directory", "symlink", "hardlink", "end"})
_MEMBER_KINDS: dict[type[ManifestEntry], MemberKind] = {
    ManifestFile: MemberKind.FILE,
    DirectoryLine: MemberKind.DIRECTORY,
    SymlinkLine: MemberKind.SYMLINK,
    HardLinkLine: MemberKind.HARD_LINK,
}


def manifest_entries(source: IO[bytes], content_digest: str = "") -> Iterator[ManifestEntry]:
    """The entries of a compressed manifest in its order; one line is in memory at a time.

    `content_digest` is that of the content which it has to be of, where that is known. Raises ManifestDamaged;
    where it does, what has been given before is worth nothing.
    """
    digest, entries, content_bytes, unknown = ContentDigest(), 0, 0, 0
    has_begun = has_ended = False
    for line in lines_of(source, ManifestDamaged):
        known = _decoded(line)
        if has_ended:
            raise ManifestDamaged("it goes on after its end")
        if has_begun is isinstance(known, ManifestHead):
            raise ManifestDamaged("its first line, and no other, has to say what it is")
        match known:
            case None:
                unknown += 1
                if unknown > MAX_UNKNOWN_LINES:
                    raise ManifestDamaged("it is full of lines that are not known here")
            case ManifestHead(version=version):
                if version != VERSION:
                    raise ManifestDamaged(
                        f"it has version {version}, and only {VERSION} is known here",
                        hint="Update Tarpon on this machine.",
                    )
                has_begun = True
            case ManifestEnd():
                if (known.entries, known.bytes, known.digest) != (entries, content_bytes, digest.hexdigest()):
                    raise ManifestDamaged("what it counts at its end is not what it has")
                if content_digest not in {"", known.digest}:
                    raise ManifestDamaged("it is that of another content")
                has_ended = True
            case _:
                entries += 1
                content_bytes += _checked(known)
                digest.add(known)
                yield known
    if not has_ended:
        raise ManifestDamaged("it ends too early")


def member_of(entry: ManifestEntry, number: int) -> Member:
    """What is placed of an entry. `content_at` is its number, which is the order of the files."""
    return Member(
        kind=_MEMBER_KINDS[type(entry)],
        name=entry.name,
        link_target=entry.link_target if isinstance(entry, SymlinkLine | HardLinkLine) else b"",
        size_bytes=entry.size if isinstance(entry, ManifestFile) else 0,
        mode=entry.mode & 0o7777,
        mtime_ns=min(max(entry.mtime, -_MAX_SECONDS), _MAX_SECONDS) * 1_000_000_000,
        content_at=number,
    )


def _checked(entry: ManifestEntry) -> int:
    """Its bytes, of an entry whose names and digests can be read."""
    try:
        entry.name  # noqa: B018  # raises where it is spelled wrongly
        if isinstance(entry, SymlinkLine | HardLinkLine):
            entry.link_target  # noqa: B018  # as above
        if not 0 <= entry.mode <= _MOST:
            raise ManifestDamaged(f"{entry.shown[:80]!r} has no mode that makes sense")
        if not isinstance(entry, ManifestFile):
            return 0
        if not 0 <= entry.size <= _MOST or len(bytes.fromhex(entry.sha256)) != 32:
            raise ManifestDamaged(f"{entry.shown[:80]!r} has no size or digest that makes sense")
    except ValueError as error:
        raise ManifestDamaged(f"a name or digest in it makes no sense ({error})") from error
    return entry.size


def _decoded(line: bytes) -> ManifestHead | ManifestEntry | ManifestEnd | None:
    """None is a line of a kind that is not known here."""
    known: ManifestHead | ManifestEntry | ManifestEnd | None = None
    try:
        known = _known.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            kind = _any.decode(line).kind
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            kind = "manifest"
        if kind in _KINDS:
            raise ManifestDamaged(f"a line in it makes no sense ({error})") from error
    return known
