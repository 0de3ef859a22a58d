"""Copies of files within the node's disk: by sharing blocks where the file system can, else by the kernel."""

import errno
import fcntl
import os
from collections.abc import Callable

_FICLONE = 0x40049409
"""Of linux/fs.h: the copy has the blocks of the original until one of them is written to."""
_STEP_BYTES = 32 << 20
_CANNOT = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ENOTTY, errno.EPERM})
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CopyStopped(Exception):
    """Nobody wants it any more."""


def copy_file(source: str, target: str, mode: int, is_unwanted: Callable[[], bool] = lambda: False) -> None:
    """Make `target`, which must not be there. Blocks. Raises OSError, CopyStopped, and leaves what there is by then."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        writing = os.open(target, _FLAGS, 0o600)
        try:
            if not _is_cloned(reading, writing):
                _copy(reading, writing, is_unwanted)
            os.fchmod(writing, mode)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _is_cloned(reading: int, writing: int) -> bool:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _copy(reading: int, writing: int, is_unwanted: Callable[[], bool]) -> None:
    step: Callable[[int, int, int], int] = os.copy_file_range
    while True:
        if is_unwanted():
            raise CopyStopped
        try:
            if not step(reading, writing, _STEP_BYTES):
                return
        except OSError as error:
            if error.errno not in _CANNOT or step is _by_hand:
                raise
            step = _by_hand


def _by_hand(reading: int, writing: int, count: int) -> int:
    content = memoryview(os.read(reading, min(count, 1 << 20)))
    written = 0
    while written < len(content):
        written += os.write(writing, content[written:])
    return written
