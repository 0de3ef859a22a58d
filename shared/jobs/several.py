"""Several jobs that are submitted together: how many that may be, and what each is called in messages."""

from shared.jobs.spec import Job

MAX_JOBS = 256


def called(number: int, job: Job) -> str:
    """Such as `job 2 (train)`; numbers begin at 0 here, and at 1 there."""
    return f"job {number + 1} ({job.name[:80]})" if job.name else f"job {number + 1}"
