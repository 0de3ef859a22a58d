"""Room in a file system, and whether the holes of a file take any."""

import errno
import os
from pathlib import Path

from shared.errors import CannotExtract

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})

_PROBE = ".tarpon-probe"
_PROBE_BYTES = 1 << 20
_BLOCK = 512  # the unit of st_blocks


class NoSpaceForResult(CannotExtract):
    """The target's file system, or its owner's quota, is full or would be."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            hint="Free some space, name a folder elsewhere with --output-dir, or fetch less: tarpon job get JOB PATH.",
        )


class Room:
    """What is free below `folder`, for several results that are fetched into it at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._claimed_bytes = 0
        self.free_bytes = free_bytes(folder)

    def __repr__(self) -> str:
        return f"<Room of {self.free_bytes} bytes in {self._folder}, {self._claimed_bytes} claimed>"

    def has(self, size_bytes: int) -> bool:
        """Whether so much more fits beside what was claimed."""
        return self._claimed_bytes + size_bytes <= self.free_bytes

    def claim(self, size_bytes: int) -> None:
        """Raise NoSpaceForResult where so much more does not fit."""
        self._claimed_bytes += size_bytes
        if self._claimed_bytes > self.free_bytes:
            raise NoSpaceForResult(
                f"What is to be fetched needs {self._claimed_bytes:,} bytes, and {self.free_bytes:,} are free in"
                f" {self._folder}."
            )

    def give_back(self, size_bytes: int) -> None:
        """Of what was claimed so much is free again."""
        self._claimed_bytes -= size_bytes

    def keeps_holes(self) -> bool:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return keeps_holes(descriptor)
        finally:
            os.close(descriptor)


def free_bytes(folder: int | Path) -> int:
    """For who has no special rights."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def keeps_holes(folder: int) -> bool:
    """Whether a hole takes no room in files of the open directory; found out with a file that is removed at once."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_PROBE, flags, 0o600, dir_fd=folder)
    except OSError:
        return True
    try:
        os.ftruncate(descriptor, _PROBE_BYTES)
        return os.fstat(descriptor).st_blocks * _BLOCK < _PROBE_BYTES
    except OSError:
        return False
    finally:
        os.close(descriptor)
        os.unlink(_PROBE, dir_fd=folder)
