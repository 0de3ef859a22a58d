"""What is wrong with a job, as far as it is known without asking an orchestrator."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared.decoding import canonical, close_match, decode, wrong_parts
from shared.errors import InvalidDocument, PayloadTooLarge
from shared.job_rules import MANAGED, MAX_JOB_BYTES, NO_PUBLISHERS, normalised, problems
from shared.jobspec import Job, SpecConfig


class CommandParams(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    entrypoint: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    environment_variables: tuple[str, ...] = ()
    working_directory: str = ""


class ImageParams(CommandParams, frozen=True, kw_only=True, rename="pascal"):
    image: str = ""


_ENGINES: dict[str, type[msgspec.Struct] | None] = {
    "docker": ImageParams,
    "process": CommandParams,
    "wasm": None,
    "noop": None,
}
"""With what is known of their parameters."""

_PARAMS = "Tasks[0].Engine.Params"


def check_document(document: Mapping[str, Any], *, what: str) -> Job:
    """The job, as its author wrote it. Raise InvalidDocument, which names `what`, with every problem."""
    try:
        job, _ = decode(document, Job, what=what, unknown="report")
    except InvalidDocument:
        decode(document, Job, what=what, unknown="refuse")  # tells unknown keys beside the wrong types
        raise
    found = [key.sentence("is not known") for key in canonical(document, Job)[1]] + list(job_problems(job))
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
        yield from _publisher_problems(task.publisher)
        yield from _engine_problems(task.engine)


def _publisher_problems(publisher: SpecConfig) -> Iterator[str]:
    if publisher.type.lower() not in {MANAGED, *NO_PUBLISHERS}:
        yield f"Tasks[0].Publisher.Type {publisher.type[:80]!r} is not a publisher; there are s3managed and noop."


def _engine_problems(engine: SpecConfig) -> Iterator[str]:
    kind = engine.type.lower()
    if kind and kind not in _ENGINES:
        meant = close_match(kind, _ENGINES)
        advice = f"did you mean {meant}?" if meant else f"there are {', '.join(_ENGINES)}."
        yield f"Tasks[0].Engine.Type {engine.type[:80]!r} is not an engine; {advice}"
    elif (params := _ENGINES.get(kind)) is not None:
        yield from _params_problems(engine.params, params)
        yield from _command_problems(kind, {key.lower() for key, value in engine.params.items() if value})


def _params_problems(given: Mapping[str, Any], params: type[msgspec.Struct]) -> Iterator[str]:
    try:
        copy, unknown = canonical(given, params)
    except InvalidDocument as error:
        yield f"{_PARAMS}: {error.message}"
        return
    for key in unknown:
        yield f"{_PARAMS}.{key.sentence('is not known')}"
    yield from wrong_parts(copy, params, _PARAMS, strict=False)


def _command_problems(engine: str, given: set[str]) -> Iterator[str]:
    if engine == "docker" and "image" not in given:
        yield f"{_PARAMS}.Image is missing."
    if engine == "process" and not given & {"entrypoint", "parameters"}:
        yield f"{_PARAMS} names no command; give Entrypoint or Parameters."
