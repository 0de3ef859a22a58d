"""One job with everything that belongs to it, in little memory once it has ended.

A job that has ended is filed (orchestrator/state/filing/filing.py). One that cannot be filed is packed: its records
become one string of bytes, which whoever looks at it unpacks.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Self

import msgspec

from orchestrator.rules.attempts import AttemptBackoff, Budget, is_refused
from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.job_progress import NO_LIMIT, Progress, kept_of, progress
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import ExecutionRecord, JobRecord, Replaced
from orchestrator.rules.replicas.agreement import Terms
from orchestrator.state.job_records import (
    NOTHING_HELD,
    ExitCodes,
    JobRecords,
    exit_codes,
    held_by,
    is_packable,
    packed,
    revisions_of,
    unpacked,
)
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.partition_names import part_name
from shared.jobs.spec import OPS, Job
from shared.jobs.states import JobState

_NO_LABELS: Mapping[str, str] = {}
_PLAIN = {state: Progress(state=state) for state in JobState}
"""One for all jobs of a state about which there is no more to say."""


def _nobody(_: "JobEntry") -> None:
    """Who puts away a job that stays."""


def plain_progress(state: JobState) -> Progress:
    """Of a job of which the state is all there is to say."""
    return _PLAIN[state]


def _plain(found: Progress) -> Progress:
    """Without the number of the event by which the job ended; the same one for many jobs, where that is all."""
    if not (found.message or found.missing or found.surplus or found.left_out_count or found.verdicts):
        return _PLAIN[found.state]
    return msgspec.structs.replace(found, ended_by=0) if found.ended_by else found


def _terms(spec: Job, max_attempts: int) -> Terms | None:
    said = spec.verification
    return Terms(replicas=said.replicas, quorum=said.quorum, max_attempts=max_attempts) if said else None


class JobEntry:
    """What lists and counters need is at hand; everything else is in its parts.

    `held` is what its executions hold of their nodes, and how many do; `counted` is as which state it is in
    `Model.job_states`; `modified` is when anything about it changed last, and `ended_by` the number of the event by
    which it ended. `needs` are the jobs that its newest version needs; `ready_at` is since when these have ended as
    they have to, 0 where it needs none, and None while it waits for them. What follows from a job of many parts may
    have to be found out yet: then `put_off` does it, as soon as somebody asks.
    """

    __slots__ = (
        "__weakref__",
        "_ended_by",
        "_exit_codes",
        "_is_put_away",
        "_packed",
        "_progress",
        "_put_away",
        "_records",
        "counted",
        "created",
        "held",
        "id",
        "is_schedule",
        "labels",
        "modified",
        "name",
        "namespace",
        "needs",
        "put_off",
        "ready_at",
        "revision",
    )

    def __init__(self, job: JobId, put_away: "Callable[[JobEntry], None]" = _nobody) -> None:
        """`put_away` is told of it once it has ended, and each time that it has been unpacked."""
        self.id = job
        self.name = ""
        self.namespace = ""
        self.created = 0
        self.modified = 0
        self._ended_by = 0
        self.labels = _NO_LABELS
        self.is_schedule = False
        self.held = NOTHING_HELD
        self.needs: tuple[PinnedNeed, ...] = ()
        self.ready_at: int | None = 0
        self._exit_codes: ExitCodes | None = ()
        self.revision = 0
        self._progress = _PLAIN[JobState.PENDING]
        self.put_off: Callable[[], None] | None = None
        self.counted: JobState | None = None
        self._records: JobRecords | None = JobRecords()
        self._packed = b""
        self._put_away = put_away
        self._is_put_away = False

    @classmethod
    def of_packed(
        cls,
        job: JobId,
        put_away: "Callable[[JobEntry], None]",
        packed_records: bytes,
        *,
        ended_by: int,
        exit_codes: ExitCodes,
        progress: Progress,
        ready_at: int | None,
        needs: tuple[PinnedNeed, ...],
    ) -> Self:
        """One that has ended, of which what else lists need is still to be set."""
        made = cls(job, put_away)
        made._records, made._packed = None, packed_records
        made._ended_by, made._exit_codes, made._progress = ended_by, exit_codes, _plain(progress)
        made.counted, made.ready_at, made.needs = progress.state, ready_at, needs
        return made

    @property
    def progress(self) -> Progress:
        if self.put_off is not None:
            self.put_off()
        return self._progress

    @property
    def ended_by(self) -> int:
        if self.put_off is not None:
            self.put_off()
        return self._ended_by

    @property
    def records(self) -> JobRecords:
        """To be changed only by the model."""
        if self._records is None:
            self._records = unpacked(self._packed)
            self._packed = b""
            self.shelve()
        return self._records

    @property
    def records_at_hand(self) -> JobRecords:
        """The same, and a packed job stays packed."""
        return self._records if self._records is not None else unpacked(self._packed)

    @property
    def record(self) -> JobRecord | None:
        return self.records.record

    @property
    def specs(self) -> dict[int, Job]:
        return self.records.specs

    def inputs(self, version: int) -> FrozenInputs:
        """Which objects the inputs of a version are."""
        return self.job.inputs if version == 1 else self.records.inputs.get(version, ())

    def targets(self, version: int = 0) -> tuple[NodeId, ...]:
        """The nodes on which this version runs, or the newest; none of a batch job, and while they are not chosen."""
        if version in {0, self.job.version}:
            return self.job.targets
        return next((each.targets for each in self.earlier() if each.version == version), ())

    def part_count(self, version: int = 0) -> int:
        """How many parts this version has, or the newest; of an ops job without nodes one, which waits for these."""
        return len(self.targets(version)) or self.specs[version or self.job.version].count or 1

    def part_name(self, version: int, partition: int) -> str:
        return part_name(partition, self.specs[version].count or 1, self.targets(version))

    @property
    def lacks_targets(self) -> bool:
        """Whether it is an ops job whose nodes are to be chosen."""
        return self.spec.type == OPS and not self.job.targets

    def needs_of(self, version: int) -> tuple[PinnedNeed, ...]:
        return self.job.needs if version == 1 else self.records.needs.get(version, ())

    def all_inputs(self) -> dict[int, FrozenInputs]:
        """Of all versions that have any."""
        first = {1: self.record.inputs} if self.record is not None and self.record.inputs else {}
        return first | self.records.inputs

    @property
    def executions(self) -> dict[str, ExecutionRecord]:
        return self.records.executions

    @property
    def job(self) -> JobRecord:
        record = (self._records or self.records).record
        assert record is not None
        return record

    @property
    def spec(self) -> Job:
        """The newest version."""
        records = self._records or self.records
        assert records.record is not None
        return records.specs[records.record.version]

    def replaced(self) -> Replaced:
        """How the newest version stands, for the one that is to take its place."""
        job = self.job
        return Replaced(
            version=job.version,
            submit_time=job.submit_time,
            modify_time=max((job.modify_time, *(each.modify_time for each in self.of_version()))),
            state=self.progress.state,
            message=self.progress.message,
            token=job.token,
            digest=job.digest,
            targets=job.targets,
        )

    def earlier(self) -> Iterator[Replaced]:
        """How earlier versions stood when they were replaced, the newest first, back to where that is not known."""
        records = self.records
        found = records.replaced.get(records.record.version) if records.record is not None else None
        while found is not None:
            yield found
            found = records.replaced.get(found.version)

    def uses(self) -> Iterator[tuple[int, str, str]]:
        """Versions with their idempotency tokens and the digests of what was asked for with those."""
        yield self.job.version, self.job.token, self.job.digest
        for each in self.earlier():
            yield each.version, each.token, each.digest

    @property
    def exit_codes(self) -> ExitCodes:
        """Of the tasks of the newest version: each code with the number of parts that ended with it last."""
        if self._exit_codes is None:
            executions, version = self.records.executions.values(), self.job.version
            is_one = len(executions) == 1 and all(each.job_version == version for each in executions)  # the rule
            self._exit_codes = exit_codes(executions if is_one else self.with_kept())
        return self._exit_codes

    @property
    def is_complete(self) -> bool:
        """Whether record and specification have both arrived."""
        records = self.records
        return records.record is not None and records.record.version in records.specs

    @property
    def is_packed(self) -> bool:
        return self._records is None

    @property
    def plain_state(self) -> JobState | None:
        """Its state, where that is all there is to say about how it stands."""
        is_plain = self._progress is _PLAIN[self._progress.state] and not self.needs and self.ready_at == 0
        return self._progress.state if is_plain else None

    looked_at = 1
    """In a list it stands for itself alone (FiledJob)."""

    @property
    def listed_state(self) -> JobState:
        """As which it is listed: one that is pending for a reason is queued."""
        return self.counted or self.progress.state

    @property
    def refusals(self) -> frozenset[NodeId]:
        """The nodes that will not run the newest version, where others may be asked."""
        if self.spec.type == OPS:
            return frozenset()
        return frozenset(each.node_id for each in self.of_version() if is_refused(each))

    @property
    def waits_since(self) -> int | None:
        """Since when it waits for a node, or has waited; None while it waits for jobs that it needs."""
        return None if self.ready_at is None else max(self.job.submit_time, self.ready_at)

    @property
    def deadline(self) -> int | None:
        """The first instant at which a time-out of the job is over, in nanoseconds since 1970.

        None is while it waits for jobs that it needs. A schedule has none: its time-outs are those of its runs.
        """
        if self.job.schedule is not None:
            return None
        timeouts, begun = self.spec.task.timeouts, self.waits_since
        if begun is None:
            return None
        limits = [timeouts.total_timeout] if timeouts.total_timeout > 0 else []
        if timeouts.queue_timeout > 0 and not any(self.of_version()):
            limits.append(timeouts.queue_timeout)
        return begun + min(limits) * 10**9 if limits else None

    def of_version(self, version: int = 0) -> Iterator[ExecutionRecord]:
        """The executions of this version, or of the newest."""
        version = version or self.job.version
        return (each for each in self.records.executions.values() if each.job_version == version)

    def kept_versions(self, version: int = 0) -> tuple[int, ...]:
        """Those of which this version, or the newest, keeps the parts that have completed."""
        return self.records.keeps.get(version or self.job.version, ())

    def with_kept(self, version: int = 0) -> list[ExecutionRecord]:
        """The executions of this version, or of the newest, and those that it keeps of earlier ones."""
        own = list(self.of_version(version))
        kept = self.kept_versions(version)
        if not kept:
            return own
        begun = {each.partition for each in own}
        return [*(each for each in kept_of(self.executions.values(), kept) if each.partition not in begun), *own]

    def execution(self, execution: ExecutionId) -> ExecutionRecord | None:
        for each in self.records.executions.values():  # most have one, and this is asked for each report
            if each.id == execution:
                return each
        return None

    def refresh(self, *, max_attempts: int, backoff: AttemptBackoff) -> None:
        """Find out anew what follows from the records of a job that is complete."""
        self.put_off = None
        job, spec, executions = self.job, self.spec, self.records.executions.values()
        found = progress(
            job,
            self.part_count(),
            executions,
            budget=Budget(max_attempts=max_attempts, retries=spec.task.retries),
            backoff=backoff,
            is_later=self._is_later,
            most_parallel=spec.max_parallel or NO_LIMIT,
            keeps=self.kept_versions(),
            each_node=spec.type == OPS,
            terms=_terms(spec, max_attempts),
        )
        self._ended_by = found.ended_by
        self._progress = _plain(found)
        self.held = held_by(executions)
        self.needs = self.needs_of(job.version)
        self._exit_codes = None
        self.name = job.name
        self.namespace, self.created = job.namespace, job.create_time
        self.labels = spec.labels or _NO_LABELS
        self.is_schedule = job.schedule is not None
        self.modified = max([job.modify_time, *[each.modify_time for each in executions]])
        if self.is_quiet:
            self.shelve()

    def written_since(self, revision: int) -> list[ExecutionRecord]:
        """The executions that were written under this revision or a later one."""
        records, job = self.records, self.id
        found = (part for part, at in records.revisions.items() if at >= revision)
        return [records.executions[f"{job}.{part}"] for part in found if "." in part]  # else it is a specification's

    def revisions(self) -> Iterator[tuple[str, int]]:
        """The keys of all records of it, with their revisions."""
        return revisions_of(self.id, self.revision, self.records.revisions)

    def revision_of(self, record: ExecutionRecord) -> int:
        return self.records.revisions.get(record.decision.partition(".")[2], 0)

    def _is_later(self, record: ExecutionRecord) -> bool:
        """Whether it was written after the job's record."""
        return self.revision_of(record) > self.revision

    @property
    def is_quiet(self) -> bool:
        """Whether it has ended, and nothing of it runs any more."""
        return self.progress.state.is_terminal and all(
            each.state.is_terminal for each in self.records.executions.values()
        )

    def shelve(self) -> None:
        """Have it put away."""
        if not self._is_put_away:
            self._is_put_away = True
            self._put_away(self)

    def leave_shelf(self) -> None:
        """It was put away, or stays: from now on it may be put away again."""
        self._is_put_away = False

    def in_bytes(self) -> bytes:
        """Its records packed; empty where it holds what cannot be packed, as earlier versions took in."""
        if self._records is None:
            return self._packed
        return packed(self._records) if is_packable(self._records) else b""

    def pack(self) -> None:
        """Unless something is to be done about it, or it holds what cannot be packed."""
        if self._records is None or not self.is_quiet:
            return
        self._exit_codes = self.exit_codes
        in_bytes = self.in_bytes()
        if in_bytes:
            self._packed, self._records = in_bytes, None

    def rest(self) -> "JobEntry":
        """What of the job is stored still, once it is not to be seen any more: who holds this entry may read on."""
        left, records = JobEntry(self.id, self._put_away), self.records
        left.revision = self.revision
        left.records.record, left.records.specs = records.record, dict(records.specs)
        left.records.replaced, left.records.keeps = dict(records.replaced), dict(records.keeps)
        left.records.inputs, left.records.needs = dict(records.inputs), dict(records.needs)
        left.records.executions, left.records.revisions = dict(records.executions), dict(records.revisions)
        return left

    def __repr__(self) -> str:
        return f"<JobEntry {self.id}, {self.progress.state}>"
