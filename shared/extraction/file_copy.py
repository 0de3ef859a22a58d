"""Copies of files, where one cannot have a second name."""

import os

from shared.extraction.attributes import set_metadata
from shared.runtime.holes import data_of

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE_BYTES = 1 << 20


def copy_file(folder: int, name: bytes, to: int) -> None:
    """Write the content, permissions and time of the file `name` in the open directory to `to`; holes stay holes."""
    source = os.open(name, _READ, dir_fd=folder)
    try:
        status = os.fstat(source)
        at = 0
        while piece := os.pread(source, _PIECE_BYTES, at):
            for start, run in data_of(at, memoryview(piece)):
                write_all(to, run, start)
            at += len(piece)
        os.ftruncate(to, at)
        set_metadata(to, status.st_mode & 0o777, status.st_mtime_ns)
    finally:
        os.close(source)


def write_all(descriptor: int, data: memoryview, at: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, at)
        data, at = data[written:], at + written
