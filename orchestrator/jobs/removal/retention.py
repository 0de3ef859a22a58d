"""Retention: what is forgotten, and when. Jobs that ended long ago, or are too many, and old results.

A job that is to go is marked in its record; then all else of it goes, and its record last. Whoever leads next finds the
mark and goes on. Where its results go with it, they go first, and what S3 does not delete keeps the record.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import islice

from msgspec.structs import replace

from orchestrator.inputs.listings import Listings
from orchestrator.rules.frozen_inputs import FrozenSource
from orchestrator.rules.records import ExecutionRecord, JobRecord, Removal, about_execution
from orchestrator.s3.deletion import DeletionRefused, ObjectLocked
from orchestrator.s3.locations import Locations
from orchestrator.s3.plain_objects import delete_result
from orchestrator.state.ended_jobs import VERSIONS_KEPT
from orchestrator.state.model import JobEntry, Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable, StorageUnavailable
from shared.ids import ExecutionId, JobId
from shared.protocol import subjects
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about
from shared.settings.config import JobRetention

_log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
RETRY_SECONDS = 1.0
BATCH = 256
WRITES_AT_ONCE = 128
"""As many as jobs may well be in flight: what comes in may not outrun what goes."""
DELETIONS_AT_ONCE = 16
AGAIN_SECONDS = 60.0
"""When it is tried again to delete results where S3 did not."""
LOCKED_SECONDS = 3600.0
"""The same for what Object Lock protects, which may be for years."""
STRAY_SECONDS = 3600.0
"""How long a submit may take at most, before what it has stored without a job's record is removed."""
_EXECUTION = subjects.execution_record("")
RETURNED_SECONDS = 5.0
"""The same for executions, which are never stored before their job: NATS has brought them back, or they came late."""


class Retention:
    """The leader's. `results_seconds` is after how long results are deleted; 0 is never.

    Within `without_record` nothing is written beside the result of that execution.

    `now` gives nanoseconds since 1970, `clock` monotonic seconds.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        locations: Locations,
        listings: Listings,
        *,
        settings: JobRetention,
        results_seconds: float,
        without_record: Callable[[ExecutionId], AbstractAsyncContextManager[None]],
        now: Callable[[], int] = now_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._store = store
        self._locations = locations
        self._listings = listings
        self._settings = settings
        self._results_seconds = results_seconds
        self._without_record = without_record
        self._now = now
        self._clock = clock
        self._blocked: dict[JobId, float] = {}
        self._postponed: dict[JobId, float] = {}
        self._deletes_again_at = 0.0
        self._may_delete = False
        self._has_complained = False
        self._strays: dict[JobId, tuple[int, float]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._model.endings.until_wanted()
            try:
                while await self.sweep():
                    pass
            except MessagingUnavailable as error:
                _log.info("What is old stays for the present: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def sweep(self) -> bool:
        """Remove some of what is due; whether there may be more."""
        self._return_postponed()
        marked = await self._mark_due()
        removed = await self._remove_marked()
        deleted = await self._delete_old_results()
        await self._remove_old_versions()
        await self._remove_strays()
        await self._remove_returned()
        return marked or removed or deleted

    # ---- jobs -------------------------------------------------------------------------------------------------------

    async def _mark_due(self) -> bool:
        if self._results_seconds and not await self._deletion_is_allowed():
            return False
        due = due_jobs(self._model, self._settings, now=self._now())
        try:
            await pipelined(due, self._mark, at_once=WRITES_AT_ONCE)
        finally:
            self._note_again(job for job in due if job not in self._postponed)
        return len(due) == BATCH

    async def _mark(self, job: JobId) -> None:
        entry = self._model.jobs.get(job)
        if entry is None or entry.job.removal is not None or self._is_needed(job):
            return
        await changes.update(self._store, marked(entry, results=self._results_seconds > 0))

    def _is_needed(self, job: JobId) -> bool:
        """Whether nothing of it may go yet, as a job that goes on needs it; then it is looked at again later."""
        is_needed = self._model.backlog.chains.live_follower(job) is not None
        if is_needed:
            self._postponed[job] = self._clock() + AGAIN_SECONDS
        return is_needed

    def _return_postponed(self) -> None:
        now = self._clock()
        due = [job for job, at in self._postponed.items() if at <= now]
        for job in due:
            del self._postponed[job]
        self._note_again(due)

    def _note_again(self, jobs: Iterable[JobId]) -> None:
        """They were taken out of the order of their ends; those that are not marked go back into it."""
        for job in jobs:
            if (entry := self._model.jobs.get(job)) is not None:
                self._model.note_ending(entry)

    async def _remove_marked(self) -> bool:
        now = self._clock()
        self._blocked = {job: at for job, at in self._blocked.items() if at > now}
        jobs: list[JobId] = []
        for job in self._model.endings.removals:
            if self._may_be_removed(job):
                jobs.append(job)
            if len(jobs) == BATCH:
                break
        await self._delete_results_of(jobs)
        free = [job for job in jobs if self._may_be_removed(job)]
        await self._remove_listings(free)
        parts = [key for job in free for key in self._model.stored_parts(job)]
        await pipelined(parts, self._delete_part, at_once=WRITES_AT_ONCE)
        bare = [job for job in free if not self._model.stored_parts(job)]
        await pipelined([subjects.job_record(job) for job in bare], self._delete, at_once=WRITES_AT_ONCE)
        for job in bare:
            _log.info("Job %s is removed.", job, extra=about(job=job))
        return len(jobs) == BATCH

    async def _remove_listings(self, jobs: Iterable[JobId]) -> None:
        entries = [entry for job in jobs if (entry := self._model.stored_job(job)) is not None]
        named = [each for entry in entries for inputs in entry.all_inputs().values() for each in inputs]
        if named:
            await self._listings.remove(named)

    def _may_be_removed(self, job: JobId) -> bool:
        entry = self._model.stored_job(job)
        if entry is None or entry.record is None or entry.record.removal is None:
            return False
        waits = entry.record.removal.results and job in self._blocked
        return not waits and all(each.state.is_terminal for each in entry.executions.values())

    async def _delete(self, key: str) -> None:
        """Where it has changed meanwhile, it is removed as it is now in the next round."""
        await changes.delete(self._store, key)

    async def _delete_part(self, key: str) -> None:
        if key.startswith(_EXECUTION):
            await changes.once(self._store, key, self._store.delete_with_job(key))
        else:
            await self._delete(key)

    async def _remove_old_versions(self) -> None:
        """Of jobs that are run again and again, and so are never old: what was run long before, when they rest."""
        if self._results_seconds and not await self._deletion_is_allowed():
            return
        chains = self._model.backlog.chains
        crowded = (job for job in list(self._model.endings.crowded) if chains.live_follower(job) is None)
        entries = [self._model.jobs[job] for job in islice(crowded, BATCH)]
        executions = [each for entry in entries for each in _old_executions(entry)]
        if self._results_seconds:
            published = [each for each in executions if each.may_have_objects]
            await pipelined(published, self._delete_result, at_once=DELETIONS_AT_ONCE)
            executions = [each for each in executions if not self._has_objects(each)]
        await pipelined([each.key for each in executions], self._delete, at_once=WRITES_AT_ONCE)
        bare = [entry for entry in entries if not _old_executions(entry)]
        await self._listings.remove(each for entry in bare for each in _old_listings(entry))
        for entry in bare:
            if not _old_versions(entry):  # all that is there is kept by others
                self._model.endings.clear(entry.job.id)
        specs = [subjects.spec_record(entry.job.id, version) for entry in bare for version in _old_versions(entry)]
        await pipelined(specs, self._delete, at_once=WRITES_AT_ONCE)

    def _has_objects(self, record: ExecutionRecord) -> bool:
        current = self._model.execution(record.id)
        return current is not None and current.may_have_objects

    # ---- results ----------------------------------------------------------------------------------------------------

    async def _deletion_is_allowed(self) -> bool:
        if not self._may_delete and self._clock() >= self._deletes_again_at:
            self._deletes_again_at = self._clock() + AGAIN_SECONDS
            try:
                if self._locations.current is not None:
                    await self._locations.current.check_deletion()
            except DeletionRefused as error:
                level = logging.DEBUG if self._has_complained else logging.ERROR
                self._has_complained = True
                _log.log(level, "Old results and their jobs are kept. %s %s", error.message, error.hint)
            except StorageUnavailable as error:
                _log.info("Old results are kept for the present: %s", error.message)
            else:
                self._may_delete, self._has_complained = True, False
        return self._may_delete

    async def _delete_results_of(self, jobs: Iterable[JobId]) -> None:
        """Of those that are being removed with their results. What S3 does not delete blocks its job for a while."""
        problems: dict[JobId, str] = {}
        entries = [entry for job in jobs if (entry := self._model.stored_job(job)) is not None]
        wanted = [entry for entry in entries if entry.record and entry.record.removal and entry.record.removal.results]

        async def delete(record: ExecutionRecord) -> None:
            assert record.location is not None
            if record.job_id in problems:
                return
            try:
                bucket = await self._locations.bucket_of(record.location)
                async with self._without_record(record.id):
                    await delete_result(bucket, record.location.key)
            except (DeletionRefused, StorageUnavailable) as error:
                problems[record.job_id] = f"Its results cannot be deleted: {error.message}"

        published = [each for entry in wanted for each in entry.executions.values() if each.may_have_objects]
        await pipelined(published, delete, at_once=DELETIONS_AT_ONCE)
        again_at = self._clock() + AGAIN_SECONDS
        self._blocked |= dict.fromkeys(problems, again_at)
        await pipelined(problems, lambda job: self._tell_problem(job, problems[job]), at_once=WRITES_AT_ONCE)

    async def _tell_problem(self, job: JobId, problem: str) -> None:
        entry = self._model.stored_job(job)
        if entry is None or entry.record is None or entry.record.removal is None:
            return
        if entry.record.removal.problem != problem:
            _log.warning("Job %s is not removed yet. %s", job, problem, extra=about(job=job))
            removal = replace(entry.record.removal, problem=problem)
            await changes.update(self._store, replace(entry.record, removal=removal))

    async def _delete_old_results(self) -> bool:
        if not self._results_seconds or not await self._deletion_is_allowed():
            return False
        before = self._now() - int(self._results_seconds * 1e9)
        jobs = self._model.endings.take_published(BATCH, before)
        known = [self._model.jobs[job].executions.values() for job in jobs]
        records = [each for executions in known for each in executions if each.may_have_objects]
        try:
            await pipelined(records, self._delete_result, at_once=DELETIONS_AT_ONCE)
        finally:
            self._note_again(job for job in jobs if job not in self._postponed)
        return len(jobs) == BATCH

    async def _delete_result(self, record: ExecutionRecord) -> None:
        entry = self._model.jobs.get(record.job_id)
        if entry is not None and not entry.progress.state.is_terminal:
            return  # it runs again since these were looked for, and may keep this one
        if not self._is_needed(record.job_id):
            async with self._without_record(record.id):
                await self._delete_and_tell(record)

    async def _delete_and_tell(self, record: ExecutionRecord) -> None:
        assert record.location is not None
        try:
            bucket = await self._locations.bucket_of(record.location)
            await delete_result(bucket, record.location.key)
        except ObjectLocked as error:
            self._postponed[record.job_id] = self._clock() + LOCKED_SECONDS
            _log.info("The result of execution %s stays: %s", record.id, error.message, extra=about_execution(record))
            return
        except (DeletionRefused, StorageUnavailable) as error:
            self._may_delete = False
            self._postponed[record.job_id] = self._clock() + AGAIN_SECONDS
            told = "The result of execution %s is kept for the present: %s"
            _log.warning(told, record.id, error.message, extra=about_execution(record))
            return
        current = self._model.execution(record.id)
        if current is not None:
            await changes.update(self._store, replace(current, result_deleted=self._now()))

    # ---- what has no job --------------------------------------------------------------------------------------------

    async def _remove_strays(self) -> None:
        """Parts of jobs that never came about, as nobody repeated an interrupted submit, or are removed already."""
        now, is_unread = self._clock(), self._store.is_unread
        found = self._model.endings.strays.items()
        strays = {job: revision for job, revision in found if not is_unread(subjects.job_record(job))}
        self._strays = {
            job: known if (known := self._strays.get(job, (0, 0.0)))[0] == revision else (revision, now)
            for job, revision in strays.items()
        }
        old = [job for job, (_, since) in self._strays.items() if now - since > self._patience(job)]
        keys = [key for job in old[:BATCH] for key in self._model.stored_parts(job)]
        await pipelined(keys, self._delete, at_once=WRITES_AT_ONCE)

    def _patience(self, job: JobId) -> float:
        entry = self._model.stored_job(job)
        return RETURNED_SECONDS if entry is not None and entry.executions else STRAY_SECONDS

    async def _remove_returned(self) -> None:
        """What NATS has brought back, and marks of which somebody has not written the second one."""
        store, returned = self._store, self._store.returned

        async def delete_again(key: str, revision: int) -> None:
            if not await changes.once(store, key, store.delete_again(key, revision)):
                returned.drop(key)

        async def mark_again(key: str, revision: int) -> None:
            if not await changes.once(store, key, store.mark_again(key, revision)):
                returned.drop(key)

        await pipelined(returned.records(BATCH), lambda each: delete_again(*each), at_once=WRITES_AT_ONCE)
        await pipelined(returned.marks(BATCH), lambda each: mark_again(*each), at_once=WRITES_AT_ONCE)

    def __repr__(self) -> str:
        return f"<Retention of {self._model.endings!r}>"


def due_jobs(model: Model, settings: JobRetention, *, now: int) -> list[JobId]:
    """Take some out of the ended jobs, the oldest first: those that are too old, then those that are too many."""
    endings, due = model.endings, list[JobId]()
    if settings.max_age > 0:
        due = endings.take_ended(BATCH, now - int(settings.max_age * 1e9))
    if settings.max_jobs > 0 and endings.count > settings.max_jobs:
        due += endings.take_ended(min(BATCH - len(due), endings.count - settings.max_jobs), now)
    return due


def _old_versions(entry: JobEntry) -> list[int]:
    last, kept = _last_old(entry), _kept_versions(entry)
    return [each for each in entry.specs if each <= last and each not in kept]


def _old_listings(entry: JobEntry) -> list[FrozenSource]:
    """Those that old versions alone name: one that was run again is that of the later version, too."""
    old, inputs = set(_old_versions(entry)), entry.all_inputs()
    named = {each.listing for version, sources in inputs.items() if version not in old for each in sources}
    found = (each for version in old for each in inputs.get(version, ()))
    return [each for each in found if each.listing and each.listing not in named]


def _old_executions(entry: JobEntry) -> list[ExecutionRecord]:
    last, kept = _last_old(entry), _kept_versions(entry)
    return [each for each in entry.executions.values() if each.job_version <= last and each.job_version not in kept]


def _last_old(entry: JobEntry) -> int:
    return entry.job.version - VERSIONS_KEPT


def _kept_versions(entry: JobEntry) -> frozenset[int]:
    """Those of which one that is not old has parts that have completed."""
    last = _last_old(entry)
    return frozenset(kept for version in entry.specs if version > last for kept in entry.kept_versions(version))


def marked(entry: JobEntry, *, results: bool) -> JobRecord:
    """The record of a job that has ended and is to be removed. Its times stay, so that its history does."""
    progress = entry.progress
    removal = Removal(state=progress.state, message=progress.message, ended_by=entry.ended_by, results=results)
    return replace(entry.job, removal=removal)
