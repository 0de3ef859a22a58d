"""Large inputs come whole over TLS too, with the event loop of tests and with that of nodes."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
import uvloop
from aiohttp import web

from compute.inputs.objects.body_buffers import BUFFER_BYTES
from compute.inputs.objects.get import ObjectPart, input_session, receive
from shared.protocol.signed_url import SignedUrl
from tests.certificates import Certificate, make_certificate
from tests.servers import HOST

CONTENT = bytes(range(251)) * (7 * BUFFER_BYTES // 251) + b"end"


async def received(certificate: Certificate) -> bytes:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=CONTENT)

    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    serving.load_cert_chain(certificate.certificate, certificate.key)
    trusting.load_verify_locations(certificate.certificate)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0, ssl_context=serving)
        await site.start()
        ((_, port),) = runner.addresses
        async with input_session(trusting) as http:
            return await _all(http, f"https://{HOST}:{port}/object")
    finally:
        await runner.cleanup()


async def _all(http: aiohttp.ClientSession, url: str) -> bytes:
    found = bytearray()

    async def write(content: memoryview) -> None:
        await asyncio.sleep(0)  # what comes meanwhile must not come into this
        found.extend(content)

    part = ObjectPart(len(CONTENT), "", 0, len(CONTENT))
    signed = SignedUrl(method="GET", url=url, lifetime_seconds=60)
    assert await receive(http, signed, part, write) is None
    return bytes(found)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_large_body_comes_whole_over_tls(tmp_path: Path, run: Callable[..., bytes]) -> None:
    assert run(received(make_certificate(tmp_path))) == CONTENT
