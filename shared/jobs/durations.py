"""Durations, written as Go writes them: `1h30m`, `90s`, `100ms`."""

import re
from typing import Self

from shared.errors import InvalidDuration

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "\N{MICRO SIGN}s": 1_000,
    "\N{GREEK SMALL LETTER MU}s": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"[-+]?(?:{_PART.pattern})+", re.ASCII)
_LONGEST_NANOSECONDS = 2**63 - 1  # Go's time.Duration is a signed 64-bit number of nanoseconds
_LONGEST_TEXT = 100


class Duration(float):
    """Seconds that print as Go text, so that a setting reads as it was written."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise InvalidDuration unless `text` is Go duration text."""
        return cls(parse_duration(text))

    def __str__(self) -> str:
        return format_duration(self)

    def __repr__(self) -> str:
        return f"Duration({format_duration(self)})"


def parse_duration(text: str) -> float:
    """Seconds, possibly negative. Raise InvalidDuration where Go's time.ParseDuration would fail.

    Spaces around the text are ignored; a number needs its unit, except for a bare zero.
    """
    bare = text.strip()
    if bare in {"0", "+0", "-0"}:
        return 0.0
    if len(bare) > _LONGEST_TEXT or _WHOLE.fullmatch(bare) is None:
        raise InvalidDuration(text)
    nanoseconds = round(sum(float(number) * _NANOSECONDS[unit] for number, unit in _PART.findall(bare)))
    if nanoseconds > _LONGEST_NANOSECONDS:
        raise InvalidDuration(text)
    return (-nanoseconds if bare[0] == "-" else nanoseconds) / 1e9


def format_duration(seconds: float) -> str:
    """Go's text for a finite number of seconds: `1h0m0s`, `1.5s`, `100ms`, `0s`."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    return sign + (_below_a_second(nanoseconds) if nanoseconds < 1_000_000_000 else _clock(nanoseconds))


def _below_a_second(nanoseconds: int) -> str:
    if nanoseconds == 0:
        return "0s"
    unit = next(unit for unit in ("ms", "\N{MICRO SIGN}s", "ns") if nanoseconds >= _NANOSECONDS[unit])
    return _decimal(nanoseconds, _NANOSECONDS[unit]) + unit


def _clock(nanoseconds: int) -> str:
    minutes, rest = divmod(nanoseconds, _NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, _NANOSECONDS["s"]) + "s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


def _decimal(amount: int, unit: int) -> str:
    """`amount / unit` without the rounding of floats and without zeros at the end; `unit` is a power of ten."""
    whole, rest = divmod(amount, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
