"""Grants to PUT a result: they come with the assignment, or the orchestrator is asked.

One PUT needs one URL. An upload in parts is begun and completed by the orchestrator; the node asks for the URLs of its
parts, some at a time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from shared.errors import GrantRefused, NotReady, Unavailable
from shared.ids import ExecutionId
from shared.messaging.transport import Connection
from shared.protocol.messages import (
    BeginFiles,
    BeginUpload,
    BesideGiven,
    BesideRequest,
    CompleteUpload,
    FilesBegun,
    FilesGiven,
    FilesRequest,
    FileToSend,
    GrantGiven,
    GrantRequest,
    IndexGrantGiven,
    IndexGrantRequest,
    NodeRequestAnswer,
    PartsGiven,
    PartsRequest,
    RequestRefused,
    UnknownMessage,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    UploadRequest,
    decode,
    encode,
    node_request_answers,
)
from shared.protocol.nodes.inputs import InputsRequest
from shared.protocol.objects import Beside
from shared.protocol.results.file_urls import file_urls
from shared.protocol.signed_url import CHECKSUM_HEADER, Grant, SignedUrl
from shared.runtime.backoff import Backoff

REQUEST_SECONDS = 10.0
COMPLETE_SECONDS = 30.0
"""S3 may take minutes to put many parts together; who asks again meanwhile is answered when that is done.

Not longer, because with an orchestrator that dies or gives up its lease the question is lost.
"""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
PARTS_AT_ONCE = 16
"""How many URLs of parts are asked for together."""
URLS_AHEAD = 6
"""How many parts before the last URL more of them are asked for."""

R = TypeVar("R")

Ask = Callable[[UploadRequest], Awaitable[NodeRequestAnswer]]


class UploadIsLost(Exception):
    """S3 does not know the upload any more, or not all of its parts, or another one has been begun since."""

    def __init__(self, upload_id: str, why: str) -> None:
        super().__init__(why)
        self.upload_id = upload_id


class Urls(Protocol):
    """Where the URL for one object, or for one part of it, comes from."""

    @property
    def current(self) -> Grant | None:
        """The newest one, which may be dead."""

    async def renew(self, s3_code: str = "") -> Grant:
        """A fresh one, however long the orchestrator is away; `s3_code` is what S3 said to the last one.

        Raises GrantRefused, and UploadIsLost for a part.
        """


class Watcher(Protocol):
    """Who is told how it goes with S3, as far as the orchestrator's answers tell."""

    def failed(self, problem: str) -> None: ...

    def went_well(self) -> None: ...


class UploadRequests:
    """Asks the orchestrator, on this node's own subject."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject

    async def ask(self, request: UploadRequest | InputsRequest) -> NodeRequestAnswer:
        """Raises Unavailable, where asking again may help."""
        seconds = COMPLETE_SECONDS if isinstance(request, CompleteUpload) else REQUEST_SECONDS
        payload = await self._connection.request(self._subject, encode(request), timeout=seconds)
        try:
            return decode(node_request_answers, payload)
        except UnknownMessage as error:
            raise NotReady(f"The orchestrator's answer cannot be understood: {error.message}") from None


class ExecutionGrants:
    """The rights of one execution. They are in memory alone: a journal holds no URL. It is the Urls of the archive.

    Every question is repeated until the orchestrator answers it, and raises GrantRefused when it says no.
    """

    def __init__(self, execution_id: ExecutionId, ask: Ask, first: Grant | None = None) -> None:
        self.current = first
        self.last_problem = ""
        self.watcher: Watcher | None = None
        self._execution_id = execution_id
        self._ask = ask
        self._beside: dict[Beside, Grant] = {}

    def __repr__(self) -> str:
        return f"<ExecutionGrants of {self._execution_id}: {self.current}>"

    def offer(self, grant: Grant | None) -> None:
        """Take a grant that came unasked, if it lives longer."""
        if grant is not None and (self.current is None or grant.expires_at > self.current.expires_at):
            self.current = grant

    def offer_beside(self, urls: Mapping[str, SignedUrl]) -> None:
        """The same of what lies beside the archive. What this node knows nothing of it does not send."""
        self._beside |= {each: Grant(urls[each]) for each in Beside if each in urls}

    async def renew(self, s3_code: str = "") -> Grant:
        asked_at, answer = await self._answer(GrantRequest(execution_id=self._execution_id, s3_code=s3_code))
        match answer:
            case GrantGiven(archive=url):
                self.current = Grant(url, received_at=asked_at)
                return self.current
            case _:
                raise _misunderstood(answer)

    @property
    def index(self) -> Urls:
        """Of the index beside the archive."""
        return _IndexUrls(self)

    def beside(self, what: Beside) -> Urls:
        """Of what lies beside the archive."""
        return _BesideUrls(self, what, self._beside.get(what))

    async def begin_files(self) -> FilesBegun:
        """Tell that an object for each file comes; what may come."""
        _, answer = await self._answer(BeginFiles(execution_id=self._execution_id))
        match answer:
            case FilesBegun():
                return answer
            case _:
                raise _misunderstood(answer)

    async def files(self, files: Sequence[FileToSend], s3_code: str = "") -> list[Grant]:
        """The right to PUT each of these files, of which there are at most MAX_FILES."""
        request = FilesRequest(execution_id=self._execution_id, files=tuple(files), s3_code=s3_code)
        asked_at, answer = await self._answer(request)
        match answer:
            case FilesGiven(signatures=signatures) if len(signatures) == len(files):
                return [Grant(url, received_at=asked_at) for url in file_urls(files, answer)]
            case _:
                raise _misunderstood(answer)

    async def begin_upload(self, lost: str = "") -> tuple[str, bool]:
        """The id of an upload in parts: of the one begun before, unless that is `lost`. Whether it has checksums."""
        _, answer = await self._answer(BeginUpload(execution_id=self._execution_id, lost=lost, checksums=True))
        match answer:
            case UploadBegun(upload_id=upload_id, checksums=checksums):
                self._went_well()
                return upload_id, checksums
            case _:
                raise _misunderstood(answer)

    def parts(self, upload_id: str) -> "PartUrls":
        return PartUrls(self, upload_id)

    async def complete(self, upload_id: str, etags: tuple[str, ...], crc32: tuple[str, ...] = ()) -> None:
        """Make the parts one object. Raises UploadIsLost."""
        request = CompleteUpload(execution_id=self._execution_id, upload_id=upload_id, etags=etags, crc32=crc32)
        _, answer = await self._answer(request)
        match answer:
            case UploadCompleted():
                self._went_well()
            case UploadLost(message=message):
                raise UploadIsLost(upload_id, message)
            case _:
                raise _misunderstood(answer)

    def _went_well(self) -> None:
        """S3 itself has answered; that a URL was signed says nothing about it."""
        if self.watcher is not None:
            self.watcher.went_well()

    async def _index(self, s3_code: str) -> Grant:
        asked_at, answer = await self._answer(IndexGrantRequest(execution_id=self._execution_id, s3_code=s3_code))
        match answer:
            case IndexGrantGiven(index=url):
                return Grant(url, received_at=asked_at)
            case _:
                raise _misunderstood(answer)

    async def _renew_beside(self, what: Beside, s3_code: str) -> Grant:
        request = BesideRequest(execution_id=self._execution_id, beside=what, s3_code=s3_code)
        asked_at, answer = await self._answer(request)
        match answer:
            case BesideGiven(url=url):
                return Grant(url, received_at=asked_at)
            case _:
                raise _misunderstood(answer)

    async def _parts(
        self, upload_id: str, first: int, count: int, s3_code: str, crc32: tuple[str, ...] = ()
    ) -> list[Grant]:
        request = PartsRequest(
            execution_id=self._execution_id,
            upload_id=upload_id,
            first=first,
            count=count,
            s3_code=s3_code,
            crc32=crc32,
        )
        asked_at, answer = await self._answer(request)
        match answer:
            case PartsGiven(parts=urls) if urls:
                return [Grant(url, received_at=asked_at) for url in urls]
            case UploadLost(message=message):
                raise UploadIsLost(upload_id, message)
            case _:
                raise _misunderstood(answer)

    async def _answer(self, request: UploadRequest) -> tuple[float, NodeRequestAnswer]:
        return await answered(self._ask, request, self._refused, self._unanswered)

    def _refused(self, problem: str) -> None:
        self.last_problem = problem
        if self.watcher is not None:
            self.watcher.failed(problem)

    def _unanswered(self, problem: str) -> None:
        self.last_problem = problem


async def answered(
    ask: Callable[[R], Awaitable[NodeRequestAnswer]],
    request: R,
    on_refused: Callable[[str], None],
    on_unanswered: Callable[[str], None] = lambda _: None,
) -> tuple[float, NodeRequestAnswer]:
    """The answer, however long it takes, with the time of its question. Raises GrantRefused where that is the answer.

    A lifetime began when the orchestrator signed, which was after the question. `on_refused` hears of each refusal that
    is for now alone.
    """
    pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        asked_at = time.monotonic()
        try:
            answer = await ask(request)
        except Unavailable as error:
            on_unanswered(error.message)
        else:
            match answer:
                case RequestRefused(message=message, retryable=True):
                    on_refused(message)
                case RequestRefused(message=message):
                    raise GrantRefused(message)
                case _:
                    return asked_at, answer
        await pauses.pause()


class _IndexUrls:
    def __init__(self, grants: ExecutionGrants) -> None:
        self.current: Grant | None = None
        self._grants = grants

    async def renew(self, s3_code: str = "") -> Grant:
        self.current = await self._grants._index(s3_code)  # noqa: SLF001  # one class in two views
        return self.current


class _BesideUrls:
    def __init__(self, grants: ExecutionGrants, what: Beside, first: Grant | None) -> None:
        self.current = first
        self._grants = grants
        self._what = what

    async def renew(self, s3_code: str = "") -> Grant:
        self.current = await self._grants._renew_beside(self._what, s3_code)  # noqa: SLF001  # as above
        return self.current


class FileUrls:
    """Of one file."""

    def __init__(self, grants: ExecutionGrants, file: FileToSend, first: Grant) -> None:
        self.current: Grant | None = first
        self._grants = grants
        self._file = file

    async def renew(self, s3_code: str = "") -> Grant:
        (self.current,) = await self._grants.files([self._file], s3_code)
        return self.current


class PartUrls:
    """The URLs of the parts of one upload. They are asked for some at a time, before they are needed."""

    def __init__(self, grants: ExecutionGrants, upload_id: str) -> None:
        self._grants = grants
        self._upload_id = upload_id
        self._given: dict[int, Grant] = {}
        self._asked_below = 0
        """Every part below this number has been asked for."""
        self._asking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<PartUrls, {len(self._given)} in hand>"

    def wants_more(self, number: int) -> bool:
        """Whether it is time, when part `number` goes, to `ask_ahead`."""
        return self._asked_below <= number + URLS_AHEAD

    async def ask_ahead(self, number: int) -> None:
        """Have URLs for the parts from `number` on; of several callers one asks. Raises GrantRefused, UploadIsLost."""
        async with self._asking:
            if self.wants_more(number):
                first = max(number, self._asked_below)
                self._asked_below = first + PARTS_AT_ONCE
                await self._fetch(first, PARTS_AT_ONCE)

    async def of(self, number: int) -> "_PartUrl":
        """To be used once for each part. Raises GrantRefused, UploadIsLost."""
        if number not in self._given:
            await self.ask_ahead(number)
        return _PartUrl(self, number)

    async def for_checksum(self, number: int, crc32: str) -> "_PartUrl":
        """The same of an upload with checksums: the URL is for bytes with this CRC-32, in base64, alone."""
        urls = _PartUrl(self, number, crc32)
        await urls.renew()
        return urls

    async def renew(self, number: int, s3_code: str, crc32: str) -> Grant:
        await self._fetch(number, 1, s3_code, (crc32,) if crc32 else ())
        grant = self.take(number)
        assert grant is not None
        if crc32 and grant.url.headers.get(CHECKSUM_HEADER) != crc32:
            raise UploadIsLost(self._upload_id, "The orchestrator signs no checksums any more.")
        return grant

    def take(self, number: int) -> Grant | None:
        return self._given.pop(number, None)

    async def _fetch(self, first: int, count: int, s3_code: str = "", crc32: tuple[str, ...] = ()) -> None:
        grants = await self._grants._parts(self._upload_id, first, count, s3_code, crc32)  # noqa: SLF001  # as above
        self._given |= dict(enumerate(grants, first))


class _PartUrl:
    def __init__(self, parts: PartUrls, number: int, crc32: str = "") -> None:
        self.current = parts.take(number)
        self._parts = parts
        self._number = number
        self._crc32 = crc32

    async def renew(self, s3_code: str = "") -> Grant:
        self.current = await self._parts.renew(self._number, s3_code, self._crc32)
        return self.current


def _misunderstood(answer: NodeRequestAnswer) -> GrantRefused:
    return GrantRefused(f"The orchestrator answered another question than the one asked, with {type(answer).__name__}.")
