"""Bounds of plain data from outside: numbers of 64 bits, and no endless nesting.

JSON knows no bounds. Whatever lies beyond these could be stored and not be packed, told or sent on any more, so it is
refused where it comes in.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.errors import InvalidDocument

DEEPEST = 100
LEAST, MOST = -(2**63), 2**64 - 1
MOST_PATH = 300
_LONGEST_NUMBER = 40

_BEYOND = re.compile(rb"[:,[]\s*-?(?:[0-9]{19}|[0-9.]+[eE]\+?[0-9]{2})")
"""What numbers beyond 64 bits look like; others may too.

Each number is tried from its beginning alone, and nothing is tried twice: whoever sends a megabyte of digits must not
have it searched from each of them.
"""


def parse_object(payload: bytes, *, what: str) -> dict[str, Any]:
    """The JSON object in `payload`. Raises InvalidDocument, which names `what` and the place of what is too much."""
    try:
        data = msgspec.json.decode(payload)
    except msgspec.ValidationError:  # a number that not even a float can hold
        check(_with_infinities(payload), what=what)
        raise InvalidDocument(f"{what} is not valid: it has a number that is out of range.") from None
    except RecursionError:
        raise InvalidDocument(f"{what} is not valid: it is nested deeper than {DEEPEST} levels.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDocument(f"{what} is not JSON: {str(error)[:200]}.") from None
    if not isinstance(data, dict):
        raise InvalidDocument(f"{what} must be a JSON object.")
    check(data, what=what)
    return data


def check(data: Any, *, what: str) -> None:
    """Raise InvalidDocument, which names `what` and the place, where `data` is out of bounds."""
    if not is_bounded(data):
        path, why = next(_beyond(data))
        place = path if len(path) <= MOST_PATH else f"{path[:MOST_PATH]}..."
        raise InvalidDocument(f"{what} is not valid: {place}: {why}." if place else f"{what} is not valid: {why}.")


def is_bounded(data: Any) -> bool:
    """Whether all of `data`, as JSON knows it, is in bounds: at little cost, as it nearly always is."""
    level: list[Any] = [data]
    depth = 0
    while level:
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                below.extend(value.values())
            elif kind is list or kind is tuple:
                below.extend(value)
            elif (kind is int and not LEAST <= value <= MOST) or (kind is float and not math.isfinite(value)):
                return False
            else:
                continue
            if depth > DEEPEST:
                return False
        level, depth = below, depth + 1
    return True


def check_message(payload: bytes) -> None:
    """Raise InvalidDocument where a program's message holds numbers beyond 64 bits, be they whole or not."""
    if _BEYOND.search(payload):
        check(_floats_in_bounds(parse_object(payload, what="The message")), what="The message")


def _floats_in_bounds(data: Any) -> Any:
    """A copy in which a number that no count, size or time can be is infinite."""
    if isinstance(data, dict):
        return {key: _floats_in_bounds(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_floats_in_bounds(value) for value in data]
    return math.inf if isinstance(data, float) and abs(data) > MOST else data


def _beyond(data: Any) -> Iterator[tuple[str, str]]:
    """The places of what is out of bounds, and why."""
    waiting: list[tuple[str, int, Any]] = [("", 0, data)]
    while waiting:
        path, depth, value = waiting.pop()
        match value:
            case bool():
                continue
            case int() if not LEAST <= value <= MOST:
                yield path, f"a whole number must be between {LEAST} and {MOST}"
            case float() if not math.isfinite(value):
                yield path, "a number is out of range"
            case dict() | list() | tuple() if depth > DEEPEST:
                yield path, f"it is nested deeper than {DEEPEST} levels"
            case dict():
                waiting += reversed([(_below(path, key), depth + 1, each) for key, each in value.items()])
            case list() | tuple():
                waiting += reversed([(f"{path}[{i}]", depth + 1, each) for i, each in enumerate(value)])
            case _:
                continue


def _below(path: str, key: Any) -> str:
    name = str(key)[:80].encode(errors="replace").decode()
    return f"{path}.{name}" if path else name


def _with_infinities(payload: bytes) -> Any:
    """The data, with infinity where a number is that nothing can hold."""

    def whole(text: str) -> float:
        return int(text) if len(text) <= _LONGEST_NUMBER else math.inf

    try:
        return json.loads(payload, parse_int=whole)
    except (ValueError, RecursionError):
        return None
