"""The manifest of a result's content, written while it is read: see shared/protocol/results/content_manifest.py."""

from collections.abc import Sequence
from pathlib import Path

from compute.archive.line_file import LineFile
from shared.protocol.results.content_manifest import (
    VERSION,
    ContentDigest,
    ManifestEnd,
    ManifestEntry,
    ManifestFile,
    ManifestHead,
)


class ContentManifest(LineFile):
    """Add the entries in their order; `finish()`; else as a LineFile."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._digest_of_content = ContentDigest()
        self.entries = 0
        self.content_bytes = 0
        self.write([ManifestHead(version=VERSION)])

    def __repr__(self) -> str:
        return f"<ContentManifest of {self.entries} entries>"

    @property
    def content_digest(self) -> str:
        """Of what has been added."""
        return self._digest_of_content.hexdigest()

    def add(self, entries: Sequence[ManifestEntry]) -> None:
        self.entries += len(entries)
        self.content_bytes += sum(each.size for each in entries if isinstance(each, ManifestFile))
        self._digest_of_content.add_all(entries)
        self.write(entries)

    def finish(self) -> None:
        end = ManifestEnd(entries=self.entries, bytes=self.content_bytes, digest=self.content_digest)
        self.write([end])
        self.end()
