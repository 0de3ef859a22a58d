"""Metrics of the queue by label: how many jobs wait for nodes of a kind, and for how long, for whoever starts nodes."""

from collections.abc import Iterator, Sequence
from itertools import islice

from orchestrator.rules.fleet import Shape
from orchestrator.state.model import Model
from shared.jobs.spec import Constraint
from shared.runtime.metrics import Gauge, Metric

MOST_SHAPES = 10_000
"""So many kinds of waiting jobs are looked at."""
MOST_VALUES = 100
"""Of one label; who submits jobs chooses them. All others count as OTHER."""
OTHER = "other"
_EQUALS = frozenset({"=", "==", "in"})
_LABELS = ("label", "value")


def queue_metrics(model: Model, labels: Sequence[str], *, now: int) -> Iterator[Metric]:
    """By each of these labels; jobs that do not ask for it have the value "". `now` is nanoseconds since 1970.

    It takes as long as there are kinds of waiting jobs, not jobs.
    """
    counts: dict[tuple[str, ...], float] = {(label, ""): 0.0 for label in labels}
    ages: dict[tuple[str, ...], float] = {(label, ""): 0.0 for label in labels}
    values: dict[str, set[str]] = {label: set() for label in labels}
    for shape, count, first in islice(model.backlog.pending.groups(), MOST_SHAPES):
        entry = model.jobs.get(first)
        since = entry.waits_since if entry is not None else None
        age = max(0, now - since) / 1e9 if since is not None else 0.0
        for label in labels:
            value = _value_of(shape, label)
            if value not in values[label] and len(values[label]) >= MOST_VALUES:
                value = OTHER
            values[label].add(value)
            counts[label, value] = counts.get((label, value), 0.0) + count
            ages[label, value] = max(ages.get((label, value), 0.0), age)
    yield Gauge("tarpon_queue_jobs", "Jobs that wait for a node, by a label that they ask for.", counts, _LABELS)
    yield Gauge("tarpon_queue_oldest_seconds", "How long the first of these has waited.", ages, _LABELS)


def _value_of(shape: object, label: str) -> str:
    """What a job of this shape asks the label to be; empty where it does not, or leaves a choice."""
    assert isinstance(shape, Shape)
    return next((each.values[0] for each in shape.constraints if _asks_for(each, label)), "")


def _asks_for(constraint: Constraint, label: str) -> bool:
    return constraint.key == label and constraint.operator in _EQUALS and len(constraint.values) == 1
