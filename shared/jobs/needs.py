"""Needs of jobs: which other jobs have to have ended, and how, before one begins. What can be said without looking.

Whether there are such jobs is looked up where the job is submitted (orchestrator/jobs/chains.py).
"""

from collections.abc import Iterator

from msgspec.structs import replace

from shared.data.decoding import advised
from shared.jobs.inputs.kinds import ResultInputParams, kind_of, look, read_params
from shared.jobs.spec import Job, Need

MAX_NEEDS = 256
MAX_CALLED = 255

COMPLETED = "completed"
SUCCESS = "success"
ON = (SUCCESS, COMPLETED)
"""How a needed job has to end: Completed, with exit code 0 in every part; or Completed with whatever codes."""


def needs_of(job: Job) -> tuple[Need, ...]:
    """What the job waits for, in the long form: what it says under Needs, and the jobs whose results it reads."""
    said = _said(job)
    if not any(task.input_sources for task in job.tasks):
        return said
    known = {each.job for each in said}
    return (*said, *(Need(job=each) for each in dict.fromkeys(read_results(job)) if each not in known))


def read_results(job: Job) -> Iterator[str]:
    """How the jobs are called whose results it reads, as it says it."""
    for source in (each.source for task in job.tasks[:1] for each in task.input_sources):
        if kind_of(source) == "result" and not look(source).problems:
            yield read_params(source, ResultInputParams).job.strip()


def _said(job: Job) -> tuple[Need, ...]:
    return tuple(Need(job=each) if isinstance(each, str) else each for each in job.needs or ())


def normalised_needs(job: Job) -> tuple[Need, ...]:
    return tuple(map(_normalised, _said(job)))


def _normalised(need: Need) -> Need:
    on = need.on.strip().lower()
    return replace(need, job=need.job.strip(), on="" if on == SUCCESS else on)


def needs_problems(job: Job) -> Iterator[str]:
    """Of a normalised job, each in a sentence that begins with the path of what is wrong."""
    needs = _said(job)
    if len(needs) > MAX_NEEDS:
        yield f"Needs has {len(needs):,} entries; at most {MAX_NEEDS} are possible."
        return
    known: set[str] = set()
    for number, each in enumerate(needs):
        where = f"Needs[{number}]"
        if not each.job:
            yield f"{where} names no job."
            continue
        if len(each.job) > MAX_CALLED or not each.job.isprintable():
            yield f"{where} {each.job[:80]!r} is neither the name nor the id of a job."
        if each.job == job.name:
            yield f"{where}: the job cannot need itself."
        if each.job in known:
            yield f"{where} {each.job[:80]!r} is there twice."
        known.add(each.job)
        if each.on not in {"", COMPLETED}:
            advice = advised(each.on, ON, f"there are {' and '.join(ON)}.")
            yield f"{where}.On {each.on[:20]!r} is not known; {advice}"
