"""A large file, which is sent in parts: several at once, and those that are there already not again."""

from collections.abc import Callable
from typing import Protocol

import aiohttp

from shared.protocol.namespaces.rest_data import (
    CompleteFileRequest,
    CompleteFileResponse,
    FilePartsRequest,
    FilePartsResponse,
    SignedPut,
)
from shared.runtime.aio import pipelined
from tarpon.sending.bodies import FileBody
from tarpon.sending.local_tree import LocalFile
from tarpon.sending.problems import UploadFailed
from tarpon.sending.put import Expired, put

AT_ONCE = 4
MOST_LOST = 3
"""How often an upload may vanish from the bucket while it is sent."""
FRUITLESS = 3


class PartCalls(Protocol):
    async def data_parts(self, digest: str, wanted: FilePartsRequest, *, namespace: str) -> FilePartsResponse: ...
    async def complete_data_file(
        self, digest: str, wanted: CompleteFileRequest, *, namespace: str
    ) -> CompleteFileResponse: ...


class PartSending:
    """Of one file. `on_sent` is told of the bytes of each part that is there."""

    def __init__(
        self,
        client: PartCalls,
        session: aiohttp.ClientSession,
        file: LocalFile,
        *,
        on_sent: Callable[[int], None],
    ) -> None:
        self._client = client
        self._session = session
        self._file = file
        self._digest = self._namespace = ""
        self._on_sent = on_sent
        self._sent_bytes = 0
        self._upload_id = ""
        self._etags: dict[int, str] = {}
        self._part_bytes = 1

    def __repr__(self) -> str:
        return f"<PartSending of {self._file.source!r}, {len(self._etags)} parts>"

    async def send(self, sha256: str, *, of: str, namespace: str) -> int:
        """Send it as a file `of` the data with this digest; how many bytes had to be sent.

        Raises UploadFailed, FileChanged, FileUnreadable.
        """
        self._digest, self._namespace = of, namespace
        lost = ""
        for _ in range(MOST_LOST):
            upload_id = await self._send_parts(sha256, lost)
            if upload_id:
                etags = tuple(self._etags[number] for number in sorted(self._etags))
                request = CompleteFileRequest(sha256=sha256, upload_id=upload_id, etags=etags)
                answer = await self._client.complete_data_file(self._digest, request, namespace=self._namespace)
                if not answer.lost:
                    return self._sent_bytes
            lost = upload_id or self._upload_id
            self._on_sent(-sum(map(self._size, self._etags)))
            self._etags = {}
        raise UploadFailed(self._file.source, "the bucket loses its parts")

    async def _send_parts(self, sha256: str, lost: str) -> str:
        """The id of the upload that has all parts now; empty where it is gone."""
        given: FilePartsResponse | None = await self._asked(sha256, 1, lost)
        assert given is not None
        self._upload_id, self._part_bytes = given.upload_id, given.part_bytes
        for part in given.there:
            self._note(part.number, part.etag)
        first, fruitless = 1, 0
        while missing := [each for each in range(1, self._count + 1) if each not in self._etags]:
            if given is None or missing[0] >= first + len(given.parts):
                first, given = missing[0], await self._asked(sha256, missing[0], lost)
            if given.upload_id != self._upload_id:
                return ""
            before = len(self._etags)
            if not await self._send_given(given, first):
                return ""
            given = None  # some of these URLs may have expired
            fruitless = fruitless + 1 if len(self._etags) == before else 0
            if fruitless == FRUITLESS:
                raise UploadFailed(self._file.source, "S3 refuses the URLs of its parts")
        return self._upload_id

    async def _asked(self, sha256: str, first: int, lost: str) -> FilePartsResponse:
        request = FilePartsRequest(sha256=sha256, first=first, lost=lost)
        return await self._client.data_parts(self._digest, request, namespace=self._namespace)

    async def _send_given(self, given: FilePartsResponse, first: int) -> bool:
        """Send what is missing of these parts; whether the upload is there still. Some may need other URLs."""
        gone: list[int] = []

        async def send(number: int, where: SignedPut) -> None:
            body = FileBody(self._file, start=(number - 1) * self._part_bytes, size=self._size(number))
            outcome = await put(self._session, where, body, what=self._file.source)
            if isinstance(outcome, Expired):
                gone.extend([number] if outcome.is_gone else [])
                return
            self._sent_bytes += body.size
            self._note(number, outcome.etag)

        parts = [(number, where) for number, where in enumerate(given.parts, first) if number not in self._etags]
        await pipelined(parts, lambda each: send(*each), at_once=AT_ONCE)
        return not gone

    @property
    def _count(self) -> int:
        return -(-self._file.size // self._part_bytes)

    def _size(self, number: int) -> int:
        return min(self._part_bytes, self._file.size - (number - 1) * self._part_bytes)

    def _note(self, number: int, etag: str) -> None:
        self._etags[number] = etag
        self._on_sent(self._size(number))
