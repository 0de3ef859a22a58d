"""The document that `tarpon job run --output json` prints: the job, its executions and their results, once."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import field

from shared.jobs.spec import JobView
from shared.jobs.states import ExecutionState
from shared.protocol.rest import ExecutionView, SubmitResponse
from tarpon.cli.console.odd_entries import GetReport
from tarpon.cli.results.wanted_logs import latest
from tarpon.http.watching import is_over

HIGHEST = 255
"""No process can end with a higher code."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Which object a result is, and never a URL of it. `tarpon job get` fetches it."""

    execution_id: str = field(name="ExecutionID")
    partition_index: int
    bucket: str
    key: str
    region: str
    endpoint: str
    size: int
    sha256: str = field(name="SHA256")
    left_out_count: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The executions are those of this version of the job, and those that it keeps of earlier ones.

    `fetched` is null where nothing was downloaded.
    """

    job_id: str = field(name="JobID")
    job_version: int
    warnings: tuple[str, ...]
    job: JobView
    executions: tuple[ExecutionView, ...]
    results: tuple[RunResult, ...]
    fetched: GetReport | None = None


class SubmittedJob(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What there is to say with --id-only."""

    job_id: str = field(name="JobID")
    job_version: int


def report(
    submitted: SubmitResponse, job: JobView, executions: Iterable[ExecutionView], fetched: GetReport | None
) -> RunReport:
    of_version = tuple(executions)
    return RunReport(
        job_id=job.id,
        job_version=job.version,
        warnings=submitted.warnings,
        job=job,
        executions=of_version,
        results=tuple(_results(of_version, is_over=is_over(job))),
        fetched=fetched,
    )


def _results(executions: Sequence[ExecutionView], *, is_over: bool) -> Iterable[RunResult]:
    """As the orchestrator offers them: of each part that of the execution that completed, or else the newest one."""
    of_part: dict[int, ExecutionView] = {}
    for each in sorted(executions, key=lambda each: (each.state is ExecutionState.COMPLETED, each.create_time)):
        has_result = each.published_result is not None and each.published_result.params is not None
        if has_result and (is_over or each.state is ExecutionState.COMPLETED):
            of_part[each.partition_index] = each
    for _, each in sorted(of_part.items()):
        params = each.published_result.params if each.published_result is not None else None
        if params is not None:
            yield RunResult(
                execution_id=each.id,
                partition_index=each.partition_index,
                bucket=params.bucket,
                key=params.key,
                region=params.region,
                endpoint=params.endpoint,
                size=params.size,
                sha256=params.sha256,
                left_out_count=params.left_out_count,
            )


def task_exit_code(executions: Sequence[ExecutionView]) -> int:
    """The highest code with which the last attempt at a part has ended; 0 where no task has ended by itself."""
    codes = [each.run_output.exit_code for each in latest(executions) if each.run_output is not None]
    return max((min(code, HIGHEST) for code in codes if code > 0), default=0)
