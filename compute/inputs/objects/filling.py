"""Filling of places: the files of some inputs of a task come into the node's cache, and from there to where they go."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from compute.inputs.failures import InputFailed
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.given import GivenBatch, GivenInputs
from compute.inputs.objects.progress import FetchProgress
from compute.inputs.objects.stoppable import stoppable
from compute.inputs.objects.views import InputViews, ViewedFile
from compute.inputs.places import InputPlace
from shared.ids import ExecutionId
from shared.jobs.states import FailureReason
from shared.protocol.nodes.inputs import InputFile, kept_name
from shared.runtime.aio import pipelined

BATCHES_AT_ONCE = 3
"""While the files of some are fetched, the next are asked for."""
PLACE_TRIES = 3


class Filling:
    """Of the `places` of some inputs, by their numbers. `names` are then the files of the cache that are in each."""

    def __init__(
        self,
        downloads: Downloads,
        execution_id: ExecutionId,
        places: Mapping[int, InputPlace],
        views: InputViews,
        progress: FetchProgress,
    ) -> None:
        self.names = {number: bytearray() for number in places}
        self._downloads = downloads
        self._cache = downloads.cache
        self._execution_id = execution_id
        self._places = places
        self._views = views
        self._progress = progress
        self._placing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Filling of {len(self._places)} inputs of {self._execution_id}>"

    async def run(self, given: GivenInputs, first: GivenBatch, starts: Sequence[int]) -> None:
        """Fetch what is in the batches that begin there. Raises InputFailed, OSError; cancelled, nothing goes on."""

        async def fetch(start: int) -> None:
            await self._fetch_batch(await given.batch(start) if start else first)

        await pipelined(starts, fetch, at_once=BATCHES_AT_ONCE)
        await stoppable(lambda _: self._views.seal(self._places.values()), pool=self._downloads.copying)

    async def _fetch_batch(self, batch: GivenBatch) -> None:
        chosen = [index for index, file in enumerate(batch.files) if file.source in self._places]
        names = {index: self._name(batch, index) for index in chosen}
        cuts = {index: self._cut_name(batch, index) for index in chosen if batch.files[index].index is not None}
        with self._cache.pinned([*names.values(), *cuts.values()]):
            wanted = chosen
            for _ in range(PLACE_TRIES):
                names |= await self._cut(batch, names, {index: cuts[index] for index in cuts.keys() & set(wanted)})
                new = await self._fetch_files(batch, names, wanted)
                wanted = await self._place(batch, names, wanted, new)
                if not wanted:
                    break
                for index in wanted:
                    self._cache.forget(names[index])
            else:
                raise InputFailed(FailureReason.NODE_ERROR, "Inputs vanish from the node's cache as they are fetched.")
            self._cache.use(names.values())
        await self._drop_unnamed(batch, names)

    async def _cut(self, batch: GivenBatch, names: Mapping[int, str], cuts: Mapping[int, str]) -> dict[int, str]:
        """Of which archives the cache has now what is read of them, and under which names."""
        come = dict[int, str]()

        async def cut(index: int) -> None:
            if not self._cache.has(names[index], batch.files[index].size) and (
                await self._downloads.cuts.fetch(batch[index], cuts[index])
            ):
                come[index] = cuts[index]

        await pipelined(cuts, cut, at_once=BATCHES_AT_ONCE)
        return come

    async def _fetch_files(self, batch: GivenBatch, names: Mapping[int, str], wanted: Sequence[int]) -> Collection[int]:
        """Those that were not there."""
        missing = dict[int, str]()
        for index in wanted:
            file = batch.files[index]
            if self._cache.has(names[index], self._size(batch, index, names[index])):
                self._progress.came(file.size)
            else:
                missing[index] = names[index]

        if missing:
            await self._cache.trim(wanted_bytes=sum(batch.files[index].size for index in missing))
            await self._downloads.fetch_all(batch, missing, self._progress.came)
        return missing

    async def _place(
        self, batch: GivenBatch, names: Mapping[int, str], wanted: Sequence[int], new: Collection[int]
    ) -> list[int]:
        """Those that have to be fetched again."""
        files = [
            self._viewed(batch.files[index], names[index], self._size(batch, index, names[index]), is_new=index in new)
            for index in wanted
        ]
        async with self._placing:
            bad = await stoppable(partial(self._views.add, files), pool=self._downloads.copying)
        again = {wanted[number] for number in bad}
        for index in wanted:
            if index not in again:
                self.names[batch.files[index].source] += bytes.fromhex(names[index])
        self._progress.done(len(files) - len(bad))
        return sorted(again)

    def _viewed(self, file: InputFile, name: str, size: int, *, is_new: bool) -> ViewedFile:
        return ViewedFile(
            place=self._places[file.source],
            path=file.path,
            cached=self._cache.file(name),
            size=size,
            executable=file.executable,
            archive=file.archive,
            members=file.members,
            is_new=is_new,
        )

    def _name(self, batch: GivenBatch, index: int) -> str:
        """What has no content that is known by name is kept for this execution alone."""
        content = batch.files[index].content
        return kept_name(content or f"{self._execution_id} {batch.first + index}")

    def _cut_name(self, batch: GivenBatch, index: int) -> str:
        return kept_name(f"{self._name(batch, index)} {batch.files[index].members!r}")

    def _size(self, batch: GivenBatch, index: int, name: str) -> int:
        """Of the file in the cache."""
        is_cut = batch.files[index].index is not None and name == self._cut_name(batch, index)
        return self._cache.size_of(name) if is_cut else batch.files[index].size

    async def _drop_unnamed(self, batch: GivenBatch, names: Mapping[int, str]) -> None:
        dropped = [name for index, name in names.items() if not batch.files[index].content]
        if dropped:
            await self._cache.drop(dropped)
