"""The last hour: what happened in each interval, and nothing twice."""

from orchestrator.rules.records import VerifiedResult
from orchestrator.state.throughput import Throughput
from orchestrator.telemetry.hour import MOST_SAMPLES
from shared.jobs.states import ExecutionState
from shared.protocol.orchestrators.rest_cluster import AgentHistoryResponse
from tests.builders import new_execution, new_job_record
from tests.integration.fed_api import FedApi

RESULT = VerifiedResult(etag="e", size_bytes=7, md5="", sha256="", entries=1, raw_bytes=9)
SECOND = 10**9


def view(fed: FedApi) -> AgentHistoryResponse:
    return fed.last_hour.view()


def test_what_was_there_before_the_first_sample_is_not_counted_and_what_comes_then_is() -> None:
    fed = FedApi()
    fed.job(1)
    fed.last_hour.look(10 * SECOND)
    job = fed.job(2)
    fed.last_hour.look(20 * SECOND)
    fed.execution(job, 0, ExecutionState.RUNNING)
    fed.last_hour.look(30 * SECOND)
    fed.execution(job, 0, ExecutionState.COMPLETED)
    fed.last_hour.look(40 * SECOND)
    told = view(fed)
    assert told.times == (20, 30, 40)
    assert told.jobs_submitted == (1, 0, 0)
    assert told.jobs_completed == (0, 0, 1)
    assert told.running_executions == (0, 1, 0)
    assert told.queued_jobs == (2, 1, 1)
    assert told.oldest_queued_seconds == (19.0, 29.0, 39.0)


def test_an_hour_is_kept_and_no_more() -> None:
    fed = FedApi()
    for number in range(MOST_SAMPLES + 10):
        fed.last_hour.look(number * 10 * SECOND)
    told = view(fed)
    assert len(told.times) == MOST_SAMPLES
    assert told.times[-1] == (MOST_SAMPLES + 9) * 10


def test_a_result_and_a_version_count_once() -> None:
    counted = Throughput()
    publishing, completed = new_execution(ExecutionState.PUBLISHING), new_execution(ExecutionState.COMPLETED)
    done = new_execution(ExecutionState.COMPLETED, result=RESULT)
    for before, now in ((None, publishing), (publishing, done), (done, done), (done, completed)):
        counted.note_execution(before, now)
    first, second = new_job_record(), new_job_record(version=2)
    for earlier, later in ((None, first), (first, first), (first, second)):
        counted.note_job(earlier, later)
    assert (counted.results, counted.result_bytes, counted.submitted) == (1, 7, 2)
