"""What executions and jobs become by what is told of them, in any order and however often."""

import itertools
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from orchestrator.dispatch.grants import entitled
from orchestrator.rules.attempts import MOST_FREE, NO_BACKOFF, Budget, cost_nothing, is_refused
from orchestrator.rules.exit_codes import failure_of
from orchestrator.rules.job_progress import Progress, job_transition, progress
from orchestrator.rules.life_events import (
    Cancel,
    ExecutionEvent,
    ExecutionLost,
    FactTold,
    ForgetExecution,
    GivenUp,
    JobEvent,
    NotBegun,
    NotOffered,
    NotVerified,
    OfferExecution,
    OfferRefused,
    OfferTaken,
    Outcome,
    StopAsked,
    TimedOut,
    Withdrawn,
)
from orchestrator.rules.lifecycle import (
    MAX_DETAIL,
    MAX_PROGRESS,
    MAX_PROGRESS_TEXT,
    MAX_WAITING,
    placed,
    story,
    transition,
)
from orchestrator.rules.location import Location
from orchestrator.rules.placement import Placement
from orchestrator.rules.records import (
    MAX_EVENTS,
    Event,
    ExecutionRecord,
    Failure,
    JobRecord,
    VerifiedResult,
    with_event,
)
from shared.errors import GrantRefused, IllegalTransition
from shared.ids import JobId, NodeId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Retries, Task
from shared.jobs.states import TRANSITIONS, DesiredState, ExecutionState, FailureReason, JobState, check_transition
from shared.protocol.messages import (
    MAX_RUN_OUTPUT_BYTES,
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    OutputPublished,
    RunOutput,
    TaskEnded,
)
from tests.builders import new_execution, new_job_record

S = ExecutionState
JOB = JobId("j-1")
NODE = NodeId("n-1")
SECOND = 10**9
NOW = 1_000_000 * SECOND
MAX_ATTEMPTS = 3
NO_RETRIES = Retries()
RESULT = VerifiedResult(etag='"e"', size_bytes=10, sha256="f" * 64)
PLACE = Location(bucket="results", key="j-1/e.tar.gz", region="us-east-1")

STARTED = ExecutionStarted()
ENDED = TaskEnded(output=RunOutput(stdout="hello\n", exit_code=3), run_seconds=1.5)
PUBLISHED = OutputPublished(size_bytes=10, md5="0" * 32, sha256="f" * 64, entries=4, raw_bytes=100)
FAILED_FOR_GOOD = ExecutionFailed(reason="TaskNotStarted", detail="no such program")
FAILED_BY_CHANCE = ExecutionFailed(reason="DiskFull", detail="the disk is full")
CANCELLED = ExecutionCancelled(reason="told to")
PROGRESSED = ExecutionProgressed(detail="Pulling image busybox:1: 37 % of 120 MB")
WAITS = ExecutionProgressed(detail="Publishing, waiting for S3: 503 SlowDown")
FACTS: tuple[AnyFact, ...] = (
    STARTED,
    ENDED,
    PUBLISHED,
    FAILED_FOR_GOOD,
    FAILED_BY_CHANCE,
    CANCELLED,
    PROGRESSED,
    WAITS,
)


def job(*, version: int = 1, desired: DesiredState = DesiredState.RUNNING, failure: str = "") -> JobRecord:
    return new_job_record(
        name="a-job",
        version=version,
        at=NOW,
        desired=desired,
        failure=failure,
        events=(Event(time=NOW, topic="Submission", message="Job submitted"),),
    )


def execution(
    state: ExecutionState = S.NEW,
    *,
    partition: int = 0,
    attempt: int = 0,
    version: int = 1,
    reason: FailureReason | None = None,
    detail: str = "",
    at: int = NOW,
) -> ExecutionRecord:
    return new_execution(
        state,
        version=version,
        partition=partition,
        attempt=attempt,
        at=at,
        location=PLACE,
        failure=Failure(reason=reason, detail=detail, retryable=reason.retryable) if reason else None,
        events=(Event(time=at, topic="Scheduling", message="Placed on node n-1"),),
    )


def told(fact: AnyFact, *, publishes: bool = True) -> FactTold:
    return FactTold(fact=fact, publishes=publishes, result=RESULT if isinstance(fact, OutputPublished) else None)


def after(record: ExecutionRecord, *facts: AnyFact, has_publisher: bool = True, now: int = NOW) -> ExecutionRecord:
    for fact in facts:
        record = transition(record, told(fact, publishes=has_publisher), now=now).record
    return record


def failed(record: ExecutionRecord, reason: FailureReason, detail: str, *, now: int) -> ExecutionRecord:
    return transition(record, ExecutionLost(reason, detail), now=now).record


def cancelled(record: ExecutionRecord, why: str, *, now: int) -> ExecutionRecord:
    return transition(record, Withdrawn(why), now=now).record


def rejected(record: ExecutionRecord, reason: str, detail: str, *, retryable: bool, now: int) -> ExecutionRecord:
    return transition(record, OfferRefused(reason=reason, detail=detail, retryable=retryable), now=now).record


def of(
    count: int, *executions: ExecutionRecord, record: JobRecord | None = None, retries: Retries = NO_RETRIES
) -> Progress:
    budget = Budget(max_attempts=MAX_ATTEMPTS, retries=retries)
    return progress(record or job(), count, executions, budget=budget, backoff=NO_BACKOFF, is_later=lambda _: False)


class TestExecution:
    @pytest.mark.parametrize(
        ("facts", "has_publisher", "expected"),
        [
            ([], True, S.NEW),
            ([STARTED], True, S.RUNNING),
            ([STARTED, ENDED], True, S.PUBLISHING),
            ([STARTED, ENDED, PUBLISHED], True, S.COMPLETED),
            ([STARTED, ENDED], False, S.COMPLETED),
            ([ENDED], True, S.PUBLISHING),
            ([ENDED], False, S.COMPLETED),
            ([PUBLISHED], True, S.NEW),
            ([PUBLISHED], False, S.NEW),
            ([STARTED, PUBLISHED], True, S.RUNNING),
            ([FAILED_FOR_GOOD], True, S.FAILED),
            ([STARTED, FAILED_FOR_GOOD], True, S.FAILED),
            ([STARTED, ENDED, FAILED_BY_CHANCE], True, S.FAILED),
            ([CANCELLED], True, S.FAILED),
            ([STARTED, CANCELLED], True, S.FAILED),
            ([STARTED, ENDED, CANCELLED], True, S.FAILED),
            ([PROGRESSED], True, S.NEW),
            ([PROGRESSED, STARTED, ENDED, PUBLISHED], True, S.COMPLETED),
        ],
    )
    def test_facts_lead_to_a_state(
        self, facts: list[AnyFact], *, has_publisher: bool, expected: ExecutionState
    ) -> None:
        assert after(execution(), *facts, has_publisher=has_publisher).state is expected

    @pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
    def test_a_fact_told_twice_changes_nothing_the_second_time(self, fact: AnyFact) -> None:
        once = after(execution(), fact)
        assert after(once, fact, now=NOW + SECOND) is once

    @pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
    @pytest.mark.parametrize("state", [state for state in S if state.is_terminal])
    def test_what_has_ended_stays_as_it_is(self, state: ExecutionState, fact: AnyFact) -> None:
        record = execution(state)
        step = transition(record, told(fact), now=NOW)
        assert (step.record, step.outcome, step.commands) == (record, Outcome.LATE, (ForgetExecution(NODE, record.id),))
        assert step.record is record

    def test_that_it_started_is_no_news_once_its_result_is_being_published(self) -> None:
        publishing = after(execution(), ENDED)
        assert after(publishing, STARTED) is publishing

    def test_no_fact_can_ever_be_an_illegal_step(self) -> None:
        for facts in itertools.product(FACTS, repeat=3):
            for has_publisher in (True, False):
                after(execution(), *facts, has_publisher=has_publisher)

    def test_progress_is_a_line_of_the_history_and_nothing_else(self) -> None:
        before = execution()
        record = after(before, ExecutionProgressed(detail=PROGRESSED.detail, age_seconds=2.0), now=NOW + 3 * SECOND)
        event = record.events[-1]
        assert (event.topic, event.message) == ("Preparing Execution", PROGRESSED.detail)
        assert (event.time, event.recorded) == (NOW + SECOND, NOW + 3 * SECOND)
        assert replace(record, events=before.events, modify_time=before.modify_time) == before

    def test_progress_that_comes_after_the_start_is_told_and_after_the_end_is_not(self) -> None:
        assert after(execution(), STARTED, PROGRESSED).events[-1].message == PROGRESSED.detail
        over = after(execution(), STARTED, ENDED, PUBLISHED)
        assert after(over, PROGRESSED, now=NOW + SECOND) is over

    def test_what_a_result_waits_for_is_told_under_the_topic_of_publishing(self) -> None:
        publishing = after(execution(), PROGRESSED, STARTED, ENDED)
        record = after(publishing, WAITS)
        assert record.state is S.PUBLISHING
        assert (record.events[-1].topic, record.events[-1].message) == ("Publishing Results", WAITS.detail)
        assert after(record, WAITS, now=NOW + SECOND) is record
        assert after(record, PROGRESSED, now=NOW + SECOND) is record, "a repeated report of an image"

    def test_lines_about_waiting_are_few_and_those_about_images_leave_room_for_them(self) -> None:
        pulls = [ExecutionProgressed(detail=f"{number} %") for number in range(1000)]
        waits = [ExecutionProgressed(detail=f"Publishing, waiting for S3: {number}") for number in range(1000)]
        record = after(execution(), *pulls, STARTED, ENDED, *waits, PUBLISHED)
        topics = [event.topic for event in record.events]
        assert topics.count("Preparing Execution") == MAX_PROGRESS
        assert topics.count("Publishing Results") == MAX_WAITING + 1
        assert [event.message for event in record.events][:2] == ["Placed on node n-1", "0 %"]
        assert len(topics) < MAX_EVENTS

    def test_however_much_progress_a_node_tells_its_history_keeps_all_else(self) -> None:
        many = [ExecutionProgressed(detail=f"{number} %") for number in range(1000)]
        record = after(execution(), *many, STARTED, *many, ENDED, PUBLISHED)
        messages = [event.message for event in record.events]
        assert messages[:2] == ["Placed on node n-1", "0 %"]
        assert [event.topic for event in record.events].count("Preparing Execution") == MAX_PROGRESS
        assert "Running on node n-1" in messages
        assert len(messages) < MAX_EVENTS

    def test_a_line_of_progress_is_short_and_printable(self) -> None:
        record = after(execution(), ExecutionProgressed(detail="\x1b[2Ja\nb\u202ec " + "x" * 1_000_000))
        assert record.events[-1].message.startswith("[2Ja b c xxx")
        assert len(record.events[-1].message) <= MAX_PROGRESS_TEXT

    def test_its_output_and_its_result_stay_with_it(self) -> None:
        record = after(execution(), STARTED, ENDED, PUBLISHED)
        assert record.output == ENDED.output
        assert record.run_seconds == 1.5
        assert record.result == RESULT

    def test_an_exit_code_other_than_zero_is_no_failure(self) -> None:
        record = after(execution(), ENDED, PUBLISHED)
        assert record.output is not None
        assert (record.state, record.output.exit_code, record.failure) == (S.COMPLETED, 3, None)

    def test_a_failure_while_publishing_keeps_the_output_of_the_task(self) -> None:
        record = after(execution(), ENDED, FAILED_BY_CHANCE)
        assert record.output == ENDED.output
        assert record.events[-1].topic == "Publishing Results"

    def test_more_output_than_a_node_may_tell_is_cut(self) -> None:
        chatty = RunOutput(stdout="o" * 1_000_000, stderr="e" * 1_000_000)
        for fact in (TaskEnded(output=chatty, run_seconds=1.0), ExecutionFailed(reason="DiskFull", output=chatty)):
            output = after(execution(), fact).output
            assert output is not None
            assert (len(output.stdout), len(output.stderr)) == (MAX_RUN_OUTPUT_BYTES, MAX_RUN_OUTPUT_BYTES)

    @pytest.mark.parametrize(
        "end",
        [
            lambda text: after(execution(), ExecutionFailed(reason="DiskFull", detail=text)),
            lambda text: after(execution(), ExecutionCancelled(reason=text)),
            lambda text: rejected(execution(), text, text, retryable=False, now=NOW),
            lambda text: cancelled(execution(), text, now=NOW),
        ],
        ids=["failed", "cancelled by its node", "rejected", "cancelled"],
    )
    def test_however_much_a_node_tells_the_record_stays_small(self, end: Callable[[str], ExecutionRecord]) -> None:
        record = end("x" * 1_000_000)
        assert len(record.events[-1].message) <= MAX_DETAIL + 100
        assert record.failure is None or len(record.failure.detail) <= MAX_DETAIL

    def test_a_fact_is_dated_by_its_age(self) -> None:
        record = after(execution(), ExecutionStarted(age_seconds=2.5))
        assert record.events[-1].time == NOW - 2_500_000_000
        assert record.events[-1].recorded == record.modify_time == NOW

    @pytest.mark.parametrize(("age", "believed"), [(-5.0, 0), (1e300, 7 * 86400), (float("inf"), 7 * 86400)])
    def test_an_absurd_age_is_believed_within_limits(self, age: float, believed: int) -> None:
        record = after(execution(), ExecutionStarted(age_seconds=age))
        assert record.events[-1].time == NOW - believed * SECOND

    def test_the_reason_of_a_newer_node_is_unknown_and_never_tried_again(self) -> None:
        record = after(execution(), ExecutionFailed(reason="EatenByADog", detail="woof"))
        assert record.failure == Failure(reason="Unknown", detail="woof", retryable=False)

    def test_what_its_node_stopped_by_itself_is_tried_again(self) -> None:
        failed = after(execution(), STARTED, CANCELLED)
        assert failed.failure == Failure(
            reason="NodeError", detail="Node n-1 stopped it by itself: told to", retryable=True
        )
        assert of(1, failed).missing == ((0, 1),)

    def test_what_another_node_is_asked_about_uses_no_attempt_up_and_leaves_that_node_out(self) -> None:
        known = transition(execution(), FactTold(fact=FAILED_FOR_GOOD, publishes=True, excused=True), now=NOW).record
        assert known.failure is not None
        assert (known.failure.retryable, known.failure.excused) == (True, True)
        assert (is_refused(known), cost_nothing(known)) == (True, True)
        assert of(1, known).missing == ((0, 1),)
        confirmed = execution(S.FAILED, attempt=1, reason=FailureReason.TASK_NOT_STARTED, detail="no such program")
        assert of(1, known, confirmed) == Progress(state=JobState.FAILED, message="no such program")

    def test_whether_to_try_again_is_decided_by_the_reason_and_not_by_the_node(self) -> None:
        assert failed(execution(), FailureReason.NODE_LOST, "gone", now=NOW).failure == Failure(
            reason="NodeLost", detail="gone", retryable=True
        )
        assert failed(execution(), FailureReason.RESULT_TOO_LARGE, "", now=NOW).events[-1].details == {
            "IsError": "true",
            "ErrorCode": "ResultTooLarge",
            "Retryable": "false",
        }

    def test_a_refusal_names_the_node_and_its_reason(self) -> None:
        record = rejected(execution(), "QueueFull", "No more may wait.", retryable=True, now=NOW)
        assert record.state is S.REJECTED
        assert record.events[-1].message == "Node n-1 refused: No more may wait."
        assert record.failure == Failure(reason="QueueFull", detail="No more may wait.", retryable=True)

    @pytest.mark.parametrize("old", S)
    @pytest.mark.parametrize("new", S)
    def test_a_step_that_the_table_lacks_is_refused_with_the_story(self, old: S, new: S) -> None:
        if new not in TRANSITIONS[old]:
            with pytest.raises(IllegalTransition, match=f"from {old} to {new}. Its story: once"):
                check_transition(old, new, "once")
        else:
            check_transition(old, new, "once")

    def test_its_story_is_one_line(self) -> None:
        record = after(execution(), STARTED, ENDED)
        assert story(record) == (
            "Placed on node n-1 -> Running on node n-1 -> Task ended with exit code 3; publishing its result"
        )
        assert story(replace(record, events=())) == "(new)"

    def test_its_history_is_bounded_and_keeps_how_it_began(self) -> None:
        events: tuple[Event, ...] = ()
        for number in range(MAX_EVENTS + 10):
            events = with_event(events, Event(time=number, topic="t", message=str(number)))
        assert len(events) == MAX_EVENTS
        assert [events[0].time, events[1].time, events[-1].time] == [0, 11, MAX_EVENTS + 9]

    @pytest.mark.parametrize("state", S)
    def test_it_holds_capacity_until_its_task_has_ended(self, state: ExecutionState) -> None:
        assert state.holds_capacity == (state in {S.NEW, S.ACCEPTED, S.RUNNING})


FAILS = Task(fail_on_exit_code=True, retries=Retries(max=2, on_exit_codes=(3, 75)))


def ended(record: ExecutionRecord, exit_code: int, task: Task = FAILS, *, publishes: bool = True) -> ExecutionRecord:
    fact = TaskEnded(output=RunOutput(stdout="hello\n", exit_code=exit_code), run_seconds=1.5)
    event = FactTold(fact=fact, publishes=publishes, failure=failure_of(task, exit_code))
    return transition(record, event, now=NOW).record


def test_what_a_task_has_used_is_known_however_it_ended() -> None:
    fact = TaskEnded(output=RunOutput(), run_seconds=2.5, peak_memory_bytes=7)
    done = after(execution(), fact, PUBLISHED)
    assert (done.run_seconds, done.peak_memory_bytes) == (2.5, 7)
    lost = after(execution(), fact, FAILED_BY_CHANCE)
    assert (lost.run_seconds, lost.peak_memory_bytes) == (2.5, 7), "also where its result could not be published"
    broken = after(execution(), STARTED, ExecutionFailed(reason="OutOfMemory", run_seconds=1.5, peak_memory_bytes=9))
    assert (broken.run_seconds, broken.peak_memory_bytes) == (1.5, 9)


def test_what_it_took_to_prepare_a_task_is_known_and_never_below_nothing() -> None:
    told = after(
        execution(),
        ExecutionStarted(fetch_seconds=2.5, pull_seconds=-1.0),
        TaskEnded(output=RunOutput(), run_seconds=1),
    )
    assert (told.fetch_seconds, told.pull_seconds) == (2.5, 0.0)


class TestAnExitCodeThatIsAFailure:
    def test_without_the_job_s_wish_it_is_none(self) -> None:
        assert ended(execution(), 3, Task(), publishes=False).state is S.COMPLETED
        assert after(ended(execution(), 3, Task()), PUBLISHED).state is S.COMPLETED

    def test_its_execution_has_failed_with_the_code_in_its_reason_where_nothing_is_published(self) -> None:
        record = ended(execution(S.RUNNING), 3, publishes=False)
        assert record.state is S.FAILED
        assert record.failure == Failure(
            reason="NonZeroExitCode", detail="The task ended with exit code 3.", retryable=True
        )
        assert record.events[-1].message == "Failed: the task ended with exit code 3"
        assert record.events[-1].details == {
            "IsError": "true",
            "ErrorCode": "NonZeroExitCode",
            "Retryable": "true",
            "ExitCode": "3",
        }

    def test_its_result_is_published_first_and_then_the_execution_has_failed_and_has_it(self) -> None:
        publishing = ended(execution(S.RUNNING), 3)
        assert publishing.state is S.PUBLISHING
        assert not publishing.events[-1].details, "which is no end yet"
        record = after(publishing, PUBLISHED)
        assert (record.state, record.result) == (S.FAILED, RESULT)
        assert record.failure is not None
        assert record.failure.reason == "NonZeroExitCode"
        told = "Failed: the task ended with exit code 3; its result is published, "
        assert record.events[-1].message.startswith(told)
        assert record.unfinished_uploads == (), "of a result that is there nothing is left unfinished"
        assert record.may_have_objects

    def test_an_upload_in_parts_that_has_become_its_result_is_not_aborted(self) -> None:
        record = after(replace(ended(execution(), 3), upload_id="u-1"), PUBLISHED)
        assert record.unfinished_uploads == ()
        lost = failed(replace(ended(execution(), 3), upload_id="u-1"), FailureReason.NODE_LOST, "gone", now=NOW)
        assert lost.unfinished_uploads == ("u-1",)

    @pytest.mark.parametrize(
        "event",
        [
            ExecutionLost(FailureReason.NODE_LOST, "Node n-1 has disappeared"),
            TimedOut(FailureReason.PUBLISH_TIMED_OUT, "too long"),
            NotVerified(),
            told(FAILED_BY_CHANCE),
            told(CANCELLED),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_it_stays_the_reason_whatever_becomes_of_its_result(self, event: ExecutionEvent) -> None:
        record = transition(ended(execution(), 3), event, now=NOW).record
        assert record.state is S.FAILED
        assert record.failure is not None
        assert (record.failure.reason, record.failure.retryable) == ("NonZeroExitCode", True)
        assert record.failure.detail.startswith("The task ended with exit code 3. Its result was not published: ")
        assert record.events[-1].details["ExitCode"] == "3"

    def test_one_that_is_stopped_while_its_result_is_published_was_stopped(self) -> None:
        record = cancelled(ended(execution(), 3), "the job was stopped", now=NOW)
        assert (record.state, record.failure) == (S.CANCELLED, None)

    def test_a_node_that_says_it_itself_is_not_understood(self) -> None:
        record = after(execution(), ExecutionFailed(reason="NonZeroExitCode", detail="odd"))
        assert record.failure is not None
        assert record.failure.reason == FailureReason.UNKNOWN

    def test_the_task_is_run_again_as_often_as_its_job_wants(self) -> None:
        attempts = [ended(execution(attempt=number), 3, publishes=False) for number in range(3)]
        assert of(1, *attempts[:1], retries=FAILS.retries).missing == ((0, 1),)
        assert of(1, *attempts[:2], retries=FAILS.retries).missing == ((0, 2),)
        last = of(1, *attempts, retries=FAILS.retries)
        assert (last.state, last.missing) == (JobState.FAILED, ())
        assert last.message == "The task ended with exit code 3. (the last of 3 attempts)"

    def test_another_code_is_not_retried(self) -> None:
        found = of(1, ended(execution(), 1, publishes=False), retries=FAILS.retries)
        assert (found.state, found.message) == (JobState.FAILED, "The task ended with exit code 1.")

    def test_without_retries_there_are_none_and_without_codes_any_is_retried(self) -> None:
        plain, any_code = Task(fail_on_exit_code=True), Task(fail_on_exit_code=True, retries=Retries(max=1))
        assert of(1, ended(execution(), 9, plain, publishes=False)).state is JobState.FAILED
        once = ended(execution(), 9, any_code, publishes=False)
        assert of(1, once, retries=any_code.retries).missing == ((0, 1),)

    def test_what_happens_to_a_part_and_how_its_task_fails_have_budgets_of_their_own(self) -> None:
        lost = [execution(S.FAILED, attempt=number, reason=FailureReason.NODE_LOST) for number in (0, 2)]
        exits = [ended(execution(attempt=number), 3, publishes=False) for number in (1, 3)]
        assert of(1, *lost, *exits, retries=FAILS.retries).missing == ((0, 4),)
        third = execution(S.FAILED, attempt=4, reason=FailureReason.NODE_LOST, detail="gone")
        assert of(1, *lost, *exits, third, retries=FAILS.retries).state is JobState.FAILED
        exit_again = ended(execution(attempt=4), 3, publishes=False)
        assert of(1, *lost, *exits, exit_again, retries=FAILS.retries).state is JobState.FAILED

    def test_each_part_has_its_own(self) -> None:
        first = [ended(execution(attempt=number), 3, publishes=False) for number in range(2)]
        other = ended(execution(partition=1), 3, publishes=False)
        assert of(2, *first, other, retries=FAILS.retries).missing == ((0, 2), (1, 1))


def test_an_object_in_the_way_is_no_fault_of_the_node_and_another_attempt_may_go_better() -> None:
    record = execution(S.PUBLISHING)
    after = transition(record, NotVerified(in_the_way=True), now=NOW).record
    assert after.failure is not None
    assert (after.failure.reason, after.failure.retryable) == (FailureReason.OBJECT_IN_THE_WAY, True)
    assert record.node_id not in after.failure.detail


def test_a_decision_in_a_restored_state_has_another_key_and_id() -> None:
    before, after = execution(S.NEW), replace(execution(S.NEW), incarnation="5eed0001")
    assert after.decision == f"{before.decision}.5eed0001"
    assert new_execution_id(after.decision) != new_execution_id(before.decision)


EVENTS: tuple[ExecutionEvent, ...] = (
    *(told(fact) for fact in FACTS),
    FactTold(fact=PUBLISHED, publishes=True),
    NotVerified(),
    OfferTaken(),
    OfferRefused(reason="QueueFull", retryable=True),
    ExecutionLost(FailureReason.NODE_LOST, "gone"),
    TimedOut(FailureReason.EXECUTION_TIMED_OUT, "too long"),
    NotBegun("the node is being drained"),
    NotOffered(FailureReason.SECRET_UNAVAILABLE, "no such secret"),
    Withdrawn("Stopped because the job was stopped"),
)
M, NOTED, KNOWN, EARLY, UNVERIFIED = Outcome.MOVED, Outcome.NOTED, Outcome.KNOWN, Outcome.EARLY, Outcome.UNVERIFIED

# What comes of each event, in the order of EVENTS.
OUTCOMES = {
    #          start  end    publ.  fails  fails  cancel progr. waits  unverified, not verified, taken ... withdrawn
    S.NEW:        (M, M, EARLY, M, M, M, NOTED, NOTED, EARLY, M, KNOWN, M, M, M, M, M, M),
    S.ACCEPTED:   (M, M, EARLY, M, M, M, NOTED, NOTED, EARLY, M, KNOWN, KNOWN, M, M, KNOWN, KNOWN, M),
    S.RUNNING:    (KNOWN, M, EARLY, M, M, M, NOTED, NOTED, EARLY, M, KNOWN, KNOWN, M, M, KNOWN, KNOWN, M),
    S.PUBLISHING: (KNOWN, KNOWN, M, M, M, M, NOTED, NOTED, UNVERIFIED, M, KNOWN, KNOWN, M, M, KNOWN, KNOWN, M),
}  # fmt: skip


class TestEveryEventInEveryState:
    @pytest.mark.parametrize("state", S)
    @pytest.mark.parametrize("number", range(len(EVENTS)), ids=lambda number: repr(EVENTS[number])[:50])
    def test_has_one_outcome(self, state: ExecutionState, number: int) -> None:
        record = execution(state)
        step = transition(record, EVENTS[number], now=NOW + SECOND)
        assert step.outcome is (Outcome.LATE if state.is_terminal else OUTCOMES[state][number])
        assert (step.record is record) == (step.outcome not in {Outcome.MOVED, Outcome.NOTED})
        assert (step.record.state is not state) == (step.outcome is Outcome.MOVED)
        assert step.record.state is state or step.record.state in TRANSITIONS[state]

    @pytest.mark.parametrize("event", EVENTS, ids=lambda event: repr(event)[:50])
    @pytest.mark.parametrize("state", S)
    def test_asks_for_nothing_where_it_is_still_at_work(self, state: ExecutionState, event: ExecutionEvent) -> None:
        step = transition(execution(state), event, now=NOW)
        assert step.record.state.is_terminal or not step.commands

    def test_what_its_node_ended_may_be_forgotten_there(self) -> None:
        for fact in (FAILED_FOR_GOOD, CANCELLED):
            step = transition(execution(S.RUNNING), told(fact), now=NOW)
            assert step.commands == (ForgetExecution(NODE, step.record.id),)

    @pytest.mark.parametrize(
        "event", [Withdrawn("no more"), TimedOut(FailureReason.EXECUTION_TIMED_OUT, "no more")], ids=["stop", "time"]
    )
    def test_what_was_ended_here_is_cancelled_there(self, event: ExecutionEvent) -> None:
        record = execution(S.RUNNING)
        assert transition(record, event, now=NOW).commands == (Cancel(record, "no more"),)

    def test_a_node_that_takes_on_what_was_stopped_meanwhile_is_told(self) -> None:
        (command,) = transition(execution(S.CANCELLED), OfferTaken(), now=NOW).commands
        assert isinstance(command, Cancel)

    def test_it_begins_with_an_offer(self) -> None:
        placement = Placement(job_id=JOB, version=1, partition=2, attempt=1, node_id=NODE, resources=Capacity(cpu=1.0))
        known = new_execution_id(execution_key(JOB, 1, 2, 1))
        step = placed(known, placement, PLACE, now=NOW)
        assert step.commands == (OfferExecution(step.record),)
        assert (step.record.state, step.record.node_id, step.record.attempt) == (S.NEW, NODE, 1)
        assert story(step.record) == "Placed on node n-1, attempt 2"

    @pytest.mark.parametrize(
        ("state", "fact", "reason"),
        [
            (S.NEW, ExecutionFailed(reason="NodeRestarted", not_begun=True), "HandedBack"),
            (S.RUNNING, ExecutionFailed(reason="NodeRestarted", not_begun=True), "NodeRestarted"),
            (S.RUNNING, ExecutionFailed(reason="HandedBack"), "NodeRestarted"),
            (S.NEW, ExecutionFailed(reason="NodeRestarted"), "NodeRestarted"),
        ],
    )
    def test_only_what_was_never_begun_can_be_handed_back(
        self, state: ExecutionState, fact: ExecutionFailed, reason: str
    ) -> None:
        record = after(execution(state), fact)
        assert record.failure == Failure(reason=reason, detail="", retryable=True)


class TestWhoMayPublish:
    @pytest.mark.parametrize("state", [S.NEW, S.RUNNING, S.PUBLISHING])
    def test_the_node_that_holds_a_live_execution_may(self, state: ExecutionState) -> None:
        record = execution(state)
        assert entitled(NODE, record.id, record) == PLACE

    def test_another_node_learns_no_more_than_if_it_did_not_exist(self) -> None:
        record, stranger = execution(S.RUNNING), NodeId("n-2")
        answers = []
        for known in (record, None):
            with pytest.raises(GrantRefused) as caught:
                entitled(stranger, record.id, known)
            answers.append(caught.value.message)
        assert answers == [f"Node n-2 holds no execution {record.id}."] * 2

    @pytest.mark.parametrize("state", [state for state in S if state.is_terminal])
    def test_nobody_may_after_the_end(self, state: ExecutionState) -> None:
        record = execution(state)
        with pytest.raises(GrantRefused, match=f"is {state}"):
            entitled(NODE, record.id, record)

    def test_nobody_may_where_there_is_no_publisher(self) -> None:
        record = replace(execution(S.RUNNING), location=None)
        with pytest.raises(GrantRefused, match="no publisher"):
            entitled(NODE, record.id, record)


class TestJob:
    @pytest.mark.parametrize(
        ("states", "expected"),
        [
            ([], JobState.PENDING),
            ([S.NEW], JobState.PENDING),
            ([S.ACCEPTED], JobState.RUNNING),
            ([S.RUNNING], JobState.RUNNING),
            ([S.PUBLISHING], JobState.RUNNING),
            ([S.COMPLETED], JobState.COMPLETED),
            ([S.CANCELLED], JobState.FAILED),
            ([S.FAILED], JobState.FAILED),
            ([S.REJECTED], JobState.PENDING),
        ],
    )
    def test_one_execution_makes_the_state_of_its_job(self, states: list[ExecutionState], expected: JobState) -> None:
        assert of(1, *(execution(state) for state in states)).state is expected

    @pytest.mark.parametrize(
        ("states", "expected", "missing"),
        [
            ([], JobState.PENDING, ((0, 0), (1, 0))),
            ([S.NEW], JobState.PENDING, ((1, 0),)),
            ([S.COMPLETED], JobState.RUNNING, ((1, 0),)),
            ([S.COMPLETED, S.NEW], JobState.RUNNING, ()),
            ([S.COMPLETED, S.PUBLISHING], JobState.RUNNING, ()),
            ([S.COMPLETED, S.COMPLETED], JobState.COMPLETED, ()),
            ([S.RUNNING, S.REJECTED], JobState.RUNNING, ((1, 1),)),
        ],
    )
    def test_a_job_is_completed_when_all_of_its_parts_are(
        self, states: list[ExecutionState], expected: JobState, missing: tuple[tuple[int, int], ...]
    ) -> None:
        found = of(2, *(execution(state, partition=part) for part, state in enumerate(states)))
        assert (found.state, found.missing) == (expected, missing)

    def test_a_failure_that_may_go_better_elsewhere_is_tried_again(self) -> None:
        found = of(1, execution(S.FAILED, reason=FailureReason.NODE_LOST))
        assert (found.state, found.missing) == (JobState.PENDING, ((0, 1),))

    def test_a_failure_that_will_come_again_ends_the_job_with_its_reason(self) -> None:
        found = of(1, execution(S.FAILED, reason=FailureReason.TASK_NOT_STARTED, detail="no such program"))
        assert found == Progress(state=JobState.FAILED, message="no such program")

    def test_a_reason_without_words_is_shown_by_its_name(self) -> None:
        assert of(1, execution(S.FAILED, reason=FailureReason.TASK_NOT_STARTED)).message == "TaskNotStarted"

    def test_a_refusal_is_tried_again_although_this_node_will_not_do_it(self) -> None:
        refused = rejected(execution(), "CapacityExceeded", "too large", retryable=False, now=NOW)
        assert of(1, refused).missing == ((0, 1),)

    def test_attempts_come_to_an_end(self) -> None:
        attempts = [
            execution(S.FAILED, attempt=number, reason=FailureReason.NODE_LOST, detail=f"reason {number}")
            for number in range(MAX_ATTEMPTS)
        ]
        assert of(1, *attempts[:-1]).missing == ((0, MAX_ATTEMPTS - 1),)
        found = of(1, *attempts)
        assert (found.state, found.missing) == (JobState.FAILED, ())
        assert found.message == "reason 0 (the first of 3 attempts)"

    def test_the_attempts_of_older_versions_are_not_counted(self) -> None:
        old = [execution(S.FAILED, attempt=number, reason=FailureReason.NODE_LOST, detail="old") for number in range(2)]
        new = execution(S.FAILED, version=2, reason=FailureReason.TASK_NOT_STARTED, detail="new")
        assert of(1, *old, new, record=job(version=2)).message == "new"

    def test_the_first_reason_is_shown_whatever_came_later_and_in_whichever_order_they_are_known(self) -> None:
        first = execution(S.FAILED, reason=FailureReason.DISK_FULL, detail="the disk is full")
        second = execution(S.FAILED, attempt=1, reason=FailureReason.TASK_NOT_STARTED, detail="no such program")
        for known in ((first, second), (second, first)):
            assert of(1, *known).message == "the disk is full (the first of 2 attempts)"

    def test_what_was_cancelled_because_another_part_failed_does_not_hide_why(self) -> None:
        broken = execution(S.FAILED, partition=1, reason=FailureReason.TASK_NOT_STARTED, detail="no such program")
        stopped = cancelled(execution(S.RUNNING), "Stopped because the job has failed", now=NOW + SECOND)
        before = of(2, execution(S.RUNNING), broken)
        assert (before.message, before.surplus) == ("no such program", (execution(S.RUNNING),))
        for known in ((stopped, broken), (broken, stopped)):
            assert of(2, *known).message == "no such program"

    def test_of_two_parts_that_failed_the_first_in_time_gives_the_reason(self) -> None:
        reason = FailureReason.TASK_NOT_STARTED
        later = execution(S.FAILED, reason=reason, detail="later", at=NOW + SECOND)
        sooner = execution(S.FAILED, partition=1, reason=reason, detail="sooner")
        assert of(2, later, sooner).message == of(2, sooner, later).message == "sooner"

    def test_an_execution_that_its_node_cancelled_by_itself_fails_the_job(self) -> None:
        assert of(1, execution(S.CANCELLED)).message == "The execution was cancelled."

    def test_when_one_part_has_failed_for_good_the_live_ones_are_surplus_and_nothing_is_missing(self) -> None:
        live = [execution(S.NEW, partition=1), execution(S.PUBLISHING, partition=2)]
        broken = execution(S.FAILED, reason=FailureReason.TASK_NOT_STARTED)
        found = of(4, broken, *live)
        assert (found.state, found.missing, found.surplus) == (JobState.FAILED, (), tuple(live))

    def test_a_new_version_begins_anew_and_makes_the_live_executions_of_the_old_one_surplus(self) -> None:
        old = [execution(S.RUNNING), execution(S.COMPLETED, partition=1)]
        found = of(2, *old, record=job(version=2))
        assert (found.state, found.missing, found.surplus) == (JobState.PENDING, ((0, 0), (1, 0)), (old[0],))

    def test_an_old_version_that_failed_says_nothing_about_the_new_one(self) -> None:
        broken = execution(S.FAILED, reason=FailureReason.TASK_NOT_STARTED)
        assert of(1, broken, execution(S.COMPLETED, version=2), record=job(version=2)).state is JobState.COMPLETED

    def test_a_stop_makes_live_executions_surplus_and_shows_who_stopped_it(self) -> None:
        live = execution(S.RUNNING)
        found = of(2, live, execution(S.COMPLETED, partition=1), record=job(desired=DesiredState.STOPPED))
        assert (found.state, found.missing, found.surplus) == (JobState.STOPPED, (), (live,))
        assert found.message == "Job submitted", "the last event of the job"

    def test_a_stopped_job_stays_stopped_whatever_comes_late(self) -> None:
        late = execution(S.FAILED, reason=FailureReason.NODE_LOST)
        assert of(1, late, record=job(desired=DesiredState.STOPPED)).state is JobState.STOPPED

    def test_a_job_that_failed_without_an_execution_says_why(self) -> None:
        found = of(2, execution(S.RUNNING), record=job(failure="not enough nodes"))
        assert (found.state, found.message, found.missing) == (JobState.FAILED, "not enough nodes", ())
        assert found.surplus == (execution(S.RUNNING),)

    @pytest.mark.parametrize("record", [job(desired=DesiredState.STOPPED), job(failure="too late")])
    def test_a_stop_that_came_too_late_does_not_undo_an_end(self, record: JobRecord) -> None:
        done = execution(S.COMPLETED)
        assert of(1, done, record=record).state is JobState.COMPLETED
        ended_after = progress(
            record, 1, (done,), budget=Budget(max_attempts=MAX_ATTEMPTS), backoff=NO_BACKOFF, is_later=lambda _: True
        )
        assert ended_after.state is (JobState.FAILED if record.failure else JobState.STOPPED)

    def test_what_was_handed_back_uses_no_attempt_up(self) -> None:
        handed = [execution(S.FAILED, attempt=number, reason=FailureReason.HANDED_BACK) for number in range(20)]
        lost = [execution(S.FAILED, attempt=20 + number, reason=FailureReason.NODE_LOST) for number in range(3)]
        assert of(1, *handed, *lost[:2]).missing == ((0, 22),)
        found = of(1, *handed, *lost)
        assert (found.state, found.message) == (JobState.FAILED, "NodeLost (the first of 3 attempts)")

    def test_a_node_that_is_stopping_uses_no_attempt_up(self) -> None:
        away = [rejected(execution(attempt=number), "NodeStopping", "", retryable=True, now=NOW) for number in range(9)]
        assert of(1, *away).missing == ((0, 9),)

    @pytest.mark.parametrize(("reason", "retryable"), [("QueueFull", True), ("VariableRefused", False), ("Odd", True)])
    def test_refusals_use_no_attempt_up_and_come_to_an_end(self, reason: str, *, retryable: bool) -> None:
        refused = [
            rejected(execution(attempt=number), reason, "no", retryable=retryable, now=NOW)
            for number in range(MOST_FREE + 1)
        ]
        assert of(1, *refused[:-1]).missing == ((0, MOST_FREE),)
        found = of(1, *refused)
        assert (found.state, found.message) == (JobState.FAILED, "no")

    def test_no_part_is_handed_back_for_ever(self) -> None:
        handed = [
            execution(S.FAILED, attempt=number, reason=FailureReason.HANDED_BACK) for number in range(MOST_FREE + 1)
        ]
        assert of(1, *handed[:-1]).missing
        assert of(1, *handed).state is JobState.FAILED

    @pytest.mark.parametrize("event", [StopAsked("enough"), GivenUp("too late")], ids=["stop", "time"])
    @pytest.mark.parametrize("state", JobState)
    def test_every_event_of_a_job_has_one_outcome(self, state: JobState, event: JobEvent) -> None:
        step = job_transition(job(), state, event, now=NOW + SECOND)
        if state is JobState.STOPPED and isinstance(event, StopAsked):
            assert (step.outcome, step.record) == (Outcome.KNOWN, job())
        elif state.is_terminal:
            assert (step.outcome, step.record) == (Outcome.LATE, job())
        else:
            assert step.outcome is Outcome.MOVED
            ended = of(1, record=step.record)
            assert ended.state is (JobState.STOPPED if isinstance(event, StopAsked) else JobState.FAILED)
            assert ended.message in {"Job stopped: enough", "too late"}
