"""Runs of a schedule are found in the order in which they were due, however many there are."""

from collections.abc import Iterator, Mapping
from itertools import islice

from orchestrator.rules.records import RunOf
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.state.schedules import Schedules
from shared.ids import JobId
from shared.jobs.states import DesiredState
from tests.builders import new_job, new_job_record

SCHEDULE = JobId("j-schedule")


class ReadJobs(Mapping[JobId, JobEntry]):
    """The jobs of a model, of which it is noted which are read."""

    def __init__(self, jobs: Mapping[JobId, JobEntry]) -> None:
        self.read: list[JobId] = []
        self._jobs = jobs

    def __getitem__(self, job: JobId) -> JobEntry:
        self.read.append(job)
        return self._jobs[job]

    def __iter__(self) -> Iterator[JobId]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


def a_model(due: Mapping[str, int], *, going: frozenset[str] = frozenset()) -> Model:
    """Runs that were due then, of which all but a few have ended."""
    model = Model(max_attempts=1)
    for revision, (job, at) in enumerate(due.items(), 1):
        desired = DesiredState.RUNNING if job in going else DesiredState.STOPPED
        run = RunOf(job=SCHEDULE, called="nightly", due=at)
        record = new_job_record(job, at=revision, first=new_job(job), run_of=run, desired=desired)
        model.apply(record.key, record, revision)
    return model


def test_runs_are_in_the_order_in_which_they_were_due() -> None:
    model = a_model({"j-b": 20, "j-c": 30, "j-a": 10}, going=frozenset({"j-c"}))
    assert [each.id for each in model.schedules.runs(SCHEDULE)] == ["j-c", "j-b", "j-a"]
    assert [each.id for each in model.schedules.oldest_runs(SCHEDULE, but=1)] == ["j-a", "j-b"]
    assert [each.id for each in model.schedules.oldest_runs(SCHEDULE, but=5)] == []
    assert [each.id for each in model.schedules.going(SCHEDULE)] == ["j-c"]


def test_a_run_that_is_removed_is_not_found() -> None:
    model = a_model({"j-a": 10, "j-b": 20})
    model.forget("job.j-a", 3)
    assert [each.id for each in model.schedules.runs(SCHEDULE)] == ["j-b"]
    model.forget("job.j-b", 4)
    assert [each.id for each in model.schedules.runs(SCHEDULE)] == []


def test_a_look_at_the_newest_runs_reads_no_others() -> None:
    model = a_model({f"j-{number}": number for number in range(1, 50)})
    jobs = ReadJobs(model.jobs)
    schedules = Schedules(jobs)
    for entry in model.jobs.values():
        schedules.note(entry)
    list(islice(schedules.runs(SCHEDULE), 2))
    list(islice(schedules.oldest_runs(SCHEDULE, but=3), 1))
    assert jobs.read == ["j-49", "j-48", "j-1"]
