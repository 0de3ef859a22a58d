"""How a label selector such as `team=a,env in (x,y),!old` becomes conditions, with the grammar of Kubernetes.

The grammar: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from shared.errors import InvalidInput
from shared.jobs.constraints import fulfils
from shared.jobs.spec import Constraint

MAX_SELECTOR = 1000

_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9_.-]*"
_REQUIREMENT = re.compile(
    rf"\s*(?:!\s*(?P<absent>{_KEY})"
    rf"|(?P<key>{_KEY})(?:\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|\s*(?P<compare>==|!=|=|>|<)\s*(?P<value>{_VALUE}))?)\s*(?:,|\Z)"
)
_OPERATORS = {">": "gt", "<": "lt"}
_VALUE_ALONE = re.compile(rf"{_VALUE}\Z")
_NUMBER = re.compile(r"-?[0-9]+\Z")


def matches(labels: Mapping[str, str], conditions: Iterable[Constraint]) -> bool:
    return all(fulfils(labels, condition) for condition in conditions)


def selector(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """The conditions of all these selectors, which all have to hold. Raises InvalidInput."""
    return tuple(condition for text in texts for condition in _conditions(text))


def _conditions(text: str) -> Iterator[Constraint]:
    if len(text) > MAX_SELECTOR:
        raise _invalid(text)
    at = 0
    while at < len(text.rstrip()):
        found = _REQUIREMENT.match(text, at)
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
        if not all(_VALUE_ALONE.match(value) for value in values):
            raise _invalid(text)
        return Constraint(key=found["key"], operator=found["set"], values=values)
    if found["compare"]:
        operator = _OPERATORS.get(found["compare"], found["compare"])
        if operator in {"gt", "lt"} and not _NUMBER.match(found["value"]):
            raise _invalid(text)
        return Constraint(key=found["key"], operator=operator, values=(found["value"],))
    return Constraint(key=found["key"], operator="exists")


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"{text[:80]!r} is not a label selector.",
        hint="Write conditions with commas between them: team=a, env!=test, env in (x,y), env notin (z), key, !key,"
        " size>3.",
    )
