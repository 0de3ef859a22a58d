"""Sent data, as it is recorded: begun, found by name or digest, listed, deleted, and counted against the quota.

Data of the same digest is one record, however often it is sent. A name means what was called so last: what it meant
before stays, by its digest and its other names, until it is deleted or too old.
"""

import asyncio
import re
from collections.abc import Callable

from msgspec.structs import replace

from orchestrator.inputs.data_problems import (
    DataBucketMissing,
    DataDigestInvalid,
    DataFileTooLarge,
    DataNameInvalid,
    DataNotFound,
    DataNotWhole,
    DataQuotaExceeded,
    DataTooManyFiles,
    DeletedDataStays,
    TooMuchData,
)
from orchestrator.rules.near_names import near_names
from orchestrator.rules.records import DataRecord
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import InvalidId, StorageUnavailable
from shared.ids import is_safe_id
from shared.jobs.inputs.manifest import MAX_FILES, MAX_MANIFEST_BYTES, Manifest, ManifestInvalid, digest_in
from shared.jobs.quantities import parse_bytes
from shared.protocol.namespaces.rest_data import PutDataRequest
from shared.protocol.objects import manifest_key
from shared.settings.sent_data import SentDataSettings

MOST_IN_NAMESPACE = 1000
MOST_NAMES = 64
NOTED_AGAIN_NS = 60 * 10**9
"""A use is noted that comes so much after the last one: many jobs may read the same data."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_BEGINNING = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})\Z")
"""So many digits of a digest name what it belongs to, if no other one begins so."""


class DataRecords:
    """`now` gives nanoseconds since 1970."""

    def __init__(
        self,
        model: Model,
        store: Store,
        locations: Locations,
        settings: SentDataSettings,
        *,
        now: Callable[[], int] = now_ns,
    ) -> None:
        self._model = model
        self._store = store
        self._locations = locations
        self.quota_bytes = parse_bytes(settings.quota)
        self.max_age_ns = int(settings.max_age * 1e9)
        self._max_file_bytes = parse_bytes(settings.max_file_size)
        self._now = now
        self._beginning = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<DataRecords {self._model.data!r}>"

    def of(self, namespace: str) -> list[DataRecord]:
        """All that is there, the newest first; raises NotReady."""
        self._store.check_ready()
        found = [each for each in self._model.data.of(namespace).values() if not each.deleted]
        return sorted(found, key=lambda each: (-each.create_time, each.digest))

    def used_bytes(self, namespace: str) -> int:
        return self._model.data.size_bytes(namespace)

    async def begin(self, namespace: str, digest: str, wanted: PutDataRequest) -> DataRecord:
        """Record that data is being sent, or take in that it was sent before and is wanted again.

        Raises InvalidInput where it cannot be kept, DataBucketMissing, DataQuotaExceeded, DeletedDataStays, and
        TooMuchData, StorageUnavailable while the bucket cannot be used.
        """
        self._store.check_ready()
        _check(namespace, wanted)
        if not digest_in(digest):
            raise DataDigestInvalid(digest)
        digest = digest_in(digest)
        async with self._beginning:  # so that two that come at once do not both find the same room

            async def attempt() -> DataRecord:
                known = self._model.data.of(namespace).get(digest)
                if known is None or known.deleted:
                    self._check_room(namespace, digest, wanted.size_bytes)
                record = self._begun(namespace, digest, wanted, known)
                if known is None:
                    await self._store.create_again(record.key, record)
                else:
                    await self._store.update(record.key, record)
                return record

            return await changes.insist(self._store, attempt)

    def _begun(self, namespace: str, digest: str, wanted: PutDataRequest, known: DataRecord | None) -> DataRecord:
        now, current = self._now(), self._locations.current
        if current is None:
            raise DataBucketMissing
        problem = current.health.outcome.problem
        if problem is not None and (known is None or not known.ready):  # else nothing has to be sent
            told = f"Nothing can be sent at present: {problem.message}"
            raise StorageUnavailable(told, hint=problem.hint, details={"Cause": problem.code})
        named = {wanted.name: now} if wanted.name else {}
        if known is not None and not known.deleted:
            names = known.names | named
            kept = sorted(names, key=names.__getitem__)[-MOST_NAMES:]
            return replace(known, names={name: names[name] for name in kept}, last_use=now)
        location = current.location
        return DataRecord(
            namespace=namespace,
            digest=digest,
            location=location.at(manifest_key(location.key, namespace, digest)),
            manifest_bytes=wanted.manifest_bytes,
            files=wanted.files,
            size_bytes=wanted.size_bytes,
            names=named,
            uploads=known.uploads if known is not None else {},
            create_time=now,
            last_use=now,
        )

    def _check_room(self, namespace: str, digest: str, size_bytes: int) -> None:
        used = self._model.data.size_bytes(namespace, without=digest)
        if used + size_bytes > self.quota_bytes:
            raise DataQuotaExceeded(namespace, size_bytes, used, self.quota_bytes)
        deleted = self._model.data.deleted_bytes(namespace, without=digest)
        if used + deleted + size_bytes > 2 * self.quota_bytes:
            raise DeletedDataStays(namespace, size_bytes, deleted)
        if digest not in self._model.data.of(namespace) and len(self._model.data.of(namespace)) >= MOST_IN_NAMESPACE:
            raise TooMuchData(namespace, MOST_IN_NAMESPACE)

    def check_manifest(self, record: DataRecord, manifest: Manifest) -> None:
        """Raise ManifestInvalid unless it is what was told of it, and DataFileTooLarge."""
        if (len(manifest.files), manifest.size_bytes) != (record.files, record.size_bytes):
            raise ManifestInvalid("it has another number of files, or of bytes, than was said when it was begun.")
        for each in manifest.files:
            if each.size > self._max_file_bytes:
                raise DataFileTooLarge(each.path, each.size, self._max_file_bytes)

    def find(self, namespace: str, text: str) -> DataRecord:
        """By name, digest, or an unambiguous beginning of that. Raises DataNotFound, NotReady."""
        self._store.check_ready()
        there = {digest: each for digest, each in self._model.data.of(namespace).items() if not each.deleted}
        if named := self._model.data.named(namespace, text):
            return named
        if beginning := _BEGINNING.match(text):
            found = [each for digest, each in there.items() if digest.startswith(beginning[1])]
            if len(found) == 1:
                return found[0]
        names = {name for each in there.values() for name in each.names}
        raise DataNotFound(namespace, text, near_names(text, names.__contains__, sorted(names)))

    def ready(self, namespace: str, text: str) -> DataRecord:
        """As `find`; raises DataNotWhole where it was not sent to its end."""
        record = self.find(namespace, text)
        if not record.is_ready:
            raise DataNotWhole(text)
        return record

    async def change(self, record: DataRecord, changed: Callable[[DataRecord], DataRecord | None]) -> DataRecord:
        """Store what is to become of the record as it is then; None leaves it. Raises DataNotFound where it is gone."""

        async def attempt() -> DataRecord:
            known = self._model.data.of(record.namespace).get(record.digest)
            if known is None or known.deleted:
                raise DataNotFound(record.namespace, record.digest)
            after = changed(known)
            if after is None or after == known:
                return known
            await self._store.update(after.key, after)
            return after

        return await changes.insist(self._store, attempt)

    async def catch_up(self) -> None:
        """Return when all is known that was recorded before. Raises MessagingUnavailable."""
        await self._store.catch_up()

    async def used(self, record: DataRecord) -> DataRecord:
        """The record, in which is noted that it is used now. Raises DataNotFound."""
        now = self._now()
        if now - record.last_use < NOTED_AGAIN_NS:
            return record
        return await self.change(record, lambda known: replace(known, last_use=now))

    async def delete(self, namespace: str, text: str) -> tuple[DataRecord, bool]:
        """Delete it, or, where it was named and has other names, this name alone; whether it is deleted."""
        record = self.find(namespace, text)

        def without(known: DataRecord) -> DataRecord:
            others = {name: at for name, at in known.names.items() if name != text}
            if text in known.names and others:
                return replace(known, names=others)
            return replace(known, deleted=self._now(), names={})

        after = await self.change(record, without)
        return after, bool(after.deleted)


def _check(namespace: str, wanted: PutDataRequest) -> None:
    if not is_safe_id(namespace):
        raise InvalidId("namespace", namespace)
    if wanted.name and (not _NAME.match(wanted.name) or digest_in(wanted.name)):
        raise DataNameInvalid(wanted.name)
    if wanted.files > MAX_FILES or wanted.manifest_bytes > MAX_MANIFEST_BYTES:
        raise DataTooManyFiles(wanted.files, wanted.manifest_bytes)
    if wanted.files < 1 or wanted.manifest_bytes < 1 or not 0 <= wanted.size_bytes < 1 << 62:
        raise ManifestInvalid("it lists no file, or its numbers make no sense.")
