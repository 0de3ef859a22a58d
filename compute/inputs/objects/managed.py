"""Managed inputs: objects that the orchestrator has found, and gives URLs for; of which kind they are is its matter."""

import asyncio
from collections.abc import Sequence
from functools import partial

from compute.inputs.failures import InputFailed
from compute.inputs.objects.cache import free_bytes, name_of
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.given import AskInputs, GivenBatch, GivenFile, GivenInputs
from compute.inputs.objects.progress import FetchProgress
from compute.inputs.objects.room import check_room
from compute.inputs.objects.stoppable import stoppable
from compute.inputs.objects.views import InputViews, Unpack, ViewedFile
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace
from compute.upload.delivery import Trouble
from shared.jobs.states import FailureReason
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE
from shared.runtime.aio import pipelined

BATCHES_AT_ONCE = 3
"""While the files of some are fetched, the next are asked for."""
PLACE_TRIES = 3
MANAGED_KINDS = ("result", "s3", "s3managed", "upload")


class ManagedInputs:
    """Of a node. With `unpack` it can take results."""

    def __init__(self, downloads: Downloads, ask: AskInputs, unpack: Unpack | None = None) -> None:
        self._downloads = downloads
        self._ask = ask
        self._unpack = unpack

    def __repr__(self) -> str:
        return f"<ManagedInputs by {self._downloads!r}>"

    async def fetch(self, order: InputOrder, places: Sequence[InputPlace | None]) -> None:
        """Fill the places of those inputs that are managed, each at its number. Raises InputFailed, OSError."""
        trouble = Trouble(partial(_waits, order))
        given = GivenInputs(order.execution_id, self._ask, trouble)
        try:
            await _Fetch(self._downloads, given, order, places, self._unpack).run()
        finally:
            trouble.end()
        await self._downloads.cache.trim()


class _Fetch:
    """All managed inputs of one execution."""

    def __init__(
        self,
        downloads: Downloads,
        given: GivenInputs,
        order: InputOrder,
        places: Sequence[InputPlace | None],
        unpack: Unpack | None,
    ) -> None:
        self._downloads = downloads
        self._cache = downloads.cache
        self._given = given
        self._order = order
        self._places = places
        self._views = InputViews(unpack, order.disk_bytes)
        self._placing = asyncio.Lock()
        self._progress = FetchProgress(0, 0, order.on_progress)

    async def run(self) -> None:
        first = await self._given.batch(0)
        await self._check_room(self._given.total_bytes)
        self._progress = FetchProgress(self._given.total, self._given.total_bytes, self._order.on_progress)
        starts = range(0, max(1, self._given.total), MAX_FILES_AT_ONCE)
        await pipelined(starts, partial(self._fetch_batch, first), at_once=BATCHES_AT_ONCE)
        mine = [place for place in self._places if place is not None]
        await stoppable(lambda _: self._views.seal(mine), pool=self._downloads.copying)

    async def _check_room(self, needed_bytes: int) -> None:
        """What is kept and not in use makes room, so that nothing is refused here that might fit."""
        free = await asyncio.to_thread(free_bytes, self._order.workspace.root)
        check_room(needed_bytes, allowed_bytes=self._order.disk_bytes, free_bytes=free + self._cache.total_bytes)

    async def _fetch_batch(self, first: GivenBatch, start: int) -> None:
        batch = first if not start else await self._given.batch(start)
        names = [self._name(batch, index) for index in range(len(batch.files))]
        with self._cache.pinned(names):
            wanted = list(range(len(names)))
            for _ in range(PLACE_TRIES):
                await self._fetch_files(batch, names, wanted)
                wanted = await self._place(batch, names, wanted)
                if not wanted:
                    break
                for index in wanted:
                    self._cache.forget(names[index])
            else:
                raise InputFailed(FailureReason.NODE_ERROR, "Inputs vanish from the node's cache as they are fetched.")
            self._cache.use(names)
        await self._drop_unnamed(batch, names)

    async def _fetch_files(self, batch: GivenBatch, names: Sequence[str], wanted: Sequence[int]) -> None:
        missing = []
        for index in wanted:
            size = batch.files[index].size
            if self._cache.has(names[index], size):
                self._progress.came(size)
            else:
                missing.append(index)

        async def fetch(index: int) -> None:
            await self._downloads.fetch(batch[index], names[index], self._progress.came)

        if missing:
            await self._cache.trim(wanted_bytes=sum(batch.files[index].size for index in missing))
            await pipelined(missing, fetch, at_once=MAX_FILES_AT_ONCE)

    async def _place(self, batch: GivenBatch, names: Sequence[str], wanted: Sequence[int]) -> list[int]:
        """Those that have to be fetched again."""
        files = [self._viewed(batch[index], names[index]) for index in wanted]
        async with self._placing:
            bad = await stoppable(partial(self._views.add, files), pool=self._downloads.copying)
        for _ in range(len(files) - len(bad)):
            self._progress.done()
        return [wanted[number] for number in bad]

    def _viewed(self, given: GivenFile, name: str) -> ViewedFile:
        file = given.file
        place = self._places[file.source] if 0 <= file.source < len(self._places) else None
        if place is None:
            detail = "The orchestrator gave a file of an input that the task does not have."
            raise InputFailed(FailureReason.INPUT_ACCESS_DENIED, detail)
        return ViewedFile(
            place=place,
            path=file.path,
            cached=self._cache.file(name),
            size=file.size,
            executable=file.executable,
            archive=file.archive,
            members=file.members,
        )

    def _name(self, batch: GivenBatch, index: int) -> str:
        """What has no content that is known by name is kept for this execution alone."""
        content = batch.files[index].content
        return name_of(content or f"{self._order.execution_id} {batch.first + index}")

    async def _drop_unnamed(self, batch: GivenBatch, names: Sequence[str]) -> None:
        dropped = [name for name, file in zip(names, batch.files, strict=True) if not file.content]
        if dropped:
            await self._cache.drop(dropped)


def _waits(order: InputOrder, problem: str) -> None:
    order.on_progress(f"Fetching inputs, waiting for S3: {problem}")
