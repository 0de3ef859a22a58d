"""The texts and numbers that are written in a template, as Go writes them."""

import math
import re

_MAX_SHOWN = 60

_ESCAPE = re.compile(
    r"""\\(?:(?P<one>[abfnrtv\\"])
    | (?P<octal>[0-3][0-7]{2})
    | x(?P<byte>[0-9a-fA-F]{2})
    | u(?P<short>[0-9a-fA-F]{4})
    | U(?P<long>[0-9a-fA-F]{8})
    | (?P<wrong>.?))""",
    re.VERBOSE | re.DOTALL,
)
"""Those that Go knows. An octal number and \\x are a byte, which need not be a whole character."""
_ONE = dict(zip('abfnrtv\\"', '\a\b\f\n\r\t\v\\"', strict=True))


class WronglyWritten(Exception):
    """What Go would not read."""


def unescaped(text: str) -> str:
    """What is between the quotes. Raise WronglyWritten, also for what would be no UTF-8."""
    found, at = bytearray(), 0
    for escape in _ESCAPE.finditer(text):
        found += text[at : escape.start()].encode()
        at = escape.end()
        kind = str(escape.lastgroup)
        try:
            found += _escaped(kind, escape[kind])
        except ValueError:
            raise WronglyWritten(f"{escape[0]} is not written as Go writes it") from None
    try:
        return (found + text[at:].encode()).decode()
    except UnicodeDecodeError:
        raise WronglyWritten("the bytes of a text are not UTF-8") from None


def _escaped(kind: str, text: str) -> bytes:
    """Raise ValueError where there is no such character."""
    match kind:
        case "one":
            return _ONE[text].encode()
        case "octal":
            return bytes([int(text, 8)])
        case "byte":
            return bytes([int(text, 16)])
        case "short" | "long":
            return chr(int(text, 16)).encode()
        case _:
            raise ValueError


def number(text: str) -> float:
    """Within 64 bits. Raise WronglyWritten."""
    found = _number(text.replace("_", "").lower()) if text.isascii() else None
    if found is None:
        raise WronglyWritten(f"{text[:_MAX_SHOWN]} is not written as Go writes it")
    return found


def _number(text: str) -> float | None:
    try:
        if "x" in text or not {".", "e"} & set(text):
            whole = int(text, 0)
            return whole if -(2**63) <= whole < 2**63 else None
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
