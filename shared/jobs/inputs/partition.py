"""Partitions: by what an input is divided between the parts of a job. The rules are the reference's.

Which part has which object is computed where the job is submitted (orchestrator/rules/inputs/partitions.py).
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

MAX_PATTERN = 1024
MAX_INDEX = 1024


class PartitionBy(StrEnum):
    NONE = "none"
    """Every part of the job has everything."""
    OBJECT = "object"
    REGEX = "regex"
    SUBSTRING = "substring"
    DATE = "date"


class Partition(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """`type` is one of PartitionBy, in any case, or empty for none."""

    type: str = ""
    pattern: str = ""
    start_index: int = 0
    end_index: int = 0
    date_format: str = ""

    @property
    def by(self) -> PartitionBy:
        """Raises ValueError for a type that `problems` tells of."""
        return PartitionBy(self.type.strip().lower() or PartitionBy.NONE)

    def problems(self, path: str) -> Iterator[str]:
        """What is wrong, but for patterns, which are judged by the engine that they are for."""
        try:
            by = self.by
        except ValueError:
            yield f"{path}.Type {self.type[:40]!r} is not known; there are {', '.join(PartitionBy)}."
            return
        if by is PartitionBy.REGEX and not 0 < len(self.pattern) <= MAX_PATTERN:
            yield f"{path}.Pattern is missing, or has more than {MAX_PATTERN:,} characters."
        if by is PartitionBy.SUBSTRING and not 0 <= self.start_index < self.end_index <= MAX_INDEX:
            yield f"{path} needs 0 <= StartIndex < EndIndex <= {MAX_INDEX:,}."
        if by is PartitionBy.DATE and not 0 < len(self.date_format) <= MAX_PATTERN:
            yield f"{path}.DateFormat is missing, or has more than {MAX_PATTERN:,} characters."
