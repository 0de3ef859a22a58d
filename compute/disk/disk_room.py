"""Room on the disk: whether it is full, so that a task that ended may have lost what it wrote without a word.

Most programs do not look at whether their output was written, and end with exit code 0.
"""

import contextlib
import errno
import os
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_ALMOST_BYTES = 32 << 20
_ALMOST_FILES = 64
_PROBE_BYTES = 64 << 10
_PROBE = ".room"


def check_room(folder: Path) -> None:
    """Raise OSError, of the kind FULL, if the disk of `folder` takes no more. Blocks.

    What is free by the numbers is not free for everybody, so a disk that is almost full is tried.
    """
    try:
        disk = os.statvfs(folder)
    except FileNotFoundError:  # the task has removed it: whoever needs it says so
        return
    has_files = not disk.f_files or disk.f_favail > _ALMOST_FILES
    if disk.f_bavail * disk.f_frsize < _ALMOST_BYTES or not has_files:
        _try(folder / _PROBE)


def _try(probe: Path) -> None:
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _PROBE_BYTES)
    finally:
        os.close(descriptor)
        with contextlib.suppress(FileNotFoundError):
            probe.unlink()
