"""Inputs on their way from a real S3 that misbehaves to a task, with a test as the orchestrator (no tests in here)."""

import asyncio
import dataclasses
import functools
import hashlib
import io
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace
from yarl import URL

from compute.disk.input_files import MountedInput
from compute.disk.workspace import Workspace
from compute.inputs.fetching import Inputs
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.get import input_session
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.objects.small.gets import SmallGets
from compute.inputs.objects.views import Unpack
from compute.inputs.order import InputOrder
from shared.ids import ExecutionId
from shared.jobs.spec import InputSource, SpecConfig
from shared.protocol import messages
from shared.protocol.messages import NodeRequestAnswer, RequestRefused
from shared.protocol.nodes.inputs import InputFile, InputList, InputsGiven, InputsRequest
from shared.protocol.signed_url import SignedUrl
from tests.builders import new_task
from tests.faulty_s3 import FaultyS3
from tests.servers import S3Server, s3_client

LIFE_SECONDS = 600
LIMIT_BYTES = 1 << 30


class Desk:
    """What the orchestrator knows of the inputs of all executions, and answers. `of_one` bounds each answer."""

    def __init__(self, s3: FaultyS3, server: S3Server, bucket: str, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.s3 = s3
        self.server = server
        self.bucket = bucket
        self.prefix = uuid.uuid4().hex
        self.files: list[InputFile] = []
        self.asked: list[InputsRequest] = []
        self.refusals: list[RequestRefused] = []
        self.of_one = 64
        self.tells_lists = True
        self.life_seconds = LIFE_SECONDS

    async def store(self, key: str, content: bytes) -> str:
        """The ETag."""
        params = {"Bucket": self.bucket, "Key": key}
        url = self.server.client().generate_presigned_url("put_object", Params=params)
        async with self.http.put(URL(url, encoded=True), data=io.BytesIO(content)) as answer:
            assert answer.status == HTTPStatus.OK, await answer.text()
            return answer.headers["ETag"]

    async def add(self, path: str, content: bytes, *, is_hashed: bool = False, key: str = "", **more: Any) -> InputFile:
        """An object, and that the task reads it."""
        key = f"{self.prefix}/{key or path}"
        etag, digest = await self.store(key, content), hashlib.sha256(content).hexdigest()
        file = InputFile(
            source=0,
            path=path,
            size=len(content),
            etag=etag,
            sha256=digest if is_hashed else "",
            content=f"sha256:{digest}",
            url=SignedUrl(method="GET", url=key, lifetime_seconds=0),
        )
        self.files.append(replace(file, **more))
        return self.files[-1]

    async def ask(self, request: InputsRequest) -> NodeRequestAnswer:
        self.asked.append(request)
        answer: NodeRequestAnswer
        if self.refusals:
            answer = self.refusals.pop(0)
        else:
            answer = await asyncio.to_thread(self._given, request)
        return messages.decode(messages.node_request_answers, messages.encode(answer))

    def _given(self, request: InputsRequest) -> InputsGiven:
        chosen = self.files[request.first : request.first + min(request.count, self.of_one)]
        return InputsGiven(
            files=tuple(map(self._with_urls, chosen)),
            total=len(self.files),
            total_bytes=sum(file.size for file in self.files),
            lists=tuple(self._lists()) if self.tells_lists else (),
        )

    def _lists(self) -> Iterator[InputList]:
        for source in dict.fromkeys(each.source for each in self.files):
            files = [each for each in self.files if each.source == source]
            yield InputList(
                source=source,
                count=len(files),
                size=sum(each.size for each in files),
                content=repr([(each.path, each.content, each.members) for each in files]),
                archive=files[0].archive,
            )

    def _with_urls(self, file: InputFile) -> InputFile:
        index = file.index and replace(file.index, url=self._signed(file.index.url.url))
        return replace(file, url=self._signed(file.url.url), index=index)

    def _signed(self, key: str) -> SignedUrl:
        client = s3_client_of(self.s3.endpoint, self.server)
        params = {"Bucket": self.bucket, "Key": key}
        url = client.generate_presigned_url("get_object", Params=params, ExpiresIn=self.life_seconds)
        return SignedUrl(method="GET", url=url, lifetime_seconds=self.life_seconds)


_CLIENTS: dict[str, Any] = {}


def s3_client_of(endpoint: str, server: S3Server) -> Any:
    if endpoint not in _CLIENTS:
        _CLIENTS[endpoint] = s3_client(endpoint, server.admin)
    return _CLIENTS[endpoint]


@functools.cache
def bucket_of(server: S3Server) -> str:
    """One for all tests, which keep apart by their prefixes: making one takes a third of a second."""
    return server.create_bucket()


class Fetching:
    """A node's inputs, with `desk` as its orchestrator."""

    def __init__(self, desk: Desk, folder: Path, downloads: Downloads, unpack: Unpack | None) -> None:
        self.desk = desk
        self.s3 = desk.s3
        self.folder = folder
        self.downloads = downloads
        self.cache = downloads.cache
        self.inputs = Inputs({}, ManagedInputs(downloads, desk.ask, unpack))
        self.told: list[str] = []

    def order(
        self, name: str = "e-1", *, engine: str = "docker", targets: Sequence[str] = ("/in",), **more: Any
    ) -> InputOrder:
        sources = tuple(InputSource(source=SpecConfig(type="s3"), target=target) for target in targets)
        workspace = Workspace(self.folder / "executions" / name)
        workspace.create(())
        order = InputOrder(
            execution_id=ExecutionId(name),
            task=new_task(engine=engine, input_sources=sources),
            workspace=workspace,
            on_progress=self.told.append,
        )
        return dataclasses.replace(order, **more)

    async def fetch(self, name: str = "e-1", **more: Any) -> tuple[MountedInput, ...]:
        async with asyncio.timeout(60):
            return await self.inputs.fetch(self.order(name, **more))

    @property
    def gets(self) -> int:
        return len(self.s3.seen)


@asynccontextmanager
async def fetching(
    server: S3Server, folder: Path, *, limit_bytes: int = LIMIT_BYTES, unpack: Unpack | None = None
) -> AsyncIterator[Fetching]:
    bucket = await asyncio.to_thread(bucket_of, server)
    async with FaultyS3(server.endpoint).serving() as s3, input_session() as http:
        cache = await asyncio.to_thread(InputCache.open, folder / "inputs", limit_bytes)
        small_gets = SmallGets()
        downloads = Downloads(http, small_gets, cache, first_pause_seconds=0.01)
        try:
            yield Fetching(Desk(s3, server, bucket, http), folder, downloads, unpack)
        finally:
            small_gets.close()
            await asyncio.to_thread(downloads.close)
