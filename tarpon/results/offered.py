"""Offered results: which a job has, and which of them a user means."""

from collections.abc import Sequence

from shared import ids
from shared.errors import DownloadFailed, InvalidInput, NoResults, NotFound
from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import JobView
from shared.protocol.rest import ResultItem, ResultParams
from tarpon.archive.plain import GiveUrls
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.http.watching import JobNotEnded, is_over, runs_of
from tarpon.transfer.download import Renew

_NAMED = 10
"""As many partitions are told in a message."""


def is_without_publisher(view: JobView) -> bool:
    return bool(view.tasks) and view.task.publisher.type in NO_PUBLISHERS


async def chosen_version(
    client: OrchestratorCalls, job: str, *, namespace: str = "", version: int = 0, execution: str = ""
) -> JobView:
    """The job as it was in this version, or in that of the execution; else as it is."""
    view = await client.get(job, namespace=namespace, job_version=version)
    if version or not execution:
        return view
    results = await client.results(job, namespace=namespace, execution_id=execution)
    earlier = {each.params.job_version for each in results} - {0, view.version}  # 0 is an earlier server's
    return await client.get(job, namespace=namespace, job_version=earlier.pop()) if len(earlier) == 1 else view


async def offered(
    client: OrchestratorCalls,
    job: str,
    view: JobView,
    *,
    namespace: str = "",
    partition: int | None = None,
    execution: str = "",
    records: bool = False,
) -> tuple[ResultParams, ...]:
    """The results of `job` in the version of `view`, or those of one partition or execution (or beginning of an id).

    `records` is as that of Client.results.

    Raises JobNotEnded, NoResults, and NotFound or InvalidInput where what was chosen is not there or not clear.
    """
    refuse_schedule(job, view, "results")
    if not is_over(view):
        raise JobNotEnded(f"Job {job} is {view.state.state_type} and has no results yet.", job)
    if is_without_publisher(view):
        raise NoResults(f"Job {job} has no publisher, and so no results.", hint=f"Try: tarpon job logs {job}")
    results = await client.results(
        job, namespace=namespace, job_version=view.version, execution_id=execution, records=records
    )
    if not results:
        raise NoResults(
            f"{_called(job, view)} is {view.state.state_type} and has no results.",
            hint=f"`tarpon job history {job} --job-version {view.version}` shows what happened.",
        )
    for result in results:
        ids.execution_id(result.params.execution_id)  # it becomes a part of a path
    return tuple(_chosen(_params(results), job, partition, execution))


def refuse_schedule(job: str, view: JobView, what: str) -> None:
    """Raise NoResults where the job is a schedule, which has no results and no logs of its own."""
    if view.schedule_status:
        raise NoResults(
            f"Job {job} is a schedule, and has no {what}: its runs have.",
            hint=runs_of(view),
        )


def _called(job: str, view: JobView) -> str:
    return f"Version {view.version} of job {job}" if view.version > 1 else f"Job {job}"


def _params(results: Sequence[ResultItem]) -> list[ResultParams]:
    return [result.params for result in results]


def _chosen(results: Sequence[ResultParams], job: str, partition: int | None, execution: str) -> Sequence[ResultParams]:
    found = results
    if partition is not None:
        found = [each for each in found if each.partition_index == partition]
        if not found:
            raise NotFound(f"Job {job} has no result of partition {partition}.", hint=f"There are: {_told(results)}.")
    if execution:
        found = [each for each in found if each.execution_id.startswith(execution)]
        exact = [each for each in found if each.execution_id == execution]
        if len(found) > 1 and not exact:
            raise InvalidInput(
                f"{execution[:80]!r} is the beginning of {len(found)} executions' ids.", hint="Give more of it."
            )
        found = exact or found
        if not found:
            raise NotFound(
                f"Job {job} has no result of an execution {execution[:80]!r}.", hint=f"There are: {_told(results)}."
            )
    return found


def only(results: Sequence[ResultParams], job: str) -> ResultParams:
    """The one result of those. Raises InvalidInput where there are several."""
    if len(results) > 1:
        raise InvalidInput(
            f"Job {job} has {len(results)} results.",
            hint=f"Choose one with --partition or --execution: {_told(results)}.",
        )
    return results[0]


def _told(results: Sequence[ResultParams]) -> str:
    return parts_told([(each.partition_index, each.execution_id) for each in results])


def parts_told(parts: Sequence[tuple[int, str]]) -> str:
    """The first of these partitions, each with the id of its execution."""
    told = ", ".join(f"{partition} ({execution})" for partition, execution in parts[:_NAMED])
    return f"{told} and {len(parts) - _NAMED} more" if len(parts) > _NAMED else told


def renewer(
    client: OrchestratorCalls, job: str, params: ResultParams, *, namespace: str = "", records: bool = False
) -> Renew:
    """What gives the same result with fresh URLs. It raises DownloadFailed where there is none any more."""

    async def renew() -> ResultParams:
        execution, version = params.execution_id, params.job_version
        offers = await client.results(
            job, namespace=namespace, job_version=version, execution_id=execution, refused=True, records=records
        )
        for result in offers:
            if result.params.execution_id == execution:
                return result.params
        raise DownloadFailed(f"The result of execution {params.execution_id} is no longer offered.")

    return renew


def url_giver(client: OrchestratorCalls, job: str, params: ResultParams, *, namespace: str = "") -> GiveUrls:
    """What gives the URLs of a plain result's files."""

    async def give_urls(names: Sequence[str], refused: bool) -> Sequence[str]:  # noqa: FBT001  # a GiveUrls
        return await client.result_files(job, params.execution_id, names, namespace=namespace, refused=refused)

    return give_urls
