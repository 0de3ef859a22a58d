"""Bodies of requests to the HTTP API, read within bounds, and of answers."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from orchestrator.api.access.use import use_key
from shared.data.decoding import decode
from shared.data.plain_data import parse_object
from shared.errors import PayloadTooLarge
from shared.jobs.rules import MAX_JOB_BYTES

T = TypeVar("T", bound=msgspec.Struct)

MAX_BODY_BYTES = 10 << 20
"""Of a body as it is sent, with its blanks."""
MAX_DOCUMENT_BYTES = 4 * MAX_JOB_BYTES
"""Of a body without blanks: nothing larger can be a job, and reading it would take long."""
QUICK_BYTES = 32 << 10
"""A larger body is read in a thread."""
READ_SECONDS = 20.0
MAX_WARNINGS = 20


class SlowBody(Exception):
    """A body that did not arrive in READ_SECONDS."""


def answer(body: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


async def received(request: web.Request, at_most: int = MAX_BODY_BYTES) -> bytes:
    """The whole body. Raises PayloadTooLarge, SlowBody or TooManyRequests."""
    if (request.content_length or 0) > at_most:
        raise PayloadTooLarge("The request", request.content_length or 0, at_most)
    use = request.get(use_key)
    if use is not None:
        await use.begin_body(at_most if request.content_length is None else request.content_length)
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await request.read()
    except TimeoutError:
        raise SlowBody from None
    if use is not None:
        use.end_body(len(body))
    if len(body) > at_most:  # it came in chunks
        raise PayloadTooLarge("The request", len(body), at_most)
    return body


async def body_of(
    request: web.Request,
    type_: type[T],
    *,
    optional: bool = False,
    at_most: int = MAX_BODY_BYTES,
    beside: Callable[[T, Collection[str]], Iterable[str]] | None = None,
) -> tuple[T, tuple[str, ...]]:
    """The body and warnings about what was not understood. Raises InvalidDocument, PayloadTooLarge or SlowBody.

    Also ConnectionAbortedError where a large one was not read yet when its sender had gone. `beside` is that of
    shared.data.decoding.decode.
    """
    body = await received(request, at_most)
    if optional and not body.strip():
        body = b"{}"
    if len(body) <= QUICK_BYTES:
        return _decoded(body, type_, beside)

    def decoded() -> tuple[T, tuple[str, ...]]:
        if request.transport is None:  # it waited for its turn, and nobody waits for the answer any more
            raise ConnectionAbortedError("Whoever asked has gone.")
        return _decoded(body, type_, beside)

    return await request[use_key].in_thread(decoded)


def _decoded(
    body: bytes, type_: type[T], beside: Callable[[T, Collection[str]], Iterable[str]] | None
) -> tuple[T, tuple[str, ...]]:
    data = parse_object(body, what="The request")
    if len(body) > MAX_DOCUMENT_BYTES and (size := len(msgspec.json.encode(data))) > MAX_DOCUMENT_BYTES:
        raise PayloadTooLarge("The job", size, MAX_JOB_BYTES)
    _without_sender(data, type_)
    owned = _without_owned(data)
    found, unknown = decode(data, type_, what="The request", unknown="report", beside=beside)
    warnings = (*owned, *unknown)
    if len(warnings) > MAX_WARNINGS:
        return found, (*warnings[:MAX_WARNINGS], f"There are {len(warnings) - MAX_WARNINGS} more of these.")
    return found, warnings


_OF_EVERY_REQUEST = frozenset({"namespace", "credential", "idempotencytoken"})
"""What clients of the reference put into every body, also where it means nothing."""


def _without_sender(data: dict[str, Any], type_: type[msgspec.Struct]) -> None:
    """Take out what the type does not have of it, so that no credential goes any further and nobody is warned."""
    meant = {field.encode_name.lower() for field in msgspec.structs.fields(type_)}
    for key in [each for each in data if each.lower() in _OF_EVERY_REQUEST - meant]:
        del data[key]


_OWNED = {
    "id": "ID",
    "state": "State",
    "version": "Version",
    "revision": "Revision",
    "createtime": "CreateTime",
    "modifytime": "ModifyTime",
}
_NOTHING: tuple[Any, ...] = (None, "", 0, "Undefined", {}, [])


def _without_owned(data: dict[str, Any]) -> tuple[str, ...]:
    """Take what the server owns out of the job. A warning for each that is not empty, as Go programs send them all."""
    given = {key.lower(): value for key, value in data.items()}
    jobs, many = {"Job": given.get("job")}, given.get("jobs")
    if isinstance(many, list):
        jobs |= {f"Jobs[{number}]": job for number, job in enumerate(many)}
    return tuple(told for path, job in jobs.items() if isinstance(job, dict) for told in _taken_out(job, path))


def _taken_out(job: dict[str, Any], path: str) -> tuple[str, ...]:
    owned = [key for key in job if key.lower() in _OWNED]
    told = [key for key in owned if not _is_nothing(job[key])]
    for key in owned:
        del job[key]
    return tuple(f"{path}.{_OWNED[key.lower()]} is the server's to set and was ignored" for key in told)


def _is_nothing(value: Any) -> bool:
    return value in _NOTHING or (isinstance(value, dict) and all(_is_nothing(item) for item in value.values()))


def query_of(request: web.Request, type_: type[T]) -> T:
    """The parameters behind the `?`; an empty one counts as absent. Raises InvalidDocument."""
    many = {field.encode_name: isinstance(field.default, tuple) for field in msgspec.structs.fields(type_)}
    data: dict[str, Any] = {}
    for key in request.query:
        name = key.lower() if key.lower() in many else key.lower().replace("_", "-")
        given = [value for value in request.query.getall(key) if value]
        if given and name in many:
            data[name] = given if many[name] else _plain(name, given[0])
    return decode(data, type_, what="The query", unknown="report")[0]


def _plain(name: str, text: str) -> str:
    """Choices and truths are compared in small letters, and what is a name stays as it is."""
    return text.lower() if name in _IN_SMALL_LETTERS else text


_IN_SMALL_LETTERS = frozenset(
    {"order_by", "reverse", "all_job_versions", "event_type", "filter-approval", "filter-status", "tail", "follow"}
)
