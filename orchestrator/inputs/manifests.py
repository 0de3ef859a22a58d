"""Manifests of sent data, read from the bucket: a few are kept, as their trees are asked about page by page."""

import asyncio
from collections import OrderedDict

import msgspec

from orchestrator.rules.records import DataRecord
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import Absent, ObjectFacts
from shared.errors import NotFound
from shared.jobs.inputs.manifest import MAX_MANIFEST_BYTES, DataFile, Manifest, decode_manifest

MOST_FILES_KEPT = 200_000
"""Of all manifests that are kept together, which then have some 60 MB."""


class ManifestMissing(NotFound):
    def __init__(self, digest: str) -> None:
        super().__init__(
            f"The list of the files of data sha256:{digest} is not in the bucket.",
            hint="Repeat its `tarpon data put`. Somebody, or a life-cycle rule of the bucket, may have removed it.",
        )


class Tree(msgspec.Struct, frozen=True):
    """A manifest, and its different contents in the order in which they are first named."""

    manifest: Manifest
    contents: tuple[DataFile, ...]


class Manifests:
    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._kept: OrderedDict[tuple[str, str, str], Tree] = OrderedDict()
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Manifests, {len(self._kept)} kept>"

    async def is_there(self, record: DataRecord) -> bool:
        """Raises StorageUnavailable."""
        bucket = await self._locations.bucket_of(record.location)
        facts = await bucket.head(record.location.key)
        return isinstance(facts, ObjectFacts) and facts.size_bytes == record.manifest_bytes

    async def read(self, record: DataRecord, *, keep: bool = True) -> Tree:
        """Raises ManifestMissing, ManifestInvalid, StorageUnavailable."""
        place = record.location
        key = (place.endpoint, place.bucket, place.key)
        async with self._reading:  # one at a time, as each may be large
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            bucket = await self._locations.bucket_of(place)
            content = await bucket.read(place.key, most_bytes=MAX_MANIFEST_BYTES)
            if isinstance(content, Absent):
                raise ManifestMissing(record.digest)
            tree = await asyncio.to_thread(_tree, content, record.digest)
            if keep:
                self._keep(key, tree)
            return tree

    def _keep(self, key: tuple[str, str, str], tree: Tree) -> None:
        self._kept[key] = tree
        while len(self._kept) > 1 and sum(len(each.manifest.files) for each in self._kept.values()) > MOST_FILES_KEPT:
            self._kept.popitem(last=False)


def _tree(content: bytes, digest: str) -> Tree:
    manifest = decode_manifest(content, digest)
    contents = {each.sha256: each for each in reversed(manifest.files)}
    return Tree(manifest, tuple(reversed(contents.values())))
