"""The check of an archive's content, file by file, against the digest that its node told of it.

That of the archive itself tells that its bytes are those which were sent. By this one results are compared.
"""

import hashlib
from collections.abc import Sequence

from shared.errors import DigestMismatch
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.results.content_manifest import ContentDigest

_TAGS = {
    MemberKind.FILE: "file",
    MemberKind.DIRECTORY: "directory",
    MemberKind.SYMLINK: "symlink",
    MemberKind.HARD_LINK: "hardlink",
}
"""Others are in no archive that a node makes."""


class ContentCheck:
    """`take` what a TarReader gives of the whole archive, in its order; then `finish`."""

    def __init__(self, digest: str, what: str) -> None:
        self._expected = digest
        self._what = what
        self._digest = ContentDigest()
        self._member: Member | None = None
        self._sha256 = hashlib.sha256()

    def __repr__(self) -> str:
        return f"<ContentCheck {self._digest!r}>"

    def take(self, events: Sequence[Member | memoryview]) -> None:
        for event in events:
            if isinstance(event, Member):
                self._end()
                self._member, self._sha256 = event, hashlib.sha256()
            else:
                self._sha256.update(event)

    def finish(self) -> None:
        """Raises DigestMismatch."""
        self._end()
        found = self._digest.hexdigest()
        if found != self._expected:
            raise DigestMismatch(f"The content of {self._what}", self._expected, found)

    def _end(self) -> None:
        member = self._member
        if member is None:
            return
        digest = self._sha256.digest() if member.kind is MemberKind.FILE else b""
        tag, name = _TAGS.get(member.kind, member.kind.value), member.name.removesuffix(b"/")
        self._digest.add_told((tag, name, member.mode, member.size_bytes, member.link_target, digest))
