"""Managed inputs: objects that the orchestrator has found, and gives URLs for; of which kind they are is its matter.

What containers of several tasks read is made for the first of them, and given to the others (kept_views.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from compute.disk.removal import remove_tree
from compute.disk.view_notes import Unpacked, ViewNote, link_of
from compute.disk.workspace import DISK_SECONDS
from compute.inputs.objects.cache import free_bytes
from compute.inputs.objects.downloads import Downloads
from compute.inputs.objects.filling import Filling
from compute.inputs.objects.given import AskInputs, GivenBatch, GivenInputs
from compute.inputs.objects.kept_views import NotLinked
from compute.inputs.objects.progress import FetchProgress
from compute.inputs.objects.room import UnpackedRoom, check_allowed, check_free
from compute.inputs.objects.shared_lists import SharedList, batches_with, shared_lists
from compute.inputs.objects.views import InputViews, Unpack
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace
from compute.inputs.read_inputs import inputs_read
from compute.upload.delivery import Trouble
from shared.runtime.aio import finish, in_thread

MANAGED_KINDS = ("result", "s3", "s3managed", "upload")

MOST_LINKS_NAMED = 3

T = TypeVar("T")

Tell = Callable[[str], None]


class ManagedInputs:
    """Of a node. With `unpack` it can take results."""

    def __init__(self, downloads: Downloads, ask: AskInputs, unpack: Unpack | None = None) -> None:
        self._downloads = downloads
        self._ask = ask
        self._unpack = unpack
        self._listeners = Listeners()

    def __repr__(self) -> str:
        return f"<ManagedInputs by {self._downloads!r}>"

    async def fetch(self, order: InputOrder, places: Mapping[int, InputPlace]) -> dict[int, Path]:
        """Have those inputs that are managed, by their numbers, in their places or in others, which are told.

        Raises InputFailed, OSError. When cancelled nothing goes on.
        """
        telling = _Telling(order.on_progress, self._listeners)
        trouble = Trouble(lambda problem: telling.tell(f"Fetching inputs, waiting for S3: {problem}"))
        given = GivenInputs(order.execution_id, self._ask, trouble, of=places.keys())
        fetch = _Fetch(self._downloads, given, order=order, places=places, unpack=self._unpack, telling=telling)
        try:
            elsewhere = await fetch.run()
        finally:
            trouble.end()
        await self._downloads.cache.trim()
        return elsewhere


class Listeners:
    """Who waits for a view that another execution makes, and is told how far that is."""

    def __init__(self) -> None:
        self._of: dict[str, list[Tell]] = {}

    def __repr__(self) -> str:
        return f"<Listeners to {len(self._of)} views>"

    @contextmanager
    def hearing(self, view: str, tell: Tell) -> Iterator[None]:
        told = self._of.setdefault(view, [])
        told.append(tell)
        try:
            yield
        finally:
            told.remove(tell)
            if not told:
                del self._of[view]

    def tell(self, view: str, sentence: str) -> None:
        for tell in self._of.get(view, ()):
            tell(sentence)


class _Telling:
    """How far an execution is, to its owner and to those of others that wait for the `views` that it makes."""

    def __init__(self, on_progress: Tell, listeners: Listeners) -> None:
        self.on_progress = on_progress
        self.listeners = listeners
        self.views: list[str] = []

    def tell(self, sentence: str) -> None:
        self.on_progress(sentence)
        for view in self.views:
            self.listeners.tell(view, sentence)


class _Fetch:
    """All managed inputs of one execution."""

    def __init__(
        self,
        downloads: Downloads,
        given: GivenInputs,
        *,
        order: InputOrder,
        places: Mapping[int, InputPlace],
        unpack: Unpack | None,
        telling: _Telling,
    ) -> None:
        self._downloads = downloads
        self._cache = downloads.cache
        self._given = given
        self._order = order
        self._places = places
        self._unpack = unpack
        self._telling = telling
        self._room = UnpackedRoom(order.disk_bytes)
        self._progress = FetchProgress(0, 0, telling.tell)
        self._elsewhere: dict[int, Path] = {}

    async def run(self) -> dict[int, Path]:
        first = await self._given.batch(0)
        check_allowed(self._given.total_bytes, self._order.disk_bytes)
        self._order.on_known(inputs_read(self._given, first.files))
        self._progress = FetchProgress(self._given.total, self._given.total_bytes, self._telling.tell)
        lists = shared_lists(self._given, self._places)
        mine = {each.view: each for each in lists if not self._cache.has_turn(each.view)}
        own = self._places.keys() - {each.number for each in lists}
        async with AsyncExitStack() as turns:
            for view in mine:
                await turns.enter_async_context(self._cache.turn(view))
            await self._provide(first, list(mine.values()), own)
        for each in lists:
            if each is not mine.get(each.view):  # waited for without anything that others wait for
                with self._telling.listeners.hearing(each.view, self._telling.on_progress):
                    async with self._cache.turn(each.view):
                        await self._provide(first, [each], ())
        return self._elsewhere

    async def _provide(self, first: GivenBatch, lists: Sequence[SharedList], own: Collection[int]) -> None:
        """It is the turn of these lists, of which some may have a view by now, and of no others."""
        views = [each.view for each in lists]
        with self._cache.pinned(views):
            missing, not_shared = await self._take(lists)
            if numbers := {*own, *not_shared, *(each.number for each in missing)}:
                self._telling.views = views
                await self._check_free({each.number for each in lists} - numbers)
                async with self._drafts(missing) as drafts:
                    await self._fill(first, {number: self._places[number] for number in numbers} | drafts, missing)
                self._telling.views = []

    async def _take(self, lists: Sequence[SharedList]) -> tuple[list[SharedList], list[int]]:
        """Have the views that are there. Those that are not, and the numbers of inputs that cannot be shared here."""
        missing, not_shared = list[SharedList](), list[int]()
        for each, note in zip(lists, await _in_thread(lambda: list(map(self._taken, lists))), strict=True):
            if note is None:
                missing.append(each)
            elif isinstance(note, NotLinked):
                not_shared.append(each.number)
            else:
                self._room.take(note.unpacked)
                self._has(each, note)
                self._progress.came(each.size_bytes)
                self._progress.done(each.files)
        return missing, not_shared

    def _taken(self, each: SharedList) -> ViewNote | NotLinked | None:
        """Blocks."""
        try:
            return self._cache.views.take(each.view, link_of(self._order.workspace.inputs, each.number))
        except NotLinked as error:
            return error

    def _tell_links(self, number: int, archives: Sequence[Unpacked]) -> None:
        """The task's owner may miss them."""
        if count := sum(each.links_left_out for each in archives):
            names = [name for each in archives for name in each.links]
            told = f"The input at {self._places[number].target[:200]} is without {count:,} links that lead out of it"
            self._order.on_progress(f"{told}: {', '.join(map(repr, names[:MOST_LINKS_NAMED]))}")

    def _has(self, each: SharedList, note: ViewNote) -> None:
        self._tell_links(each.number, note.unpacked)
        self._cache.add_view(each.view, note.own_bytes)
        self._elsewhere[each.number] = self._cache.views.view(each.view)

    async def _check_free(self, there: Collection[int]) -> None:
        """What is kept and not in use makes room, so that nothing is refused here that might fit."""
        needed_bytes = self._given.total_bytes - sum(each.size for each in self._given.lists if each.source in there)
        free = await asyncio.to_thread(free_bytes, self._order.workspace.root)
        check_free(needed_bytes, free + self._cache.total_bytes)

    @asynccontextmanager
    async def _drafts(self, missing: Sequence[SharedList]) -> AsyncIterator[dict[int, InputPlace]]:
        """Where views are made. What has not become one is removed."""
        folders = await _in_thread(lambda: [self._cache.views.draft() for _ in missing])
        try:
            yield {
                each.number: self._places[each.number]._replace(path=folder / "view")
                for each, folder in zip(missing, folders, strict=True)
            }
        finally:
            if folders:
                await finish(asyncio.to_thread(lambda: list(map(remove_tree, folders))), within=DISK_SECONDS)

    async def _fill(self, first: GivenBatch, places: Mapping[int, InputPlace], missing: Sequence[SharedList]) -> None:
        made = InputViews(self._unpack, self._room)
        filling = Filling(self._downloads, self._order.execution_id, places, made, self._progress)
        await filling.run(self._given, first, batches_with(self._given, places.keys()))
        for each in missing:
            place, names = places[each.number], bytes(filling.names[each.number])
            note = await _in_thread(partial(self._keep, each, place.path.parent, names, made.archives_of(place)))
            if note is not None:
                self._has(each, note)
        for number in places.keys() - self._elsewhere.keys():
            self._tell_links(number, made.archives_of(places[number]))

    def _keep(self, each: SharedList, draft: Path, files: bytes, unpacked: tuple[Unpacked, ...]) -> ViewNote | None:
        """None where it is this task's own in the end, in its own place. Blocks."""
        views = self._cache.views
        note = views.keep(draft, each.view, files, unpacked)
        if isinstance(self._taken(each), ViewNote):
            return note
        views.move_out(each.view, self._places[each.number].path)
        return None


async def _in_thread(act: Callable[[], T]) -> T:
    return await in_thread(act, within=DISK_SECONDS)
