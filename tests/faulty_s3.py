"""An S3 that misbehaves as a test says: a proxy before a real one, for which URLs are signed (no tests in here).

Every request counts, also those that are answered here. What no fault is planned for is forwarded as it is, with the
host that was signed.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from enum import StrEnum

import aiohttp
from aiohttp import web
from yarl import URL

from tests.servers import HOST, REGION, free_ports

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "content-encoding"}
_SLICE_BYTES = 64 << 10


class Kind(StrEnum):
    """What a request is about."""

    ARCHIVE = "archive"
    """Also the manifest of a plain result."""
    FILE = "file"
    INDEX = "index"
    MANIFEST = "manifest"
    """Beside an archive."""
    PROVENANCE = "provenance"
    RECORD = "record"
    PART = "part"
    BEGIN = "begin"
    COMPLETE = "complete"
    ABORT = "abort"
    HEAD = "head"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request.

    With a `status` it is answered here, after its whole body or, if `early`, before it. Else it is forwarded, and the
    answer may be lost on its way back (`lose_answer`) or end in the middle (`truncate`). `cut_after` resets the
    connection after so many bytes of the body, and nothing is forwarded. `hold` waits before anything else.
    """

    status: int = 0
    body: str = ""
    early: bool = False
    cut_after: int | None = None
    lose_answer: bool = False
    truncate: bool = False
    hold: asyncio.Event | None = None


def answer(status: int, code: str = "", message: str = "", more: str = "", *, early: bool = False) -> Fault:
    """An error as S3 spells it; without a code, an empty body."""
    document = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>R-17</RequestId>{more}</Error>"
    return Fault(status=status, body=document if code else "", early=early)


EXPIRED = answer(403, "AccessDenied", "Request has expired", "<ServerTime>2026-11-22T00:00:00Z</ServerTime>")
DENIED = answer(403, "AccessDenied", "Access Denied")
LOCKED = answer(403, "AccessDenied", "Access Denied because object protected by object lock.")
SLOW_DOWN = answer(503, "SlowDown", "Please reduce your request rate.")
INTERNAL = answer(500, "InternalError", "We encountered an internal error.")
NO_SUCH_UPLOAD = answer(404, "NoSuchUpload", "The specified upload does not exist.")
PRECONDITION_FAILED = answer(412, "PreconditionFailed")
CONFLICT = answer(409, "ConditionalRequestConflict")
DEAD_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch")
LOSE_ANSWER = Fault(lose_answer=True)
TRUNCATE = Fault(truncate=True)
PASS = Fault()


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What another service was seen to say where SeaweedFS refuses a URL for its time, or for its keys."""

    name: str
    expired: Fault
    dead_keys: Fault
    lost_completion: Fault | None = None
    """Its answer to the completion of an upload that was aborted, where that is not NoSuchUpload."""
    lost_list: Fault | None = None
    """Its answer to who wants the list of the parts of one, where that is not NoSuchUpload."""


RADOSGW = Dialect(
    name="radosgw",
    expired=answer(403, "AccessDenied"),
    dead_keys=answer(403, "InvalidAccessKeyId"),
    lost_completion=answer(500, "InternalError", "This multipart completion is already in progress"),
    lost_list=answer(404, "NoSuchKey"),
)
GARAGE = Dialect(
    name="garage",
    expired=answer(400, "InvalidRequest", "Bad request: Date is too old", f"<Region>{REGION}</Region>"),
    dead_keys=answer(403, "AccessDenied", "Forbidden: No such key", f"<Region>{REGION}</Region>"),
)
RCLONE = Dialect(
    name="rclone", expired=answer(400, "AccessDenied", "Access Denied"), dead_keys=answer(403, "SignatureDoesNotMatch")
)
VERSITYGW = Dialect(
    name="versitygw",
    expired=answer(403, "AccessDenied", "Request has expired."),
    dead_keys=answer(404, "XAdminUserNotFound", "No user exists with the provided access key ID."),
)
DIALECTS = (RADOSGW, GARAGE, RCLONE, VERSITYGW)


@dataclass(kw_only=True)
class Seen:
    """A request that came. `status` 0 is none that arrived at the sender."""

    kind: Kind
    part: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    body_bytes: int = 0
    status: int = 0


class FaultyS3:
    """Plan faults with `plan`; look at what came in `seen`. `bytes_per_second` slows what is sent to the real one.

    With a `dialect` refusals are told as another service tells them. Its clock may be ahead, and URLs die by it.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.bytes_per_second = 0.0
        self.dialect: Dialect | None = None
        self.clock_ahead_seconds = 0.0
        self.before_completion: Callable[[str], None] | None = None
        """Told the path of the object before the end of an upload in parts is forwarded."""
        self.seen: list[Seen] = []
        self.in_flight = 0
        self.most_in_flight = 0
        (self.port,) = free_ports(1)
        self.endpoint = f"http://{HOST}:{self.port}"
        self._plans: dict[tuple[Kind, int], deque[Fault]] = defaultdict(deque)
        self._http: aiohttp.ClientSession
        self._runner: web.ServerRunner | None = None

    def __repr__(self) -> str:
        return f"<FaultyS3 {self.endpoint}, {len(self.seen)} requests>"

    def plan(self, kind: Kind, *faults: Fault, part: int = 0) -> None:
        """For the next requests of this kind, one each; `part` is a part's number, 0 for any."""
        self._plans[kind, part].extend(faults)

    def forget_plans(self) -> None:
        self._plans.clear()

    def of(self, kind: Kind) -> list[Seen]:
        return [each for each in self.seen if each.kind is kind]

    def body_bytes(self, kind: Kind) -> int:
        return sum(each.body_bytes for each in self.of(kind))

    @property
    def planned(self) -> int:
        """Faults that nobody has met yet."""
        return sum(map(len, self._plans.values()))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultyS3"]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as self._http:
            await self.open()
            try:
                yield self
            finally:
                await self.shut()

    async def open(self) -> None:
        server = web.Server(self._serve, lingering_time=0, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, reuse_address=True).start()

    async def shut(self) -> None:
        """Nobody listens any more, and every connection is cut."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = _seen(request)
        self.seen.append(seen)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(request, seen, self._next_fault(seen))
        except (aiohttp.ClientError, ConnectionError):
            return _cut(request)
        finally:
            self.in_flight -= 1

    def _next_fault(self, seen: Seen) -> Fault:
        for key in ((seen.kind, seen.part), (seen.kind, 0)):
            if self._plans[key]:
                return self._plans[key].popleft()
        return PASS

    async def _answer(self, request: web.BaseRequest, seen: Seen, fault: Fault) -> web.StreamResponse:
        if fault.hold is not None:
            await fault.hold.wait()
        if fault.cut_after is not None:
            while seen.body_bytes < fault.cut_after and (data := await request.content.read(_SLICE_BYTES)):
                seen.body_bytes += len(data)
            return _cut(request)
        if self._is_dead(request):
            fault = EXPIRED if self.dialect is None else self.dialect.expired
        if fault.status:
            if not fault.early:
                seen.body_bytes = len(await request.content.read())
            seen.status = fault.status
            return self._told(request, fault)
        return await self._forward(request, seen, fault)

    async def _forward(self, request: web.BaseRequest, seen: Seen, fault: Fault) -> web.StreamResponse:
        url = URL(self.upstream + request.raw_path, encoded=True)
        if seen.kind is Kind.COMPLETE and self.before_completion is not None:
            await asyncio.to_thread(self.before_completion, request.path)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = self._body(request, seen) if request.can_read_body else None
        skipped = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
        async with self._http.request(
            request.method, url, headers=headers, data=body, skip_auto_headers=skipped, allow_redirects=False
        ) as real:
            content = await real.read()
            if fault.lose_answer:
                return _cut(request)
            kept = {name: value for name, value in real.headers.items() if name.lower() not in _HOP_BY_HOP}
            if fault.truncate:
                return await _truncated(request, real.status, kept)
            told = self._translated(seen, content)
            if told is not None:
                seen.status = told.status
                return self._told(request, told)
            kept["Date"] = self._date()
            seen.status = real.status
            return web.Response(status=real.status, headers=kept, body=content if request.method != "HEAD" else None)

    def _translated(self, seen: Seen, content: bytes) -> Fault | None:
        if self.dialect is None:
            return None
        if any(f"<Code>{code}<".encode() in content for code in DEAD_KEYS):
            return self.dialect.dead_keys
        if b"<Code>NoSuchUpload<" in content:
            return {Kind.COMPLETE: self.dialect.lost_completion, Kind.OTHER: self.dialect.lost_list}.get(seen.kind)
        return None

    def _told(self, request: web.BaseRequest, fault: Fault) -> web.Response:
        headers = {"Connection": "close", "Date": self._date()}
        body = fault.body.encode() if request.method != "HEAD" else None
        return web.Response(status=fault.status, body=body, headers=headers)

    def _date(self) -> str:
        return formatdate(time.time() + self.clock_ahead_seconds, usegmt=True)

    def _is_dead(self, request: web.BaseRequest) -> bool:
        query = request.query
        if not self.clock_ahead_seconds or "X-Amz-Date" not in query:
            return False
        begins = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return time.time() + self.clock_ahead_seconds > begins + int(query["X-Amz-Expires"])

    async def _body(self, request: web.BaseRequest, seen: Seen) -> AsyncIterator[bytes]:
        while data := await request.content.read(_SLICE_BYTES):
            seen.body_bytes += len(data)
            yield data
            if self.bytes_per_second:
                await asyncio.sleep(len(data) / self.bytes_per_second)


def _seen(request: web.BaseRequest) -> Seen:
    query = request.query
    headers = {name.lower(): value for name, value in request.headers.items()}
    seen = Seen(kind=Kind.OTHER, headers=headers, url=request.raw_path)
    match request.method:
        case "PUT" if "partNumber" in query:
            seen.kind, seen.part = Kind.PART, int(query["partNumber"])
        case "PUT" if request.path.endswith(".index.json.gz"):
            seen.kind = Kind.INDEX
        case "PUT" if request.path.endswith(".content.json.gz"):
            seen.kind = Kind.MANIFEST
        case "PUT" if request.path.endswith(".provenance.json"):
            seen.kind = Kind.PROVENANCE
        case "PUT" if request.path.endswith(".result.json"):
            seen.kind = Kind.RECORD
        case "PUT" if request.path.endswith((".tar.gz", ".manifest.json.gz")):
            seen.kind = Kind.ARCHIVE
        case "PUT" if "content-md5" in query.get("X-Amz-SignedHeaders", ""):
            seen.kind = Kind.FILE
        case "POST" if "uploads" in query:
            seen.kind = Kind.BEGIN
        case "POST" if "uploadId" in query:
            seen.kind = Kind.COMPLETE
        case "DELETE" if "uploadId" in query:
            seen.kind = Kind.ABORT
        case "HEAD":
            seen.kind = Kind.HEAD
        case _:
            pass
    return seen


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _truncated(request: web.BaseRequest, status: int, headers: dict[str, str]) -> web.StreamResponse:
    """Its head, and less of a body than that promised."""
    promised = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    response = web.StreamResponse(status=status, headers=promised | {"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"<?xml")
    return _cut(request)
