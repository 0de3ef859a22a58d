"""The allocator of the C library, told what to do with freed memory. Nothing is done with another C library.

By default glibc gives blocks of a MiB back to the system as soon as they are free, so that every one costs page faults
anew: a twentieth of the time that packing a large result takes. Then again, once a large block was freed, blocks up to
its size (32 MiB at most) come from the heap, where one small thing that is kept holds on to all that is below it. It
also gives each thread a heap of its own.
"""

import ctypes

ARENAS = 2
KEPT_BYTES, KEPT_BLOCK_BYTES = 64 << 20, 32 << 20
GIVEN_BACK_BYTES, GIVEN_BACK_BLOCK_BYTES = 4 << 20, 128 << 10
# Numbers of <malloc.h>; see mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """For a process that packs results. This and the next are to be called before there are threads."""
    _tell(kept=KEPT_BYTES, kept_block=KEPT_BLOCK_BYTES)


def give_freed_memory_back() -> None:
    """For a process that lives long, and meets something large now and then."""
    _tell(kept=GIVEN_BACK_BYTES, kept_block=GIVEN_BACK_BLOCK_BYTES)


def _tell(*, kept: int, kept_block: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, kept_block)
        mallopt(_TRIM_THRESHOLD, kept)
        mallopt(_ARENA_MAX, ARENAS)
