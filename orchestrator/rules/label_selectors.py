"""Label selectors of lists: which jobs and nodes a reader wants, in the language of constraints."""

from collections.abc import Iterable, Mapping

from shared.errors import InvalidInput
from shared.jobs.constraints import fulfils
from shared.jobs.label_selectors import conditions
from shared.jobs.spec import Constraint

MAX_SELECTOR = 1000
"""Characters. Each job or node in a list may be held against all of it."""


def matches(labels: Mapping[str, str], wanted: Iterable[Constraint]) -> bool:
    return all(fulfils(labels, condition) for condition in wanted)


def selector(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """The conditions of all these selectors, which all have to hold. Raises InvalidInput."""
    texts = tuple(texts)
    if any(len(text) > MAX_SELECTOR for text in texts):
        raise InvalidInput(
            f"A label selector has at most {MAX_SELECTOR:,} characters here.",
            hint="Several of them have to hold together.",
        )
    return conditions(texts)
