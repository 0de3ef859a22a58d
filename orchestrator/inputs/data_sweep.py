"""The sweep of sent data: what is too old is deleted, and of what was deleted the contents that nothing else names.

The leader does it, after a time of grace. It first marks in a record that it sweeps, and then looks which data there
is; whoever makes data ready looks at that record after the data was recorded. So either the sweep knows of the data,
and leaves what its manifest names, or its contents are looked at again after the sweep. Jobs that go on keep what they
read. Memory has the contents of one deleted manifest, and one other manifest at a time.
"""

import asyncio
import logging
from collections.abc import Iterator

from msgspec.structs import replace

from orchestrator.inputs.manifests import ManifestMissing, Manifests
from orchestrator.rules.records import DataRecord, SweepRecord
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.deletion import DeletionRefused
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable, NotReady, StorageUnavailable
from shared.jobs.inputs.manifest import ManifestInvalid
from shared.protocol import subjects
from shared.protocol.objects import content_key
from shared.runtime.aio import pipelined

_log = logging.getLogger(__name__)

TICK_SECONDS = 30.0
GRACE_SECONDS = 600.0
"""Between a deletion and its sweep: a job that was just submitted with the data is known by then."""
SENDING_SECONDS = 86_400.0
"""How long what is being sent may go without a request."""
LATE_SECONDS = 30.0
"""How long a deletion may be under way that whoever marked the sweep does not know of any more."""
REFUSED_SECONDS = 3600.0
DELETIONS_AT_ONCE = 16
LOOKED_AT_ONCE = 200


class _NotKnown(Exception):
    """What other data needs cannot be told: nothing that it may share is deleted."""


class DataSweep:
    """The leader's. `max_age_ns` is 0 where data is kept for ever."""

    def __init__(
        self, model: Model, store: Store, locations: Locations, manifests: Manifests, *, max_age_ns: int
    ) -> None:
        self._model = model
        self._store = store
        self._locations = locations
        self._manifests = manifests
        self._max_age_ns = max_age_ns
        self._postponed_until = 0
        self._may_be_marked = True
        """Whether the mark of a sweep may be left that is over, of an earlier leader's too."""
        self._has_complained = False

    def __repr__(self) -> str:
        return f"<DataSweep of {self._model.data!r}>"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if self._may_be_marked:
                    await self._unmark()
                await self._expire()
                await self._sweep_deleted()
            except (MessagingUnavailable, StorageUnavailable, NotReady) as error:
                _log.info("Data that was deleted stays for the present: %s", error.message)
            await asyncio.sleep(TICK_SECONDS)

    async def _expire(self) -> None:
        now = now_ns()
        due = [
            (each, self._model.revision_of(each.key))
            for each in self._model.data
            if not each.deleted and self._is_old(each, now)
        ]
        held = await self._held() if due else set()
        for record, revision in due:
            if (record.namespace, record.digest) not in held:
                await changes.update(self._store, replace(record, deleted=now, names={}), revision=revision)

    def _is_old(self, record: DataRecord, now: int) -> bool:
        if not record.ready:
            return record.last_use + int(SENDING_SECONDS * 1e9) < now
        return bool(self._max_age_ns) and record.last_use + self._max_age_ns < now

    async def _held(self) -> set[tuple[str, str]]:
        """The data that jobs read which go on, by namespace and digest."""
        held = set[tuple[str, str]]()
        live = self._model.jobs.live
        for number, job in enumerate(list(live)):
            if number % LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)
            entry = live.get(job)
            if entry is None or (entry.progress.state.is_terminal and not entry.progress.has_loose_ends):
                continue
            sources = entry.inputs(entry.job.version)
            held.update((entry.namespace, each.data) for each in sources if each.data)
        return held

    async def _sweep_deleted(self) -> None:
        now = now_ns()
        if now < self._postponed_until:
            return
        before = now - int(GRACE_SECONDS * 1e9)
        due = [each for each in self._model.data if 0 < each.deleted < before]
        held = await self._held() if due else set()
        for record in due:
            if (record.namespace, record.digest) in held:
                continue
            self._may_be_marked = True
            if not await self._mark(is_on=True):
                return
            try:
                await self._sweep(record)
            except DeletionRefused as error:
                self._postpone(error, now)
                return
            except _NotKnown as error:  # which keeps nothing of anybody else
                told = "Data sha256:%s of namespace %s, which was deleted, stays: what else is needed is not known. %s"
                _log.info(told, record.digest, record.namespace, error)
            finally:
                self._may_be_marked = not await self._mark(is_on=False)

    async def _sweep(self, stale: DataRecord) -> None:
        await self._store.catch_up()
        record = self._model.data.of(stale.namespace).get(stale.digest)
        if record is None or not record.deleted:
            return
        held = await self._held()
        if (record.namespace, record.digest) in held:
            return
        revision = self._model.revision_of(record.key)
        bucket = await self._locations.bucket_of(record.location)
        if problem := await bucket.problem():  # what may not be read looks like what is not there
            raise StorageUnavailable(problem.message, hint=problem.hint)
        for sha256, upload in record.uploads.items():
            await _abort(bucket, content_key(record.location.key, sha256), upload)
        unnamed = await self._contents(record, is_needed=False)
        for other in list(self._others(record, held)):
            if not unnamed:
                break
            unnamed -= await self._contents(other, is_needed=bool(other.ready))
        keys = [content_key(record.location.key, each.hex()) for each in unnamed]
        await pipelined(keys, bucket.delete, at_once=DELETIONS_AT_ONCE)
        await bucket.delete(record.location.key)
        if self._model.revision_of(record.key) == revision:  # else it is being sent again
            await changes.delete(self._store, record.key)
        _log.info("Data sha256:%s of namespace %s is swept: %d contents.", record.digest, record.namespace, len(keys))

    def _others(self, record: DataRecord, held: set[tuple[str, str]]) -> Iterator[DataRecord]:
        """All data at the same place whose contents have to stay."""
        for other in self._model.data.of(record.namespace).values():
            is_needed = not other.deleted or (other.namespace, other.digest) in held
            if other.digest != record.digest and is_needed and _place(other) == _place(record):
                yield other

    async def _contents(self, record: DataRecord, *, is_needed: bool) -> set[bytes]:
        """Digests of its contents; none where its manifest was not sent, so that nothing has been asked for yet.

        Raises _NotKnown where these are needed and cannot be told, StorageUnavailable.
        """
        try:
            tree = await self._manifests.read(record, keep=False)
        except (ManifestMissing, ManifestInvalid) as error:
            if is_needed:
                raise _NotKnown(error.message) from error
            return set()
        return {bytes.fromhex(each.sha256) for each in tree.contents}

    async def _unmark(self) -> None:
        """End a sweep that was broken off, once none of its deletions is under way any more."""
        if (await self._last()).is_on:
            await asyncio.sleep(LATE_SECONDS)
            self._may_be_marked = not await self._mark(is_on=False)
        else:
            self._may_be_marked = False

    async def _last(self) -> SweepRecord:
        found = await self._store.read(subjects.SWEEP_RECORD)
        return found if isinstance(found, SweepRecord) else SweepRecord(number=0)

    async def _mark(self, *, is_on: bool) -> bool:
        """Whether it is marked so now: another leader may be quicker."""
        last = await self._last()
        return await changes.put(self._store, SweepRecord(number=last.number + is_on, is_on=is_on))

    def _postpone(self, error: DeletionRefused, now: int) -> None:
        self._postponed_until = now + int(REFUSED_SECONDS * 1e9)
        if not self._has_complained:
            self._has_complained = True
            told = "Data that was deleted or is too old stays in the bucket: %s See deploy/iam-policy-deletion.json."
            _log.warning(told, error.message)


async def _abort(bucket: Bucket, key: str, upload_id: str) -> None:
    try:
        await bucket.abort_multipart(key, upload_id)
    except StorageUnavailable as error:
        _log.info("An unfinished upload of sent data is left for the bucket's own rules: %s", error.message)


def _place(record: DataRecord) -> tuple[str, str, str]:
    """Where its contents are: what has the same place may share contents."""
    location = record.location
    return location.endpoint, location.bucket, location.key.rpartition("/")[0]
