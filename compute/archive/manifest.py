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
        self.content_digest = ContentDigest()
        self.entries = 0
        self.content_bytes = 0
        self.write([ManifestHead(version=VERSION)])

    def __repr__(self) -> str:
        return f"<ContentManifest of {self.entries} entries>"

    def add(self, entries: Sequence[ManifestEntry]) -> None:
        self.entries += len(entries)
        self.content_bytes += sum(each.size for each in entries if isinstance(each, ManifestFile))
        for each in entries:
            self.content_digest.add(each)
        self.write(entries)

    def finish(self) -> None:
        digest = self.content_digest.hexdigest()
        self.write([ManifestEnd(entries=self.entries, bytes=self.content_bytes, digest=digest)])
        self.end()
