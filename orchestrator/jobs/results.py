"""Results for users: a fresh URL for each archive of a job, signed when it is asked for."""

import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from operator import attrgetter

from orchestrator.audit.events import ActorKind, AuditEvent
from orchestrator.jobs.execution_names import named_execution
from orchestrator.jobs.versions import version_of
from orchestrator.rules.records import ExecutionRecord, RecordedProvenance, VerifiedResult, about_execution
from orchestrator.s3 import saved_names
from orchestrator.s3.locations import Locations
from orchestrator.s3.signed_events import place, signed_for_reader
from orchestrator.state.model import JobEntry
from orchestrator.storage.wall_clock import instant
from shared.errors import NoResults, NotFound, StorageUnavailable
from shared.jobs.publisher_params import GZIP, PLAIN
from shared.jobs.spec import Job
from shared.jobs.states import ExecutionState
from shared.protocol import rest
from shared.protocol.objects import content_manifest_key, index_key, is_plain, provenance_key, record_key
from shared.protocol.published_facts import shown
from shared.protocol.rest import ResultItem
from shared.protocol.results.provenance import specification_digest

_log = logging.getLogger(__name__)


async def results(
    entry: JobEntry,
    locations: Locations,
    *,
    version: int = 0,
    execution: str = "",
    after: int = -1,
    most: int = sys.maxsize,
    refused: bool = False,
    records_key: str = "",
) -> tuple[ResultItem, ...]:
    """Of a version, by partition; of the newest one if `version` is 0.

    Of each part there is one: that of the execution that completed or, once the version has ended without one, the
    newest that was published of a task that failed by its exit code.

    `execution` is the id of one execution, or the beginning of its id; it may be of any version unless that is given.
    They are those of the parts after the `after`th, `most` of them. `refused` is whether S3 has refused URLs that were
    given before: the keys that sign are then read again. With a `records_key`, which is that by which this orchestrator
    signs the records beside results, they are told too.
    One that cannot be signed is left out and logged, as long as another can. Raises StorageUnavailable if none can,
    NoResults for one execution that has none, or results that were deleted, and NotFound or InvalidInput for what is
    not there or not clear. A job that has no results (yet) gives none.
    """
    if execution:
        done = [_chosen(entry, execution, version)]
    else:
        version = version_of(entry, version)
        done = results_of_parts(entry, version)
    if done and (deleted := max(each.result_deleted for each in done)):
        done = [each for each in done if not each.result_deleted]
        if not done:
            raise _deleted(entry, deleted)
    done = [each for each in done if each.partition > after][:most]
    if refused:
        locations.doubt_credentials()
    items: list[ResultItem] = []
    problem: StorageUnavailable | None = None
    for each in done:
        try:
            items.append(await _item(entry, each, locations, records_key))
        except StorageUnavailable as error:
            problem = error
            told = "The result of execution %s cannot be signed: %s"
            _log.warning(told, each.id, error.message, extra=about_execution(each))
    if problem is not None and not items:
        raise problem
    return tuple(items)


def results_signed(
    entry: JobEntry, items: Sequence[ResultItem], kind: ActorKind, who: str, source: str
) -> list[AuditEvent]:
    """What the audit log tells of these."""
    now, expiries = datetime.now(UTC), [each.params.expires_at for each in items]
    return signed_for_reader(
        kind,
        who,
        source,
        job=entry.job.id,
        namespace=entry.job.namespace,
        objects=[
            (each.params.execution_id, place(each.params.source_spec.bucket, each.params.source_spec.key))
            for each in items
        ],
        urls=max((_urls_of(each.params) for each in items), default=0),
        lifetime_seconds=max((ceil((at - now).total_seconds()) for at in expiries if at is not None), default=0),
    )


def _urls_of(params: rest.ResultParams) -> int:
    urls = (params.pre_signed_url, params.index_url, params.manifest_url, params.provenance_url, params.record_url)
    return sum(map(bool, urls))


def results_of_parts(entry: JobEntry, version: int) -> list[ExecutionRecord]:
    """The executions whose results are those of the parts of a version, in their order.

    While a part may still be tried again, what failed of it is not its result.
    """
    has_ended = version != entry.job.version or entry.progress.state.is_terminal
    chosen: dict[int, ExecutionRecord] = {}
    for each in sorted(entry.with_kept(version), key=_as_result):
        if _has_result(each) and each.has_counting_result and (has_ended or each.state is ExecutionState.COMPLETED):
            chosen[each.partition] = each
    return sorted(chosen.values(), key=attrgetter("partition"))


def _as_result(record: ExecutionRecord) -> tuple[bool, int]:
    """The last of a part's is its result."""
    return record.state is ExecutionState.COMPLETED, record.attempt


def result_of(entry: JobEntry, execution: str) -> ExecutionRecord:
    """The execution of this id, whose result is in the bucket. Raises NotFound, NoResults."""
    record = _chosen(entry, execution, 0)
    if record.result_deleted:
        raise _deleted(entry, record.result_deleted)
    return record


def _deleted(entry: JobEntry, at: int) -> NoResults:
    return NoResults(
        f"The results of job {entry.job.id} were deleted from the bucket at {instant(at).isoformat(' ', 'seconds')}.",
        hint="How long results are kept says Publishers.Types.S3Managed.Retention. Run the job again.",
    )


def _chosen(entry: JobEntry, text: str, version: int) -> ExecutionRecord:
    executions = entry.with_kept(version_of(entry, version)) if version else entry.executions.values()
    found = named_execution(executions, text)
    if found is None:
        raise NotFound(
            f"Job {entry.job.id} has no result of an execution {text[:80]!r}.",
            hint=f"`tarpon job executions {entry.job.id} --all-job-versions` lists them.",
        )
    if not _has_result(found):
        raise NoResults(
            f"Execution {found.id} is {found.state} and has no result.",
            hint=f"`tarpon job describe {entry.job.id}` shows what happened.",
        )
    return found


def _has_result(record: ExecutionRecord) -> bool:
    return record.state in {ExecutionState.COMPLETED, ExecutionState.FAILED} and record.result is not None


def _stand_ins(entry: JobEntry, record: ExecutionRecord) -> tuple[str, ...]:
    """The other replicas of its part that gave the same, as far as theirs are there."""
    if not record.answer or not record.has_counting_result:
        return ()
    return tuple(
        each.id
        for each in entry.of_version(record.job_version)
        if each.partition == record.partition and each.id != record.id
        if each.state is record.state and each.answer == record.answer and not each.result_deleted
    )


async def _item(entry: JobEntry, record: ExecutionRecord, locations: Locations, records_key: str) -> ResultItem:
    assert record.location is not None
    assert record.result is not None
    now, name = datetime.now(UTC), saved_names.saved_name(entry, record)
    bucket, key = await locations.bucket_of(record.location), record.location.key
    signed_urls = {
        kind: await bucket.sign_get(where, saved_as=name + ending)
        for kind, where, ending in _objects(key, record.result, has_record=bool(records_key))
    }
    lifetime = min(each.lifetime_seconds for each in signed_urls.values())
    urls = {kind: each.url for kind, each in signed_urls.items()}
    signed, spec = record.result.provenance, entry.specs.get(record.job_version)
    return ResultItem(
        type=rest.RESULT_TYPE,
        params=rest.ResultParams(
            pre_signed_url=urls["archive"],
            index_url=urls.get("index", ""),
            manifest_url=urls.get("manifest", ""),
            provenance_url=urls.get("provenance", ""),
            record_url=urls.get("record", ""),
            records_key=records_key,
            expires_at=(now + timedelta(seconds=lifetime)).replace(microsecond=0),
            source_spec=rest.SourceSpec(**record.location.shown()),
            execution_id=record.id,
            partition_index=record.partition,
            job_version=record.job_version,
            etag=record.result.etag,
            **shown(record.result, rest.ResultParams),
            provenance_size=signed.size_bytes if signed is not None else 0,
            provenance_sha256=signed.sha256 if signed is not None else "",
            provenance_key=signed.key if signed is not None else "",
            node_id=record.node_id,
            spec_digest=_specification(signed, spec),
            stand_ins=_stand_ins(entry, record),
            exit_code=record.output.exit_code if record.output else 0,
            encoding=PLAIN if is_plain(key) else GZIP,
        ),
    )


def _specification(signed: RecordedProvenance | None, spec: Job | None) -> str:
    """The digest of that which was signed."""
    if signed is None:
        return ""
    return signed.specification or (specification_digest(spec) if spec is not None else "")


def _objects(key: str, result: VerifiedResult, *, has_record: bool) -> Iterator[tuple[str, str, str]]:
    """Its objects: by which name the URL of each is told, its key, and how its name ends where a browser saves it."""
    yield "archive", key, saved_names.MANIFEST if is_plain(key) else saved_names.ARCHIVE
    if result.index_bytes:
        yield "index", index_key(key), saved_names.INDEX
    if result.manifest_bytes:
        yield "manifest", content_manifest_key(key), saved_names.MANIFEST
    if result.provenance is not None:
        yield "provenance", provenance_key(key), saved_names.PROVENANCE
    if has_record:
        yield "record", record_key(key), saved_names.RECORD
