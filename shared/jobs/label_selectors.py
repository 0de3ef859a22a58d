"""Label selectors such as `team=a,env in (x,y),!old`: the text in which users write constraints, as Kubernetes does.

The grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Iterable, Iterator

from shared.errors import InvalidInput
from shared.jobs.constraints import COMPARES, is_number
from shared.jobs.spec import Constraint

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?"
_VALUE = r"[^\s,()=!<>;*]*"
"""More than Kubernetes allows: labels of nodes and jobs may have any value."""
_CONDITION = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|\s*(?P<compare>==|!=|=|>|<)\s*(?P<value>{_VALUE}))?)\s*(?:,|\Z)"
)
_OPERATORS = {">": "gt", "<": "lt"}
_VALUE_ALONE = re.compile(rf"{_VALUE}\Z")
_HINT = "Write conditions with commas between them: team=a, env!=test, env in (x,y), env notin (z), key, !key, size>3."


def conditions(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """Those of all these selectors, which all have to hold. Raises InvalidInput."""
    return tuple(condition for text in texts for condition in _conditions(text))


def _conditions(text: str) -> Iterator[Constraint]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _CONDITION.match(text, at)
        if found is None:
            raise _invalid(text)
        yield _condition(found, text)
        at = found.end()
    if text.rstrip().endswith(","):
        raise _invalid(text)


def _condition(found: re.Match[str], text: str) -> Constraint:
    if found["absent"]:
        return Constraint(key=found["absent"], operator="!")
    if found["set"]:
        values = tuple(value.strip() for value in found["values"].split(","))
        if not any(values) or not all(_VALUE_ALONE.match(value) for value in values):
            raise _invalid(text)
        return Constraint(key=found["key"], operator=found["set"], values=values)
    if found["compare"]:
        operator = _OPERATORS.get(found["compare"], found["compare"])
        if operator in COMPARES and not is_number(found["value"]):
            raise InvalidInput(
                f"{found['key'][:80]}{found['compare']} takes a number, and {found['value'][:80]!r} is none.",
                hint=_HINT,
            )
        return Constraint(key=found["key"], operator=operator, values=(found["value"],))
    return Constraint(key=found["key"], operator="exists")


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(f"{text[:80]!r} is not a label selector.", hint=_HINT)
