"""The functions of Go's templates that job files use, and `default`, which many know from other programs.

What takes its arguments only as far as they are needed (`and`, `or`, `default`) is in template_evaluation.py.
"""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeGuard

from tarpon.cli.job_files.template_syntax import TemplateProblem, Value

MAX_WIDTH = 1000
"""Of what printf writes for one value."""

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]{0,9})(?:\.(?P<precision>[0-9]{0,9}))?(?P<verb>.?)", re.DOTALL)
_VERBS: dict[str, tuple[type, ...]] = {
    "s": (str,),
    "q": (str,),
    "v": (object,),
    "t": (bool,),
    **dict.fromkeys("dxXo", (int,)),
    **dict.fromkeys("feEgG", (float, int)),
}
"""With the types that each takes. A truth is a whole number to Python alone."""


def weight(function: str, arguments: Sequence[Value]) -> int:
    """How many characters the function would have to look at and to make, at the most about."""
    if function == "index":
        arguments = arguments[1:]  # nothing but the name is looked at
    amount = sum(map(_size, arguments))
    if function == "printf" and arguments and isinstance(arguments[0], str):
        amount += sum(min(_width(found), MAX_WIDTH) for found in _VERB.finditer(arguments[0]))
    return amount


def _size(value: Value) -> int:
    match value:
        case str():
            return len(value)
        case Mapping():
            return sum(len(name) + len(text) + 2 for name, text in value.items())
        case _:
            return 0


def is_true(value: Value) -> bool:
    """Nothing, false, 0 and what is empty are not."""
    return bool(value)


def text_of(value: Value) -> str:
    """As it is written into the file."""
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case float():
            return repr(value).removesuffix(".0")
        case int():
            return str(value)
        case _:
            return "map[" + " ".join(f"{name}:{value[name]}" for name in sorted(value)) + "]"


def kind_of(value: Value) -> str:
    match value:
        case str():
            return "a text"
        case None:
            return "nothing"
        case bool():
            return "a truth"
        case int() | float():
            return "a number"
        case _:
            return "all variables"


def _index(of: Value, *keys: Value) -> Value:
    found = of
    for key in keys:
        if not isinstance(found, Mapping):
            _refuse("index", f'{kind_of(found)} has no parts; write (index . "NAME")')
        if not isinstance(key, str):
            _refuse("index", f"the name of a variable is a text, and {text_of(key)[:20]} is {kind_of(key)}")
        found = found.get(key, "")
    return found


def _length(of: Value) -> Value:
    """Of a text in bytes."""
    if not isinstance(of, str | Mapping):
        _refuse("len", f"{kind_of(of)} has no length")
    return len(_encoded("len", of) if isinstance(of, str) else of)


def _slice(of: Value, *bounds: Value) -> Value:
    """Of the bytes of a text."""
    if not isinstance(of, str) or len(bounds) > 2:
        _refuse("slice", "it takes a text, and from where to where")
    data = _encoded("slice", of)
    numbers = [each for each in bounds if _is_integer(each)]
    begin, end = (*numbers, *(0, len(data))[len(numbers) :])
    if len(numbers) < len(bounds) or not 0 <= begin <= end <= len(data):
        _refuse("slice", f"the bounds are whole numbers from 0 to the text's length, {len(data)}")
    return data[begin:end].decode(errors="replace")


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        _refuse(name, "the text is not UTF-8")


def _is_integer(value: Value) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _negate(of: Value) -> Value:
    return not is_true(of)


def _equal(first: Value, *others: Value) -> Value:
    """Whether it is equal to one of the others."""
    if not others:
        _refuse("eq", "it takes two values or more")
    return any(_comparable("eq", first, other) and first == other for other in others)


def _not_equal(first: Value, other: Value) -> Value:
    return _comparable("ne", first, other) and first != other


def _ordering(name: str, holds: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    def compare(first: Value, other: Value) -> Value:
        _comparable(name, first, other)
        if kind_of(first) not in {"a text", "a number"}:
            _refuse(name, f"{kind_of(first)} has no order")
        return bool(holds(first, other))

    return compare


def _comparable(name: str, first: Value, other: Value) -> bool:
    kinds = kind_of(first), kind_of(other)
    if kinds[0] != kinds[1]:
        advice = "; the values of variables are texts, so write the number in quotes" if "a number" in kinds else ""
        _refuse(name, f"{kinds[0]} cannot be compared with {kinds[1]}{advice}")
    if "all variables" in kinds:
        _refuse(name, "all variables cannot be compared")
    return True


def _print(*values: Value) -> Value:
    """With a blank between two of which none is a text."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(text_of(value))
    return "".join(parts)


def _print_line(*values: Value) -> Value:
    return " ".join(map(text_of, values)) + "\n"


def _print_format(form: Value, *values: Value) -> Value:
    if not isinstance(form, str):
        _refuse("printf", f"its first argument is the format, a text, and this is {kind_of(form)}")
    left = iter(values)

    def put(found: re.Match[str]) -> str:
        if found["verb"] == "%":
            return "%"
        for value in left:
            return _formatted(found, value)
        _refuse("printf", f"there is no value for {found[0]}")

    text = _VERB.sub(put, form)
    for value in left:
        _refuse("printf", f"the format has no place for {text_of(value)[:20]!r}")
    return text


def _width(found: re.Match[str]) -> int:
    return max(int(found["width"] or 0), int(found["precision"] or 0))


def _formatted(found: re.Match[str], value: Value) -> str:
    width, precision, verb = found["width"], found["precision"], found["verb"]
    if _width(found) > MAX_WIDTH:
        _refuse("printf", f"{found[0]} is wider than {MAX_WIDTH}")
    kinds = _VERBS.get(verb)
    if kinds is None:
        _refuse("printf", f"{found[0]} is not a verb; there are {' '.join(f'%{each}' for each in _VERBS)} and %%")
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds[0] in {int, float}):
        advice = "; the values of variables are texts, so write %s" if isinstance(value, str) else ""
        _refuse("printf", f"{found[0]} does not fit {kind_of(value)}{advice}")
    sized = f"%{found['flags']}{width}" + ("" if precision is None else f".{precision}")
    if kinds[0] in {int, float}:
        return f"{sized}{verb}" % value
    text = text_of(value)
    return f"{sized}s" % (json.dumps(text, ensure_ascii=False) if verb == "q" else text)


def _refuse(name: str, why: str) -> NoReturn:
    raise TemplateProblem(f"{name}: {why}")


FUNCTIONS: dict[str, tuple[Callable[..., Value], int, int | None]] = {
    "eq": (_equal, 1, None),
    "ge": (_ordering("ge", operator.ge), 2, 2),
    "gt": (_ordering("gt", operator.gt), 2, 2),
    "index": (_index, 1, None),
    "le": (_ordering("le", operator.le), 2, 2),
    "len": (_length, 1, 1),
    "lt": (_ordering("lt", operator.lt), 2, 2),
    "ne": (_not_equal, 2, 2),
    "not": (_negate, 1, 1),
    "print": (_print, 0, None),
    "printf": (_print_format, 1, None),
    "println": (_print_line, 0, None),
    "slice": (_slice, 1, 3),
}
"""Each with the number of arguments that it takes at least and at most."""
