"""The name of a part of a job, by which folders, files and lines of several parts are told apart."""

from collections.abc import Sequence

LEAST_DIGITS = 4
"""So that the names of most jobs do not change with their Count."""


def partition_name(index: int, count: int) -> str:
    """`0007`, with as many digits for each of `count` parts, so that names in order are parts in order."""
    return str(index).zfill(max(LEAST_DIGITS, len(str(count - 1))))


def part_name(index: int, count: int, targets: Sequence[str] = ()) -> str:
    """The same, or the node where each part has its own; of a job that was found again some may be unknown."""
    known = targets[index] if index < len(targets) else ""
    return known or partition_name(index, max(count, len(targets)))
