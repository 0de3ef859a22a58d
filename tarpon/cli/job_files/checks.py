"""Checks of a job, as far as they need no orchestrator."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from shared.data.decoding import decode, invalid_document
from shared.errors import PayloadTooLarge
from shared.ids import is_like_id
from shared.jobs import publisher_params
from shared.jobs.engine_params import ENGINE_NAMES, as_meant, misspelt, unknown_told
from shared.jobs.not_supported import engine_problem
from shared.jobs.rules import MAX_JOB_BYTES, normalised, problems
from shared.jobs.spec import Job, SpecConfig
from shared.protocol.job_problems import independent


def check_document(document: Mapping[str, Any], *, what: str, known: Sequence[str] = ()) -> Job:
    """The job, as its author wrote it. Raise InvalidDocument, which names `what`, with every problem and its path.

    They are told with those that are `known` already.
    """
    job, _ = decode(document, Job, what=what, unknown="refuse", known=known, beside=job_problems)
    if found := list(job_problems(job)):
        raise invalid_document(what, found)
    return job


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
        yield from _engine_problems(task.engine)


def name_warnings(job: Job) -> Iterator[str]:
    """Of a name that is taken only where a job is called so already."""
    name = job.name.strip()
    if is_like_id(name):
        yield f"Name {name[:80]!r} could be taken for the id of a job, or the beginning of one; no new job can have it."


def publisher_warnings(job: Job) -> Iterator[str]:
    for task in job.tasks[:1]:
        for told in publisher_params.unknown_told(task.publisher):
            yield f"Tasks[0].{told}"


def _engine_problems(engine: SpecConfig) -> Iterator[str]:
    """Of one that is like none; the rules tell of one that is like another."""
    kind = engine.type.lower()
    if kind and kind not in ENGINE_NAMES and not engine_problem(kind) and not misspelt(engine):
        yield f"Tasks[0].Engine.Type {engine.type[:80]!r} is not an engine; there are {', '.join(ENGINE_NAMES)}."
