"""Which ended jobs are due to be forgotten, and that a model gives everything back when they are."""

from contextlib import nullcontext

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.inputs.listings import Listings
from orchestrator.jobs.removal.retention import BATCH, Retention, _old_versions, due_jobs, marked
from orchestrator.rules.location import Location
from orchestrator.rules.records import NameRecord, Record, SpecRecord
from orchestrator.s3.locations import Locations
from orchestrator.state.by_instant import ByInstant
from orchestrator.state.ended_jobs import VERSIONS_KEPT
from orchestrator.state.model import Model
from orchestrator.storage.start.seen_revisions import SeenRevisions
from orchestrator.storage.store import Store
from shared.ids import JobId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.durations import Duration
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.settings.config import JobRetention
from tests.builders import new_execution, new_job, new_job_record

SECOND = 10**9
SPEC = new_job()


class Fed:
    """A model and the revisions of what it was fed."""

    def __init__(self) -> None:
        self.model = Model(max_attempts=3)
        self.revision = 0

    def feed(self, key: str, record: Record) -> None:
        self.revision += 1
        self.model.apply(key, record, self.revision)

    def forget(self, key: str) -> None:
        self.revision += 1
        self.model.forget(key, self.revision)

    def job(self, name: str, *, ended_at: int = 0, state: ExecutionState | None = ExecutionState.COMPLETED) -> JobId:
        """With one execution in this state, which was changed last at `ended_at` seconds."""
        job = JobId(name)
        record = new_job_record(job, first=SPEC)
        self.feed(subjects.name_record("default", name), NameRecord(job_id=job))
        self.feed(subjects.job_record(job), record)
        if state is not None:
            self.execution(job, state, ended_at=ended_at)
        return job

    def execution(self, job: JobId, state: ExecutionState, *, ended_at: int, published: bool = False) -> None:
        key = execution_key(job, 1, 0, 0)
        record = new_execution(
            state,
            of=job,
            resources=Capacity(),
            modify_time=ended_at * SECOND,
            location=Location(bucket="b", key="k", region="r") if published else None,
        )
        self.feed(subjects.execution_record(key), record)

    def mark(self, job: JobId) -> None:
        self.feed(subjects.job_record(job), marked(self.model.jobs[job], results=False))

    def stop(self, job: JobId) -> None:
        record = msgspec.structs.replace(self.model.jobs[job].job, desired=DesiredState.STOPPED)
        self.feed(subjects.job_record(job), record)


def settings(age: float = 0, jobs: int = 0) -> JobRetention:
    return JobRetention(max_age=Duration(age), max_jobs=jobs)


class TestWhatIsDue:
    def test_jobs_are_due_when_their_time_is_over_the_oldest_end_first(self) -> None:
        fed = Fed()
        for name, end in (("j-3", 30), ("j-1", 10), ("j-2", 20)):
            fed.job(name, ended_at=end)
        assert due_jobs(fed.model, settings(age=10), now=30 * SECOND) == ["j-1", "j-2"]
        assert due_jobs(fed.model, settings(age=10), now=30 * SECOND) == [], "they were taken"

    def test_the_oldest_are_due_where_there_are_too_many(self) -> None:
        fed = Fed()
        for number in range(5):
            fed.job(f"j-{number}", ended_at=number)
        assert due_jobs(fed.model, settings(jobs=3), now=100 * SECOND) == ["j-0", "j-1"]

    def test_nothing_is_due_without_limits(self) -> None:
        fed = Fed()
        fed.job("j-1")
        assert due_jobs(fed.model, settings(), now=10**6 * SECOND) == []

    @pytest.mark.parametrize("state", [None, ExecutionState.NEW, ExecutionState.RUNNING, ExecutionState.PUBLISHING])
    def test_a_job_that_goes_on_is_never_due(self, state: ExecutionState | None) -> None:
        fed = Fed()
        fed.job("j-1", state=state)
        assert due_jobs(fed.model, settings(age=1), now=10**6 * SECOND) == []

    def test_a_job_that_was_stopped_is_not_due_before_its_last_task_has_ended(self) -> None:
        fed = Fed()
        job = fed.job("j-1", state=ExecutionState.RUNNING)
        fed.stop(job)
        assert fed.model.jobs[job].progress.state is JobState.STOPPED
        assert due_jobs(fed.model, settings(age=1), now=10**6 * SECOND) == []
        fed.execution(job, ExecutionState.CANCELLED, ended_at=5)
        assert due_jobs(fed.model, settings(age=1), now=10**6 * SECOND) == [job]

    def test_a_sweep_takes_no_more_than_a_batch(self) -> None:
        fed = Fed()
        for number in range(BATCH + 10):
            fed.job(f"j-{number}", ended_at=number)
        assert len(due_jobs(fed.model, settings(age=1, jobs=1), now=10**6 * SECOND)) == BATCH

    def test_results_are_known_until_they_are_deleted(self) -> None:
        fed = Fed()
        job = fed.job("j-1", state=None)
        fed.execution(job, ExecutionState.COMPLETED, ended_at=5, published=True)
        assert fed.model.endings.published.instant_of(job) == 5 * SECOND
        record = fed.model.execution(new_execution_id(execution_key(job, 1, 0, 0)))
        assert record is not None
        key = subjects.execution_record(execution_key(job, 1, 0, 0))
        fed.feed(key, msgspec.structs.replace(record, result_deleted=7))
        assert fed.model.endings.published.instant_of(job) is None
        assert fed.model.endings.ended.instant_of(job) == 5 * SECOND


class TestOldVersions:
    def test_a_job_with_many_is_known_when_it_rests_and_until_they_are_gone(self) -> None:
        fed = Fed()
        job = fed.job("j-1")
        last = VERSIONS_KEPT + 5
        for version in range(2, last + 1):
            fed.feed(subjects.spec_record(job, version), SpecRecord(job=SPEC))
        record = msgspec.structs.replace(fed.model.jobs[job].job, version=last, failure="it failed")
        fed.feed(subjects.job_record(job), record)
        assert list(fed.model.endings.crowded) == [job]
        for version in range(2, last - VERSIONS_KEPT + 1):
            fed.forget(subjects.spec_record(job, version))
        assert not fed.model.endings.crowded
        assert fed.model.jobs[job].is_complete


class TestAMarkedJob:
    def test_keeps_its_state_while_its_executions_go(self) -> None:
        fed = Fed()
        job = fed.job("j-1")
        fed.mark(job)
        fed.forget(subjects.execution_record(execution_key(job, 1, 0, 0)))
        assert fed.model.jobs[job].progress.state is JobState.COMPLETED
        assert len(fed.model.backlog.pending) == 0, "it is not placed again"

    def test_is_not_removed_while_something_of_it_runs(self) -> None:
        """A deposed leader may have placed a part of it at the last moment."""
        fed = Fed()
        job = fed.job("j-1")
        fed.mark(job)
        store = Store(Connection(["nats://127.0.0.1:1"]), fed.model)
        retention = Retention(
            fed.model,
            store,
            Locations(None),
            Listings(Locations(None)),
            settings=settings(),
            results_seconds=0.0,
            without_record=lambda _: nullcontext(),
        )
        assert retention._may_be_removed(job)
        fed.execution(job, ExecutionState.RUNNING, ended_at=5)
        assert not retention._may_be_removed(job)
        assert fed.model.backlog.surplus, "it is stopped"

    def test_is_not_due_once_more(self) -> None:
        fed = Fed()
        fed.mark(fed.job("j-1"))
        assert due_jobs(fed.model, settings(age=1), now=10**6 * SECOND) == []
        assert list(fed.model.endings.removals) == ["j-1"]


class TestForgetting:
    def test_gives_all_memory_back(self) -> None:
        fed = Fed()
        job = fed.job("j-1")
        fed.feed(subjects.spec_record(job, 2), SpecRecord(job=SPEC))
        fed.mark(job)
        for key in (*fed.model.stored_parts(job), subjects.job_record(job)):
            fed.forget(key)
        model = fed.model
        kept = (
            model._revisions,
            model._entries,
            model.executions._places,
            model.names,
            model.jobs,
            model.executions.live,
            model.backlog.reasons,
        )
        assert all(not each for each in kept)
        assert not list(model.lists.find("*"))
        assert (len(model.backlog.pending), len(model.backlog.deadlines)) == (0, 0)
        assert (model.backlog.job_states.total(), model.executions.states.total(), model.endings.count) == (
            0,
            0,
            0,
        )
        assert not model.endings.removals
        assert not model.endings.strays

    def test_what_a_reader_holds_stays_as_it_was(self) -> None:
        fed = Fed()
        job = fed.job("j-1")
        entry = fed.model.jobs[job]
        fed.mark(job)
        fed.forget(subjects.job_record(job))
        assert (entry.job.id, entry.spec) == (job, SPEC)

    def test_a_mark_that_is_older_than_the_record_forgets_nothing(self) -> None:
        fed = Fed()
        job = fed.job("j-1")
        fed.model.forget(subjects.job_record(job), 1)
        assert job in fed.model.jobs

    def test_a_late_answer_to_ones_own_write_does_not_bring_a_record_back(self) -> None:
        """The feed may have told of the write and of the removal before the answer to the write is read."""
        fed = Fed()
        job = fed.job("j-1")
        record, revision = fed.model.jobs[job].job, fed.model.revision_of(subjects.job_record(job))
        fed.mark(job)
        for key in (*fed.model.stored_parts(job), subjects.job_record(job)):
            fed.forget(key)
        fed.model.followed = fed.revision
        fed.model.apply(subjects.job_record(job), record, revision)
        assert not fed.model._entries

    def test_reading_everything_again_forgets_what_is_not_there(self) -> None:
        fed = Fed()
        gone, kept = fed.job("j-1"), fed.job("j-2")
        left = SeenRevisions()
        for key in (*fed.model.stored_parts(kept), subjects.job_record(kept)):
            left.add(fed.model.revision_of(key))
        fed.model.keep_only(left, fed.revision)
        assert list(fed.model.jobs) == [kept]
        assert gone not in fed.model._entries

    def test_what_is_left_of_a_job_without_a_record_is_a_stray(self) -> None:
        fed = Fed()
        fed.feed(subjects.spec_record(JobId("j-1"), 2), SpecRecord(job=SPEC))
        assert list(fed.model.endings.strays) == ["j-1"]
        assert fed.model.stored_parts(JobId("j-1")) == (subjects.spec_record(JobId("j-1"), 2),)
        fed.forget(subjects.spec_record(JobId("j-1"), 2))
        assert not fed.model.endings.strays


@given(st.lists(st.integers(0, 100)), st.integers(0, 100), st.integers(0, 10))
def test_the_oldest_are_taken_in_their_order(instants: list[int], before: int, most: int) -> None:
    oldest: ByInstant[str] = ByInstant()
    for number, instant in enumerate(instants):
        oldest.put(str(number), instant)
    taken = oldest.take(most, before)
    found = [instants[int(item)] for item in taken]
    assert found == sorted(instant for instant in instants if instant <= before)[:most]
    assert len(oldest) == len(instants) - len(taken)


def test_what_a_version_keeps_that_is_not_old_is_kept_with_it() -> None:
    fed = Fed()
    job = fed.job("j-1")
    for version in range(2, VERSIONS_KEPT + 4):
        keeps = (2,) if version == VERSIONS_KEPT else ()
        fed.feed(subjects.spec_record(job, version), SpecRecord(job=SPEC, keeps=keeps))
        fed.feed(subjects.job_record(job), msgspec.structs.replace(fed.model.jobs[job].job, version=version))
    assert _old_versions(fed.model.jobs[job]) == [1, 3]
