"""The sending of a file or tree: its digest is told, and of its contents what is not there yet is sent.

Whatever ends it, what was sent by then is there, and is not sent again when the same tree is.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Protocol

import aiohttp
import msgspec

from shared.jobs.inputs.manifest import DataFile, encode_manifest
from shared.protocol.namespaces.rest_data import (
    CompleteFileRequest,
    CompleteFileResponse,
    DataView,
    DeleteDataResponse,
    FilePartsRequest,
    FilePartsResponse,
    FinishDataResponse,
    MissingContent,
    MissingResponse,
    PutDataRequest,
    PutDataResponse,
    SignedPut,
)
from shared.runtime.aio import pipelined
from tarpon.http.trust import ClientTrust
from tarpon.sending.bodies import BytesBody, FileBody
from tarpon.sending.digests import digested
from tarpon.sending.local_tree import LocalFile, found_tree
from tarpon.sending.part_sending import PartSending
from tarpon.sending.problems import UploadFailed
from tarpon.sending.put import PutDone, put, sending_session

CONNECTIONS = 16
FRUITLESS_ROUNDS = 3
"""So often it is asked again what is missing without anything having been sent."""
AGAIN_SECONDS = 0.5

OnProgress = Callable[[str, int, int], None]
"""Told what is done (`Reading` or `Sending`), how many bytes of it, and of how many."""


class SendCalls(Protocol):
    """The calls that are needed, as `tarpon.Client` has them."""

    trust: ClientTrust

    async def begin_data(self, digest: str, wanted: PutDataRequest, *, namespace: str) -> PutDataResponse: ...
    async def missing_data(self, digest: str, first: int, *, namespace: str) -> MissingResponse: ...
    async def data_parts(self, digest: str, wanted: FilePartsRequest, *, namespace: str) -> FilePartsResponse: ...
    async def complete_data_file(
        self, digest: str, wanted: CompleteFileRequest, *, namespace: str
    ) -> CompleteFileResponse: ...
    async def finish_data(self, digest: str, *, namespace: str) -> FinishDataResponse: ...
    async def delete_data(self, data: str, *, namespace: str = "") -> DeleteDataResponse: ...


class SendReport(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The data, and what had to be sent of it. `left_out` tells what was not, one sentence each."""

    data: DataView
    sent_files: int = 0
    sent_bytes: int = 0
    left_out: tuple[str, ...] = ()


async def send_data(
    client: SendCalls,
    path: str | os.PathLike[str],
    *,
    name: str = "",
    namespace: str = "",
    skip_special: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> SendReport:
    """Send what is at `path`, and return once jobs can use it. Raises what tarpon/sending/problems.py has."""
    tree = await asyncio.to_thread(found_tree, path, skip_special=skip_special)
    files = await digested(tree.files, lambda done: on_progress("Reading", done, tree.size_bytes))
    sending = Sending(client, tree.files, files, namespace=namespace, on_progress=on_progress)
    data = await sending.run(name)
    return SendReport(data=data, sent_files=sending.sent_files, sent_bytes=sending.sent_bytes, left_out=tree.left_out)


async def digest_of(path: str | os.PathLike[str]) -> str:
    """Under which digest it would be sent. Raises as send_data does."""
    tree = await asyncio.to_thread(found_tree, path)
    manifest = encode_manifest(await digested(tree.files, lambda _: None))
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


class Sending:
    """Of files whose digests are known. `sent_files` and `sent_bytes` are what went to the bucket."""

    def __init__(
        self,
        client: SendCalls,
        local: Sequence[LocalFile],
        files: Sequence[DataFile],
        *,
        namespace: str,
        on_progress: OnProgress,
    ) -> None:
        self.sent_files = self.sent_bytes = 0
        self._client = client
        self._namespace = namespace
        self._files = files
        self._local = {file.sha256: found for file, found in zip(files, local, strict=True)}
        self._sizes = tuple({file.sha256: file.size for file in files}.values())
        """Of the different contents, in the order in which the orchestrator counts them."""
        self._total_bytes = sum(self._sizes)
        self._manifest = encode_manifest(files)
        self._digest = hashlib.sha256(self._manifest).hexdigest()
        self._on_progress = on_progress
        self._done_bytes = 0

    def __repr__(self) -> str:
        return f"<Sending of {len(self._files)} files, {self._digest[:12]}>"

    async def run(self, name: str) -> DataView:
        wanted = PutDataRequest(
            name=name,
            manifest_bytes=len(self._manifest),
            files=len(self._files),
            size_bytes=sum(each.size for each in self._files),
        )
        begun = await self._client.begin_data(self._digest, wanted, namespace=self._namespace)
        if begun.data.ready:
            return begun.data
        async with sending_session(self._client.trust, CONNECTIONS) as session:
            if begun.manifest is not None:
                await self._send_manifest(session, begun.manifest)
            return await self._rounds(session)

    async def _send_manifest(self, session: aiohttp.ClientSession, where: SignedPut) -> None:
        body, what = BytesBody(self._manifest), "The list of the files"
        if not isinstance(outcome := await put(session, where, body, what=what), PutDone):
            raise UploadFailed(what, outcome.why)
        self.sent_bytes += body.size

    async def _rounds(self, session: aiohttp.ClientSession) -> DataView:
        """Send what is missing until nothing is: URLs may expire, and a sweep may take what was there."""
        fruitless = missing = 0
        while fruitless < FRUITLESS_ROUNDS:
            before = self.sent_files
            await self._send_missing(session)
            finished = await self._finish()
            if finished.data.ready:
                return finished.data
            missing = finished.missing
            fruitless = fruitless + 1 if self.sent_files == before else 0
        raise UploadFailed("The data", f"{missing:,} of its files do not arrive in the bucket")

    async def _send_missing(self, session: aiohttp.ClientSession) -> None:
        first, self._done_bytes = 0, 0
        while True:
            page = await self._client.missing_data(self._digest, first, namespace=self._namespace)
            self._progressed(self._there(page, first))
            await pipelined(page.missing, lambda each: self._send(session, each), at_once=CONNECTIONS)
            if not page.next:
                return
            first = page.next

    def _there(self, page: MissingResponse, first: int) -> int:
        """How many bytes of the contents of this page need not be sent."""
        return sum(self._sizes[first : page.next or page.total]) - sum(each.size for each in page.missing)

    async def _send(self, session: aiohttp.ClientSession, content: MissingContent) -> None:
        local = self._local.get(content.sha256)
        if local is None:
            raise UploadFailed("The data", "the orchestrator asks for a file that is not in it")
        if content.put is None:
            parts = PartSending(self._client, session, local, on_sent=self._progressed)
            self.sent_bytes += await parts.send(content.sha256, of=self._digest, namespace=self._namespace)
            self.sent_files += 1
            return
        body = FileBody(local, sha256=content.sha256)
        if isinstance(await put(session, content.put, body, what=local.source), PutDone):
            self.sent_files += 1
            self.sent_bytes += body.size
            self._progressed(body.size)

    def _progressed(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._on_progress("Sending", self._done_bytes, self._total_bytes)

    async def _finish(self) -> FinishDataResponse:
        """What the orchestrator finds, when it has looked at all."""
        while True:
            finished = await self._client.finish_data(self._digest, namespace=self._namespace)
            if finished.data.ready or finished.missing:
                return finished
            await asyncio.sleep(AGAIN_SECONDS)
