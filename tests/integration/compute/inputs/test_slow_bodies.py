"""A body that comes slowly is taken as it comes, and its connection is not taken for a dead one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from compute.inputs.objects import body_buffers
from compute.inputs.objects.get import ObjectPart, get, input_session, receive
from compute.upload.put import NotAnswered
from shared.protocol.signed_url import SignedUrl
from tests.servers import HOST

PIECES = [b"%d" % number * 1000 for number in range(10)]
CONTENT = b"".join(PIECES)
PAUSE_SECONDS = 0.3
IDLE_SECONDS = 2.0
"""Less than all takes, and more than each piece does."""

Read = Callable[[SignedUrl], Awaitable[bytes]]


@pytest.fixture
async def url() -> AsyncIterator[SignedUrl]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
            if "dies" in request.path:
                await asyncio.Event().wait()
            await asyncio.sleep(PAUSE_SECONDS)
        return response

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    ((_, port),) = runner.addresses
    yield SignedUrl(method="GET", url=f"http://{HOST}:{port}/object", lifetime_seconds=60)
    await runner.cleanup()


PART = ObjectPart(len(CONTENT), "", 0, len(CONTENT))


async def small(url: SignedUrl) -> bytes:
    async with input_session() as http:
        content = await get(http, url, PART, idle_seconds=IDLE_SECONDS)
    assert isinstance(content, bytes)
    return content


async def large(url: SignedUrl) -> bytes:
    found = bytearray()

    async def write(content: memoryview) -> None:
        found.extend(content)

    async with input_session() as http:
        assert await receive(http, url, PART, write, idle_seconds=IDLE_SECONDS) is None
    return bytes(found)


@pytest.mark.parametrize("read", [small, large])
async def test_a_slow_body_comes_whole(url: SignedUrl, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_buffers, "FLUSH_SECONDS", PAUSE_SECONDS)
    assert await read(url) == CONTENT


@pytest.mark.parametrize("read", [small, large])
async def test_a_body_that_stands_still_is_given_up(url: SignedUrl, read: Read) -> None:
    dead = SignedUrl(method="GET", url=url.url.replace("object", "dies"), lifetime_seconds=60)
    with pytest.raises(NotAnswered, match="no progress"):
        await read(dead)
