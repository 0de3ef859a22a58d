"""Downloads of cut archives: into the cache comes what a task reads of a result, and as little else as possible."""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import aiohttp

from compute.disk.input_files import FILE_MODE
from compute.disk.workspace import DISK_SECONDS
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.cut_archives import ArchiveCut, CutArchive, NotCut
from compute.inputs.objects.get import Changed, ObjectPart, get
from compute.inputs.objects.given import GivenFile
from compute.inputs.objects.patient_get import patient_get
from compute.upload.put import NotAnswered
from shared.errors import ArchiveDamaged
from shared.extraction.block_reading import ByteRange
from shared.runtime.aio import in_thread, pipelined
from shared.runtime.backoff import Backoff

AT_ONCE = 2
MOST_INDEX_BYTES = 8 << 20
"""An index is in memory; a larger one is of some hundred thousand entries."""
PIECE_BYTES = 4 << 20
PIECES_AT_ONCE = 4
INDEX_TRIES = 3
LONGEST_PAUSE_SECONDS = 2.0
WORTH = 0.75
"""Who needs more of an archive than this takes all of it, which others may read too."""

T = TypeVar("T")


class CutDownloads:
    """Of a node, into its cache."""

    def __init__(
        self, http: aiohttp.ClientSession, cache: InputCache, threads: Executor, *, first_pause_seconds: float
    ) -> None:
        self._http = http
        self._cache = cache
        self._threads = threads
        self._first_pause_seconds = first_pause_seconds
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<CutDownloads into {self._cache!r}>"

    async def fetch(self, given: GivenFile, name: str) -> int:
        """How large the archive of those members is that is in the cache under this name; 0 where all of it is needed.

        Raises InputFailed, OSError. When cancelled nothing goes on; what has come is not gone on with.
        """
        async with self._at_once, self._cache.turn(name):
            if size_bytes := self._cache.size_of(name):
                return size_bytes
            path = self._cache.partial(f"{name}.cut")
            try:
                cut = await self._cut(given)
                await self._cache.trim(wanted_bytes=cut.size_bytes)
                size_bytes = await self._write(given, cut, path)
                await self._in_thread(partial(_move, path, self._cache.place(name)))
            except (NotCut, Changed, ArchiveDamaged):
                return 0
            finally:
                await self._in_thread(lambda: path.unlink(missing_ok=True))
            self._cache.add(name, size_bytes)
            return size_bytes

    async def _cut(self, given: GivenFile) -> ArchiveCut:
        file = given.file
        index = await self._index(given)
        cut = await self._in_thread(lambda: ArchiveCut(index, file.members, file.size))
        if cut.size_bytes + len(index) > WORTH * file.size:
            raise NotCut
        return cut

    async def _index(self, given: GivenFile) -> bytes:
        index, pauses = given.file.index, Backoff(self._first_pause_seconds, LONGEST_PAUSE_SECONDS)
        if index is None or index.size > MOST_INDEX_BYTES:
            raise NotCut
        for _ in range(INDEX_TRIES):
            with contextlib.suppress(NotAnswered):
                answer = await get(self._http, index.url, ObjectPart(index.size, "", 0, index.size))
                if isinstance(answer, bytes):
                    if hashlib.sha256(answer).hexdigest() != index.sha256:
                        raise NotCut
                    return answer
            await pauses.pause()
        raise NotCut

    async def _write(self, given: GivenFile, cut: ArchiveCut, path: Path) -> int:
        """How large it is."""
        pieces = cut.pieces(PIECE_BYTES)
        with contextlib.closing(await self._in_thread(lambda: cut.begin(path))) as archive:
            while some := list(islice(pieces, PIECES_AT_ONCE)):
                come: dict[int, bytes] = {}

                async def fetch(piece: ByteRange, come: dict[int, bytes] = come) -> None:
                    come[piece.start] = await patient_get(
                        self._http, given, piece.start, piece.end, first_pause_seconds=self._first_pause_seconds
                    )

                await pipelined(some, fetch, at_once=PIECES_AT_ONCE)
                await self._in_thread(partial(_feed, archive, come))
            return await self._in_thread(archive.finish)

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await in_thread(act, within=DISK_SECONDS, pool=self._threads)


def _feed(archive: CutArchive, come: dict[int, bytes]) -> None:
    for at, content in sorted(come.items()):
        archive.feed(at, content)


def _move(path: Path, place: Path) -> None:
    path.chmod(FILE_MODE)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    path.replace(place)
