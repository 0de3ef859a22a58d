"""What the executions of a namespace hold is what is left of all that was placed, ended, moved and forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.fair_share import Held
from orchestrator.rules.records import NamespaceRecord, SpecRecord
from orchestrator.state.model import Model
from shared.ids import JobId
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from tests.builders import new_execution, new_job, new_job_record

STATES = list(ExecutionState)
steps = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(STATES), st.sampled_from([0.1, 0.2, 3.0])),
    max_size=40,
)
PARTS = 3


def namespace_of(job: int) -> str:
    return "ab"[job % 2]


@given(steps, st.sets(st.integers(0, 3)))
def test_it_is_what_live_executions_hold(
    taken: list[tuple[int, int, ExecutionState, float]], forgotten: set[int]
) -> None:
    model, revision = Model(max_attempts=1), 0
    expected: dict[tuple[int, int], float] = {}
    for job in range(4):
        name = JobId(f"j-{job}")
        spec = new_job(name, count=PARTS, namespace=namespace_of(job))
        record = new_job_record(name, namespace=namespace_of(job))
        revision += 2
        model.apply(subjects.spec_record(name, 1), SpecRecord(job=spec), revision - 1)
        model.apply(record.key, record, revision)
    for job, part, state, cpu in taken:
        revision += 1
        execution = new_execution(state, of=f"j-{job}", partition=part, resources=Capacity(cpu=cpu, memory=2))
        model.apply(execution.key, execution, revision)
        expected.pop((job, part), None)
        if state.holds_capacity:
            expected[job, part] = cpu
    for job in forgotten:
        revision += 1
        model.forget(f"job.j-{job}", revision)
        expected = {place: cpu for place, cpu in expected.items() if place[0] != job}
    for namespace in "ab":
        there = [cpu for (job, _), cpu in expected.items() if namespace_of(job) == namespace]
        held = model.namespaces.held.get(namespace)
        assert (held is None) == (not there), "nothing is left of sums of floats"
        found = held or Held()
        assert (found.executions, found.memory) == (len(there), 2 * len(there))
        assert abs(found.cpu - sum(there)) < 1e-9


def test_a_weight_counts_until_it_is_forgotten() -> None:
    model = Model(max_attempts=1)
    record = NamespaceRecord(namespace="team a/x", weight=3, modify_time=1)
    model.apply(record.key, record, 1)
    assert model.namespaces.weights == {"team a/x": 3}
    model.forget(record.key, 2)
    assert model.namespaces.weights == {}
