"""Constraints: whether a node's labels fulfil those of a job, with the meaning of Kubernetes' label selectors."""

import math
from collections.abc import Mapping

from shared.jobs.spec import Constraint

PREFERENCE_PREFIX = "favour_"
"""A constraint on a key with this beginning is a preference: it never rules a node out."""

NEEDS_NO_VALUE = frozenset({"exists", "!"})
NEEDS_ONE_VALUE = frozenset({"=", "==", "!=", "gt", "lt"})
NEEDS_VALUES = frozenset({"in", "notin"})
COMPARES = frozenset({"gt", "lt"})
"""Of those that need one value: numbers."""
OPERATORS = NEEDS_NO_VALUE | NEEDS_ONE_VALUE | NEEDS_VALUES


def describe(constraint: Constraint) -> str:
    return " ".join(part for part in (constraint.key, constraint.operator, ", ".join(constraint.values)) if part)


def fulfils(labels: Mapping[str, str], constraint: Constraint) -> bool:
    """A missing label fulfils `!`, `!=` and `notin`, and nothing else."""
    value = labels.get(constraint.key)
    match constraint.operator.lower():
        case "exists":
            return value is not None
        case "!":
            return value is None
        case "=" | "==" | "in":
            return value is not None and value in constraint.values
        case "!=" | "notin":
            return value is None or value not in constraint.values
        case "gt":
            return _compares(value, constraint.values, sign=1)
        case "lt":
            return _compares(value, constraint.values, sign=-1)
        case _:
            return False


def is_number(text: str) -> bool:
    """Whether a label can be larger or smaller than this."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _compares(value: str | None, wanted: tuple[str, ...], *, sign: int) -> bool:
    try:
        return value is not None and (float(value) - float(wanted[0])) * sign > 0
    except (ValueError, IndexError):
        return False
