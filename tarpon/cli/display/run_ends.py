"""The end of a run that has completed: how long it took, its exit codes, and what of its output is lost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta

from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import JobView
from shared.jobs.states import ExecutionState
from shared.protocol.rest import ExecutionView
from tarpon.cli.console.output import lasting


def completed(ended: JobView, executions: Sequence[ExecutionView]) -> str:
    """The executions are of this version of the job, or results of earlier ones that it keeps."""
    return f"Job {ended.id} completed in {lasting(_took(ended, executions))}. {exit_codes(executions)}"


def _took(ended: JobView, executions: Iterable[ExecutionView]) -> timedelta:
    """From when the first part of this very version was placed."""
    placed = [each.create_time for each in executions if each.job_version == ended.version]
    began = min(placed, default=ended.submit_time or ended.create_time)
    return timedelta(microseconds=(ended.modify_time - began) / 1000)


def exit_codes(executions: Iterable[ExecutionView]) -> str:
    """In one sentence, with which exit codes the tasks that completed ended."""
    completed = [each for each in executions if each.state_name == ExecutionState.COMPLETED]
    counts = Counter(each.run_output.exit_code for each in completed if each.run_output is not None)
    match sorted(counts.items()):
        case []:
            return ""
        case [(code, 1)]:
            return f"Exit code: {code}."
        case [(code, 2)]:
            return f"Exit code of both tasks: {code}."
        case [(code, count)]:
            return f"Exit code of all {count:,} tasks: {code}."
        case several:
            return "Exit codes: " + ", ".join(f"{code} ({count} x)" for code, count in several) + "."


def is_published(job: JobView) -> bool:
    return bool(job.tasks) and job.task.publisher.type.lower() not in NO_PUBLISHERS


def lost_output(ended: JobView, executions: Iterable[ExecutionView]) -> str:
    """A warning where tasks wrote more than the record keeps, and nothing is published; else nothing."""
    outputs = [each.run_output for each in executions if each.run_output is not None]
    if is_published(ended) or not any(each.stdout_truncated or each.stderr_truncated for each in outputs):
        return ""
    return (
        "Only the beginning is kept of what was written, because the job has no publisher."
        " `Publisher: {Type: s3managed}` in its task, or `-p s3managed`, keeps all of it, and what it leaves in files."
    )
