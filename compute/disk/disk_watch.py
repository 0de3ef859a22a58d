"""The watch over a task's disk space: its files are measured again and again, and cost no more than they must."""

import asyncio
import contextlib
import os
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from compute.disk.mounts import mount_points_in
from compute.disk.view_notes import viewed_bytes
from compute.disk.workspace import Workspace

LEAST_PAUSE_SECONDS = 1.0
PAUSE_SHARE = 20.0
"""A pause lasts so many times as long as the look before it, so that looking takes at most a twentieth of the time."""
BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are: see stat(2)


async def nothing_else() -> int:
    return 0


async def disk_exceeded(
    workspace: Workspace,
    limit_bytes: int,
    *,
    elsewhere: Callable[[], Awaitable[int]] = nothing_else,
    pause_seconds: float = LEAST_PAUSE_SECONDS,
) -> int:
    """Wait until the task has more bytes on disk than its limit, and tell how many.

    `elsewhere` tells what it has outside of its workspace. A limit of 0 is none, and waited for until cancelled.
    """
    pause = pause_seconds
    while True:
        await asyncio.sleep(pause)
        begun = time.monotonic()
        if limit_bytes:
            used = await _measured(workspace) + await elsewhere()
            if used > limit_bytes:
                return used
        pause = max(pause_seconds, PAUSE_SHARE * (time.monotonic() - begun))


async def _measured(workspace: Workspace) -> int:
    unwanted = threading.Event()
    try:
        return await asyncio.to_thread(task_bytes, workspace, unwanted)
    finally:
        unwanted.set()


def task_bytes(workspace: Workspace, unwanted: threading.Event) -> int:
    """All that a task has on the disk, with what it reads in common with others. Blocks until `unwanted` is set."""
    return disk_bytes(workspace.places, unwanted) + viewed_bytes(workspace.inputs)


def disk_bytes(roots: tuple[Path, ...], unwanted: threading.Event) -> int:
    """What is allocated to all below `roots`; a file with several names counts once. Blocks until `unwanted` is set.

    No link is followed and no mount entered. What vanishes meanwhile, or may not be read, is left out.
    """
    total, seen = 0, set[tuple[int, int]]()
    for root in roots:
        for found in walk(root):
            if unwanted.is_set():
                return total
            if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * BLOCK_BYTES
    return total


def walk(root: Path) -> Iterator[os.stat_result]:
    """All below it, of its own file system. No link is followed and no mount entered. Blocks."""
    try:
        device = root.lstat().st_dev
    except FileNotFoundError:
        return
    mounted = mount_points_in(root)  # also of the same file system
    folders = [os.fspath(root)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    if found.st_dev == device and entry.path not in mounted:
                        yield found
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
