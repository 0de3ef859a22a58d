"""An image registry that misbehaves as a test says: a relay before a real one (no tests in here)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from tests.servers import HOST, free_ports

LAYER_BYTES = 100_000
"""What is larger is a layer."""
_SLICE_BYTES = 16 << 10


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to all that is asked of a registry, or with `of_layers` to layers alone.

    It is answered with a `status`, or by the end of the connection (`cut`); or after so many bytes it stands still
    (`stalls_after`); or bytes are wrong, or come slowly.
    """

    of_layers: bool = False
    status: int = 0
    body: str = ""
    stalls_after: int | None = None
    cut: bool = False
    corrupt: bool = False
    bytes_per_second: float = 0.0


def refusal(status: int, code: str, message: str, *, of_layers: bool = False) -> Fault:
    """As a registry spells it."""
    body = f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'
    return Fault(status=status, body=body, of_layers=of_layers)


class FaultyRegistry:
    """`fault` may be changed at any time. `layers` counts how often a layer was asked for."""

    def __init__(self, upstream: str, port: int) -> None:
        self.upstream = upstream
        self.host = f"{HOST}:{port}"
        self.fault = Fault()
        self.layers = 0
        self._http: aiohttp.ClientSession
        self._stopped = asyncio.Event()

    def __repr__(self) -> str:
        return f"<FaultyRegistry {self.host}: {self.fault}>"

    async def run(self, ready: asyncio.Event, stop: asyncio.Event, port: int) -> None:
        async with aiohttp.ClientSession() as self._http:
            runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
            await runner.setup()
            try:
                await web.TCPSite(runner, HOST, port).start()
                ready.set()
                await stop.wait()
            finally:
                self._stopped.set()
                await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name != "Host"}
        url = f"http://{self.upstream}{request.path_qs}"
        async with self._http.request(request.method, url, headers=headers) as upstream:
            is_layer = request.method == "GET" and (upstream.content_length or 0) > LAYER_BYTES
            self.layers += is_layer
            fault = self.fault if is_layer or not self.fault.of_layers else Fault()
            if fault.cut and request.transport is not None:
                request.transport.abort()
            if fault.status:
                return web.Response(status=fault.status, text=fault.body, content_type="application/json")
            kept = ("Content-Type", "Content-Length", "Docker-Content-Digest", "WWW-Authenticate", "Content-Range")
            response = web.StreamResponse(status=upstream.status)
            response.headers.update({name: upstream.headers[name] for name in kept if name in upstream.headers})
            response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
            await response.prepare(request)
            if request.method != "HEAD":
                with contextlib.suppress(ConnectionError):  # whoever asks has given up
                    await self._send(response, upstream, fault)
            return response

    async def _send(self, response: web.StreamResponse, upstream: aiohttp.ClientResponse, fault: Fault) -> None:
        sent = 0
        async for chunk in upstream.content.iter_chunked(_SLICE_BYTES):
            data = bytes(len(chunk)) if fault.corrupt else chunk
            await response.write(data)
            sent += len(data)
            if fault.bytes_per_second:
                await asyncio.sleep(len(data) / fault.bytes_per_second)
            if fault.stalls_after is not None and sent >= fault.stalls_after:
                await self._stopped.wait()


@asynccontextmanager
async def faulty_registry(upstream: str) -> AsyncIterator[FaultyRegistry]:
    (port,) = free_ports(1)
    registry, ready, stop = FaultyRegistry(upstream, port), asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(registry.run(ready, stop, port), name="faulty registry")
        await ready.wait()
        try:
            yield registry
        finally:
            stop.set()
