"""How users get at results: a fresh URL for each archive of a job, signed when it is asked for."""

import logging

from orchestrator import views
from orchestrator.locations import Locations
from orchestrator.model import JobEntry
from orchestrator.records import ExecutionRecord, about_execution
from shared import rest
from shared.errors import NoResults, StorageUnavailable
from shared.rest import ResultItem
from shared.states import ExecutionState

_log = logging.getLogger(__name__)


async def results(entry: JobEntry, locations: Locations) -> tuple[ResultItem, ...]:
    """Of the completed executions of the newest version, by partition.

    One that cannot be signed is left out and logged, as long as another can. Raises StorageUnavailable if none can,
    and NoResults for a job whose results are not there (yet).
    """
    done = sorted(
        (
            each
            for each in entry.executions.values()
            if each.job_version == entry.job.version and each.state is ExecutionState.COMPLETED and each.result
        ),
        key=lambda each: each.partition,
    )
    if not done and not entry.progress.state.is_terminal:
        raise NoResults(
            f"Job {entry.job.id} has no results yet: it is {entry.progress.state}.",
            hint=f"`tarpon job describe {entry.job.id}` shows how far it is.",
        )
    if done and (deleted := max(each.result_deleted for each in done)):
        done = [each for each in done if not each.result_deleted]
        if not done:
            at = views.instant(deleted).isoformat(" ", "seconds")
            raise NoResults(
                f"The results of job {entry.job.id} were deleted from the bucket at {at}.",
                hint="How long results are kept says Publishers.Types.S3Managed.Retention. Run the job again.",
            )
    items: list[ResultItem] = []
    problem: StorageUnavailable | None = None
    for each in done:
        try:
            items.append(await _item(each, locations))
        except StorageUnavailable as error:
            problem = error
            told = "The result of execution %s cannot be signed: %s"
            _log.warning(told, each.id, error.message, extra=about_execution(each))
    if problem is not None and not items:
        raise problem
    return tuple(items)


async def _item(record: ExecutionRecord, locations: Locations) -> ResultItem:
    assert record.location is not None
    assert record.result is not None
    url = await locations.sign_get(record.location)
    has_index = record.result.index_bytes > 0
    index_url = (await locations.sign_index_get(record.location)).url if has_index else ""
    return ResultItem(
        type=rest.RESULT_TYPE,
        params=rest.ResultParams(
            pre_signed_url=url.url,
            source_spec=rest.SourceSpec(
                bucket=record.location.bucket,
                key=record.location.key,
                region=record.location.region,
                endpoint=record.location.endpoint,
            ),
            execution_id=record.id,
            partition_index=record.partition,
            etag=record.result.etag,
            sha256=record.result.sha256,
            size=record.result.size_bytes,
            entries=record.result.entries,
            raw_size=record.result.raw_bytes,
            index_url=index_url,
            index_size=record.result.index_bytes,
            index_sha256=record.result.index_sha256,
            left_out_count=record.result.left_out_count,
        ),
    )
