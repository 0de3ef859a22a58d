"""Each version of a job is shown as it was, also where an earlier build recorded less of it."""

from msgspec.structs import replace

from orchestrator.jobs.versions import known_versions, version_view, version_views
from orchestrator.jobs.views import job_view
from orchestrator.rules.records import Event, ExecutionRecord, Failure, Record, Replaced, SpecRecord
from orchestrator.state.model import Model
from shared.ids import JobId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState, JobState
from shared.protocol import subjects
from tests.builders import new_execution, new_job, new_job_record

S = ExecutionState
JOB = JobId("j-1")
PLAIN = new_job("a", count=2)


def execution(
    state: ExecutionState, *, version: int, partition: int = 0, attempt: int = 0, why: str = "", at: int = 1
) -> ExecutionRecord:
    return new_execution(
        state,
        version=version,
        partition=partition,
        attempt=attempt,
        resources=Capacity(),
        create_time=at,
        modify_time=at + 1,
        failure=Failure(reason="TaskNotStarted", detail=why) if why else None,
    )


def submission(version: int, at: int) -> Event:
    return Event(time=at, topic="Submission", message="", details={"JobVersion": str(version)})


def fed(*executions: ExecutionRecord, newest: int, specs: dict[int, Replaced | None], at: dict[int, int]) -> Model:
    model = Model(max_attempts=2)
    record = new_job_record(
        name="a",
        version=newest,
        create_time=at[1],
        submit_time=at[newest],
        modify_time=at[newest],
        events=tuple(submission(version, time) for version, time in at.items()),
        first=PLAIN,
    )
    records: dict[str, Record] = {
        subjects.spec_record(JOB, version): SpecRecord(job=replace(PLAIN, priority=version), replaced=before)
        for version, before in specs.items()
    }
    records[subjects.job_record(JOB)] = record
    for each in executions:
        key = execution_key(JOB, each.job_version, each.partition, each.attempt)
        records[subjects.execution_record(key)] = each
    for revision, (key, stored) in enumerate(records.items(), start=1):
        model.apply(key, stored, revision)
    return model


def test_an_earlier_version_is_shown_as_it_stood_when_it_was_replaced() -> None:
    end = Replaced(version=1, submit_time=5, modify_time=7, state=JobState.FAILED, message="no node can run it")
    model = fed(newest=2, specs={2: end}, at={1: 5, 2: 9})
    first, second = version_views(model, model.jobs[JOB])
    assert (first.state.state_type, first.state.message) == ("Failed", "no node can run it")
    assert (first.create_time, first.modify_time) == (5, 7)
    assert (second.state.state_type, second.create_time, second.modify_time) == ("Pending", 9, 9)


def test_of_one_that_went_on_when_it_was_replaced_its_executions_tell() -> None:
    went_on = Replaced(version=1, submit_time=5, modify_time=6, state=JobState.RUNNING)
    done = [execution(S.COMPLETED, version=1, partition=part, at=8) for part in range(2)]
    model = fed(*done, newest=2, specs={2: went_on}, at={1: 5, 2: 9})
    shown = version_view(model, model.jobs[JOB], 1)
    assert (shown.state.state_type, shown.modify_time) == ("Completed", 9)
    model = fed(done[0], execution(S.CANCELLED, version=1, partition=1), newest=2, specs={2: went_on}, at={1: 5, 2: 9})
    assert version_view(model, model.jobs[JOB], 1).state.message == "A later version took its place."


def test_one_that_had_not_begun_ended_when_it_was_replaced() -> None:
    waited = Replaced(version=1, submit_time=5, modify_time=5, state=JobState.QUEUED)
    model = fed(newest=2, specs={2: waited}, at={1: 5, 2: 9})
    first = version_view(model, model.jobs[JOB], 1)
    assert (first.state.state_type, first.create_time, first.modify_time) == ("Stopped", 5, 9)


def test_when_a_version_was_submitted_is_told_however_it_is_asked_for() -> None:
    end = Replaced(version=1, submit_time=5, modify_time=7, state=JobState.COMPLETED)
    model = fed(newest=2, specs={2: end}, at={1: 5, 2: 9})
    entry = model.jobs[JOB]
    assert [each.submit_time for each in version_views(model, entry)] == [5, 9]
    assert (job_view(model, entry).create_time, job_view(model, entry).submit_time) == (5, 9)


def test_what_an_earlier_build_left_is_made_out_of_what_there_is() -> None:
    tried = [execution(S.FAILED, version=2, why="first", at=11), execution(S.CANCELLED, version=2, partition=1, at=12)]
    other = execution(S.FAILED, version=1, why="another version's", at=6)
    model = fed(*tried, other, newest=3, specs={2: None, 3: None}, at={1: 5, 2: 10, 3: 20})
    second = version_view(model, model.jobs[JOB], 2)
    assert (second.state.state_type, second.state.message) == ("Failed", "first")
    assert (second.create_time, second.modify_time) == (10, 13)


def test_what_an_interrupted_submit_left_is_no_version() -> None:
    end = Replaced(version=1, submit_time=5, modify_time=7, state=JobState.COMPLETED)
    model = fed(newest=3, specs={2: end, 3: end, 4: end}, at={1: 5, 3: 9})
    assert known_versions(model.jobs[JOB]) == [1, 3]
