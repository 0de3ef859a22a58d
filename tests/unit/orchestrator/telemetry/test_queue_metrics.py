"""What waits is counted by the labels that jobs ask for, and only by those that the operator named."""

import pytest

from orchestrator.rules.records import SpecRecord
from orchestrator.state.model import Model
from orchestrator.telemetry.queue_metrics import MOST_VALUES, OTHER, queue_metrics
from shared.ids import JobId
from shared.jobs.spec import Constraint
from shared.protocol import subjects
from shared.runtime.metrics import Gauge
from tests.builders import new_job, new_job_record

SECOND = 10**9
NOW = 100 * SECOND


class Waiting:
    def __init__(self) -> None:
        self.model = Model(max_attempts=1)
        self._count = 0

    def job(self, *constraints: Constraint, at: int = 90) -> None:
        self._count += 1
        job = JobId(f"j-{self._count}")
        spec = new_job(job, constraints=constraints)
        self.model.apply(subjects.spec_record(job, 1), SpecRecord(job=spec), 2 * self._count)
        self.model.apply(subjects.job_record(job), new_job_record(job, at=at * SECOND), 2 * self._count + 1)

    def told(self, *labels: str) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
        self.model.find_out()
        counts, ages = queue_metrics(self.model, labels, now=NOW)
        assert isinstance(counts, Gauge)
        assert isinstance(ages, Gauge)
        return dict(counts.values), dict(ages.values)


def asks(value: str, *, operator: str = "=", key: str = "pool") -> Constraint:
    return Constraint(key=key, operator=operator, values=(value,))


def test_jobs_are_counted_by_what_they_ask_for() -> None:
    waiting = Waiting()
    waiting.job(asks("gpu"), at=40)
    waiting.job(asks("gpu"), at=70)
    waiting.job(asks("big", operator="in"))
    waiting.job()
    counts, ages = waiting.told("pool")
    assert counts == {("pool", ""): 1, ("pool", "gpu"): 2, ("pool", "big"): 1}
    assert ages == {("pool", ""): 10, ("pool", "gpu"): 60, ("pool", "big"): 10}


@pytest.mark.parametrize("operator", ["!=", "notin", "gt"])
def test_who_rules_a_value_out_does_not_ask_for_it(operator: str) -> None:
    waiting = Waiting()
    waiting.job(asks("gpu", operator=operator))
    assert waiting.told("pool")[0] == {("pool", ""): 1}


def test_labels_that_nobody_named_are_not_told() -> None:
    waiting = Waiting()
    waiting.job(asks("secret", key="project"))
    assert waiting.told("pool")[0] == {("pool", ""): 1}
    assert waiting.told()[0] == {}


def test_who_submits_cannot_make_series_without_end() -> None:
    waiting = Waiting()
    for number in range(MOST_VALUES + 5):
        waiting.job(asks(f"v{number}"))
    counts = waiting.told("pool")[0]
    assert len(counts) <= MOST_VALUES + 2
    assert counts["pool", OTHER] == 5
    assert sum(counts.values()) == MOST_VALUES + 5
