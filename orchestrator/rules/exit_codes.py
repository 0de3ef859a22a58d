"""Exit codes: whether a task has failed by its own, and whether its job has it run again for that.

Nodes do not know of it: they publish the result of whatever has ended, and tell its exit code. So what is decided here
is the same with nodes of any version.
"""

from functools import lru_cache

from orchestrator.rules.records import Failure
from shared.errors import InvalidDuration
from shared.jobs.durations import parse_duration
from shared.jobs.spec import Retries, Task
from shared.jobs.states import FailureReason


def failure_of(task: Task, exit_code: int) -> Failure | None:
    """As what the execution has failed once its result is there; None where its job takes it for done."""
    if exit_code == 0 or not task.fail_on_exit_code:
        return None
    return Failure(
        reason=FailureReason.NON_ZERO_EXIT_CODE,
        detail=f"The task ended with exit code {exit_code}.",
        retryable=is_retried(task.retries, exit_code),
    )


def is_retried(retries: Retries, exit_code: int) -> bool:
    """Whether this exit code is one that the task is run again for, however often it was already."""
    return retries.max > 0 and (not retries.on_exit_codes or exit_code in retries.on_exit_codes)


def first_wait(retries: Retries) -> float | None:
    """How long the first retry waits, in seconds; None where the job leaves that to the orchestrator."""
    return _seconds(retries.back_off) if retries.back_off else None


@lru_cache(maxsize=256)
def _seconds(text: str) -> float | None:
    """None for what `job_rules` would have refused."""
    try:
        return max(0.0, parse_duration(text))
    except InvalidDuration:
        return None
