"""How a selector such as `region in (eu,us),gpu,memory>8` becomes a job's constraints, as Kubernetes writes them."""

import re

from shared.errors import InvalidInput
from shared.jobs.spec import Constraint

_KEY = r"[A-Za-z0-9][A-Za-z0-9_./-]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_COMPARED = re.compile(rf"({_KEY})\s*(==|=|!=|>|<)\s*([^\s,()=!<>]*)")
_PRESENT = re.compile(rf"(!?)\s*({_KEY})")
_BETWEEN = re.compile(r",(?![^()]*\))")  # a comma that no parenthesis holds
_NAMES = {">": "gt", "<": "lt"}
_HINT = (
    "Write conditions with commas between them: zone=a, zone!=a, zone in (a,b), zone notin (a,b), gpu, !gpu, memory>8."
)


def constraints_of(selector: str) -> tuple[Constraint, ...]:
    """Raise InvalidInput, which names the part that is wrong."""
    return tuple(_constraint(part.strip()) for part in _BETWEEN.split(selector) if part.strip())


def _constraint(text: str) -> Constraint:
    if found := _SET.fullmatch(text):
        values = tuple(value.strip() for value in found[3].split(",") if value.strip())
        if values:
            return Constraint(key=found[1], operator=found[2], values=values)
    elif found := _COMPARED.fullmatch(text):
        return Constraint(key=found[1], operator=_NAMES.get(found[2], found[2]), values=(found[3],))
    elif found := _PRESENT.fullmatch(text):
        return Constraint(key=found[2], operator="!" if found[1] else "exists")
    raise InvalidInput(f"{text[:80]!r} is not a condition on labels.", hint=_HINT)
