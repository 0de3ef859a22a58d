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
        kind, size, target, digest = str(entry.__struct_config__.tag), 0, b"", b""
        if isinstance(entry, ManifestFile):
            size, digest = entry.size, bytes.fromhex(entry.sha256)
        elif isinstance(entry, SymlinkLine | HardLinkLine):
            target = entry.link_target
        self.add_told((kind, entry.name, entry.mode, size, target, digest))

    def add_told(self, told: tuple[str, bytes, int, int, bytes, bytes]) -> None:
        """Kind, path, mode, size, target and SHA-256 of an entry. Its kind is the tag of its line."""
        self._sha256.update(_encoder.encode(told))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
