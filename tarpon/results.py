"""How the results of a job come into a folder: all of them, checked, or none.

One result: its files directly in the folder. Several: one folder for each partition, named by its execution. They are
never merged by appending one stdout to another, so it stays known which part of the job wrote what.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from shared import ids
from shared.aio import finish, pipelined
from shared.errors import DownloadFailed, NoResults
from shared.job_rules import NO_PUBLISHERS
from shared.jobspec import JobView
from shared.rest import ResultItem, ResultParams
from tarpon.client import Client
from tarpon.download import Download, FileSink, Sink, object_session
from tarpon.extract import Extraction
from tarpon.result_folders import (
    MOVE_SECONDS,
    check_free,
    expected_names,
    place_of,
    put_in_place,
    receiving,
    staging_in,
)
from tarpon.watching import JobNotEnded, is_over

AT_ONCE = 4
UNANNOUNCED_BYTES = 1 << 40
UNANNOUNCED_ENTRIES = 10_000_000
"""What is extracted at most where the server does not tell how much a result holds."""


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """What get_results did; without a folder where the job has no publisher and so nothing to get."""

    folder: Path | None
    count: int = 0
    size_bytes: int = 0


class OnProgress(Protocol):
    def __call__(self, done_bytes: int, total_bytes: int, /) -> None: ...


async def get_results(
    client: Client,
    job: str,
    *,
    output_dir: Path | None = None,
    raw: bool = False,
    namespace: str = "",
    on_progress: OnProgress | None = None,
) -> Fetched:
    """Download, verify and extract the results of `job`.

    Without `output_dir`, which must exist, `./job-<job>` is made (`./job-<namespace>-<job>` in another namespace).
    `raw` keeps the archives, as `raw/<job id>_<execution id>.tar.gz`. Nothing that exists is overwritten. Cancelling
    it, or an error, leaves nothing behind. Raises JobNotEnded, NoResults, ResultsInTheWay, DownloadFailed, Damaged and
    CannotExtract, beside what the client raises.
    """
    view = await client.get(job, namespace=namespace)
    if view.tasks and view.task.publisher.type in NO_PUBLISHERS:
        return Fetched(folder=None)
    results = await _results(client, job, view, namespace)
    async with receiving(job, view, output_dir) as folder:
        places = [place_of(folder, view, result.params, raw=raw, alone=len(results) == 1) for result in results]
        check_free(folder, expected_names(view) if not raw and len(results) == 1 else places)
        report = _Total(results, on_progress)
        async with staging_in(folder) as staging, object_session() as session:

            async def fetch(result: ResultItem) -> None:
                staged = staging / result.params.execution_id
                download = Download(
                    session,
                    result.params,
                    renew=lambda: renewed(client, job, namespace, result.params.execution_id),
                    on_progress=report.of(result),
                )
                await download.into(await asyncio.to_thread(_sink, staged, result.params, raw=raw))

            await pipelined(results, fetch, at_once=AT_ONCE)
            staged = [staging / result.params.execution_id for result in results]
            await finish(asyncio.to_thread(put_in_place, folder, staged, places), within=MOVE_SECONDS)
    return Fetched(folder=folder, count=len(results), size_bytes=report.total_bytes)


async def _results(client: Client, job: str, view: JobView, namespace: str) -> tuple[ResultItem, ...]:
    if not is_over(view):
        raise JobNotEnded(f"Job {job} is {view.state.state_type} and has no results yet.", job)
    results = await client.results(job, namespace=namespace)
    if not results:
        raise NoResults(
            f"Job {job} is {view.state.state_type} and has no results.",
            hint=f"`tarpon job describe {job}` shows what happened.",
        )
    for result in results:
        ids.execution_id(result.params.execution_id)  # it becomes a part of a path
    return results


async def renewed(client: Client, job: str, namespace: str, execution: str) -> ResultParams:
    """The result of one execution with a fresh URL. Raises DownloadFailed where there is none any more."""
    for result in await client.results(job, namespace=namespace):
        if result.params.execution_id == execution:
            return result.params
    raise DownloadFailed(f"The result of execution {execution} is no longer offered.")


def _sink(staged: Path, params: ResultParams, *, raw: bool) -> Sink:
    if raw:
        return FileSink(staged)
    announced = params.entries > 0
    return Extraction(
        staged,
        max_bytes=params.raw_size if announced else UNANNOUNCED_BYTES,
        max_entries=params.entries if announced else UNANNOUNCED_ENTRIES,
    )


class _Total:
    """Adds up the progress of several downloads."""

    def __init__(self, results: Iterable[ResultItem], on_progress: OnProgress | None) -> None:
        self.total_bytes = sum(result.params.size for result in results)
        self._done: dict[str, int] = {}
        self._on_progress = on_progress

    def of(self, result: ResultItem) -> Callable[[int], None]:
        def report(done_bytes: int) -> None:
            self._done[result.params.execution_id] = done_bytes
            if self._on_progress is not None:
                self._on_progress(sum(self._done.values()), self.total_bytes)

        return report
