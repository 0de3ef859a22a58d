"""The name of a part of a job, by which folders, files and lines of several parts are told apart."""

LEAST_DIGITS = 4
"""So that the names of most jobs do not change with their Count."""


def partition_name(index: int, count: int) -> str:
    """`0007`, with as many digits for each of `count` parts, so that names in order are parts in order."""
    return str(index).zfill(max(LEAST_DIGITS, len(str(count - 1))))
