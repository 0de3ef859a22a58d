"""Where the parts of a job are, as it is told to who watches it."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from orchestrator.rules.life_events import (
    ExecutionEvent,
    ExecutionLost,
    FactTold,
    NotBegun,
    OfferRefused,
    TimedOut,
    Withdrawn,
)
from orchestrator.rules.lifecycle import placed, transition
from orchestrator.rules.placement import Placement
from orchestrator.rules.records import VerifiedResult
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import WAITS_FOR, JobView, StateView
from shared.jobs.states import FailureReason
from shared.protocol.messages import (
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    OutputPublished,
    RunOutput,
    TaskEnded,
)
from shared.protocol.rest import EventView, HistoryItem
from tarpon.cli.display.live import JobDisplay
from tarpon.cli.display.partitions import JobPartitions, Stage, stage_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ENDED = TaskEnded(output=RunOutput(exit_code=0), run_seconds=1.0)
PUBLISHED = OutputPublished(size_bytes=10, md5="0" * 32, sha256="f" * 64, entries=4, raw_bytes=100)
RESULT = VerifiedResult(etag="e", sha256="f" * 64, size_bytes=10, entries=4, raw_bytes=100)
PULLS = ExecutionProgressed(detail="Pulling image busybox:1.37.0: 40 % of 2 MB")
WAITS = ExecutionProgressed(detail="Publishing, waiting for S3: s3:9000: no answer")

PLACED = ("Scheduling", "Placed on node n-1")
RUNNING = ("Running Execution", "Running on node n-1")
TASK_ENDED = ("Running Execution", "Task ended with exit code 0; publishing its result")
DONE = ("Publishing Results", "Result published and verified, 10 bytes, 4 entries")
PULLING = ("Preparing Execution", "Pulling image busybox:1.37.0: 40 % of 2 MB")
AWAY = ("Publishing Results", "Publishing, waiting for S3: s3:9000: no answer")
WAITING = "Waiting for free CPU on 2 suitable node(s)."


def told(fact: AnyFact, *, publishes: bool = True) -> FactTold:
    return FactTold(fact=fact, publishes=publishes, result=RESULT if fact is PUBLISHED else None)


def steps(*happened: ExecutionEvent) -> list[Stage | None]:
    """As they follow from what the orchestrator itself writes into a history."""
    where = Placement(
        job_id=JobId("j-1"), version=1, partition=0, attempt=0, node_id=NodeId("n-1"), resources=Capacity()
    )
    record = placed(ExecutionId("e-1"), where, None, now=1).record
    for event in happened:
        record = transition(record, event, now=1).record
    events = [EventView(message=e.message, topic=e.topic, timestamp=NOW, details=e.details) for e in record.events]
    return [stage_of(event) for event in events]


@pytest.mark.parametrize(
    ("happened", "step"),
    [
        ([told(PULLS)], Stage.PULLING),
        ([told(PULLS), told(ExecutionProgressed(detail="Pulled image busybox:1.37.0 in 3 s"))], Stage.STARTING),
        ([told(ExecutionStarted())], Stage.RUNNING),
        ([told(ExecutionStarted()), told(ENDED)], Stage.PUBLISHING),
        ([told(ExecutionStarted()), told(ENDED, publishes=False)], Stage.COMPLETED),
        ([told(ENDED), told(WAITS)], Stage.WAITING_FOR_S3),
        ([told(ENDED), told(WAITS), told(PUBLISHED)], Stage.COMPLETED),
        ([told(ExecutionFailed(reason="DiskFull"))], Stage.LOST),
        ([told(ENDED), told(ExecutionFailed(reason="PublishTimedOut"))], Stage.LOST),
        ([told(ExecutionCancelled())], Stage.LOST),
        ([OfferRefused(reason="NoRoom")], Stage.LOST),
        ([ExecutionLost(FailureReason.NODE_LOST, "gone")], Stage.LOST),
        ([TimedOut(FailureReason.EXECUTION_TIMED_OUT, "late")], Stage.LOST),
        ([NotBegun("drained")], Stage.LOST),
        ([Withdrawn("stopped")], Stage.LOST),
    ],
)
def test_each_line_that_the_orchestrator_writes_tells_a_step(happened: Sequence[ExecutionEvent], step: Stage) -> None:
    found = steps(*happened)
    assert found[0] is Stage.PLACED
    assert found[-1] is step
    assert None not in found


def test_a_node_cannot_say_that_its_result_was_verified() -> None:
    said = ExecutionProgressed(detail="Result published and verified, 1 bytes, 1 entries")
    assert steps(told(ENDED), told(said))[-1] is Stage.PUBLISHING


def item(execution: str, line: tuple[str, str], *, version: int = 1, **details: str) -> HistoryItem:
    event = EventView(message=line[1], topic=line[0], timestamp=NOW, details=details)
    return HistoryItem(
        seq_num=1,
        type="ExecutionLevel",
        job_id="j-1",
        job_version=version,
        execution_id=execution,
        event=event,
        time=NOW,
    )


def view(state: str = "Running", message: str = "", *, count: int = 4, version: int = 1, waits: str = "") -> JobView:
    details = {WAITS_FOR: waits} if waits else {}
    told = StateView(state_type=state, message=message, details=details)
    return JobView(
        id="j-1", type="batch", count=count, state=told, version=version, revision=1, create_time=1, modify_time=1
    )


def parts(count: int, *lives: Sequence[tuple[str, str]]) -> JobPartitions:
    """Each execution with the lines of its life."""
    made = JobPartitions(count)
    for number, life in enumerate(lives):
        for line in life:
            made.take(item(f"e-{number}", line), NOW)
    return made


@pytest.mark.parametrize(
    ("lives", "summary"),
    [
        ([], "0 of 4 parts done, 4 waiting to be placed on a node"),
        ([[PLACED]], "0 of 4 parts done, 1 queued on nodes, 3 waiting to be placed on a node"),
        ([[PLACED, RUNNING]] * 4, "0 of 4 parts done, 4 running"),
        ([[PLACED, RUNNING, TASK_ENDED, DONE]] * 4, "4 of 4 parts done"),
        (
            [[RUNNING, TASK_ENDED, DONE], [RUNNING], [RUNNING, TASK_ENDED], [RUNNING, TASK_ENDED, AWAY]],
            "1 of 4 parts done, 1 running, 1 publishing, 1 waiting for S3 (s3:9000: no answer)",
        ),
        (
            [[PULLING], [("Preparing Execution", "Pulling image busybox:1.37.0: 7 % of 2 MB")]],
            "0 of 4 parts done, 2 pulling busybox:1.37.0 (7 %), 2 waiting to be placed on a node",
        ),
        (
            [
                [("Preparing Execution", "Pulling image a:1")],
                [("Preparing Execution", "Pulling image b:1: 3 of 5 layers")],
                [("Preparing Execution", "Pulling image c:1: 7 MB is here")],
                [("Preparing Execution", "Pulled image a:1 in 3 s")],
            ],
            "0 of 4 parts done, 1 pulling a:1, 1 pulling b:1 (3 of 5 layers), 1 pulling c:1 (7 MB is here), 1 starting",
        ),
        ([[RUNNING, PULLING]] * 4, "0 of 4 parts done, 4 running"),
        ([[DONE, RUNNING]] * 4, "4 of 4 parts done"),
        ([[("A topic of later", "x")]] * 4, "0 of 4 parts done, 4 waiting to be placed on a node"),
    ],
    ids=str,
)
def test_a_summary_says_where_all_parts_are(lives: Sequence[Sequence[tuple[str, str]]], summary: str) -> None:
    assert parts(4, *lives).summary() == summary


def test_a_table_has_a_line_for_each_state() -> None:
    made = parts(20, *[[PLACED, RUNNING, TASK_ENDED, DONE]] * 13, *[[PLACED, RUNNING]] * 4)
    made.take_job(view(waits=WAITING, count=20))
    assert made.table().split("\n") == [
        "13 of 20 parts done",
        "  13  done",
        "   4  running",
        "   3  waiting for free CPU on 2 suitable node(s)",
    ]


def test_without_details_nothing_changes_while_a_pull_goes_on() -> None:
    assert parts(1, [PULLING]).summary(is_detailed=False) == "0 of 1 parts done, 1 pulling busybox:1.37.0"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (WAITING, "3 waiting for free CPU on 2 suitable node(s)"),
        ("Waiting for node n-1, which is drained.", "3 waiting for node n-1, which is drained"),
        ("not enough nodes to run job.\n- Node n-1: no", "3 waiting: not enough nodes to run job"),
        ("\x1b[2J", "3 waiting: \\x1b[2J"),
        ("", "3 waiting to be placed on a node"),
    ],
)
def test_why_parts_wait_is_told_while_others_run(reason: str, told: str) -> None:
    made = parts(4, [PLACED, RUNNING])
    made.take_job(view(waits=reason))
    assert made.summary() == f"0 of 4 parts done, 1 running, {told}"


def test_how_the_nodes_stand_tells_more_than_the_reason() -> None:
    made = parts(4, [PLACED, RUNNING])
    made.take_job(view(waits=WAITING))
    made.nodes = "2 nodes busy, 1 drained"
    assert made.summary() == "0 of 4 parts done, 1 running, 3 waiting: 2 nodes busy, 1 drained"
    assert made.why_waiting() == "Waiting: 2 nodes busy, 1 drained"
    made.take_job(view("Completed"))
    assert made.nodes == ""


def test_another_reason_is_news_and_the_same_is_none() -> None:
    made = JobPartitions(4)
    assert made.take_job(view("Queued", WAITING))
    assert not made.take_job(view("Queued", WAITING))
    assert not made.take_job(view("Pending"))
    assert made.take_job(view(waits="Waiting for node n-1 to connect."))


def test_an_attempt_that_failed_is_counted_and_its_part_waits_again() -> None:
    made = parts(2, [PLACED, RUNNING])
    made.take(item("e-0", ("Execution", "Node n-1 was lost"), IsError="true"), NOW)
    assert made.summary() == "0 of 2 parts done, 1 attempt failed, 2 waiting to be placed on a node"


def test_a_new_version_begins_anew_and_the_old_one_is_told_no_more() -> None:
    made = parts(1, [PLACED, RUNNING, TASK_ENDED, DONE])
    made.take_job(view(version=2, count=2))
    made.take(item("e-1", RUNNING, version=2), NOW)
    made.take(item("e-0", ("Execution", "Stopped because version 2 replaces it"), version=1), NOW)
    assert made.summary() == "0 of 2 parts done, 1 running, 1 waiting to be placed on a node"


@pytest.mark.parametrize(("state", "ended"), [("Completed", "4 of 4 parts done"), ("Failed", "1 of 4 parts done")])
def test_in_the_end_it_counts_how_the_job_ended(state: str, ended: str) -> None:
    made = parts(4, [RUNNING, TASK_ENDED, DONE], [RUNNING])
    made.take_job(view(state))
    assert made.ended() == ended


def shown(capsys: pytest.CaptureFixture[str], display: JobDisplay, *news: HistoryItem | JobView) -> list[str]:
    """Without the times."""
    for each in news:
        display.write(each)
    return [line.partition("  ")[2] for line in capsys.readouterr().err.splitlines()]


def test_many_parts_make_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lives = [item(f"e-{number}", line) for number in range(10_000) for line in (PLACED, RUNNING, TASK_ENDED, DONE)]
    display = JobDisplay(10_000, verbose=False, is_new=True)
    lines = shown(capsys, display, view(count=10_000), *lives, view("Completed", count=10_000))
    assert lines[0] == "0 of 10000 parts done, 10000 waiting to be placed on a node"
    assert lines[-1] == "10000 of 10000 parts done"
    assert len(lines) < 20


def test_a_part_has_one_line_however_often_it_is_tried(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [item(f"e-{number}", ("Execution", "Node n-1 was lost"), IsError="true") for number in range(20)]
    lines = shown(capsys, JobDisplay(3, verbose=False), *failures, view("Failed", count=3))
    assert lines == [
        *(f"e-{number} failed: Node n-1 was lost" for number in range(3)),
        "0 of 3 parts done, 20 attempts failed",
    ]


def test_a_failure_names_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    failed = replace(item("e-0", ("Execution", "Node n-1 was lost"), IsError="true"), partition_index=7)
    (first, *_) = shown(capsys, JobDisplay(9, verbose=False), failed)
    assert first == "part 7, e-0 failed: Node n-1 was lost"


def test_a_job_with_one_part_tells_each_step_once(capsys: pytest.CaptureFixture[str]) -> None:
    again = ("Preparing Execution", "Pulling image busybox:1.37.0: 80 % of 2 MB")
    life = [item("e-0", line) for line in (PLACED, PULLING, again, RUNNING, TASK_ENDED, AWAY, DONE)]
    display = JobDisplay(1, verbose=False, is_new=True)
    lines = shown(capsys, display, view("Queued", WAITING, count=1), *life, view("Completed", count=1))
    assert lines == [
        WAITING,
        *(line[1] for line in (PLACED, PULLING, RUNNING, TASK_ENDED, AWAY, DONE)),
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_why_no_node_is_suitable_is_told_in_full_and_once(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    reason = (
        "not enough nodes to run job. requested: 1, available: 1, suitable: 0.\n- Node n-1: does not support docker"
    )
    waits = view("Queued", reason, count=count)
    display = JobDisplay(count, verbose=False, is_new=True)
    for each in (waits, waits):
        display.write(each)
    told = capsys.readouterr().err
    assert told.count("\n  - Node n-1: does not support docker\n") == 1


def test_all_lines_are_there_for_who_wants_them(capsys: pytest.CaptureFixture[str]) -> None:
    life = [item("e-0", line) for line in (PLACED, RUNNING, TASK_ENDED, DONE)]
    display = JobDisplay(4, verbose=True, is_new=True)
    display.write(view("Queued", WAITING))
    for each in life:
        display.write(each)
    told = capsys.readouterr().err
    assert "Waiting for free CPU" in told
    assert [line[1] in told for line in (PLACED, RUNNING, TASK_ENDED, DONE)] == [True] * 4
