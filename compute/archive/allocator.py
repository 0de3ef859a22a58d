"""The allocator of the C library, told to keep the memory that packing a result uses again and again.

By default glibc gives blocks of a MiB back to the system as soon as they are free, so that every one costs page faults
anew: a twentieth of the time that a large result takes. It also gives each thread a heap of its own.
"""

import ctypes

KEPT_BYTES = 64 << 20
ARENAS = 2
# Numbers of <malloc.h>; see mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_OWN_MAPPING_BYTES = 32 << 20


def keep_freed_memory() -> None:
    """For this whole process; to be called before it has threads. Does nothing with another C library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_ARENA_MAX, ARENAS)
