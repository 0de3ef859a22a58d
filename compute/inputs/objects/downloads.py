"""Downloads of inputs into the cache: small objects many at a time, large ones in pieces at once.

What all downloads of a node share bounds its memory: connections, and what is read and not written yet.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import aiohttp

from compute.disk.workspace import DISK_SECONDS
from compute.inputs.failures import InputFailed
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.cut_downloads import CutDownloads
from compute.inputs.objects.get import Changed, ObjectPart, receive
from compute.inputs.objects.given import GivenBatch, GivenFile
from compute.inputs.objects.partial_input import Becomes, PartialInput
from compute.inputs.objects.patience import Patience, changed, damaged
from compute.inputs.objects.patient_get import patient_get
from compute.inputs.objects.small.downloads import SmallDownloads
from compute.inputs.objects.small.files import SmallFile, SmallFiles
from compute.inputs.objects.small.gets import SmallGets
from compute.inputs.objects.stoppable import stoppable
from compute.journal.write_batches import WriteBatches
from compute.upload.delivery import FIRST_PAUSE_SECONDS
from compute.upload.put import NotAnswered
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE
from shared.runtime.aio import in_thread, pipelined, settled

SMALL_BYTES = 256 << 10
"""So much is read into memory and written at once."""
SMALL_AT_ONCE = 48
STREAMS = 16
STREAMS_OF_ONE = 8
THREADS = 4
COPIES = 2
DAMAGED_TRIES = 2

T = TypeVar("T")

OnBytes = Callable[[int], None]


class Downloads:
    """`close()` blocks until the threads have ended."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        small_gets: SmallGets,
        cache: InputCache,
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.http = http
        self.cache = cache
        self.first_pause_seconds = first_pause_seconds
        self.threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="inputs")
        self.copying = ThreadPoolExecutor(max_workers=COPIES, thread_name_prefix="copies of inputs")
        """For what may take long, so that nothing that was read waits for it."""
        self.cuts = CutDownloads(http, cache, self.threads, first_pause_seconds=first_pause_seconds)
        self.streams = asyncio.Semaphore(STREAMS)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        files = SmallFiles()
        self._small_downloads = SmallDownloads(small_gets, cache, files, self.threads)
        self._writes: WriteBatches[SmallFile] = WriteBatches(self.threads, files.write)

    def __repr__(self) -> str:
        return f"<Downloads into {self.cache!r}>"

    async def fetch_all(self, batch: GivenBatch, names: Mapping[int, str], on_bytes: OnBytes) -> None:
        """Have files of the batch in the cache, each by its number there under its name. Else as `fetch`."""
        come = await self._small_downloads.fetch(batch, names, on_bytes)

        async def fetch(index: int) -> None:
            await self.fetch(batch[index], names[index], on_bytes)

        await pipelined([index for index in names if index not in come], fetch, at_once=MAX_FILES_AT_ONCE)

    async def fetch(self, given: GivenFile, name: str, on_bytes: OnBytes) -> None:
        """Have the file in the cache under this name. Raises InputFailed, OSError. When cancelled nothing goes on."""
        async with self.cache.turn(name):
            size_bytes = given.file.size
            if self.cache.has(name, size_bytes):
                on_bytes(size_bytes)  # another task has fetched it meanwhile
                return
            if size_bytes <= SMALL_BYTES:
                async with self._small:
                    await self._fetch_small(given, name)
                on_bytes(size_bytes)
            else:
                await _LargeDownload(self, given, name, on_bytes).run()
            self.cache.add(name, size_bytes)

    def close(self) -> None:
        self.threads.shutdown()
        self.copying.shutdown()
        self.cache.close()

    async def _fetch_small(self, given: GivenFile, name: str) -> None:
        file = given.file
        for _ in range(DAMAGED_TRIES):
            content = await patient_get(self.http, given, 0, file.size, first_pause_seconds=self.first_pause_seconds)
            if not file.sha256 or hashlib.sha256(content).hexdigest() == file.sha256.lower():
                written = self._writes.add(SmallFile(self.cache.file(name), content))
                await settled(written, within=DISK_SECONDS)
                return
        raise damaged(given)


class _LargeDownload:
    """Of one object, in pieces."""

    def __init__(self, downloads: Downloads, given: GivenFile, name: str, on_bytes: OnBytes) -> None:
        self._downloads = downloads
        self._given = given
        self._name = name
        self._on_bytes = on_bytes
        self._told_bytes = 0

    async def run(self) -> None:
        file, cache = self._given.file, self._downloads.cache
        becomes = Becomes(size=file.size, etag=file.etag, sha256=file.sha256)
        for _ in range(DAMAGED_TRIES):
            async with self._opened(becomes) as written:
                runs = await self._in_thread(lambda: written.runs)
                self._tell(file.size - sum(end - at for at, end in runs))
                await pipelined(runs, partial(self._fetch_run, written), at_once=STREAMS_OF_ONE)
                if await self._is_right(written):
                    await self._in_thread(partial(written.become, cache.place(self._name)))
                    return
                await self._in_thread(written.discard)
                self._tell(-self._told_bytes)
        raise damaged(self._given)

    @asynccontextmanager
    async def _opened(self, becomes: Becomes) -> AsyncIterator[PartialInput]:
        path = self._downloads.cache.partial(self._name)
        written = await self._in_thread(lambda: PartialInput(path, becomes))
        try:
            yield written
        except InputFailed:  # what is there is of no use
            await self._in_thread(written.discard)
            raise
        finally:
            written.close()

    async def _fetch_run(self, written: PartialInput, bounds: tuple[int, int]) -> None:
        file, (at, end) = self._given.file, bounds
        async with self._downloads.streams:
            patience = Patience(self._given, first_pause_seconds=self._downloads.first_pause_seconds)
            while at < end:
                url = await patience.url()
                sink = _Sink(written, at, self._downloads.threads, self._tell)
                failure, problem = None, ""
                try:
                    failure = await receive(
                        self._downloads.http, url, ObjectPart(file.size, file.etag, at, end), sink.write
                    )
                except NotAnswered as error:
                    problem = str(error)
                except Changed:
                    raise changed(self._given) from None
                finally:
                    await sink.written()
                has_come, at = sink.at > at, sink.at
                if problem:
                    await patience.after_no_answer(problem, has_come=has_come)
                elif failure is not None:
                    await patience.after_refusal(failure)
                else:
                    self._given.trouble.went_well()

    async def _is_right(self, written: PartialInput) -> bool:
        return await stoppable(written.is_right, pool=self._downloads.copying)

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await in_thread(act, within=DISK_SECONDS, pool=self._downloads.threads)

    def _tell(self, count: int) -> None:
        self._told_bytes += count
        self._on_bytes(count)


class _Sink:
    """Writes what comes, while the next is read. `at` is up to where it is on the disk."""

    def __init__(self, file: PartialInput, at: int, threads: ThreadPoolExecutor, on_bytes: OnBytes) -> None:
        self.at = at
        self._file = file
        self._threads = threads
        self._on_bytes = on_bytes
        self._writing: asyncio.Future[None] | None = None
        self._writing_bytes = 0

    async def write(self, content: memoryview) -> None:
        await self.written()
        self._writing_bytes = len(content)
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._threads, partial(self._file.write, content, self.at)
        )

    async def written(self) -> None:
        """All that was begun."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await settled(writing, within=DISK_SECONDS)
            self.at += self._writing_bytes
            self._on_bytes(self._writing_bytes)
