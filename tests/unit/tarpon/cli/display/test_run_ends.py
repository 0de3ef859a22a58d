"""How the end of a run is told: of one that completed, and which parts it was by which one has failed."""

from typing import Any

import pytest

from shared.ids import short
from shared.jobs.spec import JobView, SpecConfig, StateView, Task
from shared.jobs.states import ExecutionState
from shared.protocol.rest import ExecutionView, NumberedState, PublishedResult, RunOutputView, execution_state_number
from tarpon.cli.console.outcomes import JobStopped
from tarpon.cli.display.failed_parts import MOST_TOLD, FailedParts
from tarpon.cli.display.run_ends import completed, lost_output
from tarpon.cli.display.watching import Watched, refuse_failure

SECOND = 10**9


def job(count: int = 1, version: int = 1, publisher: str = "", **changes: Any) -> JobView:
    fields: dict[str, Any] = {
        "name": "sweep",
        "type": "batch",
        "revision": 1,
        "create_time": 0,
        "modify_time": 100 * SECOND,
    }
    tasks = (Task(publisher=SpecConfig(type=publisher)),)
    state = StateView(state_type="Completed")
    return JobView(**(fields | {"id": "j-1", "state": state} | changes), count=count, version=version, tasks=tasks)


def execution(part: int = 0, state: ExecutionState = ExecutionState.COMPLETED, **changes: Any) -> ExecutionView:
    told = changes.pop("message", "")
    number = execution_state_number(state)
    fields: dict[str, Any] = {
        "id": f"e-0000000{part}-0000-5000-8000-000000000000",
        "job_id": "j-1",
        "node_id": f"node-{part}",
    }
    return ExecutionView(
        **(
            fields
            | {"partition_index": part, "compute_state": NumberedState(state_type=number, message=told)}
            | changes
        )
    )


def failed(part: int = 0, code: int = 3, **changes: Any) -> ExecutionView:
    output = RunOutputView(exit_code=code)
    message = f"The task ended with exit code {code}."
    return execution(part, ExecutionState.FAILED, **({"message": message, "run_output": output} | changes))


def test_how_long_a_run_took_counts_from_the_version_that_was_run() -> None:
    kept = execution(0, create_time=1 * SECOND, job_version=1)
    again = execution(1, create_time=97 * SECOND, job_version=2)
    told = completed(job(count=2, version=2, submit_time=96 * SECOND), [kept, again])
    assert told == "Job j-1 completed in 3.0 s. "


def test_of_which_parts_a_job_failed_is_told_with_what_became_of_the_others() -> None:
    told = FailedParts(job(count=5), [execution(0), failed(1), execution(2, ExecutionState.CANCELLED)])
    assert told.details() == {
        "parts": "1 of 5 failed, 1 completed, 3 were stopped or never begun",
        "part 1": "exit code 3 (node node-1, execution e-00000001)",
    }
    assert "`tarpon job logs j-1 -e e-00000001` shows what part 1 wrote." in told.hint()
    assert "`tarpon job rerun j-1 --failed`" in told.hint()


def test_of_a_part_its_last_attempt_counts() -> None:
    attempts = [failed(0, create_time=1), execution(0, create_time=2), failed(1, code=4, create_time=1)]
    again = failed(1, code=5, create_time=3, node_id="other")
    told = FailedParts(job(count=2), [again, *attempts]).details()
    assert told["parts"] == "1 of 2 failed, 1 completed"
    assert told["part 1"].startswith("exit code 5 (node other")


def test_what_has_no_exit_code_is_told_in_the_words_of_its_failure() -> None:
    lost = failed(1, message="The node\nis lost.", run_output=None)
    told = FailedParts(job(count=2), [execution(0), lost])
    assert told.details()["part 1"] == f"The node\\nis lost (node node-1, execution {short(lost.id)})"
    assert "tarpon job logs" not in told.hint(), "it has written nothing"


def test_of_many_parts_that_failed_the_first_are_named() -> None:
    told = FailedParts(job(count=200), [failed(part % 10, id=f"e-{part}", partition_index=part) for part in range(200)])
    details = told.details()
    assert details["parts"] == "200 of 200 failed, 0 completed"
    assert len([name for name in details if name.startswith("part ")]) == MOST_TOLD
    assert details["and more"] == "195, see `tarpon job executions j-1`"


def test_a_job_with_one_part_is_told_by_its_node_and_is_run_again_as_a_whole() -> None:
    told = FailedParts(job(), [failed()])
    assert told.details() == {"node": "node-0"}
    assert told.hint() == "`tarpon job logs j-1` shows what its task wrote. `tarpon job rerun j-1` runs it again."


def test_nothing_is_made_up_where_no_execution_is_known() -> None:
    assert FailedParts(job(count=3), []).details() == {}
    assert FailedParts(job(), []).details() == {}
    assert FailedParts(job(), []).hint().startswith("See `tarpon job describe j-1`.")


def test_of_a_job_that_was_stopped_is_told_how_far_it_came_and_how_it_goes_on() -> None:
    stopped = job(count=3, state=StateView(state_type="Stopped", message="enough of it"))
    ends = [execution(0), execution(1, ExecutionState.CANCELLED)]
    with pytest.raises(JobStopped, match="was stopped: enough of it") as raised:
        refuse_failure(Watched(stopped, None), ends)
    assert raised.value.details == {"parts": "0 of 3 failed, 1 completed, 2 were stopped or never begun"}
    assert "`tarpon job rerun j-1 --failed`" in raised.value.hint


@pytest.mark.parametrize("publisher", ["", "noop", "Noop"])
def test_output_that_nobody_can_have_any_more_is_told_at_the_end(publisher: str) -> None:
    long = execution(run_output=RunOutputView(stdout="x", stdout_truncated=True))
    assert "no publisher" in lost_output(job(publisher=publisher), [long])
    assert lost_output(job(publisher=publisher), [execution(run_output=RunOutputView(stdout="x"))]) == ""


def test_output_that_is_published_is_not_lost() -> None:
    published = PublishedResult(type="s3managed")
    long = execution(run_output=RunOutputView(stdout="x", stdout_truncated=True), published_result=published)
    assert lost_output(job(publisher="s3managed"), [long]) == ""
