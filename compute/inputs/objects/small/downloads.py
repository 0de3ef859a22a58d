"""Small downloads: those of a batch that are small come together, and are written together.

What does not come as usual is left to compute/inputs/objects/downloads.py, which has the patience for it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from functools import partial

from compute.disk.workspace import DISK_SECONDS
from compute.inputs.objects.cache import InputCache
from compute.inputs.objects.given import GivenBatch
from compute.inputs.objects.small.files import SmallFile, SmallFiles
from compute.inputs.objects.small.gets import MOST_BYTES, SmallGets, small_get
from shared.runtime.aio import in_thread

AT_ONCE = 4
"""Batches, of all tasks together: what bounds the memory that they take."""


class SmallDownloads:
    """Of a node, into its cache."""

    def __init__(self, gets: SmallGets, cache: InputCache, files: SmallFiles, threads: Executor) -> None:
        self._gets = gets
        self._cache = cache
        self._files = files
        self._threads = threads
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._writing = asyncio.Lock()
        """File systems make files in one thread faster than in several."""

    def __repr__(self) -> str:
        return f"<SmallDownloads into {self._cache!r}>"

    async def fetch(
        self, batch: GivenBatch, names: Mapping[int, str], on_bytes: Callable[[int], None]
    ) -> Collection[int]:
        """The numbers of those that are in the cache now, of files of the batch with these names there.

        Raises InputFailed, OSError. When cancelled nothing goes on.
        """
        small = {name: index for index, name in names.items() if batch.files[index].size <= MOST_BYTES}
        if len(small) < 2:
            return ()
        async with self._at_once, self._cache.free_turns(small) as mine:
            come = await self._come(batch, {name: small[name] for name in mine})
            if not come:
                return ()
            batch.trouble.went_well()
            files = [SmallFile(self._cache.file(name), content, sha256) for name, (content, sha256) in come.items()]
            async with self._writing:
                right = await in_thread(
                    partial(self._files.write_right, files), within=DISK_SECONDS, pool=self._threads
                )
            kept = {name: len(file.content) for name, file, ok in zip(come, files, right, strict=True) if ok}
            for name, size in kept.items():
                self._cache.add(name, size)
            on_bytes(sum(kept.values()))
            return {small[name] for name in kept}

    async def _come(self, batch: GivenBatch, small: Mapping[str, int]) -> dict[str, tuple[bytes, str]]:
        await batch.live(min((batch.files[index].url.lifetime_seconds for index in small.values()), default=0))
        gets = {}
        for name, index in small.items():
            file = batch.files[index]
            if not self._cache.has(name, file.size) and (get := small_get(file.url, file.size, file.etag)) is not None:
                gets[name] = get
        contents = await self._gets.get(list(gets.values()))
        return {
            name: (content, batch.files[small[name]].sha256)
            for name, content in zip(gets, contents, strict=True)
            if content is not None
        }
