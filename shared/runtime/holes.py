"""Holes of files: the runs of zeros of their content, of which an archive has all bytes."""

from collections.abc import Iterator
from itertools import groupby, pairwise

GRANULE_BYTES = 4096
"""The least hole that is looked for: file systems keep none that is smaller."""

_ZEROS = bytes(1 << 20)


def is_zero(piece: memoryview) -> bool:
    # Two `bytes` are compared ten times as fast as views are. All of one need not be copied for that.
    whole = piece.obj
    if len(piece) == len(_ZEROS) and isinstance(whole, bytes) and len(whole) == len(_ZEROS):
        return whole == _ZEROS
    return all(
        bytes(piece[at : at + len(_ZEROS)]) == _ZEROS[: len(piece) - at] for at in range(0, len(piece), len(_ZEROS))
    )


def has_no_holes(at: int, piece: memoryview) -> bool:
    """Whether no granule of a file from `at` on, which is where one begins, begins with a zero."""
    return not at % GRANULE_BYTES and 0 not in piece[::GRANULE_BYTES].tobytes()


def data_of(at: int, piece: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Of the content of a file from `at` on, the runs that are not zeros, and where each of them belongs."""
    if not piece:
        return
    if not piece[0] and is_zero(piece):
        return
    first = -at % GRANULE_BYTES
    if 0 not in bytes(piece[first::GRANULE_BYTES]) and piece[0]:
        yield at, piece  # where no granule begins with a zero, none is empty
        return
    cuts = [0, *range(first or GRANULE_BYTES, len(piece), GRANULE_BYTES), len(piece)]
    granules = pairwise(cuts)
    for is_hole, some in groupby(granules, lambda cut: not piece[cut[0]] and is_zero(piece[cut[0] : cut[1]])):
        run = list(some)
        if not is_hole:
            start, end = run[0][0], run[-1][1]
            yield at + start, piece[start:end]


def least_data_bytes(raw: bytes) -> int:
    """How much of this part of an archive needs room on a disk, if its zeros become holes; rather less than more.

    Where files begin in it is not known, so that of the data around a hole one granule is not counted. A hole of less
    than two granules may count as data.
    """
    runs = [len(run) for _, run in data_of(0, memoryview(raw))]
    return len(raw) if runs == [len(raw)] else sum(max(size - GRANULE_BYTES, 1) for size in runs)
