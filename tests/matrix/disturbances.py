"""One result on its way to an S3 server, and what is done to it there: the node's side and the orchestrator's.

What a check tells is in its cell; a result that is lost fails it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from compute.upload.upload import NotSent, Sent, Upload
from tests.faulty_s3 import Fault, Kind, Seen
from tests.integration.publishing import Publishing, publishing
from tests.matrix.bucket_servers import Server
from tests.waiting import eventually

SECONDS = 150.0
URL_SECONDS = 3.0
SMALL_MIB, PARTS_MIB = 1, 12

Disturb = Callable[[Server, Callable[[], Path]], Coroutine[Any, Any, str | None]]


class Way(NamedTuple):
    """An upload, one of whose requests is held until `go` is set."""

    upload: Upload
    task: "asyncio.Task[Sent | NotSent]"
    held: Seen
    go: asyncio.Event


def carry_out(disturb: Disturb, server: Server, new_folder: Callable[[], Path]) -> str | None:
    return asyncio.run(disturb(server, new_folder))


@asynccontextmanager
async def _held(made: Publishing, kind: Kind) -> AsyncIterator[Way]:
    """Its first request of the kind is held; in the end the result has to be in the bucket."""
    go = asyncio.Event()
    made.s3.plan(kind, Fault(hold=go))
    upload = made.upload(await made.first_grant())
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        task = group.create_task(upload.run(), name="upload")
        await eventually(lambda: made.s3.of(kind) or task.done(), within=30, what=f"a request: {kind}")
        assert not task.done(), task.result()
        yield Way(upload, task, made.s3.of(kind)[0], go)
        go.set()
    end = task.result()
    assert isinstance(end, Sent), f"a finished result is lost: {end}"
    await made.check(end, opaque=True)


async def url_that_has_expired(server: Server, new_folder: Callable[[], Path]) -> None:
    for mebibytes, kind in ((SMALL_MIB, Kind.ARCHIVE), (PARTS_MIB, Kind.PART)):
        async with publishing(server, new_folder(), url_seconds=URL_SECONDS) as made:
            made.fill(mebibytes=mebibytes)
            async with _held(made, kind):
                dead = time.monotonic() + URL_SECONDS + 2
                await eventually(lambda: time.monotonic() > dead)  # noqa: B023  # it is called before the next round
            assert len(made.s3.of(kind)) > mebibytes // 5, "nothing was sent again"


async def upload_aborted_by_another(server: Server, new_folder: Callable[[], Path]) -> str:
    """Before a part of it comes, and before its completion."""
    told = set()
    for kind in (Kind.PART, Kind.COMPLETE):
        async with publishing(server, new_folder()) as made:
            made.fill(mebibytes=PARTS_MIB)
            async with _held(made, kind) as way:
                await asyncio.to_thread(_abort, made, way.held)
            told |= {seen.status for seen in made.s3.of(kind) if seen.status >= 300}
    return f"it is answered with {', '.join(map(str, sorted(told)))}" if told else "it is not noticed"


def _abort(made: Publishing, held: Seen) -> None:
    (upload_id,) = parse_qs(urlsplit(held.url).query)["uploadId"]
    made.client.abort_multipart_upload(Bucket=made.bucket.location.bucket, Key=made.object_key, UploadId=upload_id)


async def keys_exchanged_on_the_way(server: Server, new_folder: Callable[[], Path]) -> str:
    """The orchestrator is given the new ones when the node has been seen to wait for them."""
    told = set()
    for mebibytes, kind in ((SMALL_MIB, Kind.ARCHIVE), (PARTS_MIB, Kind.PART)):
        keys = [server.orchestrator]
        async with publishing(server, new_folder(), keys=keys) as made:
            made.fill(mebibytes=mebibytes)
            async with _held(made, kind) as way:
                await asyncio.to_thread(server.exchange_keys)
                way.go.set()
                await eventually(lambda: way.upload.last_problem or way.task.done(), within=60)  # as above
                assert not way.task.done(), f"a finished result is lost: {way.task.result()}"
                keys[:] = [server.orchestrator]
            told |= {seen.status for seen in made.s3.of(kind) if seen.status >= 300}
    return f"old ones are answered with {', '.join(map(str, sorted(told)))}"
