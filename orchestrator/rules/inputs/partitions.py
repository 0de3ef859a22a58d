"""Partitions of inputs: which part of a job reads which object. The shares together are exactly the whole.

The rules, and the hash, are those of Bacalhau, so that a job finds the same shares here: FNV-1a with 32 bits over what
the partition is by, modulo the number of parts. What has none of that goes to part 0. Keys are looked at without the
prefix that the input names and without a slash before what is left; `object` alone is by the whole key.
"""

from collections.abc import Iterable, Sequence

from orchestrator.rules.frozen_inputs import EVERY_PART
from orchestrator.rules.inputs.go_dates import DateLayout
from orchestrator.rules.inputs.patterns import Pattern
from shared.jobs.inputs.partition import Partition, PartitionBy

FALLBACK = 0
"""The part that reads what the partition says nothing of."""
GROUP_SEPARATOR = "\x1f"
"""Between what the groups of a pattern have matched; no key has it."""
_FNV_OFFSET, _FNV_PRIME, _32_BITS = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def fnv1a(content: bytes) -> int:
    """Of 32 bits (RFC 9923)."""
    found = _FNV_OFFSET
    for byte in content:
        found = ((found ^ byte) * _FNV_PRIME) & _32_BITS
    return found


def parts_of_keys(keys: Sequence[str], partition: Partition, *, prefix: str, count: int) -> list[int]:
    """The part of each. Raises PatternInvalid, PatternTooSlow, and LayoutInvalid for a date that cannot be written."""
    by = partition.by
    if count == 1 or by is PartitionBy.NONE:
        return [EVERY_PART] * len(keys)
    if by is PartitionBy.OBJECT:
        return _hashed(keys, count)
    rest = [below(key, prefix) for key in keys]
    match by:
        case PartitionBy.REGEX:
            return _hashed(map(_groups, Pattern(partition.pattern).searched(rest)), count)
        case PartitionBy.SUBSTRING:
            begin, end = partition.start_index, partition.end_index
            return _hashed((each[begin:end] if len(each) >= end else None for each in rest), count)
        case PartitionBy.DATE:
            return _hashed(map(DateLayout(partition.date_format).canonical, rest), count)


def below(key: str, prefix: str) -> str:
    """What partitions look at."""
    return key.removeprefix(prefix).removeprefix("/")


def _groups(found: tuple[str, ...] | None) -> str | None:
    """Of a match and its groups: the groups that are not empty, or else all of it; an empty match is none."""
    if found is None or not found[0]:
        return None
    groups = [each for each in found[1:] if each]
    return GROUP_SEPARATOR.join(groups) if groups else found[0]


def _hashed(texts: Iterable[str | None], count: int) -> list[int]:
    return [FALLBACK if text is None else fnv1a(text.encode(errors="surrogatepass")) % count for text in texts]
