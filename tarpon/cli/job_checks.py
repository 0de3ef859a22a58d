"""What is wrong with a job, as far as it is known without asking an orchestrator."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared import publisher_params
from shared.decoding import canonical, close_match, decode
from shared.engine_params import ENGINE_NAMES, unknown_told
from shared.errors import InvalidDocument, PayloadTooLarge
from shared.ids import is_like_id
from shared.job_rules import MAX_JOB_BYTES, normalised, problems
from shared.jobspec import Job, SpecConfig
from shared.not_supported import engine_problem


def check_document(document: Mapping[str, Any], *, what: str, any_engine: bool = False) -> Job:
    """The job, as its author wrote it. Raise InvalidDocument, which names `what`, with every problem.

    With `any_engine` its engine may be one of which nothing is known here.
    """
    try:
        job, _ = decode(document, Job, what=what, unknown="report")
    except InvalidDocument:
        decode(document, Job, what=what, unknown="refuse")  # tells unknown keys beside the wrong types
        raise
    found = [key.sentence("is not known") for key in canonical(document, Job)[1]] + list(job_problems(job))
    if not any_engine:
        found += [problem for task in job.tasks[:1] for problem in _engine_problems(task.engine)]
    if found:
        raise InvalidDocument(f"{what} is not valid:" + "".join(f"\n  - {problem}" for problem in found))
    return job


def job_problems(job: Job) -> Iterator[str]:
    """Each problem of a job as its author wrote it."""
    wanted = normalised(job)
    yield from problems(wanted)
    if (size := len(msgspec.json.encode(wanted))) > MAX_JOB_BYTES:
        yield PayloadTooLarge("The job", size, MAX_JOB_BYTES).message
    for task in wanted.tasks:
        for told in unknown_told(task.engine, "is not known"):
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


def _engine_problems(engine: SpecConfig) -> Iterator[str]:
    kind = engine.type.strip().lower()
    if kind and kind not in ENGINE_NAMES and not engine_problem(kind):
        meant = close_match(kind, ENGINE_NAMES)
        advice = f"did you mean {meant}?" if meant else f"there are {', '.join(ENGINE_NAMES)}."
        yield f"Tasks[0].Engine.Type {engine.type[:80]!r} is not an engine; {advice}"
