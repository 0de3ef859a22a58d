"""Results in a real bucket, and what stands between it and its reader (no tests in here)."""

import hashlib
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any

import aiohttp
import botocore.session
from aiohttp import web
from botocore.config import Config
from msgspec.structs import replace
from yarl import URL

from shared.protocol.objects import index_key
from shared.protocol.rest import ResultParams, SourceSpec
from tests.archives import Packed
from tests.servers import HOST, REGION, Keys, S3Server
from tests.waiting import eventually

EXECUTION = "e-0950d2d8-14b1-50f5-a5b2-aa06004f5628"


class Stored:
    """One archive in the bucket, and its index where it has one, under keys of their own."""

    def __init__(
        self, server: S3Server, bucket: str, archive: bytes, *, index: bytes = b"", entries: int = 0, raw_size: int = 0
    ) -> None:
        self.server = server
        self.bucket = bucket
        self.key = f"results/{uuid.uuid4()}/{EXECUTION}.tar.gz"
        self.index_key = index_key(self.key)
        self.archive = archive
        self.index = index
        self._counts: dict[str, Any] = {"entries": entries, "raw_size": raw_size}
        self._etag = self.put(archive)
        if index:
            self.put(index, self.index_key)

    def put(self, body: bytes, key: str = "") -> str:
        client = _client(self.server.endpoint, self.server.admin)
        return str(client.put_object(Bucket=self.bucket, Key=key or self.key, Body=body)["ETag"])

    def delete(self, key: str) -> None:
        _client(self.server.endpoint, self.server.admin).delete_object(Bucket=self.bucket, Key=key)

    def params(self, *, endpoint: str = "", expires: int = 60, **changes: Any) -> ResultParams:
        endpoint = endpoint or self.server.endpoint
        params = ResultParams(
            pre_signed_url=self._url(endpoint, expires, self.key),
            source_spec=SourceSpec(bucket=self.bucket, key=self.key),
            execution_id=EXECUTION,
            etag=self._etag,
            sha256=hashlib.sha256(self.archive).hexdigest(),
            size=len(self.archive),
            index_url=self._url(endpoint, expires, self.index_key) if self.index else "",
            index_size=len(self.index),
            index_sha256=hashlib.sha256(self.index).hexdigest() if self.index else "",
            **self._counts,
        )
        return replace(params, **changes)

    def _url(self, endpoint: str, expires: int, key: str) -> str:
        client = _client(endpoint, self.server.admin)
        asked = {"Bucket": self.bucket, "Key": key}
        return str(client.generate_presigned_url("get_object", Params=asked, ExpiresIn=expires))


@lru_cache(maxsize=100)
def _client(endpoint: str, keys: Keys) -> Any:
    """Made once for each endpoint, because that takes longer than most tests."""
    return _session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


@cache
def _session() -> Any:
    return botocore.session.Session()


def stored(server: S3Server, bucket: str, made: Packed) -> Stored:
    summary = made.summary
    return Stored(server, bucket, made.archive, index=made.index, entries=summary.entries, raw_size=summary.raw_bytes)


async def until_refused(url: str) -> None:
    def is_refused() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 403
        return False

    await eventually(is_refused, within=15, what="the URL has expired")


async def nothing(_: int) -> None:
    pass


class Gate:
    """Passes requests on to the S3 server, and keeps what they asked for and how much they got.

    `before` is called with the number of each request, from 1 on, before it is passed on. `cut` tells after how many
    bytes the answers to some of them break off, `told` what their headers say instead of the truth. With `plainly`
    ranges come with the status 200.
    """

    def __init__(
        self,
        port: int,
        before: Callable[[int], Awaitable[None]],
        *,
        ignore_ranges: bool,
        plainly: bool,
        cut: Mapping[int, int],
        told: Mapping[str, str],
    ) -> None:
        self.endpoint = ""
        self.ranges: list[str] = []
        self.conditions: set[str] = set()
        self.sent_bytes = 0
        self._port = port
        self._before = before
        self._ignore_ranges = ignore_ranges
        self._plainly = plainly
        self._cut = cut
        self._told = told
        self._http: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert self._http is not None
        self.ranges.append(request.headers.get("Range", ""))
        self.conditions.add(request.headers.get("If-Match", ""))
        number = len(self.ranges)
        await self._before(number)
        headers = {name: value for name, value in request.headers.items() if name != "Range" or not self._ignore_ranges}
        target = f"http://{HOST}:{self._port}{request.raw_path}"
        async with self._http.get(URL(target, encoded=True), headers=headers) as upstream:
            kept = ("Content-Length", "Content-Range", "ETag", "Content-Type")
            told = {name: upstream.headers[name] for name in kept if name in upstream.headers} | dict(self._told)
            status = 200 if self._plainly and upstream.status == 206 else upstream.status
            response = web.StreamResponse(status=status, headers=told)
            await response.prepare(request)
            left = self._cut.get(number, sys.maxsize)
            async for chunk in upstream.content.iter_any():
                self.sent_bytes += len(chunk[:left])
                await response.write(chunk[:left])
                left -= len(chunk)
                if left <= 0:
                    assert request.transport is not None
                    request.transport.close()
                    break
            return response


@asynccontextmanager
async def gate(
    server: S3Server,
    *,
    before: Callable[[int], Awaitable[None]] = nothing,
    ignore_ranges: bool = False,
    plainly: bool = False,
    cut: Mapping[int, int] = MappingProxyType({}),
    told: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Gate]:
    found = Gate(server.port, before, ignore_ranges=ignore_ranges, plainly=plainly, cut=cut, told=told)
    application = web.Application()
    application.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        assert site._server is not None
        found.endpoint = f"http://{HOST}:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
        async with aiohttp.ClientSession(auto_decompress=False) as found._http:
            yield found
    finally:
        await runner.cleanup()
