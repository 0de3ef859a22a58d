"""Schedules over a real store: each due time makes one run, whoever leads, whatever the clock does, and once only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from orchestrator.admission.schedule_limits import ScheduleTooFrequent, TooManySchedules
from orchestrator.admission.task_secrets import SecretUnknown
from orchestrator.jobs.submissions import PublisherNotReady
from orchestrator.rules.records import OF_SCHEDULES
from orchestrator.schedules.changes import NotASchedule, ScheduleChanges, ScheduleStopped
from orchestrator.schedules.decisions import GoingOn, decide, decided_record
from orchestrator.schedules.runs import DUE_VARIABLE, ScheduledRuns, run_job
from orchestrator.schedules.timetable import Timetable
from orchestrator.state.job_entry import JobEntry
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from shared.errors import InvalidJob, IsSchedule, JobUnchanged
from shared.jobs.durations import Duration
from shared.jobs.schedules import SECOND_NS, schedule_of
from shared.jobs.spec import Job, Schedule
from shared.jobs.states import DesiredState, JobState
from shared.settings.schedules import ScheduleSettings
from tests.builders import new_job, new_task
from tests.integration.desk import Desk, desk_over
from tests.nats_bus import Bus

HOUR, DAY = 3600 * SECOND_NS, 86400 * SECOND_NS


class Clock:
    """One that the test sets: it stands on the next full hour, before which a schedule was submitted."""

    def __init__(self) -> None:
        self.now = now_ns() // HOUR * HOUR + HOUR

    def __call__(self) -> int:
        return self.now


class Leader:
    """What a leader has for schedules, over a desk of its own."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self.desk, self.measures, self.waited = desk, Measures(), 0.0
        self.timetable = Timetable(
            desk.model,
            desk.store,
            desk.submissions,
            self.measures,
            with_results=False,
            now=clock,
            clock=lambda: self.waited,
        )
        self.changes = ScheduleChanges(desk.model, desk.store, ScheduledRuns(desk.model, desk.store, desk.submissions))

    async def look(self) -> None:
        await self.timetable.look()
        self.waited += 60

    @property
    def runs(self) -> list[JobEntry]:
        (schedule,) = self.desk.model.schedules.live.get("default") or self.desk.model.jobs
        return list(self.desk.model.schedules.runs(schedule))

    def schedule(self, name: str = "nightly") -> JobEntry:
        return self.desk.model.names.find(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def leader(bus: Bus, clock: Clock) -> AsyncIterator[Leader]:
    async with leading(bus, clock) as made:
        yield made


@asynccontextmanager
async def leading(bus: Bus, clock: Clock) -> AsyncIterator[Leader]:
    async with desk_over(bus.connection) as desk:
        yield Leader(desk, clock)


def hourly(**more: Any) -> Job:
    return new_job("nightly", schedule=Schedule(cron="0 * * * *", **more))


async def submit(leader: Leader, job: Job) -> JobEntry:
    done = await leader.desk.submissions.submit(job)
    return leader.desk.model.jobs[done.job_id]


def told(entry: JobEntry) -> list[str]:
    return [event.message for event in entry.job.events]


async def stop(leader: Leader, run: JobEntry) -> None:
    await leader.desk.submissions.stop(run, "")


async def decided(leader: Leader, clock: Clock) -> JobEntry:
    """A schedule about whose first run it was decided, which has not begun."""
    schedule = await submit(leader, hourly())
    state, spec = schedule.job.schedule, schedule_of(schedule.spec)
    assert state is not None
    assert spec is not None
    found = decide(spec, state.decided, now=clock())
    assert found is not None
    record = decided_record(schedule.job, spec, found, GoingOn(), now=clock())
    await leader.desk.store.update(record.key, record)
    return schedule


class TestRuns:
    async def test_each_due_time_makes_one_run_which_is_a_job_of_its_own(self, leader: Leader, clock: Clock) -> None:
        schedule = await submit(leader, hourly())
        assert schedule.progress.state is JobState.RUNNING
        assert not schedule.progress.missing, "nothing of the schedule itself is placed"
        for _ in range(3):
            await leader.look()
            await leader.look()
            for run in leader.runs:
                if not run.progress.state.is_terminal:
                    await stop(leader, run)
            clock.now += HOUR
        assert len(leader.runs) == 3
        run = leader.runs[-1]
        assert run.name == leader.runs[-1].job.name
        assert run.name.startswith("nightly-20")
        assert run.job.run_of is not None
        assert (run.job.run_of.job, run.job.run_of.called) == (schedule.id, "nightly")
        assert not run.spec.schedule
        assert run.spec.task.env[DUE_VARIABLE].endswith(":00:00Z")
        assert leader.measures.scheduled_runs["begun"] == 3

    async def test_an_older_program_leaves_both_alone(self, leader: Leader) -> None:
        schedule = await submit(leader, hourly())
        await leader.look()
        assert [each.job.schema for each in (schedule, *leader.runs)] == [OF_SCHEDULES] * 2

    async def test_a_name_that_is_taken_stays_with_its_job(self, leader: Leader, clock: Clock) -> None:
        schedule = await submit(leader, hourly())
        theirs = await submit(leader, new_job(run_job(schedule.spec, clock()).name))
        await leader.look()
        (run,) = leader.runs
        assert theirs.job.version == 1
        assert run.name == run.id

    async def test_what_it_asks_for_and_is_gone_is_told_and_counted(self, leader: Leader, clock: Clock) -> None:
        task = replace(new_task(), env={"TOKEN": "secret:token"})
        await leader.desk.secrets.put("default", "token", b"value")
        schedule = await submit(leader, replace(hourly(), tasks=(task,)))
        await leader.desk.secrets.delete("default", "token")
        await leader.look()
        assert not leader.runs
        assert leader.measures.scheduled_runs["refused"] == 1
        assert "could not begin: The task asks for the secret 'token'" in told(schedule)[-1]
        await leader.desk.secrets.put("default", "token", b"value")
        clock.now += HOUR
        await leader.look()
        assert len(leader.runs) == 1


class TestTakingOver:
    async def test_what_was_decided_and_not_begun_is_begun_by_who_leads_next(self, bus: Bus, clock: Clock) -> None:
        async with leading(bus, clock) as first:
            schedule = await decided(first, clock)  # and here it is killed
            due = schedule.job.schedule.due if schedule.job.schedule else ()
            assert due == (clock(),)
        async with leading(bus, clock) as second:
            clock.now += 90 * SECOND_NS
            await second.look()
            assert [each.job.run_of and each.job.run_of.due for each in second.runs] == list(due)
            assert "90 s late" in told(second.schedule())[-1]

    async def test_what_was_begun_and_not_told_is_not_begun_again(self, bus: Bus, clock: Clock) -> None:
        async with leading(bus, clock) as first:
            schedule = await decided(first, clock)
            runs = ScheduledRuns(first.desk.model, first.desk.store, first.desk.submissions)
            begun = await runs.begin(schedule, clock())  # and here it is killed, before anything is told
        async with leading(bus, clock) as second:
            await second.look()
            assert [each.id for each in second.runs] == [begun]
            state = second.schedule().job.schedule
            assert state is not None
            assert (state.begun, state.due) == (1, ())

    async def test_two_that_both_think_they_lead_begin_each_run_once(self, bus: Bus, clock: Clock) -> None:
        async with leading(bus, clock) as first, leading(bus, clock) as second:
            await submit(first, hourly(overlap="allow"))
            await second.desk.store.catch_up()
            for _ in range(5):
                for _ in range(2):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(first.look(), name="the one")
                        group.create_task(second.look(), name="the other")
                clock.now += HOUR
            await first.desk.store.catch_up()
            assert len(first.runs) == 5
            assert first.measures.scheduled_runs["begun"] + second.measures.scheduled_runs["begun"] == 5

    async def test_a_run_that_was_deleted_is_not_begun_again(self, leader: Leader, clock: Clock) -> None:
        schedule = await submit(leader, hourly())
        runs = ScheduledRuns(leader.desk.model, leader.desk.store, leader.desk.submissions)
        run = await runs.begin(schedule, clock())
        await leader.desk.store.delete(leader.desk.model.jobs[run].job.key)
        assert await runs.begin(schedule, clock()) == run
        assert run not in leader.desk.model.jobs


class TestClocksAndOutages:
    async def test_a_clock_that_is_set_back_makes_no_run_twice(self, leader: Leader, clock: Clock) -> None:
        await submit(leader, hourly(overlap="allow"))
        for step in (0, HOUR, -5 * HOUR, 2 * HOUR, 2 * HOUR, 2 * HOUR):
            clock.now += step
            await leader.look()
        due = [each.job.run_of.due for each in leader.runs if each.job.run_of]
        assert len(due) == len(set(due)) == 3

    async def test_a_clock_that_is_years_ahead_makes_one_run_and_resuming_mends_it(
        self, leader: Leader, clock: Clock
    ) -> None:
        schedule = await submit(leader, hourly())
        right = clock.now
        clock.now += 20_000 * DAY
        await leader.look()
        assert len(leader.runs) == 1
        await stop(leader, leader.runs[0])
        clock.now = right + HOUR
        await leader.look()
        assert len(leader.runs) == 1, "nothing is due before what was decided"
        await leader.changes.resume(schedule)
        await leader.look()
        assert len(leader.runs) == 2

    async def test_an_outage_is_told_in_the_history_and_made_up_for_once(self, leader: Leader, clock: Clock) -> None:
        schedule = await submit(leader, hourly())
        clock.now += 5 * HOUR + 1800 * SECOND_NS
        await leader.look()
        assert len(leader.runs) == 1
        assert leader.measures.scheduled_runs["missed"] == 5
        assert any(each.startswith("5 runs missed, of ") for each in told(schedule))

    async def test_with_all_each_run_of_an_outage_is_made_up_for(self, leader: Leader, clock: Clock) -> None:
        await submit(leader, hourly(missed="all", overlap="allow"))
        clock.now += 5 * HOUR
        await leader.look()
        assert len({each.spec.task.env[DUE_VARIABLE] for each in leader.runs}) == 6

    async def test_what_cannot_begin_for_now_is_tried_again_until_its_deadline(
        self, leader: Leader, clock: Clock
    ) -> None:
        publishing = (new_task(publisher="s3managed"),)
        schedule = await submit(leader, replace(hourly(starting_deadline="10m"), tasks=publishing))
        leader.desk.publisher_problem = PublisherNotReady("The bucket is away.")
        await leader.look()
        assert not leader.runs
        leader.desk.publisher_problem = None
        await leader.look()
        assert len(leader.runs) == 1
        await stop(leader, leader.runs[0])
        leader.desk.publisher_problem = PublisherNotReady("The bucket is away.")
        clock.now += HOUR
        await leader.look()
        assert len(leader.runs) == 1
        clock.now += 11 * 60 * SECOND_NS
        await leader.look()
        assert "could not begin: The bucket is away." in told(schedule)[-1]


class TestOverlap:
    async def test_a_run_is_left_out_while_the_one_before_goes_on(self, leader: Leader, clock: Clock) -> None:
        schedule = await submit(leader, hourly())
        await leader.look()
        clock.now += HOUR
        await leader.look()
        assert len(leader.runs) == 1
        assert told(schedule)[-1].endswith(f"left out: run {leader.runs[0].name} goes on")

    async def test_with_replace_the_one_before_is_stopped(self, leader: Leader, clock: Clock) -> None:
        await submit(leader, hourly(overlap="replace"))
        await leader.look()
        clock.now += HOUR
        await leader.look()
        newest, oldest = leader.runs
        assert (newest.job.desired, oldest.job.desired) == (DesiredState.RUNNING, DesiredState.STOPPED)

    async def test_of_ended_runs_the_last_ones_are_kept(self, leader: Leader, clock: Clock) -> None:
        await submit(leader, hourly(keep=2))
        for _ in range(5):
            await leader.look()
            await stop(leader, leader.runs[0])
            clock.now += HOUR
        await leader.look()
        marked = [each for each in leader.runs if each.job.removal is not None]
        assert len(marked) == 3
        assert marked == leader.runs[-3:], "the oldest"


class TestUsers:
    async def test_a_paused_schedule_begins_nothing_and_makes_up_for_nothing(
        self, leader: Leader, clock: Clock
    ) -> None:
        schedule = await submit(leader, hourly())
        assert await leader.changes.pause(schedule, "too costly")
        assert not await leader.changes.pause(schedule)
        clock.now += 3 * HOUR
        await leader.look()
        assert not leader.runs
        assert told(schedule)[-1] == "Schedule paused: too costly"

    async def test_a_run_may_be_asked_for_at_any_time_and_once_for_a_token(self, leader: Leader) -> None:
        schedule = await submit(leader, hourly())
        await leader.changes.pause(schedule)
        first = await leader.changes.run_now(schedule, token="t-1")
        assert await leader.changes.run_now(schedule, token="t-1") == first
        assert await leader.changes.run_now(schedule) != first
        assert len(leader.runs) == 2
        state = schedule.job.schedule
        assert state is not None
        assert state.begun == 2

    async def test_a_stopped_schedule_begins_nothing_and_leaves_its_runs_alone(
        self, leader: Leader, clock: Clock
    ) -> None:
        schedule = await submit(leader, hourly())
        await leader.look()
        await stop(leader, schedule)
        assert schedule.progress.state is JobState.STOPPED
        clock.now += HOUR
        await leader.look()
        (run,) = leader.desk.model.schedules.runs(schedule.id)
        assert run.job.desired is DesiredState.RUNNING
        with pytest.raises(ScheduleStopped):
            await leader.changes.run_now(schedule)
        again = await submit(leader, hourly())
        assert (again.job.version, again.progress.state) == (2, JobState.RUNNING)

    async def test_another_version_takes_its_place_and_one_without_schedule_runs_once(
        self, leader: Leader, clock: Clock
    ) -> None:
        schedule = await submit(leader, hourly())
        with pytest.raises(JobUnchanged):
            await submit(leader, hourly())
        hour = clock() // HOUR % 24
        await submit(leader, replace(hourly(), schedule=f"30 {hour} * * *"))
        await leader.look()
        assert not leader.runs
        clock.now += HOUR // 2
        await leader.look()
        assert len(leader.runs) == 1
        await submit(leader, new_job("nightly"))
        assert schedule.progress.state is JobState.PENDING
        assert schedule.progress.missing
        with pytest.raises(NotASchedule):
            await leader.changes.pause(schedule)

    async def test_a_schedule_is_not_run_again_and_needed_by_none(self, leader: Leader) -> None:
        schedule = await submit(leader, hourly())
        with pytest.raises(IsSchedule):
            await leader.desk.submissions.rerun(schedule, 0, "")
        with pytest.raises(InvalidJob, match="is a schedule"):
            await submit(leader, new_job("report", needs=("nightly",)))
        with pytest.raises(InvalidJob, match="a schedule, which never ends"):
            await leader.desk.submit(replace(hourly(), name="weekly"), new_job("report", needs=("weekly",)))

    async def test_a_run_needs_what_there_is_when_it_is_due(self, leader: Leader) -> None:
        prepare = await submit(leader, new_job("prepare"))
        schedule = await submit(leader, replace(hourly(), needs=("prepare",)))
        assert not schedule.needs, "the schedule itself waits for nothing"
        await submit(leader, new_job("prepare", priority=3))
        await leader.look()
        (run,) = leader.runs
        assert [(each.job, each.version) for each in run.needs] == [(prepare.id, 2)]

    async def test_a_secret_that_is_not_there_is_told_at_once(self, leader: Leader) -> None:
        task = replace(new_task(), env={"TOKEN": "secret:token"})
        with pytest.raises(SecretUnknown):
            await submit(leader, replace(hourly(), tasks=(task,)))


class TestLimits:
    async def test_a_namespace_has_as_many_schedules_as_it_may(self, bus: Bus) -> None:
        async with desk_over(bus.connection, ScheduleSettings(per_namespace=2)) as desk:
            for name in ("one", "two"):
                await desk.submissions.submit(replace(hourly(), name=name))
            with pytest.raises(TooManySchedules):
                await desk.submissions.submit(replace(hourly(), name="three"))
            await desk.submissions.submit(replace(hourly(), name="two", priority=3))
            await desk.submissions.submit(replace(hourly(), name="three", namespace="other"))
            await desk.submissions.stop(desk.model.names.find("one"), "")
            await desk.submissions.submit(replace(hourly(), name="three"))

    async def test_runs_are_as_far_apart_as_they_have_to_be(self, bus: Bus) -> None:
        async with desk_over(bus.connection, ScheduleSettings(least_interval=Duration(1800))) as desk:
            with pytest.raises(ScheduleTooFrequent):
                await desk.submissions.submit(new_job("often", schedule="*/20 * * * *"))
            await desk.submissions.submit(new_job("often", schedule="*/30 * * * *"))
