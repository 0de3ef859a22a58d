"""Folded jobs: what is kept of one that has ended where it is not in memory, and the job that is made of it again."""

from collections.abc import Iterator, Mapping

import msgspec

from orchestrator.rules.job_progress import Progress
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.state.filing.job_index_tables import LARGEST
from orchestrator.state.job_entry import ExitCodes, JobEntry, JobRecords, Shelf
from shared.ids import ExecutionId, JobId
from shared.jobs.states import JobState

FEW = 64
"""Of a job with more executions each is found by its key; of others all are looked through."""


class _About(msgspec.Struct, array_like=True):
    """What a job shows without a look at its records."""

    name: str
    namespace: str
    created: int
    modified: int
    ended_by: int
    labels: dict[str, str]
    needs: tuple[PinnedNeed, ...]
    ready_at: int | None
    is_schedule: bool
    exit_codes: ExitCodes
    revision: int
    progress: Progress


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_About)


class FoldedJob(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are nanoseconds since 1970. It ended when it was modified last; `published` is whether it has objects.

    `name_key` is that of the record by which it has its name, empty where it is called by its id; `name_revision` is
    that of this record, 0 without one, and `is_named` whether the job is known by the name. `executions` are ids, and
    where each is found (ExecutionIndex).
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
    exit_codes: ExitCodes
    labels: Mapping[str, str]
    revision: int
    revisions: Mapping[str, int]
    name_key: str
    name_revision: int
    is_named: bool
    tokens: tuple[str, ...]
    executions: tuple[tuple[ExecutionId, str], ...]
    about: bytes
    packed: bytes


def folded(entry: JobEntry, *, published: bool, name_key: str, name_revision: int, is_named: bool) -> FoldedJob | None:
    """A job that has ended, of which nothing is to be done; None where it has what cannot be stored."""
    records = entry.records_at_hand
    assert records.record is not None
    tokens = {records.record.token, *(each.token for each in records.replaced.values())} - {""}
    is_first = records.record.version == 1  # whose token decides the job's id
    places, revisions = tuple(places_of(records)), dict(records.revisions)
    about = _about(entry)
    entry.pack()
    numbers = (entry.created, entry.modified, entry.ended_by)
    if not about or not entry.is_packed or not all(0 <= each <= LARGEST for each in numbers):
        return None
    return FoldedJob(
        id=entry.id,
        namespace=entry.namespace,
        name=entry.name,
        created=entry.created,
        modified=entry.modified,
        published=published,
        ended_by=entry.ended_by,
        state=entry.progress.state,
        is_schedule=entry.is_schedule,
        exit_codes=entry.exit_codes,
        labels=entry.labels,
        revision=entry.revision,
        revisions=revisions,
        name_key=name_key,
        name_revision=name_revision,
        is_named=is_named,
        tokens=() if is_first else tuple(tokens),
        executions=places,
        about=about,
        packed=entry.packed,
    )


def places_of(records: JobRecords) -> Iterator[tuple[ExecutionId, str]]:
    """The executions of a job, and where each is found (ExecutionIndex)."""
    assert records.record is not None
    job, has_few = records.record.id, len(records.executions) <= FEW
    return ((each.id, job if has_few else key) for key, each in records.executions.items())


def _about(entry: JobEntry) -> bytes:
    about = _About(
        name=entry.name,
        namespace=entry.namespace,
        created=entry.created,
        modified=entry.modified,
        ended_by=entry.ended_by,
        labels=dict(entry.labels),
        needs=entry.needs,
        ready_at=entry.ready_at,
        is_schedule=entry.is_schedule,
        exit_codes=entry.exit_codes,
        revision=entry.revision,
        progress=entry.progress,
    )
    try:
        return _encoder.encode(about)
    except (OverflowError, ValueError):
        return b""


def unfolded(job: JobId, about: bytes, packed: bytes, shelf: Shelf) -> JobEntry:
    """The job again, packed."""
    known = _decoder.decode(about)
    made = JobEntry.of_packed(
        job,
        shelf,
        packed,
        ended_by=known.ended_by,
        exit_codes=known.exit_codes,
        progress=known.progress,
        ready_at=known.ready_at,
        needs=known.needs,
    )
    made.name, made.namespace, made.labels = known.name, known.namespace, known.labels
    made.is_schedule = known.is_schedule
    made.created, made.modified, made.revision = known.created, known.modified, known.revision
    return made
