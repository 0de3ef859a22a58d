"""Several jobs that are submitted together: how many that may be, in which order, and what makes them impossible."""

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from shared.jobs.needs import needs_of
from shared.jobs.spec import Job

MAX_JOBS = 256


def called(number: int, job: Job) -> str:
    """Such as `job 2 (train)`; numbers begin at 0 here, and at 1 there."""
    return f"job {number + 1} ({job.name[:80]})" if job.name else f"job {number + 1}"


def wrong_together(jobs: Sequence[Job]) -> Iterator[str]:
    """What is wrong with normalised jobs that are submitted together, and not with one of them alone."""
    if not 1 <= len(jobs) <= MAX_JOBS:
        yield f"There are {len(jobs):,} jobs; between 1 and {MAX_JOBS} are possible together."
        return
    known: dict[tuple[str, str], int] = {}
    for number, job in enumerate(jobs):
        if not job.name:
            continue
        first = known.setdefault((job.namespace, job.name), number)
        if first != number:
            yield f"{called(number, job)}: job {first + 1} has the same name."
    for number, job in enumerate(jobs):
        for need in needs_of(job):
            needed = known.get((job.namespace, need.job))
            if needed is not None and jobs[needed].schedule:
                yield f"{called(number, job)}: it needs {need.job[:80]}, a schedule, which never ends by itself."
    if loop := _loop_of(jobs):
        yield f"They need each other in a loop, so that none could begin: {loop}."


def in_order(jobs: Sequence[Job]) -> list[int]:
    """The numbers of the jobs, those that are needed before those that need them. Raises CycleError."""
    numbers = {(job.namespace, job.name): number for number, job in enumerate(jobs) if job.name}
    needed = {
        number: {numbers[key] for need in needs_of(job) if (key := (job.namespace, need.job)) in numbers}
        for number, job in enumerate(jobs)
    }
    return list(TopologicalSorter(needed).static_order())


def _loop_of(jobs: Sequence[Job]) -> str:
    """The names of jobs each of which needs the next one, the last one being the first; empty where there is none."""
    try:
        in_order(jobs)
    except CycleError as error:
        # The library tells them the other way round: each is needed by the next.
        return " -> ".join(jobs[number].name[:80] for number in reversed(error.args[1]))
    return ""
