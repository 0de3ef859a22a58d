"""How jobs come in: completed with the defaults, checked, stored under their name, and stopped again.

The order of writes makes a submit safe to repeat and safe to interrupt: the name is claimed, the version's
specification is stored, and the job's record, written last, is what makes it exist.
"""

import logging
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from orchestrator.model import JobEntry, Model
from orchestrator.records import Event, JobRecord, NameRecord, SpecRecord, with_event
from orchestrator.store import Store
from orchestrator.times import now_ns
from shared import subjects
from shared.config import BatchDefaults
from shared.errors import InvalidInput, InvalidJob, JobEnded, JobUnchanged, RevisionConflict, Unavailable
from shared.ids import JobId, new_job_id
from shared.job_rules import MANAGED, NO_PUBLISHERS, check, dropped, normalised
from shared.jobspec import Job, Resources, SpecConfig, Task, Timeouts
from shared.states import DesiredState, JobState

_log = logging.getLogger(__name__)

TRIES = 16


class PublisherNotConfigured(InvalidInput):
    def __init__(self) -> None:
        super().__init__(
            "The job asks for the publisher s3managed, which is not configured on this orchestrator.",
            hint="The operator sets Publishers.Types.S3Managed.Bucket and .Region; see the README.",
        )


class PublisherNotReady(Unavailable):
    """The managed publisher is configured and its bucket cannot be used at present."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    job_id: JobId
    version: int
    warnings: tuple[str, ...] = ()


class Submissions:
    """`check_publisher` raises PublisherNotConfigured or PublisherNotReady where s3managed cannot be promised."""

    def __init__(
        self, model: Model, store: Store, *, defaults: BatchDefaults, check_publisher: Callable[[], None]
    ) -> None:
        self._model = model
        self._store = store
        self._defaults = defaults
        self._check_publisher = check_publisher

    async def submit(self, job: Job, *, force: bool = False, token: str = "") -> Submitted:
        """Raises InvalidJob, PayloadTooLarge, JobUnchanged, PublisherNotConfigured, PublisherNotReady."""
        self._store.check_ready()
        warnings = dropped(job)
        wanted = with_defaults(normalised(job), self._defaults)
        check(wanted)
        publisher = wanted.task.publisher
        if publisher.type.lower() == MANAGED:
            self._check_publisher()
            if publisher.params:
                warnings += ("The publisher s3managed takes no parameters; those given are ignored.",)
        elif publisher.type.lower() not in NO_PUBLISHERS:
            raise InvalidJob(
                [f"Tasks[0].Publisher.Type {publisher.type[:80]!r} is not a publisher."],
                hint="Publishers are s3managed and noop.",
            )
        fresh = new_job_id(token or None, wanted.namespace)
        for _ in range(TRIES):
            job_id = await self._claim(wanted, fresh)
            entry = self._model.jobs.get(job_id)
            try:
                if entry is None:
                    version = await self._create(job_id, wanted, token=token)
                elif job_id == fresh or (token and entry.job.token == token):
                    version = entry.job.version  # the same submit, come again
                else:
                    version = await self._update(entry, wanted, force=force, token=token)
            except RevisionConflict:
                await self._store.read(subjects.job_record(job_id))
                continue
            return Submitted(job_id=job_id, version=version, warnings=warnings)
        raise RevisionConflict(f"job {wanted.name}")

    async def _claim(self, job: Job, fresh: JobId) -> JobId:
        """The id that the job's name belongs to in its namespace, which is `fresh` for a new name or none."""
        if not job.name:
            return fresh
        known = self._model.named(job.namespace, job.name)
        if known is not None:
            return known
        key = subjects.name_record(job.namespace, job.name)
        try:
            await self._store.create(key, NameRecord(job_id=fresh))
        except RevisionConflict:
            record = await self._store.read(key)
            assert isinstance(record, NameRecord)
            await self._store.read(subjects.job_record(record.job_id))
            return record.job_id
        return fresh

    async def _create(self, job_id: JobId, job: Job, *, token: str) -> int:
        named = replace(job, name=job.name or job_id)
        version = await self._store_spec(job_id, named, 1)
        now = now_ns()
        record = JobRecord(
            id=job_id,
            namespace=named.namespace,
            name=named.name,
            version=version,
            priority=named.priority,
            token=token,
            events=(Event(time=now, topic="Submission", message="Job submitted"),),
            create_time=now,
            submit_time=now,
            modify_time=now,
        )
        await self._store.create(subjects.job_record(job_id), record)
        return version

    async def _store_spec(self, job_id: JobId, job: Job, version: int) -> int:
        """Store as the first version from `version` on that is free: an interrupted submit may have left one."""
        for number in range(version, version + TRIES):
            try:
                await self._store.create(subjects.spec_record(job_id, number), SpecRecord(job=job))
            except RevisionConflict:
                continue
            return number
        raise RevisionConflict(subjects.spec_record(job_id, version))

    async def _update(self, entry: JobEntry, job: Job, *, force: bool, token: str) -> int:
        if job == entry.spec and not force:
            raise JobUnchanged(entry.job.name, entry.job.id)
        revision = self._model.revision_of(subjects.job_record(entry.job.id))
        before = entry.job
        version = await self._store_spec(before.id, job, before.version + 1)
        if self._model.revision_of(subjects.job_record(before.id)) != revision:
            raise RevisionConflict(before.id)
        now = now_ns()
        event = Event(time=now, topic="Submission", message=f"Job updated to version {version}")
        after = replace(
            before,
            version=version,
            priority=job.priority,
            token=token,
            desired=DesiredState.RUNNING,
            failure="",
            events=with_event(before.events, event),
            submit_time=now,
            modify_time=now,
        )
        await self._store.update(subjects.job_record(before.id), after)
        return version

    async def stop(self, entry: JobEntry, reason: str) -> bool:
        """Have the job stopped; False if it was already. Raises JobEnded for one that has ended otherwise."""
        for _ in range(TRIES):
            state = entry.progress.state
            if state is JobState.STOPPED:
                return False
            if state.is_terminal:
                raise JobEnded(entry.job.id, state)
            now = now_ns()
            message = f"Job stopped: {reason[:500]}" if reason else "Job stopped"
            event = Event(time=now, topic="State Update", message=message)
            after = replace(
                entry.job,
                desired=DesiredState.STOPPED,
                events=with_event(entry.job.events, event),
                modify_time=now,
            )
            try:
                await self._store.update(subjects.job_record(entry.job.id), after)
            except RevisionConflict:
                await self._store.read(subjects.job_record(entry.job.id))
                continue
            return True
        raise RevisionConflict(subjects.job_record(entry.job.id))


def with_defaults(job: Job, defaults: BatchDefaults) -> Job:
    """Fill in what the author left open from `JobDefaults.Batch`."""
    return replace(
        job,
        priority=job.priority or defaults.priority,
        tasks=tuple(_task_with_defaults(task, defaults) for task in job.tasks),
    )


def _task_with_defaults(task: Task, defaults: BatchDefaults) -> Task:
    given, resources, timeouts = defaults.task, task.resources, task.timeouts
    return replace(
        task,
        publisher=task.publisher if task.publisher.type else SpecConfig(type=given.publisher.type),
        resources=Resources(
            cpu=resources.cpu or given.resources.cpu.lower(),
            memory=resources.memory or given.resources.memory.lower(),
            disk=resources.disk or given.resources.disk.lower(),
            gpu=resources.gpu or given.resources.gpu.lower(),
        ),
        timeouts=Timeouts(
            execution_timeout=timeouts.execution_timeout or int(given.timeouts.execution_timeout),
            queue_timeout=timeouts.queue_timeout,
            total_timeout=timeouts.total_timeout or int(given.timeouts.total_timeout),
        ),
    )
