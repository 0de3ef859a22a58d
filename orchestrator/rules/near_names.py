"""Near names: which may have been meant by one that nobody has, at a cost that does not grow with the names."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

LONGEST = 100
"""A longer text is no typing error."""
MOST_NEAR = 3
MOST_COMPARED = 500
LEAST_BEGINNING = 3
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_."


def near_names(text: str, is_known: Callable[[str], bool], some: Iterable[str]) -> tuple[str, ...]:
    """At most a few: names that differ from `text` by one typing error, and then, of `some`, those that begin alike.

    `is_known` is asked for each name that one error can make of it; of `some` the first are looked at.
    """
    if not 1 < len(text) <= LONGEST:
        return ()
    found = dict.fromkeys(islice(filter(is_known, _one_error_away(text)), MOST_NEAR))
    lower = text.lower()
    for name in islice(some, MOST_COMPARED):
        if len(found) >= MOST_NEAR:
            break
        if name != text and _begin_alike(name.lower(), lower):
            found[name] = None
    return tuple(found)


def _one_error_away(text: str) -> Iterator[str]:
    """With letters in the other case, one left out, two exchanged, one replaced, or one added."""
    yield from dict.fromkeys((text.lower(), text.upper(), text.capitalize()))
    for at in range(len(text)):
        before, after = text[:at], text[at + 1 :]
        yield before + after
        if after:
            yield before + after[0] + text[at] + after[1:]
        yield from (before + letter + after for letter in _LETTERS if letter != text[at])
    for at in range(len(text) + 1):
        yield from (text[:at] + letter + text[at:] for letter in _LETTERS)


def _begin_alike(name: str, text: str) -> bool:
    shorter = min(len(name), len(text))
    return shorter >= LEAST_BEGINNING and name[:shorter] == text[:shorter]
