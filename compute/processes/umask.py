"""The umask of what one thread does and starts, while all others keep that of the process."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_CLONE_FS = 0x200


@contextmanager
def umask_of_thread(umask: int) -> Iterator[None]:
    """From now on the thread has a working directory and a umask of its own (unshare(2)). Raises OSError."""
    if _libc().unshare(_CLONE_FS):
        problem = ctypes.get_errno()
        raise OSError(problem, f"a thread can have no umask of its own: {os.strerror(problem)}")
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
