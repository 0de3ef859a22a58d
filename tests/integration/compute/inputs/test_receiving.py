"""The body of an answer is received whole, however its server sends it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from compute.inputs.objects.get import Changed, ObjectPart, input_session, receive
from compute.upload.put import NotAnswered
from shared.protocol.signed_url import SignedUrl
from tests.servers import HOST

CONTENT = bytes(range(256)) * 4096
ETAG = '"e"'


async def _with_its_length(request: web.Request) -> web.Response:
    """As a service does that takes no notice of If-Match; what it says of the object may be asked for."""
    asked = request.http_range
    etag = request.query.get("etag", ETAG)
    if asked.start is None:
        return web.Response(body=CONTENT, headers={"ETag": etag})
    assert asked.stop is not None
    first = asked.start + int(request.query.get("late", 0))
    told = f"bytes {first}-{asked.stop - 1}/{request.query.get('size', len(CONTENT))}"
    return web.Response(status=206, body=CONTENT[first : asked.stop], headers={"Content-Range": told, "ETag": etag})


async def _in_chunks(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"ETag": ETAG})
    response.enable_chunked_encoding()
    await response.prepare(request)
    content = CONTENT[: int(request.query["bytes"])] if "bytes" in request.query else CONTENT + CONTENT
    for at in range(0, len(content), 50_000):
        await response.write(content[at : at + 50_000])
    await response.write_eof()
    return response


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/part", _with_its_length)
    app.router.add_get("/chunks", _in_chunks)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def received(path: str, first: int = 0) -> bytes:
    content = bytearray()

    async def write(view: memoryview) -> None:
        content.extend(view)

    async with serving() as server, input_session() as http:
        url = SignedUrl(method="GET", url=server + path, lifetime_seconds=60)
        part = ObjectPart(len(CONTENT), ETAG, first, len(CONTENT))
        assert await receive(http, url, part, write, idle_seconds=10) is None
    return bytes(content)


@pytest.mark.parametrize("left", [1, 10_000, 200_000])
async def test_a_small_rest_that_comes_with_its_head_is_received(left: int) -> None:
    assert await received("/part", len(CONTENT) - left) == CONTENT[-left:]


async def test_a_body_in_chunks_is_the_object_and_not_what_parts_them() -> None:
    assert await received(f"/chunks?bytes={len(CONTENT)}") == CONTENT


async def test_a_body_in_chunks_that_is_longer_is_of_another_object() -> None:
    with pytest.raises(Changed):
        await received("/chunks")


async def test_a_body_in_chunks_that_is_shorter_is_none() -> None:
    with pytest.raises(NotAnswered, match="ended too early"):
        await received(f"/chunks?bytes={len(CONTENT) - 1}")


@pytest.mark.parametrize("first", [0, 1000])
async def test_what_a_service_gives_in_the_place_of_an_object_that_changed_is_not_taken(first: int) -> None:
    with pytest.raises(Changed):
        await received("/part?etag=%22other%22", first)
    assert await received("/part?etag=W/%22e%22", first) == CONTENT[first:]


async def test_a_part_of_a_larger_object_is_not_taken() -> None:
    with pytest.raises(Changed):
        await received(f"/part?size={len(CONTENT) + 1}", 1000)


async def test_another_part_than_was_asked_for_is_not_taken() -> None:
    with pytest.raises(NotAnswered, match="another part"):
        await received("/part?late=1", 1000)
