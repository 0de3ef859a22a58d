"""Holes of sparse files: where one has no data, and whether it goes on."""

import errno
import os


def hole_at(descriptor: int, at: int, size_bytes: int) -> int:
    """How many bytes of hole begin at `at`. A file system that knows no holes has none."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA) - at
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data from here on
            return size_bytes - at
        return 0


def has_more(descriptor: int, size_bytes: int) -> bool:
    """Whether there is anything behind `size_bytes`."""
    try:
        return bool(os.pread(descriptor, 1, size_bytes))
    except OSError:
        return False
