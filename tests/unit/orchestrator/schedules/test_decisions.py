"""Decisions about schedules: no due time gets two runs, and none is lost without being told."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.rules.records import MAX_EVENTS, JobRecord, ScheduleState
from orchestrator.schedules.decisions import (
    COUNTED,
    MOST_GOING,
    MOST_MADE_UP,
    Decision,
    GoingOn,
    begun_record,
    decide,
    decided_record,
    paused_record,
    refused_record,
    resumed_record,
)
from orchestrator.schedules.runs import DUE_VARIABLE, LABEL, run_job
from shared.ids import JobId, new_job_id, new_run_id
from shared.jobs.rules import MAX_NAME
from shared.jobs.schedules import SECOND_NS, due_between
from shared.jobs.spec import Schedule
from tests.builders import new_job, new_job_record

MINUTE, HOUR, DAY = 60 * SECOND_NS, 3600 * SECOND_NS, 86400 * SECOND_NS
NOON = 1_780_000_000 * SECOND_NS // DAY * DAY + 12 * HOUR
HOURLY = Schedule(cron="0 * * * *")


def record(up_to: int = NOON, **more: object) -> JobRecord:
    return new_job_record(name="nightly", schedule=ScheduleState(decided=up_to, **more))  # type: ignore[arg-type]


def decided(schedule: Schedule, up_to: int, *, now: int, going: int = 0) -> Decision:
    found = decide(schedule, up_to, now=now, going=going)
    assert found is not None
    return found


class TestMissedRuns:
    def test_a_run_begins_when_it_is_due(self) -> None:
        assert decide(HOURLY, NOON, now=NOON + HOUR - 1) is None
        found = decided(HOURLY, NOON, now=NOON + HOUR)
        assert (found.begin, found.missed) == ((NOON + HOUR,), 0)

    def test_after_an_outage_one_run_makes_up_for_all(self) -> None:
        found = decided(HOURLY, NOON, now=NOON + 5 * HOUR + 30 * MINUTE)
        assert (found.begin, found.missed) == ((NOON + 5 * HOUR,), 4)

    def test_a_run_that_is_due_just_now_makes_up_for_those_before(self) -> None:
        found = decided(HOURLY, NOON, now=NOON + 5 * HOUR + SECOND_NS)
        assert (found.begin, found.missed) == ((NOON + 5 * HOUR,), 4)

    def test_nothing_is_made_up_for_after_the_deadline(self) -> None:
        weekly = Schedule(cron="0 12 * * *", starting_deadline="2h")
        found = decided(weekly, NOON, now=NOON + DAY + 3 * HOUR)
        assert (found.begin, found.missed) == ((), 1)

    def test_with_skip_nothing_is_made_up_for_but_a_take_over_is_no_outage(self) -> None:
        skip = replace(HOURLY, missed="skip")
        late, soon = (decided(skip, NOON, now=NOON + HOUR + after) for after in (2 * MINUTE, 10 * SECOND_NS))
        assert (late.begin, late.missed) == ((), 1)
        assert (soon.begin, soon.missed) == ((NOON + HOUR,), 0)

    def test_with_all_there_is_one_run_for_each_up_to_a_bound(self) -> None:
        every = Schedule(cron="* * * * *", missed="all", overlap="allow")
        few, many = decided(every, NOON, now=NOON + 50 * MINUTE), decided(every, NOON, now=NOON + 150 * MINUTE)
        assert (len(few.begin), few.missed) == (50, 0)
        assert (len(many.begin), many.missed, many.begin[-1]) == (MOST_MADE_UP, 50, NOON + 150 * MINUTE)


class TestClocks:
    def test_a_clock_that_is_set_back_decides_nothing_again(self) -> None:
        assert decide(HOURLY, NOON + 5 * HOUR, now=NOON + 2 * HOUR) is None

    def test_a_clock_that_jumps_by_a_century_begins_one_run(self) -> None:
        found = decided(Schedule(cron="* * * * *"), NOON, now=NOON + 36500 * DAY)
        assert len(found.begin) == 1
        assert found.missed == COUNTED - 1


class TestOverlap:
    def test_a_run_is_left_out_while_another_goes_on(self) -> None:
        found = decided(HOURLY, NOON, now=NOON + HOUR, going=1)
        assert (found.begin, found.left_out) == ((), (NOON + HOUR,))

    def test_with_replace_and_with_allow_it_begins(self) -> None:
        for overlap in ("replace", "allow"):
            found = decided(replace(HOURLY, overlap=overlap), NOON, now=NOON + HOUR, going=1)
            assert found is not None
            assert found.begin == (NOON + HOUR,)

    def test_no_schedule_has_runs_without_bound(self) -> None:
        found = decided(replace(HOURLY, overlap="allow"), NOON, now=NOON + HOUR, going=MOST_GOING)
        assert (found.begin, found.left_out) == ((), (NOON + HOUR,))


looks = st.lists(st.integers(-90, 400), min_size=1, max_size=30)
"""By how many minutes the clock of whoever leads differs at each look from the one before."""


class TestAnySequenceOfLooks:
    @given(
        looks,
        st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *"]),
        st.sampled_from(["", "skip", "all"]),
        st.sampled_from(["", "replace", "allow"]),
        st.integers(0, 2),
    )
    def test_each_due_time_is_decided_once(
        self, steps: list[int], cron: str, missed: str, overlap: str, going: int
    ) -> None:
        schedule = Schedule(cron=cron, time_zone="Europe/Berlin", missed=missed, overlap=overlap)
        now, up_to, told = NOON, NOON, list[int]()
        counted = 0
        for step in steps:
            now += step * MINUTE
            found = decide(schedule, up_to, now=now, going=going)
            if found is None:
                continue
            assert found.decided >= up_to
            told += (*found.begin, *found.left_out)
            counted += found.missed + len(found.begin) + len(found.left_out)
            assert all(up_to < each <= now for each in (*found.begin, *found.left_out))
            up_to = found.decided
        assert len(set(told)) == len(told), "no due time is decided about twice"
        every = due_between(schedule, NOON, up_to)
        if len(every) < COUNTED:
            assert counted == len(every), "each begins, is left out, or is told to be missed"

    @given(st.lists(st.integers(1, 90), min_size=1, max_size=20))
    def test_with_all_none_is_lost(self, steps: list[int]) -> None:
        schedule = Schedule(cron="* * * * *", missed="all", overlap="allow")
        now = up_to = NOON
        begun = list[int]()
        for step in steps:
            now += step * MINUTE
            found = decided(schedule, up_to, now=now)
            begun += found.begin
            up_to = found.decided
        assert begun == due_between(schedule, NOON, now)


class TestRecords:
    def test_what_is_decided_is_written_before_it_is_begun(self) -> None:
        found = decided(HOURLY, NOON, now=NOON + 3 * HOUR + 30 * MINUTE)
        after = decided_record(record(), HOURLY, found, GoingOn(), now=NOON + 3 * HOUR + 30 * MINUTE)
        assert after.schedule == ScheduleState(decided=found.decided, due=(NOON + 3 * HOUR,), missed=2)
        assert after.events[-1].message.startswith("2 runs missed, of ")

    def test_a_run_that_began_twice_is_told_once(self) -> None:
        before = record(due=(NOON,))
        once = begun_record(before, HOURLY, NOON, JobId("j-2"), "nightly-1", now=NOON)
        assert once.schedule == ScheduleState(decided=NOON, begun=1)
        assert begun_record(once, HOURLY, NOON, JobId("j-2"), "nightly-1", now=NOON) is once

    def test_a_run_that_cannot_begin_is_told_as_an_error(self) -> None:
        after = refused_record(record(due=(NOON,)), HOURLY, NOON, "There is no such secret.", now=NOON)
        assert after.schedule == ScheduleState(decided=NOON, refused=1)
        assert after.events[-1].details["IsError"] == "true"
        assert "no such secret" in after.events[-1].message

    def test_what_was_due_while_it_was_paused_is_not_made_up_for(self) -> None:
        paused = paused_record(record(due=(NOON,)), "too costly", now=NOON)
        assert paused.schedule == ScheduleState(decided=NOON, paused=NOON)
        resumed = resumed_record(paused, "", now=NOON + DAY)
        assert resumed.schedule == ScheduleState(decided=NOON + DAY)

    def test_a_clock_that_was_ahead_is_mended_by_resuming(self) -> None:
        assert resumed_record(record(NOON + 365 * DAY), "", now=NOON).schedule == ScheduleState(decided=NOON)

    def test_the_record_of_a_schedule_that_runs_for_years_stays_small(self) -> None:
        job, now = record(), NOON
        for number in range(1, 200):
            now = NOON + number * HOUR
            found = decided(HOURLY, job.schedule.decided if job.schedule else 0, now=now)
            job = decided_record(job, HOURLY, found, GoingOn(), now=now)
            job = begun_record(job, HOURLY, now, JobId("j-2"), "nightly-1", now=now)
        assert len(job.events) == MAX_EVENTS
        assert job.schedule == ScheduleState(decided=now, begun=199)


class TestRuns:
    def test_a_run_knows_when_it_was_due_and_whose_it_is(self) -> None:
        run = run_job(new_job("nightly", schedule=HOURLY), NOON)
        assert run.name.startswith("nightly-2")
        assert run.name.endswith("T1200Z")
        assert not run.schedule
        assert run.labels == {LABEL: "nightly"}
        assert run.task.env[DUE_VARIABLE].endswith("T12:00:00Z")

    def test_a_long_name_leaves_room_for_the_time(self) -> None:
        assert len(run_job(new_job("n" * MAX_NAME, schedule=HOURLY), NOON).name) == MAX_NAME

    def test_no_idempotency_token_can_name_a_run(self) -> None:
        schedule = JobId("j-1")
        run = new_run_id(schedule, str(NOON))
        assert run == new_run_id(schedule, str(NOON))
        assert run != new_run_id(schedule, str(NOON + 1))
        for token in (f"run of {schedule} {NOON}", f" {schedule} {NOON}", f"of {schedule} {NOON}"):
            assert run not in {new_job_id(token, "default"), new_job_id(token), new_job_id(token, "run")}
