"""After a failed attempt the next one waits: by what failed, longer each time, and the same for every orchestrator."""

import time
from collections.abc import Iterator

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from orchestrator.dispatch.scheduler import wanted
from orchestrator.rules.attempts import AttemptBackoff, Budget
from orchestrator.rules.job_progress import progress
from orchestrator.rules.records import ExecutionRecord, Failure, JobRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.ids import JobId
from shared.jobs.spec import Retries
from shared.jobs.states import Cause, ExecutionState, FailureReason, JobState
from shared.protocol import subjects
from tests.builders import new_execution, new_job, new_job_record, new_task

S, R = ExecutionState, FailureReason
SECOND = 10**9
FAILED_AT = 1_000 * SECOND
JOB = JobId("j-1")
NO_RETRIES = Retries()
BACKOFF = AttemptBackoff(floor_seconds=1.0, ceiling_seconds=300.0)
OUTAGES = [R.IMAGE_NOT_PULLED, R.ENGINE_UNAVAILABLE, R.CONTAINER_LOST]


def failed(
    attempt: int = 0,
    reason: str = R.NODE_ERROR,
    *,
    partition: int = 0,
    state: ExecutionState = S.FAILED,
    retryable: bool = True,
    at: int = FAILED_AT,
    job: JobId = JOB,
) -> ExecutionRecord:
    return new_execution(
        state,
        of=job,
        partition=partition,
        attempt=attempt,
        modify_time=at,
        failure=Failure(reason=reason, retryable=retryable),
    )


def seconds(reason: str, failures: int = 1, *, backoff: AttemptBackoff = BACKOFF, attempt: int = 0) -> float:
    record = failed(attempt, reason)
    return (backoff.due(record, failures) - record.modify_time) / SECOND


class TestBackoff:
    @pytest.mark.parametrize("reason", [each for each in FailureReason if each.cause is not Cause.TASK])
    def test_no_wait_is_below_the_floor_or_above_the_ceiling(self, reason: FailureReason) -> None:
        if reason.cause is Cause.NOT_TRIED:
            assert BACKOFF.due(failed(reason=reason), 1) == 0, "where nothing was tried, another node is asked at once"
            return
        waits = [seconds(reason, failures) for failures in range(1, 100)]
        assert min(waits) >= 1.0
        assert max(waits) <= 300.0

    @pytest.mark.parametrize("reason", OUTAGES)
    def test_five_attempts_outlast_an_engine_or_a_registry_that_is_away_for_half_a_minute(self, reason: str) -> None:
        for number in range(200):
            waits = [seconds(reason, failures, attempt=5 * number + failures) for failures in range(1, 5)]
            assert sum(waits) > 58.0
            assert waits[0] < 8.1, "and yet who is back soon is not waited for much longer"

    def test_five_attempts_are_never_spent_within_a_second(self) -> None:
        assert sum(seconds(R.NODE_ERROR, failures) for failures in range(1, 5)) > 10.0

    def test_what_failed_together_does_not_come_back_together(self) -> None:
        waits = {round(seconds(R.IMAGE_NOT_PULLED, attempt=number), 2) for number in range(100)}
        assert len(waits) > 50
        assert max(waits) - min(waits) > 2.0

    def test_a_full_node_is_asked_again_after_a_while_and_one_that_stops_is_left_at_once(self) -> None:
        assert BACKOFF.due(failed(reason="QueueFull", state=S.REJECTED), 1) > FAILED_AT
        assert BACKOFF.due(failed(reason="NodeStopping", state=S.REJECTED), 1) == 0

    @pytest.mark.parametrize(("reason", "state"), [("HandedBack", S.FAILED), ("NodeStopping", S.REJECTED)])
    def test_a_node_that_gives_back_what_it_is_given_is_not_asked_as_fast_as_it_can(
        self, reason: str, state: ExecutionState
    ) -> None:
        in_order = failed(reason=reason, state=state)
        assert BACKOFF.due(in_order, 9) == 0, "as where a fleet is drained, one node after the other"
        unasked = replace(in_order, failure=Failure(reason=reason, retryable=True, excused=True))
        assert BACKOFF.due(unasked, 1) >= FAILED_AT + SECOND

    def test_after_a_refusal_for_good_another_node_is_asked_at_once(self) -> None:
        assert BACKOFF.due(failed(reason="InvalidTask", state=S.REJECTED, retryable=False), 1) == 0

    def test_a_node_that_refuses_for_want_of_its_engine_is_waited_for_as_for_an_engine(self) -> None:
        assert BACKOFF.due(failed(reason="EngineUnavailable", state=S.REJECTED), 1) >= FAILED_AT + 4 * SECOND

    def test_the_ceiling_holds_where_it_is_near_the_floor(self) -> None:
        near = AttemptBackoff(floor_seconds=2.0, ceiling_seconds=2.0)
        assert {seconds(R.CONTAINER_LOST, failures, backoff=near) for failures in range(1, 9)} == {2.0}


def submitted(job: JobId, count: int, retries: Retries = NO_RETRIES, most: int = 0) -> JobRecord:
    task = new_task(fail_on_exit_code=retries.max > 0, retries=retries)
    parallel = most or UNSET
    spec = new_job(job, count=count, tasks=(task,), namespace="default", max_parallel=parallel)
    return new_job_record(job, first=spec)


class Orchestrator:
    """One that has been fed with these records."""

    def __init__(
        self, *executions: ExecutionRecord, count: int = 1, retries: Retries = NO_RETRIES, most: int = 0
    ) -> None:
        self.model = Model(max_attempts=5, backoff=BACKOFF)
        self.add(JOB, *executions, count=count, retries=retries, most=most)

    def add(
        self,
        job: JobId,
        *executions: ExecutionRecord,
        count: int = 1,
        retries: Retries = NO_RETRIES,
        most: int = 0,
    ) -> None:
        self.model.apply(subjects.job_record(job), submitted(job, count, retries, most), 1)
        for revision, each in enumerate(executions, start=2):
            self.model.apply(each.key, each, revision)

    def placeable(self, now: int) -> list[tuple[int, int]]:
        self.model.backlog.release(now)
        return list(self._missing(now))

    def _missing(self, now: int) -> Iterator[tuple[int, int]]:
        for each in wanted(self.model, now):
            yield from each.missing

    @property
    def due(self) -> int:
        assert self.model.backlog.waiting.instant is not None
        return self.model.backlog.waiting.instant


def test_what_never_failed_waits_for_nothing() -> None:
    fresh = Orchestrator(count=2)
    assert fresh.placeable(0) == [(0, 0), (1, 0)]
    assert len(fresh.model.backlog.waiting) == 0


def test_a_part_that_failed_is_placed_when_its_wait_is_over_and_not_before() -> None:
    leader = Orchestrator(failed())
    assert leader.placeable(leader.due - 1) == []
    assert leader.model.jobs[JOB].progress.state is JobState.PENDING
    assert leader.model.backlog.reasons[JOB].startswith("Waiting until 00:16:4"), "so that people see what it waits for"
    assert leader.placeable(leader.due) == [(0, 1)]


def test_an_orchestrator_that_takes_over_or_was_restarted_waits_for_the_same_instant() -> None:
    attempts = (failed(0), failed(1, R.IMAGE_NOT_PULLED), failed(2, R.DISK_FULL, at=FAILED_AT + 9 * SECOND))
    before, after = Orchestrator(*attempts), Orchestrator(*reversed(attempts))
    assert before.due == after.due > FAILED_AT + 12 * SECOND
    assert after.placeable(after.due - 1) == []
    assert after.placeable(after.due) == [(0, 3)]


def test_other_parts_do_not_wait_for_one_that_failed() -> None:
    leader = Orchestrator(failed(partition=1), count=3)
    assert leader.placeable(leader.due - 1) == [(0, 0), (2, 0)]
    assert leader.placeable(leader.due) == [(0, 0), (1, 1), (2, 0)]


def test_a_part_that_is_due_stays_so_while_another_part_fails() -> None:
    leader = Orchestrator(failed(partition=0), count=2)
    now = leader.due
    assert leader.placeable(now) == [(0, 1), (1, 0)]
    again = failed(partition=1, at=now)
    leader.model.apply(again.key, again, 9)
    assert leader.placeable(now + 1) == [(0, 1)]
    assert leader.placeable(leader.due) == [(0, 1), (1, 1)]


def test_no_wait_is_longer_than_the_longest_although_who_led_before_had_a_clock_that_was_ahead() -> None:
    leader = Orchestrator(failed(at=FAILED_AT + 3600 * SECOND))
    assert leader.placeable(FAILED_AT) == [(0, 1)]
    assert leader.placeable(FAILED_AT + 1) == [(0, 1)], "also where there was no room for it at once"


def test_nor_where_others_wait_that_failed_by_a_clock_that_is_right() -> None:
    leader, late = Orchestrator(failed()), JobId("j-2")
    leader.add(late, failed(at=FAILED_AT + 3600 * SECOND, job=late))
    leader.model.backlog.release(FAILED_AT)
    assert [each.job_id for each in wanted(leader.model, FAILED_AT)] == [late]


def test_many_parts_that_are_tried_for_nothing_are_looked_at_once_each() -> None:
    """Else a change of one of them would take seconds, in which nobody is heard: sixteen times as long for four."""

    def seconds(many: int) -> float:
        refused = [failed(at, "Odd", partition=part, state=S.REJECTED) for part in range(many) for at in range(5)]
        begun, budget = time.thread_time(), Budget(max_attempts=5)
        found = progress(submitted(JOB, many), many, refused, budget=budget, backoff=BACKOFF, is_later=lambda _: False)
        assert len(found.missing) == many
        return time.thread_time() - begun

    few, many = (min(seconds(count) for _ in range(3)) for count in (1000, 4000))
    assert many < 9 * few


class TestBackoffOfAJob:
    """That between attempts of a task that fails by its exit code."""

    HALF_AN_HOUR = Retries(max=9, back_off="30m")

    def wait(self, failures: int, retries: Retries, *, backoff: AttemptBackoff = BACKOFF, attempt: int = 0) -> float:
        return (backoff.due(failed(attempt, R.NON_ZERO_EXIT_CODE), failures, retries) - FAILED_AT) / SECOND

    def test_the_job_s_wait_doubles_up_to_the_ceiling_and_is_drawn_from_its_upper_half(self) -> None:
        retries = Retries(max=9, back_off="40s")
        waits = [self.wait(failures, retries) for failures in range(1, 9)]
        for wait, longest in zip(waits, (40, 80, 160, 300, 300, 300, 300, 300), strict=True):
            assert longest / 2 <= wait <= longest
        assert len({round(self.wait(1, retries, attempt=number), 2) for number in range(100)}) > 50

    def test_one_above_the_ceiling_is_waited_for_and_not_doubled(self) -> None:
        assert 900 <= self.wait(1, self.HALF_AN_HOUR) <= 1800
        assert 900 <= self.wait(9, self.HALF_AN_HOUR) <= 1800

    def test_none_is_shorter_than_the_orchestrator_s_floor_and_without_one_the_job_s_is_kept(self) -> None:
        assert self.wait(1, Retries(max=1, back_off="0s")) == 1.0
        no_floor = AttemptBackoff(ceiling_seconds=300.0)
        assert 5 <= self.wait(1, Retries(max=1, back_off="10s"), backoff=no_floor) <= 10

    def test_without_a_wish_of_the_job_it_is_as_after_other_failures(self) -> None:
        assert self.wait(1, Retries(max=1)) == seconds(R.NODE_LOST)

    def test_it_is_not_waited_after_what_happened_to_the_node(self) -> None:
        lost = failed(reason=R.NODE_LOST)
        assert BACKOFF.due(lost, 1, self.HALF_AN_HOUR) == BACKOFF.due(lost, 1)

    def test_an_orchestrator_waits_for_all_of_it(self) -> None:
        leader = Orchestrator(failed(reason=R.NON_ZERO_EXIT_CODE), retries=self.HALF_AN_HOUR)
        assert leader.placeable(leader.due - 1) == []
        assert leader.model.backlog.reasons[JOB].startswith("Waiting until ")
        assert leader.placeable(leader.due) == [(0, 1)]

    def test_and_so_does_the_next_whatever_the_clock_of_the_last_said(self) -> None:
        late = failed(reason=R.NON_ZERO_EXIT_CODE, at=FAILED_AT + 7200 * SECOND)
        leader = Orchestrator(late, retries=self.HALF_AN_HOUR)
        assert leader.placeable(FAILED_AT) == [(0, 1)]

    def test_where_the_clock_is_set_back_what_would_wait_for_too_long_is_placed(self) -> None:
        leader = Orchestrator(failed())
        assert leader.placeable(FAILED_AT) == []
        assert leader.placeable(FAILED_AT - 900 * SECOND) == [(0, 1)]


def running(partition: int, attempt: int = 0, state: ExecutionState = S.RUNNING) -> ExecutionRecord:
    return replace(failed(attempt, partition=partition, state=state), failure=None)


class TestMaxParallel:
    def test_the_first_parts_are_placed_beside_what_runs_and_no_more_than_that(self) -> None:
        assert Orchestrator(count=9, most=3).placeable(1) == [(0, 0), (1, 0), (2, 0)]
        assert Orchestrator(running(0), running(4), count=9, most=3).placeable(1) == [(1, 0)]

    def test_a_job_of_which_as_many_run_as_may_waits_and_says_so(self) -> None:
        leader = Orchestrator(running(0), running(1), count=3, most=2)
        assert leader.placeable(1) == []
        assert leader.model.backlog.reasons[JOB] == (
            "Waiting for another of its parts to end: 2 may run at once (MaxParallel)."
        )
        assert JOB not in leader.model.backlog.pending, "so that it costs nothing until one of them has ended"

    def test_when_one_has_ended_the_next_is_placed_while_its_result_is_published(self) -> None:
        leader = Orchestrator(running(0), running(1), count=3, most=2)
        done = running(0, state=S.PUBLISHING)
        leader.model.apply(done.key, done, 9)
        assert leader.placeable(1) == [(2, 0)]

    def test_a_part_that_is_tried_again_counts_and_one_that_waits_for_that_does_not(self) -> None:
        leader = Orchestrator(failed(partition=0), running(1), count=4, most=2)
        assert leader.placeable(leader.due - 1) == [(2, 0)]
        assert leader.placeable(leader.due) == [(0, 1)], "in the order of parts"
        retried = running(0, attempt=1)
        leader.model.apply(retried.key, retried, 9)
        assert leader.placeable(leader.model.backlog.released) == []

    def test_where_others_wait_for_an_attempt_and_for_room_it_is_told_what_it_waits_for_first(self) -> None:
        leader = Orchestrator(failed(partition=0), running(1), count=2, most=1)
        assert leader.placeable(leader.due - 1) == []
        assert leader.model.backlog.reasons[JOB].startswith("Waiting until ")
        due = leader.due
        assert leader.placeable(due) == []
        assert leader.model.backlog.reasons[JOB].endswith("(MaxParallel).")
        assert leader.model.backlog.waiting.instant is None

    def test_whoever_takes_over_comes_to_the_same(self) -> None:
        records = (running(2), running(5), failed(partition=0), running(1, state=S.COMPLETED))
        before, after = (Orchestrator(*each, count=9, most=4) for each in (records, reversed(records)))
        assert before.placeable(before.due) == after.placeable(after.due) == [(0, 1), (3, 0)]


def test_a_job_that_is_gone_waits_for_nothing() -> None:
    leader = Orchestrator(failed())
    leader.model.forget(subjects.job_record(JOB), 99)
    assert leader.placeable(FAILED_AT + 999 * SECOND) == []
    assert len(leader.model.backlog.waiting) == 0


def test_what_follows_from_the_ends_of_many_parts_is_found_out_once_for_all_that_came_together() -> None:
    """With each of them it would cost by the square of their number: minutes for ten thousand."""
    many, leader, ended = 3000, Orchestrator(count=3000, most=3000), list[JobId]()

    def on_end(entry: JobEntry) -> None:
        ended.append(entry.id)

    leader.model.news.on_end = on_end
    begun, revision = time.thread_time(), 1
    for state in (S.RUNNING, S.COMPLETED):
        for part in range(many):
            record, revision = running(part, state=state), revision + 1
            leader.model.apply(record.key, record, revision)
        leader.model.find_out()
    assert time.thread_time() - begun < 2.0
    assert ended == [JOB]
    assert leader.model.backlog.job_states[JobState.COMPLETED] == 1
    assert leader.model.endings.ended.instant is not None


def test_whoever_asks_for_a_job_of_many_parts_hears_how_it_stands_now() -> None:
    leader = Orchestrator(*map(running, range(100)), count=101)
    entry = leader.model.jobs[JOB]
    assert list(entry.progress.missing) == [(100, 0)]
    last = running(100)
    leader.model.apply(last.key, last, 999)
    assert list(entry.progress.missing) == []
    assert JOB not in leader.model.backlog.pending


def test_of_a_job_of_many_parts_that_is_gone_nothing_is_found_out_any_more() -> None:
    leader = Orchestrator(*map(running, range(100)), count=101)
    last = running(99, state=S.COMPLETED)
    leader.model.apply(last.key, last, 999)
    leader.model.forget(subjects.job_record(JOB), 1000)
    leader.model.find_out()
    assert JOB not in leader.model.jobs
    assert JOB not in leader.model.backlog.pending
    assert not +leader.model.backlog.job_states


def test_a_part_that_falls_due_when_its_job_has_just_failed_is_not_placed() -> None:
    leader = Orchestrator(failed(partition=0), *map(running, range(1, 100)), count=100)
    hopeless = failed(partition=1, reason=R.TASK_NOT_STARTED, retryable=False)
    leader.model.apply(hopeless.key, hopeless, 999)
    leader.model.backlog.release(leader.due)
    assert leader.model.jobs[JOB].progress.state is JobState.FAILED
    assert JOB not in leader.model.backlog.pending
    assert len(leader.model.backlog.waiting) == 0
