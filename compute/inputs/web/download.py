"""Downloads of files by HTTP from URLs that jobs name: one of them, bounded, and resumed where that is safe.

The query of a URL is often a key, so none of it is in what is raised or logged.
"""

import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from compute.disk.workspace import DISK_SECONDS
from compute.inputs.failures import InputFailed
from compute.inputs.web.answers import (
    PARTIAL,
    RANGE_REFUSED,
    REDIRECTS,
    WHOLE,
    NotServed,
    begins_at,
    longer_than_told,
    of_error,
    of_status,
    redirected,
    shown,
    validator_of,
)
from compute.inputs.web.file_names import name_of
from shared.data.plain_text import printable
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason
from shared.runtime.aio import in_thread
from shared.runtime.backoff import Backoff

MAX_REDIRECTS = 10
MAX_FAILURES = 6
"""In a row, in which nothing new has come."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
WRITTEN_BYTES = 1 << 20
"""At once; so much of a file is in memory."""

T = TypeVar("T")
Requested = Callable[[URL, dict[str, str]], AbstractAsyncContextManager[aiohttp.ClientResponse]]
OnBytes = Callable[[int, int | None], None]
"""Told how many bytes are here, and of how many if that is known."""


class FetchedFile(NamedTuple):
    """`name` is what its server or its URL calls it, `sha256` the digest of its content, in hex."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DownloadBounds:
    """Of one download. `task_bytes` is what its task may still fill of the disk, `free_bytes` what is left of that.

    0 is no limit.
    """

    size_bytes: int
    task_bytes: int = 0
    free_bytes: int = 0
    first_pause_seconds: float = FIRST_PAUSE_SECONDS

    def check(self, size_bytes: int) -> None:
        """Raises NotServed."""
        if 0 < self.task_bytes < size_bytes:
            why = f"it has more than the {format_bytes(self.task_bytes)} that its task may still fill (Resources.Disk)"
            raise NotServed(FailureReason.INPUT_TOO_LARGE, why)
        if 0 < self.size_bytes < size_bytes:
            why = f"it has more than {format_bytes(self.size_bytes)} (Compute.Inputs.URLDownload.SizeLimit)"
            raise NotServed(FailureReason.INPUT_TOO_LARGE, why)
        if 0 < self.free_bytes < size_bytes:
            why = f"it has more than the {format_bytes(self.free_bytes)} that are left on the disk of this node"
            raise NotServed(FailureReason.DISK_FULL, why)


class UrlDownload:
    """Of `url` to the path `to`, where nothing is yet. What has come of it is left there when it fails."""

    def __init__(self, requested: Requested, url: URL, to: Path, bounds: DownloadBounds, on_bytes: OnBytes) -> None:
        self._requested = requested
        self._url = url
        self._to = to
        self._bounds = bounds
        self._on_bytes = on_bytes
        self._at = url
        """Where it was redirected to."""
        self._name = ""
        self._here = 0
        self._digest = hashlib.sha256()
        """Of what is here."""
        self._total: int | None = None
        self._validator = ""

    def __repr__(self) -> str:
        return f"<UrlDownload of {shown(self._url)}, {self._here} bytes>"

    async def run(self) -> FetchedFile:
        """Raises InputFailed, and OSError of the disk. How long it may take in all, its caller says."""
        try:
            await self._attempts()
        except NotServed as failed:
            raise self._failed(failed) from None
        return FetchedFile(self._name, self._here, self._digest.hexdigest())

    async def _attempts(self) -> None:
        pauses = Backoff(self._bounds.first_pause_seconds, LONGEST_PAUSE_SECONDS, spread=0.5)
        failures = 0
        while True:
            before = self._here
            try:
                return await self._attempt()
            except NotServed as failed:
                if self._here > before:
                    failures = 0
                    pauses.reset()
                failures += 1
                if not failed.may_pass or failures >= MAX_FAILURES:
                    raise
                await pauses.pause(at_least=failed.after_seconds)

    async def _attempt(self) -> None:
        headers = {}
        if self._here and self._validator:
            headers = {"Range": f"bytes={self._here}-", "If-Range": self._validator}
        try:
            async with self._answered(headers) as response:
                self._begin(response, is_rest="Range" in headers)
                await self._receive(response)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise of_error(error) from None

    @asynccontextmanager
    async def _answered(self, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The first answer that is no redirect. Each begins at the URL of the job: a redirect may hold for once."""
        self._at = self._url
        for _ in range(MAX_REDIRECTS + 1):
            async with self._requested(self._at, headers) as response:
                if response.status not in REDIRECTS:
                    yield response
                    return
                self._at = redirected(self._at, response.headers.get("Location", ""))
        raise NotServed(FailureReason.INPUT_NOT_ALLOWED, f"its server redirects more than {MAX_REDIRECTS} times")

    def _begin(self, response: aiohttp.ClientResponse, *, is_rest: bool) -> None:
        if is_rest and response.status == PARTIAL and self._is_same(response.headers):
            return
        self._here, self._digest = 0, hashlib.sha256()
        if is_rest and response.status in {PARTIAL, RANGE_REFUSED}:
            self._validator = ""
            raise NotServed(FailureReason.INPUT_CHANGED, "it has changed while it was fetched", may_pass=True)
        if response.status not in WHOLE:
            raise of_status(response.status, response.headers, now=datetime.now(UTC))
        self._total = response.content_length
        self._bounds.check(self._total or 0)
        self._validator = validator_of(response.headers)
        # Only what a redirect led to is asked for a name, as in the reference.
        disposition = response.headers.get("Content-Disposition", "") if self._at != self._url else ""
        self._name = name_of(self._at.raw_path, disposition)

    async def _receive(self, response: aiohttp.ClientResponse) -> None:
        connection = response.connection
        protocol = connection.protocol if connection is not None else None
        with closing(await _on_disk(partial(_opened, self._to, self._here))) as file:
            pending = bytearray()
            try:
                async for piece in response.content.iter_any():
                    pending += piece
                    self._bounds.check(self._here + len(pending))
                    if len(pending) >= WRITTEN_BYTES:
                        await self._write(file, pending)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                await self._write(file, pending)  # the next attempt may go on after it
                raise
            await self._write(file, pending)
        if protocol is not None and isinstance(protocol.exception(), HttpProcessingError):
            raise longer_than_told()

    async def _write(self, file: FileIO, pending: bytearray) -> None:
        content = bytes(pending)
        pending.clear()
        await _on_disk(partial(self._taken, file, content))
        self._here += len(content)
        self._on_bytes(self._here, self._total)

    def _taken(self, file: FileIO, content: bytes) -> None:
        self._digest.update(content)
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]

    def _is_same(self, headers: Mapping[str, str]) -> bool:
        """Whether a partial answer goes on where this has stopped."""
        is_of_it = not self._validator.startswith('"') or headers.get("ETag", self._validator) == self._validator
        return is_of_it and begins_at(headers, self._here, self._total)

    def _failed(self, failed: NotServed) -> InputFailed:
        host = self._at.host_port_subcomponent
        led = f", which leads to {printable(host or '')[:100]}," if host != self._url.host_port_subcomponent else ""
        return InputFailed(failed.reason, f"{shown(self._url)}{led} cannot be fetched: {failed.why}.")


async def _on_disk(act: Callable[[], T]) -> T:
    """A disk that does not answer is no server that does not."""
    try:
        return await in_thread(act, within=DISK_SECONDS)
    except TimeoutError:
        raise OSError(errno.EIO, "The disk does not answer") from None


def _opened(path: Path, at: int) -> FileIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = FileIO(os.open(path, flags, 0o600), "w")
    file.truncate(at)
    file.seek(at)
    return file
