"""The digest of a result's content is the same however many of its entries are added at once."""

import pytest

from shared.protocol.archive_index import DirectoryLine, HardLinkLine, SymlinkLine
from shared.protocol.results.content_manifest import ContentDigest, ManifestEntry, ManifestFile

ENTRIES: tuple[ManifestEntry, ...] = (
    DirectoryLine(path="outputs", mode=0o755, mtime=1),
    ManifestFile(path="outputs/ä", mode=0o644, mtime=2, size=5, sha256="ab" * 32),
    ManifestFile(path_base64="/w==", mode=0o600, mtime=3, size=1 << 40, sha256="cd" * 32),
    SymlinkLine(path="outputs/b", mode=0o777, mtime=4, target="a"),
    HardLinkLine(path="outputs/c", mode=0o644, mtime=5, target="outputs/a"),
)


@pytest.mark.parametrize("count", [0, 1, 15, 16, (1 << 16) - 1, 1 << 16])
def test_entries_added_at_once_count_as_each_on_its_own(count: int) -> None:
    entries = [ENTRIES[number % len(ENTRIES)] for number in range(count)]
    at_once, one_by_one = ContentDigest(), ContentDigest()
    at_once.add_all(entries)
    for entry in entries:
        one_by_one.add(entry)
    assert at_once.hexdigest() == one_by_one.hexdigest()
