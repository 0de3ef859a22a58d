"""Entries by a manifest of content: with plain names, and each file with the digest of its content."""

from collections.abc import Iterator
from typing import IO

from shared.extraction.announced import announced
from shared.extraction.manifest_reading import manifest_entries, member_of
from shared.extraction.tar_reader import Member
from shared.protocol.rest import ResultParams
from shared.protocol.results.content_manifest import ManifestFile
from tarpon.archive.plain_names import plainly_named


def members_with_digests(manifest: IO[bytes], params: ResultParams) -> Iterator[tuple[Member, bytes]]:
    """Of the result that `params` tell of; the SHA-256 is empty of what is no file. Blocks.

    Raises ManifestDamaged, also where it is not the manifest of that content, and UnsafeArchive.
    """
    bounds = announced(params)
    manifest.seek(0)
    for number, entry in enumerate(manifest_entries(manifest, params.content_digest)):
        member = member_of(entry, number)
        bounds.count(member)
        if (named := plainly_named(member)) is not None:
            yield named, bytes.fromhex(entry.sha256) if isinstance(entry, ManifestFile) else b""
