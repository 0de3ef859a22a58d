"""Checks of a job, as far as they need no orchestrator."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from shared.data.decoding import decode, invalid_document
from shared.errors import InvalidDocument, PayloadTooLarge
from shared.ids import is_like_id
from shared.jobs import publisher_params
from shared.jobs.engine_params import ENGINE_NAMES, as_meant, kind_of, unknown_told
from shared.jobs.inputs.rules import unknown_in_inputs
from shared.jobs.rules import MAX_JOB_BYTES, dropped, normalised, problems, unsaid
from shared.jobs.several import called, wrong_together
from shared.jobs.spec import Job
from shared.protocol.job_problems import independent
from tarpon.cli.job_files.file import JobFile


def check_document(document: Mapping[str, Any], *, what: str, known: Sequence[str] = ()) -> Job:
    """The job, as its author wrote it. Raise InvalidDocument, which names `what`, with every problem and its path.

    They are told with those that are `known` already.
    """
    job, _ = decode(document, Job, what=what, unknown="refuse", known=known, beside=job_problems)
    if found := list(job_problems(job)):
        raise invalid_document(what, found)
    return job


def check_file(file: JobFile) -> list[Job]:
    """The jobs of a file, as their author wrote them. Raises InvalidDocument with every problem, and whose it is."""
    if len(file.jobs) == 1:
        return [check_document(file.jobs[0], what=file.what, known=file.problems)]
    jobs, problems = list[Job](), [*file.problems]
    for number, document in enumerate(file.jobs):
        try:
            jobs.append(check_document(document, what=file.what))
        except InvalidDocument as error:
            whose = called(number, Job(name=_name_in(document)))
            problems += (f"{whose}: {each}" for each in error.problems or (error.message,))
    if len(jobs) == len(file.jobs):
        problems += wrong_together([normalised(job) for job in jobs])
    if problems:
        raise invalid_document(file.what, problems)
    return jobs


def _name_in(document: Mapping[str, Any]) -> str:
    return next((str(value).strip() for key, value in document.items() if key.lower() == "name"), "")


def warnings(job: Job) -> Iterator[str]:
    """Of a valid job, what no orchestrator is needed for to tell."""
    yield from dropped(job)
    yield from unsaid(normalised(job))
    yield from name_warnings(job)
    yield from publisher_warnings(job)
    yield from input_warnings(job)
    yield from engine_warnings(job)


def job_problems(job: Job, wrong: Collection[str] = ()) -> Iterator[str]:
    """Each problem of a job as its author wrote it, where the parts at the paths `wrong` could not be read."""
    return independent(_problems(normalised(job)), wrong)


def _problems(wanted: Job) -> Iterator[str]:
    yield from problems(wanted)
    if (size := len(msgspec.json.encode(wanted))) > MAX_JOB_BYTES:
        yield PayloadTooLarge("The job", size, MAX_JOB_BYTES).message
    for task in wanted.tasks:
        for told in unknown_told(as_meant(task.engine), "is not known"):
            yield f"Tasks[0].{told}"


def name_warnings(job: Job) -> Iterator[str]:
    """Of a name that is taken only where a job is called so already."""
    name = job.name.strip()
    if is_like_id(name):
        yield f"Name {name[:80]!r} could be taken for the id of a job, or the beginning of one; no new job can have it."


def publisher_warnings(job: Job) -> Iterator[str]:
    for task in job.tasks[:1]:
        for told in publisher_params.unknown_told(task.publisher):
            yield f"Tasks[0].{told}"


def input_warnings(job: Job) -> Iterator[str]:
    for task in job.tasks[:1]:
        for told in unknown_in_inputs(task):
            yield f"Tasks[0].{told}"


def engine_warnings(job: Job) -> Iterator[str]:
    """Of an engine from outside: which there are, the nodes know."""
    for task in job.tasks[:1]:
        if kind_of(task.engine) is None:
            yield (
                f"Tasks[0].Engine.Type {task.engine.type[:80]!r} is none of Tarpon's own engines"
                f" ({', '.join(ENGINE_NAMES)}); the job runs where a node has it from outside."
            )
