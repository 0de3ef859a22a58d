"""Patterns of job authors, searched by RE2: in time that is linear in the text, whatever the pattern.

It is also what Bacalhau's patterns are written for. Python's own engine tries every way to match, which some patterns
make take for ever. Large patterns are slow here too, so both the room and the time that one may take are bounded.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from shared.errors import InvalidInput

MAX_SECONDS = 10.0
"""For all texts of one input."""
MAX_MEMORY = 1 << 20
"""Of one compiled pattern, in bytes."""


class PatternInvalid(InvalidInput):
    def __init__(self, pattern: str, why: str) -> None:
        super().__init__(
            f"The pattern {pattern[:80]!r} is none that can be searched for: {why}.",
            hint="Patterns are written as https://github.com/google/re2/wiki/Syntax tells.",
        )


class PatternTooSlow(InvalidInput):
    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"To search for the pattern {pattern[:80]!r} takes more than {MAX_SECONDS:.0f} s.",
            hint="Write a simpler one, or name fewer objects.",
        )


class Pattern:
    """Raises PatternInvalid."""

    def __init__(self, pattern: str) -> None:
        import re2  # of orchestrators alone

        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        self._pattern = pattern
        try:
            self._compiled: Any = re2.compile(pattern, options)
        except (re2.error, UnicodeEncodeError) as error:
            raise PatternInvalid(pattern, _told(error)) from None

    def __repr__(self) -> str:
        return f"<Pattern {self._pattern!r}>"

    def searched(self, texts: Iterable[str]) -> Iterator[tuple[str, ...] | None]:
        """For each text the first match and its groups, empty where a group has no part in it. Blocks.

        Raises PatternTooSlow.
        """
        begun = time.monotonic()
        for text in texts:
            found = self._compiled.search(text)
            yield None if found is None else (found.group(), *(each or "" for each in found.groups()))
            if time.monotonic() - begun > MAX_SECONDS:
                raise PatternTooSlow(self._pattern)


def _told(error: Exception) -> str:
    text = error.args[0] if error.args else ""
    told = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return "".join(each if each.isprintable() else " " for each in told[:200]) or type(error).__name__
