"""Manifests of plain results are judged within bounds, whatever a node has written into them."""

from pathlib import Path
from typing import cast

import pytest

from compute.archive.manifest import ContentManifest
from orchestrator.s3 import plain_objects
from orchestrator.s3.bucket import Bucket
from shared.protocol.archive_index import DirectoryLine
from shared.protocol.published_facts import PublishedFacts

NOT_ASKED = cast(Bucket, None)


async def test_a_manifest_of_too_many_entries_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = ContentManifest(tmp_path)
    manifest.add([DirectoryLine(path=f"d{number}", mode=0o755, mtime=0) for number in range(4)])
    manifest.finish()
    with manifest.content() as content:
        told = bytes(content)
    monkeypatch.setattr(plain_objects, "MOST_ENTRIES", 3)
    facts = PublishedFacts(size_bytes=len(told), sha256=manifest.sha256, entries=4)
    why = await plain_objects.what_differs(NOT_ASKED, "j/e.manifest.json.gz", told, facts, has_digests=True)
    assert "too many entries" in why
    manifest.close()
