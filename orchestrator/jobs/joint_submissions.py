"""Joint submissions: several jobs that are checked together and stored together, or not at all.

All records are one atomic write, so that an interrupted submission leaves no job behind, and a repeated one finds all
of its jobs or none. What is needed is stored before what needs it.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from orchestrator.inputs.new_lists import NewLists
from orchestrator.jobs.chains import pinned, wrong_needs
from orchestrator.jobs.idempotency import checked_token, uses_together
from orchestrator.jobs.job_records import Wish, first_record, renewed_record, spec_record
from orchestrator.jobs.name_claims import check_name
from orchestrator.jobs.result_inputs import with_results
from orchestrator.jobs.submissions import Submissions, Submitted
from orchestrator.nodes.outside_engines import check_outside_engine
from orchestrator.rules.records import Record
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import InvalidJob, JobBeingDeleted, JobDeleted, JobUnchanged, PayloadTooLarge
from shared.ids import JobId, new_job_id
from shared.jobs.needs import needs_of
from shared.jobs.rules import normalised
from shared.jobs.several import MAX_JOBS, called, in_order, wrong_together
from shared.jobs.spec import Job
from shared.protocol import subjects
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

AT_ONCE = 32
FROZEN_AT_ONCE = 4
"""Jobs whose inputs are looked up at the same time."""


class _Place(NamedTuple):
    """Where a job of the submission is stored: as the first version of a new job, or as the next one of `entry`."""

    id: JobId
    version: int
    entry: JobEntry | None


class JointSubmissions:
    def __init__(self, model: Model, store: Store, submissions: Submissions) -> None:
        self._model = model
        self._store = store
        self._one = submissions

    async def submit(
        self, jobs: Sequence[Job], *, force: bool = False, token: str = "", traceparent: str = ""
    ) -> tuple[Submitted, ...]:
        """The jobs in their order. Raises InvalidJob with what is wrong with each of them, and otherwise as one does.

        Where some of the names are known, all of them get new versions; JobUnchanged is raised where that would change
        none.
        """
        self._store.check_ready()
        plain = [normalised(job) for job in jobs]
        uses, kept = uses_together(checked_token(token), plain), self._one.traces.kept(traceparent)
        asked = [Wish(job, use, force=force, traceparent=kept) for job, use in zip(plain, uses, strict=True)]
        fresh = [new_job_id(wish.use.token or None, wish.job.namespace) for wish in asked]
        found = self._begun_before(asked, fresh)
        if found is None:
            async with self._one.new_lists() as lists:
                found = lists.stored = await self._submitted(await self._checked(asked, lists), fresh)
        return tuple(
            Submitted(job_id=job_id, version=version, warnings=self._one.warnings_about(job, job_as_asked))
            for job, job_as_asked, (job_id, version) in zip(jobs, plain, found, strict=True)
        )

    async def _submitted(self, wishes: Sequence[Wish], fresh: Sequence[JobId]) -> list[tuple[JobId, int]]:
        async with AsyncExitStack() as turns:
            things = {(wish.job.namespace, wish.job.name or job) for wish, job in zip(wishes, fresh, strict=True)}
            for thing in sorted(things):  # in one order, so that nobody waits for who waits
                await turns.enter_async_context(self._one.contention.over(thing))
            return await changes.insist(
                self._store, partial(self._once, wishes, fresh), again=partial(self._again, wishes, fresh)
            )

    # ---- checks -----------------------------------------------------------------------------------------------------

    async def _checked(self, wishes: Sequence[Wish], lists: NewLists) -> list[Wish]:
        """With the defaults, and with what their inputs are now. Raises InvalidJob with all that is wrong with each."""
        plain = [wish.job for wish in wishes]
        if not 1 <= len(plain) <= MAX_JOBS:
            raise InvalidJob(wrong_together(plain), many=True)
        wanted, problems = self._completed(plain)
        problems += wrong_together(plain)
        if any(self._wrong_needs(plain)):
            await self._store.catch_up()  # a needed job may just have been submitted elsewhere
            problems += self._wrong_needs(plain)
        if problems:
            raise InvalidJob(dict.fromkeys(problems), many=True)
        for job in wanted:
            self._one.check_publisher_of(job)
            self._one.check_schedule(job)
            together = {name: (JobId(f"#{name}"), 0) for name in _names(wanted, job.namespace)}
            specs = {JobId(f"#{each.name}"): each for each in wanted if each.namespace == job.namespace}
            with_results(self._model, job, (), pinned(self._model, job, together), specs)
        await pipelined(wanted, self._one.check_secrets, at_once=AT_ONCE)
        checked = [wish._replace(job=job) for wish, job in zip(wishes, wanted, strict=True)]

        async def freeze(number: int) -> None:
            checked[number] = checked[number]._replace(inputs=await self._one.frozen(wanted[number], lists))

        with_inputs = [number for number, job in enumerate(wanted) if job.task.input_sources]
        await pipelined(with_inputs, freeze, at_once=FROZEN_AT_ONCE)
        return checked

    def _completed(self, plain: Sequence[Job]) -> tuple[list[Job], list[str]]:
        wanted, problems = list[Job](), list[str]()
        for number, job in enumerate(plain):
            try:
                wanted.append(self._one.completed(job))
                check_name(self._model, job)
                check_outside_engine(self._model, job)
            except InvalidJob as error:
                problems += (f"{called(number, job)}: {each}" for each in error.problems)
            except PayloadTooLarge as error:
                problems.append(f"{called(number, job)}: {error.message}")
        return wanted, problems

    def _wrong_needs(self, jobs: Sequence[Job]) -> list[str]:
        return [
            f"{called(number, job)}: {problem}"
            for number, job in enumerate(jobs)
            if needs_of(job)
            for problem in wrong_needs(self._model, job, _names(jobs, job.namespace))
        ]

    # ---- writes -----------------------------------------------------------------------------------------------------

    def _begun_before(self, wishes: Sequence[Wish], fresh: Sequence[JobId]) -> list[tuple[JobId, int]] | None:
        """What came of them when they came first. Raises JobDeleted where some have gone since."""
        begun = [self._one.begun_before(wish, job) for wish, job in zip(wishes, fresh, strict=True)]
        known = [each for each in begun if each is not None]
        if known and len(known) < len(wishes):  # all were stored together
            raise JobDeleted(next(job for job, each in zip(fresh, begun, strict=True) if each is None))
        return known or None

    async def _once(self, wishes: Sequence[Wish], fresh: Sequence[JobId]) -> list[tuple[JobId, int]]:
        return self._begun_before(wishes, fresh) or await self._begin(wishes, fresh)

    async def _again(self, wishes: Sequence[Wish], fresh: Sequence[JobId]) -> list[tuple[JobId, int]]:
        """After somebody else was quicker: what that was is known by now."""

        async def check(number: int) -> None:
            if await self._store.is_removed(subjects.job_record(fresh[number])):
                await self._one.names.release(wishes[number].job, fresh[number])
                raise JobDeleted(fresh[number])

        unknown = [n for n, wish in enumerate(wishes) if wish.use.token and fresh[n] not in self._model.jobs]
        await pipelined(unknown, check, at_once=AT_ONCE)
        return await self._once(wishes, fresh)

    async def _begin(self, wishes: Sequence[Wish], fresh: Sequence[JobId]) -> list[tuple[JobId, int]]:
        ids = list(fresh)

        async def claim(number: int) -> None:
            ids[number] = await self._one.names.claim(wishes[number].job, fresh[number])

        await pipelined(range(len(wishes)), claim, at_once=AT_ONCE)
        places = [self._place(job) for job in ids]
        entries = [each.entry for each in places if each.entry is not None]
        if len(entries) == len(wishes) and not any(map(_changes, wishes, entries)):
            raise JobUnchanged(entries[0].job.name, entries[0].id)
        together = {place.id: wish.job for wish, place in zip(wishes, places, strict=True)}
        whole = [_reading(self._model, self._pinned(wish, wishes, places), together) for wish in wishes]
        whole = [wish._replace(needs=(), inputs=()) if wish.job.schedule else wish for wish in whole]
        await self._store.write_together(self._records(whole, places))
        for place in places:
            self._one.traces.on_submit(self._model.jobs[place.id].job)
            told = "Job %s is submitted in version %d, together with %d others."
            _log.info(told, place.id, place.version, len(places) - 1, extra=about(job=place.id))
        return [(place.id, place.version) for place in places]

    def _place(self, job: JobId) -> _Place:
        entry = self._model.jobs.get(job)
        if entry is None:
            return _Place(job, 1, None)
        if entry.job.removal is not None:
            raise JobBeingDeleted(job)
        return _Place(job, max((entry.job.version, *entry.specs)) + 1, entry)

    def _pinned(self, wish: Wish, wishes: Sequence[Wish], places: Sequence[_Place]) -> Wish:
        namespace = wish.job.namespace
        together = {
            each.job.name: (place.id, place.version)
            for each, place in zip(wishes, places, strict=True)
            if each.job.namespace == namespace and each.job.name
        }
        return wish._replace(needs=pinned(self._model, wish.job, together))

    def _records(self, wishes: Sequence[Wish], places: Sequence[_Place]) -> list[tuple[str, Record, int]]:
        """With their keys and the revisions that they take the place of."""
        now, records = now_ns(), list[tuple[str, Record, int]]()
        for number in in_order([wish.job for wish in wishes]):
            wish, (job, version, entry) = wishes[number], places[number]
            key = subjects.job_record(job)
            if entry is None:
                records.append((key, first_record(job, wish, now=now), 0))
                continue
            records.append((subjects.spec_record(job, version), spec_record(entry, wish), 0))
            renewed = renewed_record(entry, wish, version, "Job updated to version {}", now=now)
            records.append((key, renewed, self._model.revision_of(key)))
        return records

    def __repr__(self) -> str:
        return f"<JointSubmissions to {self._model!r}>"


def _reading(model: Model, wish: Wish, together: Mapping[JobId, Job]) -> Wish:
    """With the versions of the jobs whose results it reads."""
    return wish._replace(inputs=with_results(model, wish.job, wish.inputs, wish.needs, together))


def _changes(wish: Wish, entry: JobEntry) -> bool:
    return wish.force or wish.job != normalised(entry.spec)


def _names(jobs: Sequence[Job], namespace: str) -> frozenset[str]:
    return frozenset(job.name for job in jobs if job.name and job.namespace == namespace)
