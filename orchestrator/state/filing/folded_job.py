"""Folded jobs: what is kept of one that has ended where it is not in memory, and the job that is made of it again."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from orchestrator.rules.job_progress import Progress
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.filing.job_index_tables import LARGEST, SEVERAL_CODES
from orchestrator.state.job_entry import JobEntry, plain_progress
from orchestrator.state.job_records import ExitCodes, JobRecords, tokens_of
from shared.ids import ExecutionId, JobId
from shared.jobs.states import ExecutionState, JobState

FEW = 64
"""Of a job with more executions each is found by its key; of others all are looked through."""


class _More(msgspec.Struct, array_like=True):
    """How a job stands of which its state alone does not say all."""

    progress: Progress
    needs: tuple[PinnedNeed, ...]
    ready_at: int | None


class Tie(NamedTuple):
    """By what a job has its name: the key of that record, its revision, and whether the job is known by the name.

    The key is empty where the job is called by its id, and the revision 0 where there is no such record.
    """

    key: str = ""
    revision: int = 0
    is_named: bool = False


UNTIED = Tie()

_encoder = msgspec.msgpack.Encoder()
_more = msgspec.msgpack.Decoder(_More)
_codes = msgspec.msgpack.Decoder(ExitCodes)
_labels = msgspec.msgpack.Decoder(dict[str, str])


class FoldedJob(NamedTuple):
    """Instants are nanoseconds since 1970. It ended when it was modified last; `published` is whether it has objects.

    `executions` are ids, and where each is found (ExecutionIndex); `states` are theirs. `is_noted` is whether more of
    the job has to be known than the index tells: what it needs, of which schedule it is a run, which uploads it left.
    """

    id: JobId
    namespace: str
    name: str
    created: int
    modified: int
    published: bool
    ended_by: int
    state: JobState
    is_schedule: bool
    code: int | None
    exit_codes: bytes | None
    labels: Mapping[str, str]
    revision: int
    revisions: bytes
    tie: Tie
    tokens: tuple[str, ...]
    executions: tuple[tuple[ExecutionId, str], ...]
    more: bytes | None
    packed: bytes
    is_noted: bool
    states: list[ExecutionState]


class FiledRow(NamedTuple):
    """What the index gives of one job."""

    namespace: str
    name: str
    created: int
    modified: int
    ended_by: int
    state: str
    is_schedule: int
    exit_codes: bytes | None
    labels: bytes | None
    revision: int
    more: bytes | None
    packed: bytes


def folded(entry: JobEntry, *, published: bool, tie: Tie) -> FoldedJob | None:
    """A job that has ended, of which nothing is to be done; None where it has what cannot be stored."""
    records, packed = entry.records_at_hand, entry.in_bytes()
    record = records.record
    assert record is not None
    numbers = (entry.created, entry.modified, entry.ended_by)
    if not packed or min(numbers) < 0 or max(numbers) > LARGEST:
        return None
    try:
        more = None if entry.plain_state else _encoder.encode(_More(entry.progress, entry.needs, entry.ready_at))
        codes = _encoder.encode(entry.exit_codes) if entry.exit_codes else None
    except (OverflowError, ValueError):
        return None
    return FoldedJob(
        entry.id,
        entry.namespace,
        entry.name,
        entry.created,
        entry.modified,
        published,
        entry.ended_by,
        entry.progress.state,
        entry.is_schedule,
        _code_of(entry.exit_codes),
        codes,
        entry.labels,
        entry.revision,
        _encoder.encode(records.revisions),
        tie,
        tokens_of(records),
        tuple(places_of(entry.id, records)),
        more,
        packed,
        bool(entry.needs) or record.run_of is not None or any(map(_has_left, records.executions.values())),
        states_of(records.executions.values()),
    )


def states_of(executions: Iterable[ExecutionRecord]) -> list[ExecutionState]:
    return [each.state for each in executions]


def _code_of(codes: ExitCodes) -> int | None:
    """None without any."""
    if not codes:
        return None
    return codes[0][0] if len(codes) == 1 and codes[0][0] <= LARGEST else SEVERAL_CODES


def _has_left(execution: ExecutionRecord) -> bool:
    return bool(execution.unfinished_uploads)


def places_of(job: JobId, records: JobRecords) -> Iterator[tuple[ExecutionId, str]]:
    """The executions of a job, and where each is found (ExecutionIndex)."""
    has_few = len(records.executions) <= FEW
    return ((each.id, job if has_few else key) for key, each in records.executions.items())


def unfolded(job: JobId, row: FiledRow, put_away: Callable[[JobEntry], None]) -> JobEntry:
    """The job again, packed."""
    plain = _More(plain_progress(JobState(row.state)), (), 0)
    more = plain if row.more is None else _more.decode(row.more)
    made = JobEntry.of_packed(
        job,
        put_away,
        row.packed,
        ended_by=row.ended_by,
        exit_codes=_codes.decode(row.exit_codes) if row.exit_codes else (),
        progress=more.progress,
        ready_at=more.ready_at,
        needs=more.needs,
    )
    made.name, made.namespace, made.is_schedule = row.name, row.namespace, bool(row.is_schedule)
    made.labels = _labels.decode(row.labels) if row.labels else made.labels
    made.created, made.modified, made.revision = row.created, row.modified, row.revision
    return made
