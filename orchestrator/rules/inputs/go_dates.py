"""Dates in keys, by layouts as Go's package `time` has them: how Mon Jan 2 15:04:05 2006 would be written.

Bacalhau's date partitions are given so, and a layout has to read here what it reads there
(https://pkg.go.dev/time#pkg-constants). Time zones and fractions of seconds are refused.
"""

import re
from calendar import isleap, monthrange
from datetime import date, timedelta
from typing import NamedTuple

from shared.errors import InvalidInput

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ELEMENT = re.compile(
    r"(?P<unknown>-07(?::?00){0,2}|Z07(?::?00){0,2}|MST|__2|[.,](?:0+|9+)(?![0-9]))"
    r"|(?P<known>January|Jan(?![a-z])|Monday|Mon(?![a-z])|002|0[1-6]|15|2006|_2(?!006)|PM|pm|[12345])"
)
_NAMES = {
    "January": _MONTHS,
    "Jan": tuple(each[:3] for each in _MONTHS),
    "Monday": _DAYS,
    "Mon": tuple(each[:3] for each in _DAYS),
}
_CYCLE = 400
"""Years after which dates and days of the week repeat."""


class LayoutInvalid(InvalidInput):
    def __init__(self, layout: str, why: str) -> None:
        super().__init__(
            f"The DateFormat {layout[:80]!r} {why}.",
            hint="Write how 2 January 2006, 15:04:05 would be written in the keys, such as 2006-01-02 or 2006/01.",
        )


class _Number(NamedTuple):
    field: str
    least: int
    most: int
    digits: int
    """How many it has to have; 0 is one or two."""
    shown: str


_NUMBERS = {
    "2006": _Number("year", 0, 9999, 4, "{:04d}"),
    "06": _Number("year", 0, 99, 2, "{:02d}"),
    "01": _Number("month", 1, 12, 2, "{:02d}"),
    "1": _Number("month", 1, 12, 0, "{:d}"),
    "02": _Number("day", 0, 99, 2, "{:02d}"),
    "2": _Number("day", 0, 99, 0, "{:d}"),
    "_2": _Number("day", 0, 99, 0, "{:2d}"),
    "002": _Number("day_of_year", 0, 999, 3, "{:03d}"),
    "15": _Number("hour", 0, 23, 0, "{:02d}"),
    "03": _Number("hour", 0, 12, 2, "{:02d}"),
    "3": _Number("hour", 0, 12, 0, "{:d}"),
    "04": _Number("minute", 0, 59, 2, "{:02d}"),
    "4": _Number("minute", 0, 59, 0, "{:d}"),
    "05": _Number("second", 0, 59, 2, "{:02d}"),
    "5": _Number("second", 0, 59, 0, "{:d}"),
}


class _Mismatch(Exception):
    """What is read is not written so."""


class DateLayout:
    """Raises LayoutInvalid."""

    def __init__(self, layout: str) -> None:
        self._layout = layout
        self._length = len(layout.encode(errors="surrogatepass"))
        self._parts: list[tuple[str, str]] = []
        """What stands before each element of a date, and the element; none at the end."""
        at = 0
        for found in _ELEMENT.finditer(layout):
            if found["unknown"]:
                raise LayoutInvalid(layout, f"has {found['unknown']!r}; zones and fractions of seconds are not read")
            self._parts.append((layout[at : found.start()], found["known"]))
            at = found.end()
        self._parts.append((layout[at:], ""))
        if len(self._parts) == 1:
            raise LayoutInvalid(layout, "has no part of a date")

    def __repr__(self) -> str:
        return f"<DateLayout {self._layout!r}>"

    def canonical(self, text: str) -> str | None:
        """The date with which the text begins, in so many bytes as the layout has, as the layout writes it."""
        begin = text.encode(errors="surrogatepass")[: self._length].decode(errors="surrogateescape")
        try:
            return self._written(_whole(self._read(begin)))
        except _Mismatch:
            return None

    def _read(self, text: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for before, element in self._parts:
            text = _after_literal(text, before)
            if element:
                text = _take(text, element, found)
        if text:
            raise _Mismatch
        return found

    def _written(self, found: dict[str, int]) -> str:
        return "".join(before + (_written(element, found) if element else "") for before, element in self._parts)


def _after_literal(text: str, literal: str) -> str:
    """One or more blanks of a layout stand for any number of them; all else is as it is written."""
    while literal:
        if literal[0] == " ":
            if text and text[0] != " ":
                raise _Mismatch
            literal, text = literal.lstrip(" "), text.lstrip(" ")
        elif text[:1] == literal[0]:
            literal, text = literal[1:], text[1:]
        else:
            raise _Mismatch
    return text


def _take(text: str, element: str, found: dict[str, int]) -> str:
    if element in {"PM", "pm"}:
        half = text[:2]
        if half not in {element, element.replace("P", "A").replace("p", "a")}:
            raise _Mismatch
        found["afternoon"] = max(found.get("afternoon", 0), int(half == element))
        return text[2:]
    if (names := _NAMES.get(element)) is not None:
        for number, name in enumerate(names, 1):
            if text[: len(name)].lower() == name.lower():
                if element.startswith("J"):
                    found["month"] = number
                return text[len(name) :]
        raise _Mismatch
    return _take_number(text, element, found)


def _take_number(text: str, element: str, found: dict[str, int]) -> str:
    number = _NUMBERS[element]
    if element == "_2":
        text = text.removeprefix(" ")
    digits = number.digits or (2 if _is_digits(text[:2], 2) else 1)
    if not _is_digits(text[:digits], digits) or not number.least <= int(text[:digits]) <= number.most:
        raise _Mismatch
    value = int(text[:digits])
    found[number.field] = value + (1900 if value >= 69 else 2000) if element == "06" else value
    return text[digits:]


def _is_digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdigit()


def _whole(found: dict[str, int]) -> dict[str, int]:
    """With all that a date has. Raises _Mismatch where there is no such day."""
    year = found.setdefault("year", 0)
    cycle = year % _CYCLE + _CYCLE
    if (of_year := found.get("day_of_year")) is not None:
        if not 1 <= of_year <= 365 + isleap(cycle):
            raise _Mismatch
        day = date(cycle, 1, 1) + timedelta(days=of_year - 1)
        if (found.setdefault("month", day.month), found.setdefault("day", day.day)) != (day.month, day.day):
            raise _Mismatch
    month, day_of_month = found.setdefault("month", 1), found.setdefault("day", 1)
    if not 1 <= day_of_month <= monthrange(cycle, month)[1]:
        raise _Mismatch
    day = date(cycle, month, day_of_month)
    found["day_of_year"], found["weekday"] = day.timetuple().tm_yday, day.weekday()
    hour = found.setdefault("hour", 0)
    if (afternoon := found.get("afternoon")) is not None:
        hour = hour + 12 if afternoon and hour < 12 else 0 if not afternoon and hour == 12 else hour
    found["hour"], found["afternoon"] = hour, int(hour >= 12)
    return found


def _written(element: str, found: dict[str, int]) -> str:
    if element in {"PM", "pm"}:
        return element if found["afternoon"] else element.replace("P", "A").replace("p", "a")
    if (names := _NAMES.get(element)) is not None:
        return names[found["month"] - 1] if element.startswith("J") else names[found["weekday"]]
    number = _NUMBERS[element]
    value = found.get(number.field, 0)
    if element in {"03", "3"}:
        value = value % 12 or 12
    return number.shown.format(value % 100 if element == "06" else value)
