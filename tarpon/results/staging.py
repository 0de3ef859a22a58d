"""Staging: where a result is while it is not checked yet, and how what a killed process left there goes away.

`.tarpon-<id>` lies beside the result's place, on the same file system. Its process holds a lock on it, which ends with
the process, however that ends. Who makes one removes those that nobody holds. A file system without such locks keeps
them.
"""

import asyncio
import fcntl
import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from shared.errors import CannotExtract
from shared.runtime.aio import finish

REMOVE_SECONDS = 300.0
_NAME = re.compile(r"\.tarpon-[0-9a-f]{12}")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_staging(name: str) -> bool:
    """Whether what has this name is such a place, of whichever process."""
    return _NAME.fullmatch(name) is not None


@asynccontextmanager
async def staging_in(folder: Path) -> AsyncIterator[Path]:
    """A place in `folder` that is removed at the end with all that is in it; first those go that others left."""
    made: list[_Held] = []
    try:
        await _in_thread(lambda: made.append(_made(folder)))
        await _in_thread(lambda: _remove_left(folder))
        yield made[0].place
    finally:
        for each in made:
            await _in_thread(each.remove)


async def remove(place: Path) -> None:
    """What was staged there, if anything was."""
    await _in_thread(lambda: _remove(place))


async def _in_thread(act: Callable[[], None]) -> None:
    await finish(asyncio.to_thread(act), within=REMOVE_SECONDS)


class _Held(NamedTuple):
    """A place that nobody else removes as long as the descriptor is open."""

    place: Path
    descriptor: int

    def remove(self) -> None:
        try:
            _remove(self.place)
        finally:
            os.close(self.descriptor)


def _made(folder: Path) -> _Held:
    try:
        while True:
            place = folder / f".tarpon-{uuid.uuid4().hex[:12]}"
            place.mkdir(mode=0o700)
            if (held := _held(place)) is not None:
                return held
            # Somebody who cleans up has taken it for left: it was not locked for a moment.
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error


def _held(place: Path) -> _Held | None:
    """With a lock, where the file system has any; None where somebody else holds it, or it is gone."""
    try:
        descriptor = os.open(place, _FOLDER)
    except FileNotFoundError:
        return None
    with suppress(OSError):
        if _lock(descriptor) is not False and os.path.samestat(os.fstat(descriptor), place.lstat()):
            return _Held(place, descriptor)
    os.close(descriptor)
    return None


def _lock(descriptor: int) -> bool | None:
    """Whether it is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_left(folder: Path) -> None:
    """Remove the places of processes that are gone; those of other users, and without a lock, are let alone."""
    with suppress(OSError), os.scandir(folder) as entries:
        places = [Path(entry.path) for entry in entries if is_staging(entry.name)]
        for place in places:
            _remove_if_left(place)


def _remove_if_left(place: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(place, _FOLDER)
        try:
            if os.fstat(descriptor).st_uid == os.geteuid() and _lock(descriptor):
                _remove(place)
        finally:
            os.close(descriptor)


def _remove(place: Path) -> None:
    """Remove also what its author made read-only, and what lies deeper than a path can say. No link is followed."""
    with suppress(OSError):
        top = os.open(place, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        place.rmdir()


def _empty(top: int) -> None:
    folders = _moved_up(top, top)
    while folders:
        name = folders.pop()
        with suppress(OSError):
            folder = os.open(name, _FOLDER, dir_fd=top)
            try:
                folders += _moved_up(folder, top)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)


def _moved_up(folder: int, top: int) -> list[str]:
    """Remove the files in `folder`, and move the folders in there to `top`, where none lies deep. Gives their names."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    moved: list[str] = []
    for name, is_folder in found:
        with suppress(OSError):
            if is_folder:
                os.chmod(name, 0o700, dir_fd=folder)
                new = uuid.uuid4().hex
                os.rename(name, new, src_dir_fd=folder, dst_dir_fd=top)
                moved.append(new)
            else:
                os.unlink(name, dir_fd=folder)
    return moved
