"""What time makes of executions whose nodes are silent, or do not end them."""

import pytest
from msgspec.structs import replace

from orchestrator.rules.life_events import ExecutionLost, FactTold, TimedOut
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import Event, ExecutionRecord
from orchestrator.rules.time_outs import SLACK_SECONDS, of_execution, of_silent_node
from shared.jobs.spec import Timeouts
from shared.jobs.states import ExecutionState, FailureReason
from shared.protocol.messages import ExecutionProgressed, ExecutionStarted, RunOutput, TaskEnded
from tests.builders import new_execution

S = ExecutionState
SECOND = 10**9
NOW = 1_000_000 * SECOND
PUBLISH_SECONDS = 1000.0
LIMITED = Timeouts(execution_timeout=100)
SLACK = int(SLACK_SECONDS)
STARTED, ENDED = ExecutionStarted(), TaskEnded(output=RunOutput(), run_seconds=1.0)


def execution(*facts: ExecutionStarted | TaskEnded | ExecutionProgressed, at: int = NOW) -> ExecutionRecord:
    """Placed at NOW; all facts arrive `at` one time."""
    record = new_execution(at=NOW, events=(Event(time=NOW, topic="Scheduling", message="Placed on node n-1"),))
    for fact in facts:
        record = transition(record, FactTold(fact=fact, publishes=True), now=at).record
    return record


def late(
    record: ExecutionRecord, timeouts: Timeouts, after: float, *, heard_since: int = 0, publish: float = PUBLISH_SECONDS
) -> TimedOut | None:
    now = NOW + int(after * SECOND)
    return of_execution(record, timeouts, publish_seconds=publish, heard_since=heard_since, now=now)


def test_a_task_that_its_node_does_not_end_is_ended_some_time_after_its_limit() -> None:
    record = execution(STARTED)
    assert late(record, LIMITED, 100 + SLACK) is None
    found = late(record, LIMITED, 101 + SLACK)
    assert found is not None
    assert found.reason is FailureReason.EXECUTION_TIMED_OUT
    assert found.detail == "The task ran longer than its time limit of 100 s, and node n-1 has not ended it."


def test_the_total_time_out_limits_a_task_without_one_of_its_own() -> None:
    record = execution(STARTED)
    assert late(record, Timeouts(total_timeout=100), 101 + SLACK) is not None
    assert late(record, Timeouts(), 10**9) is None


def test_its_time_counts_from_when_it_was_heard_to_run() -> None:
    record = execution(STARTED, at=NOW + 500 * SECOND)
    assert late(record, LIMITED, 600 + SLACK) is None
    assert late(record, LIMITED, 601 + SLACK) is not None
    assert late(execution(), LIMITED, 10**9) is None, "it has not begun"


def test_a_node_cannot_put_it_off_by_what_it_tells() -> None:
    record = execution(STARTED)
    for second in range(300):
        progress = ExecutionProgressed(detail=f"{second} %")
        record = transition(record, FactTold(fact=progress, publishes=True), now=NOW + second * SECOND).record
    assert late(record, LIMITED, 101 + SLACK) is not None
    lying = execution(ExecutionStarted(age_seconds=-1e9), ENDED)
    assert late(lying, LIMITED, PUBLISH_SECONDS + SLACK + 1) is not None


def test_a_result_has_its_own_time_from_the_end_of_the_task_on() -> None:
    record = execution(STARTED, ENDED, at=NOW + 50 * SECOND)
    assert late(record, LIMITED, 50 + PUBLISH_SECONDS + SLACK) is None
    found = late(record, LIMITED, 51 + PUBLISH_SECONDS + SLACK)
    assert found is not None
    assert found.reason is FailureReason.PUBLISH_TIMED_OUT


def test_a_leader_that_has_just_begun_first_hears_what_was_told_meanwhile() -> None:
    record, after = execution(STARTED), 10_000
    began = NOW + after * SECOND
    assert late(record, LIMITED, after + SLACK, heard_since=began) is None
    assert late(record, LIMITED, after + SLACK + 1, heard_since=began) is not None


@pytest.mark.parametrize("state", [S.NEW, S.ACCEPTED, S.RUNNING])
def test_what_a_silent_node_ran_is_lost(state: ExecutionState) -> None:
    found = of_silent_node(replace(execution(), state=state), publish_seconds=PUBLISH_SECONDS, now=NOW)
    assert found == ExecutionLost(FailureReason.NODE_LOST, "Node n-1 has disappeared")


def test_a_result_on_a_silent_node_is_waited_for() -> None:
    record = execution(STARTED, ENDED)
    limit = int(PUBLISH_SECONDS) * SECOND
    assert of_silent_node(record, publish_seconds=PUBLISH_SECONDS, now=NOW + limit) is None
    assert of_silent_node(record, publish_seconds=PUBLISH_SECONDS, now=NOW + limit + 1) is not None
