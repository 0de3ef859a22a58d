"""A job that has ended takes little memory, and shows the same as before to whoever looks at it."""

import msgspec
import pytest

from orchestrator.jobs import views
from orchestrator.rules.records import ExecutionRecord, SpecRecord
from orchestrator.state.filing.filing import AT_ONCE
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.ids import JobId, execution_key, new_execution_id
from shared.jobs.spec import Job, SpecConfig, Task
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.messages import RunOutput
from tests.builders import new_execution, new_job_record

ID = JobId("j-1")
KEY = execution_key(ID, 1, 0, 0)
SPEC = Job(
    name="j-1",
    namespace="default",
    type="batch",
    labels={"team": "a"},
    tasks=(Task(name="main", engine=SpecConfig(type="noop", params={"Seconds": 1.5, "Deep": {"List": [1, None]}})),),
)
JOB = new_job_record(first=SPEC)


def execution(state: ExecutionState) -> ExecutionRecord:
    return new_execution(state, create_time=2, modify_time=7)


def told(*states: ExecutionState) -> tuple[Model, JobEntry]:
    model = Model(max_attempts=3)
    model.apply(subjects.job_record(ID), JOB, 1)
    for revision, state in enumerate(states, start=2):
        model.apply(subjects.execution_record(KEY), execution(state), revision)
    return model, model.jobs[ID]


def seen(model: Model, entry: JobEntry) -> bytes:
    parts = (views.job_view(model, entry), views.history(entry), views.execution_views(model, entry))
    return msgspec.json.encode(parts)


def test_a_packed_job_shows_the_same_as_before() -> None:
    model, entry = told(ExecutionState.RUNNING, ExecutionState.COMPLETED)
    before = seen(model, entry)
    entry.pack()
    assert entry.is_packed
    assert (entry.progress.state, entry.modified, entry.labels) == (JobState.COMPLETED, 7, {"team": "a"})
    assert entry.is_packed, "lists and counters need not look inside"
    assert seen(model, entry) == before
    assert entry.spec == SPEC
    assert model.execution(execution(ExecutionState.COMPLETED).id) == execution(ExecutionState.COMPLETED)
    assert model.revision_of(subjects.execution_record(KEY)) == 3
    assert model.revision_of(subjects.job_record(ID)) == 1


def test_a_specification_is_packed_once() -> None:
    _, entry = told(ExecutionState.COMPLETED)
    entry.pack()
    assert entry._packed.count(b"Deep") == 1


@pytest.mark.parametrize("state", [ExecutionState.NEW, ExecutionState.RUNNING, ExecutionState.PUBLISHING])
def test_a_job_that_goes_on_is_not_packed(state: ExecutionState) -> None:
    _, entry = told(state)
    entry.pack()
    assert not entry.is_packed


def test_a_job_that_was_stopped_is_not_packed_before_its_executions_have_stopped() -> None:
    model, entry = told(ExecutionState.RUNNING)
    stopped = msgspec.structs.replace(JOB, desired=DesiredState.STOPPED)
    model.apply(subjects.job_record(ID), stopped, 9)
    entry.pack()
    assert not entry.is_packed
    model.apply(subjects.execution_record(KEY), execution(ExecutionState.CANCELLED), 10)
    entry.pack()
    assert entry.is_packed


def test_a_packed_job_takes_a_late_record() -> None:
    model, entry = told(ExecutionState.COMPLETED)
    entry.pack()
    again = msgspec.structs.replace(JOB, version=2, modify_time=9)
    model.apply(subjects.spec_record(ID, 2), new_spec(), 9)
    model.apply(subjects.job_record(ID), again, 10)
    assert entry.progress.state is JobState.PENDING
    assert set(entry.specs) == {1, 2}


def new_spec() -> SpecRecord:
    return SpecRecord(job=SPEC)


def deep() -> dict[str, object]:
    data: dict[str, object] = {}
    for _ in range(900):
        data = {"a": data}
    return data


@pytest.mark.parametrize("params", [{"n": 10**30}, {"n": -(10**30)}, deep()], ids=["large", "small", "deep"])
def test_a_job_that_cannot_be_packed_stays_as_it_is(params: dict[str, object]) -> None:
    """Earlier versions took such jobs in."""
    spec = msgspec.structs.replace(SPEC, tasks=(Task(name="main", engine=SpecConfig(type="noop", params=params)),))
    model = Model(max_attempts=3)
    model.apply(subjects.job_record(ID), msgspec.structs.replace(JOB, first=spec), 1)
    model.apply(subjects.execution_record(KEY), execution(ExecutionState.COMPLETED), 2)
    entry = model.jobs[ID]
    before = seen(model, entry)
    entry.pack()
    assert not entry.is_packed
    assert seen(model, entry) == before


def test_an_exit_code_beyond_any_bound_keeps_its_own_job_alone_from_being_filed() -> None:
    model = Model(max_attempts=3, filed_at_once=AT_ONCE // 2)
    output = RunOutput(exit_code=10**30)
    for number in range(AT_ONCE):
        job = JobId(f"j-{number}")
        key = execution_key(job, 1, 0, 0)
        model.apply(subjects.job_record(job), msgspec.structs.replace(JOB, id=job, name=job), 2 * number + 1)
        record = msgspec.structs.replace(execution(ExecutionState.COMPLETED), id=new_execution_id(key), job_id=job)
        odd = msgspec.structs.replace(record, output=output) if number < 40 else record
        model.apply(subjects.execution_record(key), odd, 2 * number + 2)
    model.find_out()
    assert len(model.jobs) == AT_ONCE
    assert model.backlog.job_states[JobState.COMPLETED] == AT_ONCE
    assert [JobId(f"j-{number}") in model.jobs.live for number in (0, 39, 40, AT_ONCE - 1)] == [
        True,
        True,
        False,
        False,
    ]
    assert not model.jobs[JobId("j-0")].is_packed
