"""Removals: a mark in a job's record, upon which the leader removes all of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from orchestrator.jobs.chains import JobNeeded
from orchestrator.jobs.removal.retention import marked
from orchestrator.jobs.submissions import Submissions
from orchestrator.s3.locations import Locations
from orchestrator.state.model import JobEntry, Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.errors import Conflict, JobEnded, Unavailable
from shared.ids import JobId

WAIT_SECONDS = 6.0
"""For the job to stop, and again for it to be gone; a program over NATS waits 15 s for an answer."""


class JobStillRuns(Conflict):
    def __init__(self, job: str, state: str) -> None:
        super().__init__(
            f"Job {job} cannot be deleted: it is {state}, or some of its tasks still run.",
            hint=f"Stop it first with `tarpon job stop {job}`, or use --force, which does both.",
        )


class ResultsNotDeleted(Unavailable):
    """The job stays until its results are gone, or somebody says that they may stay."""

    def __init__(self, job: str, problem: str) -> None:
        super().__init__(
            f"Job {job} is not deleted yet. {problem}",
            hint=f"It is tried again every minute. `tarpon job delete {job}` without --results deletes the job alone.",
        )


class Removals:
    """`with_results` is whether results go with their jobs in any case, as by the setting Retention."""

    def __init__(
        self, model: Model, store: Store, submissions: Submissions, locations: Locations, *, with_results: bool
    ) -> None:
        self._model = model
        self._store = store
        self._submissions = submissions
        self._locations = locations
        self._with_results = with_results

    async def remove(self, entry: JobEntry, *, results: bool = False, force: bool = False) -> bool:
        """Have the job removed; False if that goes on still.

        Raises JobStillRuns unless `force` is given, JobNeeded, DeletionRefused and StorageUnavailable before anything
        is done, and ResultsNotDeleted.
        """
        job, results = entry.job.id, results or (self._with_results and entry.job.removal is None)
        if results:
            await self._check_deletion(entry)
        if not _has_ended(entry):
            if not force:
                raise JobStillRuns(job, entry.progress.state)
            await self._stop(entry)
        self._check_not_needed(entry)
        await self._mark(job, results=results)
        with self._model.news.watch(job) as watch:
            return await self._until(watch.changed, lambda: self._is_removed(job))

    async def _check_deletion(self, entry: JobEntry) -> None:
        """Ask each bucket in which this job has results, which is one but for changes of the settings."""
        places = {
            (each.location.bucket, each.location.endpoint): each.location
            for each in entry.executions.values()
            if each.location is not None
        }
        for location in places.values():
            await (await self._locations.bucket_of(location)).check_deletion()

    async def _stop(self, entry: JobEntry) -> None:
        with contextlib.suppress(JobEnded):  # so it did by itself; what is left of it is being stopped
            await self._submissions.stop(entry, "It is to be deleted")
        with self._model.news.watch(entry.job.id) as watch:
            if not await self._until(watch.changed, lambda: _has_ended(entry)):
                raise JobStillRuns(entry.job.id, entry.progress.state)
            await self._until(watch.changed, lambda: self._follower(entry) is None)  # what needs it is stopped with it

    def _follower(self, entry: JobEntry) -> JobEntry | None:
        return self._model.backlog.chains.live_follower(entry.id)

    def _check_not_needed(self, entry: JobEntry) -> None:
        follower = self._follower(entry)
        if follower is not None:
            raise JobNeeded(entry.job.name, follower.job.name)

    async def _mark(self, job: JobId, *, results: bool) -> None:
        async def attempt() -> None:
            entry = self._model.jobs.get(job)
            if entry is None:
                return
            if entry.job.removal is not None and entry.job.removal.results == results:
                return
            if not _has_ended(entry):
                raise JobStillRuns(job, entry.progress.state)
            self._check_not_needed(entry)
            record = marked(entry, results=results)
            await self._store.update(record.key, record)

        await changes.insist(self._store, attempt)

    def _is_removed(self, job: JobId) -> bool:
        entry = self._model.jobs.get(job)
        if entry is None:
            return True
        if entry.job.removal is not None and entry.job.removal.problem:
            raise ResultsNotDeleted(job, entry.job.removal.problem)
        return False

    @staticmethod
    async def _until(changed: Callable[[], Awaitable[None]], is_so: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not is_so():
                    await changed()
        except TimeoutError:
            return is_so()
        return True

    def __repr__(self) -> str:
        return f"<Removals from {self._model!r}>"


def _has_ended(entry: JobEntry) -> bool:
    return entry.progress.state.is_terminal and not entry.progress.has_loose_ends
