"""The size of the parts of an upload: one for all, fixed beforehand, so that 10,000 of them suffice."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from compute.disk.mounts import mounts_in

PART_BYTES = 8 << 20
"""S3 wants 5 MiB at least, for all parts but the last one."""
MAX_PARTS = 10_000
MOST_MEASURED = 10_000
_SPARE_PARTS = 100
_ENTRY_BYTES = 2048
"""Of headers and padding, more than any ordinary entry has."""


def part_bytes_for(tree_bytes: int) -> int:
    """The smallest size by which an archive of so much content, not compressed at all, comes in MAX_PARTS parts."""
    part_bytes = PART_BYTES
    while part_bytes * (MAX_PARTS - _SPARE_PARTS) < tree_bytes + tree_bytes // 100:
        part_bytes *= 2
    return part_bytes


async def part_bytes_of(root: Path, *, limit_bytes: int, copies_links: bool = False) -> int:
    """The size for the archive of `root`, which is not sent if it has more than `limit_bytes`.

    Works in a thread, which a cancellation does not stop.
    """
    return await asyncio.to_thread(lambda: part_bytes_for(min(_bound(root, copies_links=copies_links), limit_bytes)))


def _bound(root: Path, *, copies_links: bool) -> int:
    """Not less than what an archive of the tree holds; the tree is walked only where its disk does not say enough."""
    if copies_links or mounts_in(root):  # of a file with several names; a result path may show another disk
        return _walked(root)
    disk = os.statvfs(root)
    used_bytes = (disk.f_blocks - disk.f_bfree) * disk.f_frsize + (disk.f_files - disk.f_ffree) * _ENTRY_BYTES
    # A file system without a fixed number of files says nothing about how many there are.
    if disk.f_files and part_bytes_for(used_bytes) == PART_BYTES:
        return used_bytes
    return _walked(root)


def _walked(root: Path) -> int:
    return sum(_ENTRY_BYTES + size_bytes for size_bytes in _sizes(root))


def content_bytes(root: Path) -> int:
    """Of all files below; 0 where there are too many to look at each for no other use. Blocks."""
    sizes = list(islice(_sizes(root), MOST_MEASURED + 1))
    return sum(sizes) if len(sizes) <= MOST_MEASURED else 0


def _sizes(root: Path) -> Iterator[int]:
    """Of each entry below, in bytes; what is no regular file has none."""
    left_out = {f"{root}/{each.below}" for each in mounts_in(root) if "/" in each.below}
    folders = [os.fspath(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                size_bytes = 0
                with suppress(OSError):
                    if entry.path in left_out:
                        pass
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        size_bytes = entry.stat(follow_symlinks=False).st_size
                yield size_bytes
