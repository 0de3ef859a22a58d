"""The manifest of a result's content: every entry with the digest of what is in it.

It is JSON Lines in one gzip member, sorted by the bytes of the names in each folder, a folder before what it holds:

    {"kind":"manifest","version":1}                                                            first
    {"kind":"directory","path":"outputs","mode":493,"mtime":1700000000}
    {"kind":"file","path":"outputs/a","mode":420,"mtime":1700000000,"size":5,"sha256":"2cf24d...","md5":"5d4140..."}
    {"kind":"symlink","path":"outputs/b","mode":511,"mtime":1700000000,"target":"a"}
    {"kind":"hardlink","path":"outputs/c","mode":420,"mtime":1700000000,"target":"outputs/a"}
    {"kind":"end","entries":4,"bytes":5,"digest":"..."}                                        last

Names are spelled as in the index beside an archive (shared/protocol/archive_index.py). Readers skip keys and kinds that
they do not know, and refuse another version. The `digest` is that of the content alone, by `ContentDigest`: two results
that differ in times, or in how they are stored, have the same one. `mtime` and `md5` are told for readers.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from shared.protocol.archive_index import DirectoryLine, HardLinkLine, IndexLine, NamedLine, SymlinkLine

VERSION = 1
MAX_MANIFEST_BYTES = 64 << 20
"""Of one, as it is stored."""
MOST_FILES, MOST_EVER = 100_000, 250_000
"""How many files a plain result may have, unless the operator sets another number, and whatever they set."""
MOST_ENTRIES = 500_000
"""With folders and links."""
MOST_PUT_BYTES = 5 << 30
"""Of one object that is sent at once (Amazon S3 user guide, "Uploading objects")."""


class ManifestHead(IndexLine, frozen=True, kw_only=True, tag="manifest"):
    version: int


class ManifestFile(NamedLine, frozen=True, kw_only=True, tag="file"):
    """Digests are in hexadecimal."""

    size: int = 0
    sha256: str
    md5: str = ""


class ManifestEnd(IndexLine, frozen=True, kw_only=True, tag="end"):
    """`bytes` are those of all files."""

    entries: int
    bytes: int
    digest: str


ManifestEntry = ManifestFile | DirectoryLine | SymlinkLine | HardLinkLine
ManifestLine = ManifestHead | ManifestEntry | ManifestEnd

Told = tuple[str, bytes, int, int, bytes, bytes]
"""Kind, path, mode, size, target and SHA-256 of an entry."""

_encoder = msgspec.msgpack.Encoder()


class ContentDigest:
    """SHA-256 over the entries in their order, each a msgpack array of its kind, path, mode, size, target and SHA-256.

    Names and digests are bytes, and what an entry does not have is empty or 0.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256(b"tarpon content manifest 1\n")

    def __repr__(self) -> str:
        return f"<ContentDigest {self.hexdigest()}>"

    def add(self, entry: ManifestEntry) -> None:
        """Raises ValueError where a name or digest is spelled so that it makes no sense."""
        self.add_told(_told(entry))

    def add_all(self, entries: Sequence[ManifestEntry]) -> None:
        """As `add` each of them, at less cost."""
        encoded = memoryview(_encoder.encode([_told(each) for each in entries]))
        self._sha256.update(encoded[_array_head_bytes(len(entries)) :])

    def add_told(self, told: Told) -> None:
        """Its kind is the tag of its line."""
        self._sha256.update(_encoder.encode(told))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _told(entry: ManifestEntry) -> Told:
    if isinstance(entry, ManifestFile):
        return "file", entry.name, entry.mode, entry.size, b"", bytes.fromhex(entry.sha256)
    target = entry.link_target if isinstance(entry, SymlinkLine | HardLinkLine) else b""
    return str(entry.__struct_config__.tag), entry.name, entry.mode, 0, target, b""


def _array_head_bytes(length: int) -> int:
    """Of what a msgpack array of this length begins with (the specification of MessagePack, "array format family")."""
    return 1 if length < 16 else 3 if length < 1 << 16 else 5
