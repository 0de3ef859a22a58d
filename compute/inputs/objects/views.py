"""Views of managed inputs: files of the cache under the names by which a task knows them.

What containers mount are further names of the files in the cache, as nobody can write to those. What a task finds in
its own workspace are copies, and so are programs, because a file has one mode under all its names.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from compute.disk.file_copy import copy_file
from compute.disk.input_files import FILE_MODE, FOLDER_MODE, PROGRAM_MODE, seal
from compute.disk.view_notes import Unpacked
from compute.inputs.failures import InputFailed, not_placed
from compute.inputs.objects.kept_views import NOT_LINKED
from compute.inputs.objects.room import UnpackedRoom
from compute.inputs.objects.stoppable import IsUnwanted
from compute.inputs.places import InputPlace, told_of
from shared.jobs.paths import MAX_PART_BYTES, parts_of
from shared.jobs.states import FailureReason

_OWN_MODE = 0o700

Unpack = Callable[[Path, Sequence[str], Path, int, IsUnwanted], Unpacked]
"""Unpack an archive, or these members of it if any are named, into a folder that is there, and tell what that is, which
may have as many bytes as is said; 0 is no limit. Blocks. Raises InputFailed, OSError, CopyStopped once unwanted."""


class ViewedFile(NamedTuple):
    """A file of the cache, and what it becomes. `path` is below the place; empty where the place is the file itself.

    One that `is_new` was written just now, so that neither its size nor its use is looked after.
    """

    place: InputPlace
    path: str
    cached: str
    size: int
    executable: bool = False
    archive: bool = False
    members: tuple[str, ...] = ()
    is_new: bool = False


class InputViews:
    """What is made for one execution. Every method blocks, and raises InputFailed, OSError; not for threads at once."""

    def __init__(self, unpack: Unpack | None = None, room: UnpackedRoom | None = None) -> None:
        self._unpack = unpack
        self._room = room or UnpackedRoom(0)
        self._folders: dict[str, None] = {}
        self._unpacked: dict[str, None] = {}
        self._archives: dict[Path, list[Unpacked]] = {}

    def __repr__(self) -> str:
        return f"<InputViews, {len(self._folders)} folders>"

    def add(self, files: Sequence[ViewedFile], is_unwanted: IsUnwanted) -> list[int]:
        """The numbers of those whose file in the cache is gone, or is not as large as it should be."""
        bad = []
        for number, file in enumerate(files):
            with told_of(file.place.target):
                if not self._add(file, is_unwanted):
                    bad.append(number)
        return bad

    def seal(self, places: Iterable[InputPlace]) -> None:
        """Complete: places of which nothing was given are empty folders, and nobody writes to any."""
        for place in places:
            if not os.path.lexists(place.path):
                self._make_folder(os.fspath(place.path))
        for folder in self._unpacked:
            seal(Path(folder))
        for folder in reversed(self._folders):
            os.chmod(folder, FOLDER_MODE)  # noqa: PTH101  # there may be very many

    def archives_of(self, place: InputPlace) -> tuple[Unpacked, ...]:
        """What was unpacked there, in this order."""
        return tuple(self._archives.get(place.path, ()))

    def _add(self, file: ViewedFile, is_unwanted: IsUnwanted) -> bool:
        target = self._target(file)
        if file.archive:
            return self._add_archive(file, target, is_unwanted)
        if file.path.endswith("/"):  # the marker of a folder
            self._make_folder(target)
            return True
        self._make_folder(target.rpartition("/")[0])
        try:
            if not (file.place.is_mounted and not file.executable and _is_linked(file.cached, target)):
                mode = PROGRAM_MODE if file.executable else FILE_MODE
                copy_file(file.cached, target, mode, is_unwanted)
        except FileNotFoundError:
            return False
        if file.is_new:
            return True
        if os.lstat(target).st_size == file.size:
            _note_use(file.cached)
            return True
        os.unlink(target)  # noqa: PTH108
        return False

    def _add_archive(self, file: ViewedFile, target: str, is_unwanted: IsUnwanted) -> bool:
        if self._unpack is None:
            detail = "This node cannot unpack results, as the input at {} needs it."
            raise InputFailed(FailureReason.NODE_ERROR, detail.format(file.place.target[:200]))
        cached = Path(file.cached)
        if not cached.is_file() or cached.stat().st_size != file.size:
            return False
        self._make_folder(target)
        self._unpacked[target] = None
        unpacked = self._unpack(cached, file.members, Path(target), self._room.left_bytes, is_unwanted)
        self._room.fill(unpacked.disk_bytes)
        self._archives.setdefault(file.place.path, []).append(unpacked)
        return True

    def _target(self, file: ViewedFile) -> str:
        parts = parts_of(file.path)
        if ".." in parts or "\0" in file.path or file.path.startswith("/"):
            raise not_placed(
                f"The input at {file.place.target[:200]} has {file.path[:80]!r}, which is no path below it."
            )
        if any(len(os.fsencode(part)) > MAX_PART_BYTES for part in parts):
            raise not_placed(f"The input at {file.place.target[:200]} has a name of more than {MAX_PART_BYTES} bytes.")
        return "/".join((os.fspath(file.place.path), *parts))

    def _make_folder(self, folder: str) -> None:
        """With those above it, as far as they are of the input."""
        if folder in self._folders or os.path.isdir(folder):  # noqa: PTH112
            return
        self._make_folder(folder.rpartition("/")[0])
        os.mkdir(folder, _OWN_MODE)  # noqa: PTH102
        self._folders[folder] = None


def _note_use(cached: str) -> None:
    """For a later process of the node, which may have to remove what was not used for the longest time."""
    with contextlib.suppress(OSError):
        os.utime(cached, ns=(time.time_ns(), os.lstat(cached).st_mtime_ns))


def _is_linked(cached: str, target: str) -> bool:
    try:
        os.link(cached, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in NOT_LINKED:
            return False
        raise
    return True
