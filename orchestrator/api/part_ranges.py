"""Ranges of parts, as a reader names them: `7`, or `0-49,60`."""

import re

from shared.errors import InvalidInput
from shared.jobs.rules import MAX_COUNT

MAX_TEXT = 2000
_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?\Z", re.ASCII)


def part_ranges(text: str) -> frozenset[int] | None:
    """The parts that are meant; None where nothing is said. Raises InvalidInput."""
    if not text:
        return None
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"A list of parts has at most {MAX_TEXT:,} characters.", hint="Ask for fewer at once.")
    found = set[int]()
    for word in text.split(","):
        match = _RANGE.match(word.strip())
        if match is None:
            raise InvalidInput(
                f"{word[:80]!r} names no parts.", hint="Give numbers and ranges with commas, such as 0-49,60."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        found.update(range(first, min(last, MAX_COUNT) + 1))  # no job has more parts
    return frozenset(found)
