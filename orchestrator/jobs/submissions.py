"""Submissions: jobs are completed with the defaults, checked, stored under their name, and stopped again.

The order of writes makes a submit safe to repeat and safe to interrupt: the name is claimed, a later version's
specification is stored, and the job's record, written last, is what makes it exist.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import msgspec

from orchestrator.admission.schedule_limits import ScheduleLimits
from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.inputs.new_lists import NewLists, new_lists
from orchestrator.inputs.resolvers import InputResolvers
from orchestrator.jobs.chains import pinned
from orchestrator.jobs.idempotency import (
    IdempotencyTokenUsed,
    Use,
    checked_token,
    use_to_rerun,
    use_to_submit,
    version_of_use,
)
from orchestrator.jobs.job_records import Wish, first_record, renewed_record, spec_record
from orchestrator.jobs.job_warnings import about_replaced, unended_version, warnings_about
from orchestrator.jobs.name_claims import NameClaims, check_name
from orchestrator.jobs.result_inputs import with_results
from orchestrator.jobs.versions import version_of
from orchestrator.nodes.outside_engines import check_outside_engine
from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.job_defaults import completed, with_defaults
from orchestrator.rules.job_diff import difference
from orchestrator.rules.job_progress import job_transition
from orchestrator.rules.life_events import Outcome, StopAsked
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import SpecRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.contention import Contention
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.traces import Traces
from shared.errors import (
    Conflict,
    InvalidInput,
    InvalidJob,
    IsSchedule,
    JobBeingDeleted,
    JobDeleted,
    JobEnded,
    JobNotFound,
    JobUnchanged,
    RevisionConflict,
    Unavailable,
)
from shared.ids import JobId, new_job_id
from shared.jobs.rules import MANAGED, normalised
from shared.jobs.spec import Job
from shared.jobs.states import ExecutionState, JobState
from shared.protocol import subjects
from shared.runtime.log_lines import about
from shared.settings.config import BatchDefaults
from shared.settings.schedules import ScheduleSettings

_log = logging.getLogger(__name__)

SPEC_TRIES = 16


class PublisherNotConfigured(InvalidInput):
    def __init__(self) -> None:
        super().__init__(
            "The job asks for the publisher s3managed, which is not configured on this orchestrator.",
            hint="The operator sets Publishers.Types.S3Managed.Bucket and .Region; see docs/publisher.md.",
        )


class PublisherNotReady(Unavailable):
    """The managed publisher is configured and its bucket cannot be used at present."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    job_id: JobId
    version: int
    warnings: tuple[str, ...] = ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What a submit would change, and the warnings that it would give."""

    lines: str
    warnings: tuple[str, ...] = ()


class Submissions:
    """`check_publisher` raises PublisherNotConfigured or PublisherNotReady where s3managed cannot be promised."""

    def __init__(
        self,
        model: Model,
        store: Store,
        *,
        defaults: BatchDefaults,
        check_publisher: Callable[[], None],
        traces: Traces,
        secrets: TaskSecrets,
        inputs: InputResolvers,
        schedules: ScheduleSettings = ScheduleSettings(),  # noqa: B008  # it is immutable
    ) -> None:
        self._model = model
        self._store = store
        self._defaults = defaults
        self._check_publisher = check_publisher
        self.traces = traces
        self._secrets = secrets
        self._inputs = inputs
        self._schedules = ScheduleLimits(model, schedules)
        self.names = NameClaims(model, store)
        self.contention = Contention()

    async def submit(self, job: Job, *, force: bool = False, token: str = "", traceparent: str = "") -> Submitted:
        """Raises InvalidJob, PayloadTooLarge, JobUnchanged, PublisherNotConfigured, PublisherNotReady, SecretUnknown.

        And what is wrong with its inputs (orchestrator/inputs/problems.py), which are looked up before anything waits;
        where the token was used before, JobDeleted and IdempotencyTokenUsed.
        """
        self._store.check_ready()
        plain = normalised(job)
        wanted = self.completed(plain)
        check_outside_engine(self._model, wanted)
        self.check_publisher_of(wanted)
        use, kept = use_to_submit(checked_token(token), plain), self.traces.kept(traceparent)
        wish = Wish(wanted, use, force=force, traceparent=kept)
        fresh = new_job_id(token or None, wanted.namespace)
        async with self.new_lists() as lists:
            if wanted.task.input_sources and self.begun_before(wish, fresh) is None:
                check_name(self._model, wanted)
                self.check_changed(wish)
                await self.check_secrets(wanted)
                wish = wish._replace(inputs=await self.frozen(wanted, lists))
            async with self.contention.over((wanted.namespace, wanted.name or fresh)):
                unended = unended_version(self._model, wanted)
                job_id, version = await self._submitted(wish, fresh)
            lists.stored = [(job_id, version)]
        warnings = warnings_about(job, wanted, self._model)
        if version > unended:  # else it is what this request has submitted before
            warnings += about_replaced(unended, version)
        return Submitted(job_id=job_id, version=version, warnings=warnings)

    async def _submitted(self, wish: Wish, fresh: JobId) -> tuple[JobId, int]:
        return await changes.insist(
            self._store,
            partial(self._submitted_once, wish, fresh),
            again=partial(self._submitted_again, wish, fresh),
        )

    async def _submitted_once(self, wish: Wish, fresh: JobId) -> tuple[JobId, int]:
        return self.begun_before(wish, fresh) or await self._begin(wish, fresh)

    async def _submitted_again(self, wish: Wish, fresh: JobId) -> tuple[JobId, int]:
        """After somebody else was quicker: what that was is known by now, and a name may have been claimed before."""
        is_unknown = bool(wish.use.token) and fresh not in self._model.jobs
        if is_unknown and await self._store.is_removed(subjects.job_record(fresh)):
            await self.names.release(wish.job, fresh)
            raise JobDeleted(fresh)
        try:
            return await self._submitted_once(wish, fresh)
        except IdempotencyTokenUsed:
            await self.names.release(wish.job, fresh)
            raise

    def begun_before(self, wish: Wish, fresh: JobId) -> tuple[JobId, int] | None:
        """What came of this submission when it came first. Raises IdempotencyTokenUsed, JobBeingDeleted."""
        entry = self._model.names.of_token(wish.job.namespace, wish.use.token) if wish.use.token else None
        if entry is None:
            return None
        version = version_of_use(entry, wish.use)
        if not version and entry.job.id != fresh:
            return None  # the version is forgotten
        if (wish.job.name or entry.job.id) != entry.job.name:
            raise IdempotencyTokenUsed(entry.job.name, entry.job.id)
        if entry.job.removal is not None:
            raise JobBeingDeleted(entry.job.id)
        return entry.job.id, version or entry.job.version

    async def _begin(self, wish: Wish, fresh: JobId) -> tuple[JobId, int]:
        check_name(self._model, wish.job)
        await self.check_secrets(wish.job)
        self.check_schedule(wish.job)
        needs = await self.pinned_needs(wish.job)
        wish = wish._replace(needs=needs, inputs=with_results(self._model, wish.job, wish.inputs, needs))
        if wish.job.schedule:  # each of its runs has its own
            wish = wish._replace(needs=(), inputs=())
        job_id = await self.names.claim(wish.job, fresh)
        entry = self._model.jobs.get(job_id)
        if entry is None:
            await self._create(job_id, wish)
            return job_id, 1
        if entry.job.removal is not None:
            raise JobBeingDeleted(entry.job.id)
        if job_id == fresh:
            return job_id, entry.job.version  # it was stored, and the answer to that was lost
        self.check_changed(wish)
        return job_id, await self._renew(entry, wish, "Job updated to version {}")

    def check_changed(self, wish: Wish) -> None:
        """Raise JobUnchanged where there is this job already, and nobody insists."""
        known = self._model.names.named(wish.job.namespace, wish.job.name) if wish.job.name else None
        entry = self._model.jobs.get(known) if known else None
        if entry is None or wish.force or entry.job.removal is not None:
            return
        is_stopped_schedule = entry.job.schedule is not None and entry.progress.state.is_terminal
        if wish.job == normalised(entry.spec) and not is_stopped_schedule:
            raise JobUnchanged(entry.job.name, entry.job.id)

    async def difference(self, job: Job) -> Difference:
        """What submitting this would change. Raises InvalidJob, PayloadTooLarge."""
        self._store.check_ready()
        wanted = completed(normalised(job), self._defaults)
        check_name(self._model, wanted)
        check_outside_engine(self._model, wanted)
        await self._secrets.check(wanted.namespace, wanted.task)
        await self.look_up_inputs(wanted)
        self.check_schedule(wanted)
        with_results(self._model, wanted, (), await self.pinned_needs(wanted))
        warnings = warnings_about(job, wanted, self._model)
        known = self._model.names.named(wanted.namespace, wanted.name) if wanted.name else None
        entry = self._model.jobs.get(known) if known else None
        if entry is None:
            warnings += ("There is no job of this name yet; submitting it makes a new one.",)
        lines = await asyncio.to_thread(difference, entry.spec if entry else None, wanted)
        return Difference(lines=lines, warnings=warnings)

    def completed(self, plain: Job) -> Job:
        """A job in its normal form as it is stored. Raises InvalidJob, PayloadTooLarge."""
        return completed(plain, self._defaults)

    def new_lists(self) -> AbstractAsyncContextManager[NewLists]:
        """Around what freezes the inputs of jobs and stores them."""
        return new_lists(self._model, self._inputs)

    def warnings_about(self, job: Job, plain: Job) -> tuple[str, ...]:
        """Of a valid job as it was submitted and in its normal form."""
        return warnings_about(job, with_defaults(plain, self._defaults), self._model)

    async def check_secrets(self, job: Job) -> None:
        await self._secrets.check(job.namespace, job.task)

    def check_schedule(self, job: Job) -> None:
        """Raises TooManySchedules, ScheduleTooFrequent."""
        self._schedules.check(job, now=now_ns())

    async def frozen(self, job: Job, lists: NewLists) -> FrozenInputs:
        """Which objects the inputs of a job are. Those of a schedule are looked up alone: each run has what is then."""
        if not job.schedule:
            return await lists.freeze(job)
        await self.look_up_inputs(job)
        return ()

    async def look_up_inputs(self, job: Job) -> None:
        """Raises what is wrong with them (orchestrator/inputs/problems.py)."""
        await self._inputs.look_up(job)

    async def pinned_needs(self, job: Job) -> tuple[PinnedNeed, ...]:
        """The needs of a job. Raises InvalidJob, NeedNeverMet."""
        try:
            return pinned(self._model, job)
        except InvalidJob:  # a needed job may just have been submitted elsewhere
            await self._store.catch_up()
            return pinned(self._model, job)

    def check_publisher_of(self, job: Job) -> None:
        if job.task.publisher.type.lower() == MANAGED:
            self._check_publisher()

    async def _create(self, job_id: JobId, wish: Wish) -> None:
        record = first_record(job_id, wish, now=now_ns())
        await self._store.create(record.key, record)
        self.traces.on_submit(record)
        _log.debug("Job %s is submitted.", job_id, extra=about(job=job_id))

    async def store_spec(self, entry: JobEntry, spec: SpecRecord) -> int:
        """Store as the next version that is free: a submit that was interrupted, or lost, may have left one.

        A number that is taken is not looked at: where many submit at once, a look at each would take all their time.
        """
        job_id, version = entry.job.id, max((entry.job.version, *entry.specs)) + 1
        for number in range(version, version + SPEC_TRIES):
            try:
                await self._store.create(subjects.spec_record(job_id, number), spec)
            except RevisionConflict:
                continue
            return number
        raise RevisionConflict(subjects.spec_record(job_id, version))

    async def _renew(self, entry: JobEntry, wish: Wish, message: str) -> int:
        """Store a new version and have it run; `message` has {} for its number. Raises RevisionConflict."""
        before = entry.job
        revision = self._model.revision_of(before.key)
        version = await self.store_spec(entry, spec_record(entry, wish))
        if self._model.revision_of(before.key) != revision:
            raise RevisionConflict(before.id)
        after = renewed_record(entry, wish, version, message, now=now_ns())
        await self._store.update(after.key, after)
        self.traces.on_submit(after)
        _log.info("Job %s has version %d.", before.id, version, extra=about(job=before.id))
        return version

    async def rerun(self, entry: JobEntry, version: int, reason: str, *, failed: bool = False, token: str = "") -> int:
        """Run this version, or the newest if it is 0, again as a new one; give its number.

        With `failed` only those of its parts that have not completed; the new version keeps the others.

        Raises NotFound, Conflict for a job that has not begun or of which there is nothing to run, and
        PublisherNotConfigured, PublisherNotReady and IdempotencyTokenUsed.
        """
        use = use_to_rerun(checked_token(token), entry.job.id, version, failed=failed)
        async with self.contention.over((entry.job.namespace, entry.job.name)):
            return await self._run_again(entry, version, reason, use, failed=failed)

    async def _run_again(self, entry: JobEntry, version: int, reason: str, use: Use, *, failed: bool) -> int:
        async def attempt() -> int:
            self._check_known(entry)
            if entry.job.removal is not None:
                raise JobBeingDeleted(entry.job.id)
            user = self._model.names.of_token(entry.job.namespace, use.token) if use.token else None
            if user is not None and (known := version_of_use(user, use)):
                return known  # the same request, come again
            if entry.job.schedule is not None:
                name = entry.job.name
                raise IsSchedule(
                    f"Job {name} is a schedule, which is not run again itself: its runs are jobs of their own.",
                    hint=f"`tarpon job schedule run-now {name}` begins one now.",
                )
            number = version_of(entry, version)
            if entry.progress.state is JobState.PENDING:
                raise Conflict(
                    f"Job {entry.job.id} cannot be run again: it has not begun yet.",
                    hint="Wait until it runs, or stop it first.",
                )
            keeps = kept_to_rerun(entry, number) if failed else ()
            self.check_publisher_of(entry.specs[number])
            await self._secrets.check(entry.job.namespace, entry.specs[number].task)
            what = f"what version {number} has not completed" if failed else f"the same as version {number}"
            message = f"Job run again as version {{}}, {what}{_because(reason)}"
            spec = entry.specs[number]
            needs = await self.pinned_needs(spec)
            inputs = with_results(self._model, spec, entry.inputs(number), needs)
            targets = entry.targets(number) if failed else ()
            wish = Wish(spec, use, keeps, needs=needs, inputs=inputs, targets=targets)
            return await self._renew(entry, wish, message)

        return await changes.insist(self._store, attempt)

    def _check_known(self, entry: JobEntry) -> None:
        """Raise JobNotFound for a job that was removed while somebody waited to change it."""
        if self._model.jobs.get(entry.job.id) is not entry:
            raise JobNotFound(entry.job.id)

    async def stop(self, entry: JobEntry, reason: str) -> bool:
        """Have the job stopped; False if it was already. Raises JobNotFound, and JobEnded for one that has ended."""
        async with self.contention.over((entry.job.namespace, entry.job.name)):
            return await self._stop(entry, reason)

    async def _stop(self, entry: JobEntry, reason: str) -> bool:
        async def attempt() -> bool:
            self._check_known(entry)
            state = entry.progress.state
            step = job_transition(entry.job, state, StopAsked(reason), now=now_ns())
            if step.outcome is Outcome.LATE:
                raise JobEnded(entry.job.id, state)
            if step.outcome is Outcome.MOVED:
                await self._store.update(step.record.key, step.record)
            return step.outcome is Outcome.MOVED

        return await changes.insist(self._store, attempt)


def kept_to_rerun(entry: JobEntry, version: int) -> tuple[int, ...]:
    """The versions of which a new one keeps the parts that have completed, so that it runs the others of this one.

    Raises Conflict where that is no part, or may be another one yet. A version of which results were deleted is run
    again as a whole.
    """
    job = entry.job
    if version == job.version and not entry.progress.state.is_terminal:
        raise Conflict(
            f"Job {job.id} is {entry.progress.state}: its parts may complete yet.",
            hint="Wait until it has ended, or stop it first.",
        )
    known = entry.with_kept(version)
    completed = [each for each in known if each.state is ExecutionState.COMPLETED and not each.result_deleted]
    if len({each.partition for each in completed}) >= entry.part_count(version):
        has_code = any(each.output.exit_code for each in completed if each.output is not None)
        counts = "`FailOnExitCode: true` in the task makes an exit code other than 0 a failure. " if has_code else ""
        raise Conflict(
            f"All parts of version {version} of job {job.id} have completed.",
            hint=f"{counts}Without --failed (`Failed` over HTTP) all of them are run again.",
        )
    deleted = {each.job_version for each in known if each.result_deleted}
    return tuple(sorted({each.job_version for each in completed} - deleted))


def _because(reason: str) -> str:
    return f": {reason[:500]}" if reason else ""
