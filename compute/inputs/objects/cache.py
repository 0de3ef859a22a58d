"""The cache of inputs: what tasks have read, by its content, so that the same bytes come to a node once.

    <DataDir>/compute/inputs/files/<ab>/<name>      whole files, read only; the name is that of the content
    <DataDir>/compute/inputs/partial/<name>         what is being fetched (compute/inputs/objects/partial_input.py)
    <DataDir>/compute/inputs/views/<name>           what containers mount (compute/inputs/objects/kept_views.py)
    <DataDir>/compute/inputs/boot                   in which boot of the machine they were written

What containers mount are further names of the same files. So a file with more than one name is in a view, and a view
whose note has more than one is in use, also after a restart of the node. A view goes before its files can. Nothing is
synced while tasks wait. So what was written before the machine went down is not trusted, unless
the node was stopped in order and has synced it then.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import shutil
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from compute.disk import private_file
from compute.disk.removal import remove_tree
from compute.inputs.objects.kept_views import KeptViews
from shared.protocol.nodes.inputs import LARGE_BYTES
from shared.runtime import durable
from shared.runtime.durable import boot_id

_log = logging.getLogger(__name__)

FOLDER = "inputs"
SYNCED = "synced"
TRIM_EVERY_SECONDS = 30.0
PARTIAL_KEPT_SECONDS = 24 * 3600.0
"""What is not whole and was not gone on with for so long is removed."""
MOST_VIEWS = 2000
"""More are not kept, however small they are: each has to be looked at when the node starts."""
MOST_LOOKS = 4096
"""When so much in a row is in use, no more is looked at for now, unless the disk needs it."""
_FORGOTTEN = frozenset({"files", "partial"})


class _Found(NamedTuple):
    used_at: float
    name: str
    size_bytes: int
    is_view: bool


class _Looked(NamedTuple):
    """What is gone, and what is in use."""

    gone: list[str]
    used: list[str]


class InputCache:
    """Below `root`; made by `open`. All is for the event loop, but for the methods that say that they block.

    It holds at most `limit_bytes`, beside what is in use.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self.views = KeptViews(root / "views")
        self._root = os.fspath(root)
        self.total_bytes = 0
        self._limit_bytes = limit_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Of the files that are whole, and of views what is theirs alone; what was used last is last."""
        self.views_kept: dict[str, None] = {}
        """Those that are whole; the one that was used last is last."""
        self.large_kept: dict[str, int] = {}
        """Files that are worth something, with their sizes."""
        self.changes = 0
        """How often views and large files have come or gone."""
        self._made_again: list[set[str]] = []
        """For each that removes what is unused at this moment: what has been added meanwhile."""
        self._pins: Counter[str] = Counter()
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    def __repr__(self) -> str:
        files = len(self._sizes) - len(self.views_kept)
        return f"<InputCache {self.root}: {files} files, {len(self.views_kept)} views, {self.total_bytes} bytes>"

    @classmethod
    def open(cls, root: Path, limit_bytes: int) -> "InputCache":
        """With what an earlier process left. Blocks."""
        made = cls(root, limit_bytes)
        made._open()
        return made

    def place(self, name: str) -> Path:
        return self.root / "files" / name[:2] / name

    def partial(self, name: str) -> Path:
        return self.root / "partial" / name

    def file(self, name: str) -> str:
        """As `place`, at a tenth of the cost."""
        return f"{self._root}/files/{name[:2]}/{name}"

    def has(self, name: str, size_bytes: int) -> bool:
        """Whether the whole file is there, as far as is known. A file of another size is not trusted."""
        return self._sizes.get(name) == size_bytes

    def size_of(self, name: str) -> int:
        """0 where it is not there."""
        return self._sizes.get(name, 0)

    def add(self, name: str, size_bytes: int) -> None:
        """The file is whole and in its place."""
        self.total_bytes += size_bytes - self._sizes.get(name, 0)
        self._sizes[name] = size_bytes
        self._sizes.move_to_end(name)
        for made in self._made_again:
            made.add(name)
        if size_bytes >= LARGE_BYTES and name not in self.views_kept:
            self.large_kept[name] = size_bytes
            self.changes += 1

    def add_view(self, name: str, own_bytes: int) -> None:
        """The view is whole and in its place, and may have been there before."""
        self.changes += name not in self.views_kept
        self.views_kept.pop(name, None)
        self.views_kept[name] = None
        self.add(name, own_bytes)

    def use(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._sizes:
                self._sizes.move_to_end(name)

    def forget(self, name: str) -> None:
        """It is not what it should be, or is gone."""
        self.total_bytes -= self._sizes.pop(name, 0)
        if name in self.views_kept or name in self.large_kept:
            self.views_kept.pop(name, None)
            self.large_kept.pop(name, None)
            self.changes += 1

    @contextmanager
    def pinned(self, names: Collection[str]) -> Iterator[None]:
        """Nothing of this is removed meanwhile."""
        self._pins.update(names)
        try:
            yield
        finally:
            self._pins.subtract(names)
            for name in set(names):
                if not self._pins[name]:
                    del self._pins[name]

    def has_turn(self, name: str) -> bool:
        """Whether somebody's turn it is, so that another one would wait."""
        return name in self._turns

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """One at a time fetches a content; who comes later finds it, or goes on with it."""
        lock, waiting = self._turns.setdefault(name, (asyncio.Lock(), []))
        waiting.append(None)
        try:
            async with lock:
                yield
        finally:
            waiting.pop()
            if not waiting:
                del self._turns[name]

    @asynccontextmanager
    async def free_turns(self, names: Iterable[str]) -> AsyncIterator[Collection[str]]:
        """Those of the names that were nobody's turn, which all have now, without any waiting."""
        lock = asyncio.Lock()
        await lock.acquire()
        mine: dict[str, list[None]] = {name: [None] for name in names if name not in self._turns}
        self._turns.update((name, (lock, waiting)) for name, waiting in mine.items())
        try:
            yield mine.keys()
        finally:
            lock.release()
            for name, waiting in mine.items():
                waiting.pop()
                if not waiting:
                    del self._turns[name]

    async def trim(self, *, wanted_bytes: int = 0) -> None:
        """Remove what was not used for the longest time, until it is within its limit and the disk has so much left."""
        free = await asyncio.to_thread(free_bytes, self.root) if wanted_bytes else 0
        excess = max(self.total_bytes - self._limit_bytes, wanted_bytes - free)
        if excess > 0:
            most_looks = len(self._sizes) if wanted_bytes > free else MOST_LOOKS
            await self._remove(partial(self._remove_unused, list(self._sizes), excess, most_looks))
        if (surplus := len(self.views_kept) - MOST_VIEWS) > 0:
            await self._remove(partial(self._remove_views, list(self.views_kept), surplus))

    async def _remove(self, removal: Callable[[], _Looked]) -> None:
        made = set[str]()
        self._made_again.append(made)
        try:
            looked = await asyncio.to_thread(removal)
        finally:
            self._made_again = [each for each in self._made_again if each is not made]
        for name in looked.gone:
            if name not in self._pins and name not in made:  # else somebody fetches it again, or has done so
                self.forget(name)
        self.use(looked.used)

    async def keep_within_limit(self) -> None:
        """Until cancelled: what a task had in use may go once it is over."""
        while True:
            await asyncio.sleep(TRIM_EVERY_SECONDS)
            try:
                await self.trim()
                await asyncio.to_thread(self.sweep)
            except OSError as error:
                _log.warning("The node's cache of inputs cannot be tidied, which is tried again: %s", error)

    async def drop(self, names: Sequence[str]) -> None:
        """Remove what is not to be kept. Containers that mount it have it still."""
        for name in names:
            self.forget(name)
        await asyncio.to_thread(self._drop, names)

    def sweep(self) -> None:
        """Remove what is not whole and nobody goes on with. Blocks."""
        oldest = time.time() - PARTIAL_KEPT_SECONDS
        for path in (self.root / "partial").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < oldest:
                    path.unlink()
        self.views.sweep()

    def close(self) -> None:
        """Sync it, so that it is trusted after a restart of the machine. Blocks."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if (sync := getattr(ctypes.CDLL(None), "syncfs", None)) is not None and not sync(descriptor):
                private_file.replace(self.root / "boot", SYNCED.encode())
        finally:
            os.close(descriptor)

    def _open(self) -> None:
        private_file.make_folder(self.root / "views")
        boot = self.root / "boot"
        if _text_of(boot) not in {SYNCED, boot_id()}:
            if any((self.root / name).exists() for name in _FORGOTTEN):
                _log.warning("The machine went down while the node ran: the inputs that it kept are removed.")
            self.views.doubt()
            for name in _FORGOTTEN:
                remove_tree(self.root / name)
        # A power cut that took this back would have what is written from now on be trusted.
        durable.write(boot, boot_id().encode())
        for name in _FORGOTTEN:
            private_file.make_folder(self.root / name)
        self.views.open()
        self.sweep()
        for found in sorted(self._found()):
            if found.is_view:
                self.add_view(found.name, found.size_bytes)
            else:
                self.add(found.name, found.size_bytes)

    def _found(self) -> Iterator[_Found]:
        for folder in (self.root / "files").iterdir():
            with os.scandir(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    yield _Found(status.st_atime, entry.name, status.st_size, is_view=False)
        for view in self.views.found():
            yield _Found(view.used_at, view.name, view.own_bytes, is_view=True)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            self.place(name).unlink(missing_ok=True)

    def _remove_unused(self, names: Sequence[str], excess: int, most_looks: int) -> _Looked:
        """Go through these in their order. The files of a view that goes are looked at after it."""
        looked, waiting = _Looked([], []), deque(names)
        while waiting and excess > 0 and len(looked.used) < most_looks:
            name = waiting.popleft()
            if name in self._pins:
                continue
            if name in self.views_kept:
                files = self._remove_view(name, looked)
                excess -= self._sizes.get(name, 0) if files is not None else 0
                waiting.extendleft(files or ())
            else:
                excess -= self._remove_file(name, looked)
        return looked

    def _remove_views(self, names: Sequence[str], surplus: int) -> _Looked:
        looked = _Looked([], [])
        for name in names:
            if len(looked.gone) == surplus:
                break
            if name not in self._pins:
                self._remove_view(name, looked)
        return looked

    def _remove_view(self, name: str, looked: _Looked) -> list[str] | None:
        """Of which files it was; None if it is in use."""
        files = self.views.remove_unused(name)
        (looked.used if files is None else looked.gone).append(name)
        return files

    def _remove_file(self, name: str, looked: _Looked) -> int:
        """How many bytes that were. One with another name is in a view."""
        path = self.place(name)
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_nlink > 1:
                looked.used.append(name)
                return 0
            path.unlink()
            looked.gone.append(name)
            return status.st_size
        looked.gone.append(name)
        return 0


def _text_of(path: Path) -> str:
    """Empty where there is none."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def free_bytes(folder: Path) -> int:
    """Blocks."""
    return shutil.disk_usage(folder).free
