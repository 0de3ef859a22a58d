"""Listings: which objects the inputs of a job are, where these are too many for its record.

They are in the bucket of the managed publisher, by the digest of what they say, and are never changed. Each belongs to
one job, and goes with it or with the version that names it. Those that were read last stay here for a while.
"""

import asyncio
import gzip
import hashlib
import logging
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from orchestrator.inputs.problems import InputListingNotKept
from orchestrator.rules.frozen_inputs import EVERY_PART, FrozenInputs, FrozenObject, FrozenSource
from orchestrator.s3.deletion import DeletionRefused
from orchestrator.s3.locations import Locations
from shared.errors import Damaged, StorageUnavailable, TarponError
from shared.protocol.objects import listing_digest, listing_key
from shared.runtime.aio import pipelined

MOST_IN_RECORD = 32
"""Objects of one job that its record holds."""
MOST_BYTES_IN_RECORD = 32 * 1024
MOST_HELD = 100_000
"""Objects of listings that stay in memory, which takes some 40 MB: as many as one job has at most."""
READS_AT_ONCE = 2
"""Of listings that are not in memory: to read one takes the time of jobs."""
MAX_LISTING_BYTES = 64 << 20
"""Of one that is read."""
WRITES_AT_ONCE = 4
DELETIONS_AT_ONCE = 16
REFUSED_SECONDS = 600.0
"""For how long nothing is deleted after S3 has not done it."""

_log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(tuple[FrozenObject, ...])
_encoder = msgspec.json.Encoder()


class ListingDamaged(Damaged):
    def __init__(self, key: str, why: str) -> None:
        super().__init__(
            f"The list of a job's inputs, {key}, {why}.",
            hint="It was deleted or changed in the bucket. Submit the job again, by which its inputs are listed anew.",
        )


class Share(msgspec.Struct, frozen=True):
    """What one part of a job reads of one source, in the order of keys. EVERY_PART is of what is not divided.

    `is_known` says whether each of its objects has something by which its bytes are known to be the same.
    """

    objects: tuple[FrozenObject, ...]
    size_bytes: int
    part: int
    is_known: bool

    @classmethod
    def of(cls, part: int, objects: Sequence[FrozenObject]) -> "Share":
        size_bytes = sum(each.size for each in objects)
        return cls(tuple(objects), size_bytes, part, all(each.etag or each.sha256 for each in objects))


_NOTHING = Share.of(EVERY_PART, ())


class Listing:
    """All objects of a source, and those of each part."""

    def __init__(self, objects: tuple[FrozenObject, ...]) -> None:
        self.count = len(objects)
        parts: dict[int, list[FrozenObject]] = {}
        for each in objects:
            parts.setdefault(each.part, []).append(each)
        self._shares = {part: Share.of(part, share) for part, share in parts.items()}

    def __repr__(self) -> str:
        return f"<Listing of {self.count} objects>"

    def share_of(self, part: int) -> Share:
        """An input is divided between the parts, or it is not."""
        return self._shares.get(part) or self._shares.get(EVERY_PART, _NOTHING)


class Listings:
    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._held: OrderedDict[str, Listing] = OrderedDict()
        self._reading: dict[str, asyncio.Lock] = {}
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._kept_until = 0.0

    def __repr__(self) -> str:
        return f"<Listings, {len(self._held)} held>"

    async def keep(self, namespace: str, inputs: FrozenInputs) -> FrozenInputs:
        """Store the lists that are too long for a record. Raises InputListingNotKept, StorageUnavailable."""
        kept, room, room_bytes = list(inputs), MOST_IN_RECORD, MOST_BYTES_IN_RECORD
        long: list[int] = []
        for number, source in enumerate(inputs):
            size = len(_encoder.encode(source.objects)) if len(source.objects) <= room else room_bytes + 1
            if size > room_bytes:
                long.append(number)
            else:
                room, room_bytes = room - len(source.objects), room_bytes - size

        async def store(number: int) -> None:
            kept[number] = await self._stored(namespace, kept[number])

        try:
            await pipelined(long, store, at_once=WRITES_AT_ONCE)
        except TarponError:
            await self.remove(kept)
            raise
        return tuple(kept)

    async def _stored(self, namespace: str, source: FrozenSource) -> FrozenSource:
        bucket = self._locations.current
        if bucket is None:
            raise InputListingNotKept(len(source.objects), MOST_IN_RECORD)
        digest, packed = await asyncio.to_thread(_packed, source.objects)
        key = listing_key(bucket.location.key, namespace, digest, secrets.token_hex(8))
        await bucket.put_new(key, packed)
        self._hold(key, await asyncio.to_thread(Listing, source.objects))
        return replace(source, objects=(), listing=key, listed_in=bucket.location.at(""))

    async def of(self, source: FrozenSource) -> Listing:
        """Raises ListingDamaged, StorageUnavailable."""
        if not source.listing:
            return Listing(source.objects)
        if (held := self._held.get(source.listing)) is not None:
            self._held.move_to_end(source.listing)
            return held
        async with self._reading.setdefault(source.listing, asyncio.Lock()):
            try:
                async with self._reads:
                    return self._held.get(source.listing) or await self._read(source)
            finally:
                self._reading.pop(source.listing, None)

    async def _read(self, source: FrozenSource) -> Listing:
        assert source.listed_in is not None
        key, bucket = source.listing, await self._locations.bucket_of(source.listed_in)
        packed = await bucket.get(key, most_bytes=MAX_LISTING_BYTES)
        if packed is None:
            raise ListingDamaged(key, "is not there any more")
        listing = await asyncio.to_thread(_unpacked, key, packed)
        self._hold(key, listing)
        return listing

    async def remove(self, sources: Iterable[FrozenSource]) -> None:
        """Delete what no version names any more. What S3 does not delete stays, for a life-cycle rule to remove."""
        if time.monotonic() < self._kept_until:
            return
        listed = [each for each in sources if each.listing and each.listed_in is not None]
        try:
            await pipelined(listed, self._remove, at_once=DELETIONS_AT_ONCE)
        except (DeletionRefused, StorageUnavailable) as error:
            self._kept_until = time.monotonic() + REFUSED_SECONDS
            _log.info("Lists of inputs of jobs that are gone stay in the bucket: %s", error.message)

    async def _remove(self, source: FrozenSource) -> None:
        assert source.listed_in is not None
        await (await self._locations.bucket_of(source.listed_in)).delete(source.listing)
        self._held.pop(source.listing, None)

    def _hold(self, key: str, listing: Listing) -> None:
        self._held[key] = listing
        self._held.move_to_end(key)
        while len(self._held) > 1 and sum(each.count for each in self._held.values()) > MOST_HELD:
            self._held.popitem(last=False)


def _packed(objects: Iterable[FrozenObject]) -> tuple[str, bytes]:
    plain = _encoder.encode(tuple(objects))
    return hashlib.sha256(plain).hexdigest(), gzip.compress(plain, mtime=0)


def _unpacked(key: str, packed: bytes) -> Listing:
    """Raises ListingDamaged. It is by its digest that it is known to be what was stored."""
    try:
        unpacking = zlib.decompressobj(wbits=31)
        plain = unpacking.decompress(packed, MAX_LISTING_BYTES)
        if not unpacking.eof or hashlib.sha256(plain).hexdigest() != listing_digest(key):
            raise ListingDamaged(key, "is not what was stored")
        return Listing(_decoder.decode(plain))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ListingDamaged(key, "cannot be read") from error
