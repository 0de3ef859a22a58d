"""What clients of the reference read, by its names and in its spelling, made from stored records."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from orchestrator.jobs.views import execution_views, history, job_view
from orchestrator.rules.location import Location
from orchestrator.rules.records import (
    Event,
    ExecutionRecord,
    Failure,
    JobRecord,
    VerifiedResult,
    with_event,
)
from orchestrator.rules.records import SpecRecord as Spec
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.ids import JobId, NodeId, execution_key
from shared.jobs.capacity import Capacity
from shared.jobs.spec import ResultPath
from shared.jobs.states import DesiredState, ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.execution_lines import RUNNING, RUNNING_ON, TASK_ENDED
from shared.protocol.messages import RunOutput
from tests.builders import new_execution, new_job, new_job_record, new_task

S = ExecutionState
SECOND = 10**9
NOW = 1_700_000_000 * SECOND
JOB, NODE = JobId("j-1"), NodeId("n-1")
OUTPUT = RunOutput(stdout="out\n", stderr="err\n", stderr_truncated=True, exit_code=3)
PLACE = Location(bucket="results", key="prefix/j-1/e.tar.gz", region="eu-west-1", endpoint="https://s3.example.com")
RESULT = VerifiedResult(etag='"abc"', size_bytes=10, sha256="f" * 64, entries=4, raw_bytes=100)


def job_record(**more: Any) -> JobRecord:
    record = new_job_record(name="a-job", at=NOW, events=(event(NOW, "Submission", "Job submitted"),))
    return replace(record, **more)


def event(time: int, topic: str, message: str, **details: str) -> Event:
    return Event(time=time, topic=topic, message=message, details=details)


PULLS, WAITS = "Pulling image x: 34 % of 120 MB", "Publishing, waiting for S3: no answer"


def execution(state: ExecutionState = S.NEW, *, partition: int = 0, attempt: int = 0, **more: Any) -> ExecutionRecord:
    record = new_execution(
        state,
        partition=partition,
        attempt=attempt,
        resources=Capacity(cpu=0.5, memory=512),
        at=NOW + SECOND,
        events=(event(NOW + SECOND, "Scheduling", "Placed on node n-1"),),
    )
    return replace(record, **more)


SUBMITTED = event(NOW, "Submission", "Job submitted")


def begun(partition: int) -> ExecutionRecord:
    return execution(
        S.RUNNING,
        partition=partition,
        events=with_event((), event(NOW + 2 * SECOND, RUNNING, f"{RUNNING_ON}n-1")),
    )


def made(*executions: ExecutionRecord, record: JobRecord | None = None) -> tuple[Model, JobEntry]:
    task = new_task(publisher="s3managed", result_paths=(ResultPath(name="outputs", path="/outputs"),))
    job = new_job(tasks=(task,), namespace="default", priority=3, labels={"team": "blue"})
    model = Model(max_attempts=3)
    model.apply(subjects.spec_record(JOB, 1), Spec(job=job), 1)
    model.apply(subjects.job_record(JOB), record or job_record(), 2)
    for number, each in enumerate(executions, start=3):
        key = execution_key(each.job_id, each.job_version, each.partition, each.attempt)
        model.apply(subjects.execution_record(key), each, number)
    return model, model.jobs[JOB]


def on_the_wire(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def executions_on_the_wire(*executions: ExecutionRecord) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = on_the_wire(execution_views(*made(*executions)))
    return found


class TestJob:
    def test_its_fields_have_the_names_of_the_reference(self) -> None:
        assert on_the_wire(job_view(*made())) == {
            "Name": "a-job",
            "Namespace": "default",
            "Type": "batch",
            "Priority": 3,
            "Count": 1,
            "Constraints": [],
            "Meta": {},
            "Labels": {"team": "blue"},
            "Tasks": [
                {
                    "Name": "main",
                    "Engine": {"Type": "noop"},
                    "Publisher": {"Type": "s3managed"},
                    "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
                }
            ],
            "ID": "j-1",
            "State": {"StateType": "Pending", "Message": "", "Details": {}},
            "Version": 1,
            "Revision": 2,
            "CreateTime": NOW,
            "ModifyTime": NOW,
            "SubmitTime": NOW,
            "ExitCodes": {},
        }

    @pytest.mark.parametrize(
        ("executions", "expected"),
        [
            ([execution(S.RUNNING)], "Running"),
            ([execution(S.COMPLETED)], "Completed"),
            ([execution(S.FAILED, failure=Failure(reason="TaskNotStarted", detail="no such program"))], "Failed"),
        ],
    )
    def test_its_state_is_text(self, executions: list[ExecutionRecord], expected: str) -> None:
        assert on_the_wire(job_view(*made(*executions)))["State"]["StateType"] == expected

    def test_one_that_waits_is_queued_and_says_why(self) -> None:
        model, entry = made()
        model.backlog.explain(JOB, "Waiting for free CPU on 1 suitable node(s).")
        assert on_the_wire(job_view(model, entry))["State"] == {
            "StateType": "Queued",
            "Message": "Waiting for free CPU on 1 suitable node(s).",
            "Details": {},
        }

    def test_one_of_which_parts_run_says_why_the_others_wait(self) -> None:
        model, entry = made(execution(S.RUNNING))
        model.backlog.explain(JOB, "Waiting for free CPU on 1 suitable node(s).")
        assert on_the_wire(job_view(model, entry))["State"] == {
            "StateType": "Running",
            "Message": "",
            "Details": {"WaitsFor": "Waiting for free CPU on 1 suitable node(s)."},
        }

    def test_it_was_modified_when_an_execution_of_it_was(self) -> None:
        assert job_view(*made(execution())).modify_time == NOW + SECOND

    def test_one_whose_results_are_not_whole_says_so(self) -> None:
        result = replace(RESULT, left_out_count=3)
        lacking = execution(S.COMPLETED, result=result, location=PLACE)
        earlier = execution(S.FAILED, attempt=0, result=result, failure=Failure(reason="NodeLost", retryable=True))
        whole = execution(S.COMPLETED, attempt=1, result=RESULT, location=PLACE)
        assert on_the_wire(job_view(*made(lacking)))["State"]["Details"] == {"LeftOutCount": "3"}
        assert on_the_wire(job_view(*made(earlier, whole)))["State"]["Details"] == {}

    def test_one_whose_results_are_not_whole_says_so_when_it_is_packed(self) -> None:
        model, entry = made(execution(S.COMPLETED, result=replace(RESULT, left_out_count=3), location=PLACE))
        entry.pack()
        assert on_the_wire(job_view(model, entry))["State"]["Details"] == {"LeftOutCount": "3"}


class TestExecution:
    def test_its_fields_have_the_names_of_the_reference(self) -> None:
        (shown,) = executions_on_the_wire(execution(S.COMPLETED, output=OUTPUT, result=RESULT, location=PLACE))
        assert shown == {
            "ID": execution().id,
            "Namespace": "default",
            "EvalID": "",
            "Name": "a-job.main[0]",
            "NodeID": "n-1",
            "JobID": "j-1",
            "JobVersion": 1,
            "AllocatedResources": {"Tasks": {"main": {"CPU": 0.5, "Memory": 512}}},
            "DesiredState": {"StateType": 2, "Message": "", "Details": {}},
            "ComputeState": {"StateType": 9, "Message": "", "Details": {}},
            "Upload": None,
            "Inputs": None,
            "PublishedResult": {
                "Type": "s3managed",
                "Params": {
                    "JobID": "j-1",
                    "ExecutionID": execution().id,
                    "Bucket": "results",
                    "Key": "prefix/j-1/e.tar.gz",
                    "Region": "eu-west-1",
                    "Endpoint": "https://s3.example.com",
                    "ETag": '"abc"',
                    "Encoding": "gzip",
                    "SHA256": "f" * 64,
                    "Size": 10,
                    "Entries": 4,
                    "RawSize": 100,
                    "Warnings": [],
                    "WarningsCount": 0,
                    "LeftOutCount": 0,
                    "ArchiveSeconds": 0.0,
                    "PublishSeconds": 0.0,
                    "Parts": 1,
                    "Retries": 0,
                    "Renewals": 0,
                    "ContentDigest": "",
                },
            },
            "RunOutput": {
                "Stdout": "out\n",
                "StdoutTruncated": False,
                "stderr": "err\n",
                "StderrTruncated": True,
                "ExitCode": 3,
                "ErrorMsg": "",
            },
            "PreviousExecution": "",
            "NextExecution": "",
            "FollowupEvalID": "",
            "PartitionIndex": 0,
            "FetchSeconds": 0.0,
            "PullSeconds": 0.0,
            "GPUs": [],
            "RunSeconds": 0.0,
            "PeakMemory": 0,
            "Revision": 3,
            "CreateTime": NOW + SECOND,
            "ModifyTime": NOW + SECOND,
        }

    @pytest.mark.parametrize(
        ("state", "topic", "told", "shown"),
        [
            (S.NEW, "Preparing Execution", PULLS, PULLS),
            (S.PUBLISHING, "Publishing Results", WAITS, WAITS),
            (S.RUNNING, "Running Execution", "Running on node n-1", ""),
            (S.CANCELLED, "Preparing Execution", PULLS, ""),
        ],
    )
    def test_what_it_waits_for_is_told_while_it_does(
        self, state: ExecutionState, topic: str, told: str, shown: str
    ) -> None:
        (seen,) = executions_on_the_wire(execution(state, events=(event(NOW, topic, told),)))
        assert seen["ComputeState"]["Message"] == shown

    @pytest.mark.parametrize(
        ("state", "number", "desired"),
        [
            (S.NEW, 1, 1),
            (S.REJECTED, 4, 2),
            (S.ACCEPTED, 5, 1),
            (S.RUNNING, 6, 1),
            (S.PUBLISHING, 7, 1),
            (S.COMPLETED, 9, 2),
            (S.FAILED, 10, 2),
            (S.CANCELLED, 11, 2),
        ],
    )
    def test_its_states_are_the_numbers_of_the_reference(
        self, state: ExecutionState, number: int, desired: int
    ) -> None:
        (shown,) = executions_on_the_wire(execution(state))
        assert shown["ComputeState"]["StateType"] == number
        assert shown["DesiredState"]["StateType"] == desired

    def test_no_state_lacks_a_number(self) -> None:
        for state in S:
            executions_on_the_wire(execution(state))

    def test_a_failure_is_told_with_its_state_and_with_its_output(self) -> None:
        failure = Failure(reason="DiskFull", detail="the disk is full", retryable=True)
        (shown,) = executions_on_the_wire(execution(S.FAILED, failure=failure, output=OUTPUT))
        assert shown["ComputeState"]["Message"] == shown["RunOutput"]["ErrorMsg"] == "the disk is full"

    def test_without_result_and_output_there_are_none(self) -> None:
        (shown,) = executions_on_the_wire(execution())
        assert (shown["PublishedResult"], shown["RunOutput"]) == (None, None)

    def test_the_oldest_comes_first(self) -> None:
        retry = execution(attempt=1, create_time=NOW + 5 * SECOND)
        shown = execution_views(*made(retry, execution(S.FAILED, failure=Failure(reason="NodeLost", retryable=True))))
        assert [each.id for each in shown] == [execution().id, retry.id]

    def test_no_view_ever_shows_a_url_with_a_query(self) -> None:
        shown = executions_on_the_wire(execution(S.COMPLETED, result=RESULT, location=PLACE))
        assert "?" not in str(shown)

    def test_a_result_tells_how_many_entries_it_lacks(self) -> None:
        (shown,) = executions_on_the_wire(
            execution(S.COMPLETED, result=replace(RESULT, left_out_count=3), location=PLACE)
        )
        assert shown["PublishedResult"]["Params"]["LeftOutCount"] == 3


class TestHistory:
    def test_its_items_have_the_names_of_the_reference(self) -> None:
        _, entry = made(execution(S.RUNNING))
        first, second = on_the_wire(history(entry))
        assert first == {
            "SeqNum": 1,
            "Type": "JobLevel",
            "JobID": "j-1",
            "JobVersion": 1,
            "ExecutionID": "",
            "Event": {
                "Message": "Job submitted",
                "Topic": "Submission",
                "Timestamp": "2023-11-14T22:13:20Z",
                "Details": {},
            },
            "Time": "2023-11-14T22:13:20Z",
        }
        assert (second["SeqNum"], second["Type"], second["ExecutionID"]) == (2, "ExecutionLevel", execution().id)

    def test_it_is_in_order_of_time_and_how_the_job_ended_comes_last(self) -> None:
        failure = Failure(reason="TaskNotStarted", detail="no such program")
        ended = execution(S.FAILED, failure=failure, modify_time=NOW + 9 * SECOND)
        late = replace(ended, events=(*ended.events, event(NOW + 9 * SECOND, "Execution", "no such program")))
        _, entry = made(late, record=job_record(events=(event(NOW + 5 * SECOND, "Submission", "late"),)))
        items = history(entry)
        assert [item.event.message for item in items] == [
            "Placed on node n-1",
            "late",
            "no such program",
            "Job failed: no such program",
        ]
        assert [item.seq_num for item in items] == [1, 2, 3, 4]
        assert items[-1].event.details == {"NewState": "Failed", "IsError": "true"}
        assert items[-1].event.is_error

    @pytest.mark.parametrize(
        ("record", "message", "details"),
        [
            (job_record(desired=DesiredState.STOPPED), "Nothing of it runs any more", {"NewState": "Stopped"}),
            (job_record(failure="not enough nodes"), "Job failed", {"NewState": "Failed", "IsError": "true"}),
        ],
    )
    def test_what_the_job_has_told_already_is_not_told_twice(
        self, record: JobRecord, message: str, details: dict[str, str]
    ) -> None:
        last = history(made(record=record)[1])[-1]
        assert (last.event.topic, last.event.message, last.event.details) == ("State Update", message, details)

    def test_what_happens_to_an_execution_tells_its_node(self) -> None:
        told = on_the_wire(history(made(execution(S.RUNNING))[1]))
        assert [item["Event"]["Details"].get("NodeID") for item in told] == [None, "n-1"]
        assert [item.get("PartitionIndex") for item in told] == [None, 0]

    def test_that_the_job_runs_comes_before_its_first_execution(self) -> None:
        _, entry = made(begun(1), begun(0), record=job_record(events=with_event((), SUBMITTED)))
        told = [(item.type, item.event.topic, item.event.message, item.event.details) for item in history(entry)]
        assert told[1] == ("JobLevel", "State Update", "Job running", {"NewState": "Running"})
        assert [message for _, _, message, _ in told].count("Job running") == 1
        (item,) = [each for each in history(entry) if each.event.message == "Job running"]
        assert item.time == history(entry)[-1].time
        assert "Job running" not in [each.event.message for each in history(entry, after=item.seq_num)]

    def test_who_has_heard_that_the_job_runs_does_not_hear_it_again_when_the_task_has_ended(self) -> None:
        model, entry = made(begun(0), record=job_record(events=with_event((), SUBMITTED)))
        heard = history(entry)[-1].seq_num
        (running,) = entry.executions.values()
        ended = event(NOW + 2 * SECOND, RUNNING, f"{TASK_ENDED}0")
        model.apply(running.key, replace(running, events=with_event(running.events, ended)), 9)
        assert [item.event.message for item in history(entry, after=heard)] == [f"{TASK_ENDED}0"]

    def test_each_version_begins_to_run(self) -> None:
        model, entry = made(begun(0), record=job_record(events=with_event((), SUBMITTED)))
        again = replace(entry.job, version=2, events=with_event(entry.job.events, SUBMITTED))
        model.apply(subjects.spec_record(JOB, 2), Spec(job=entry.spec), 4)
        model.apply(subjects.job_record(JOB), again, 5)
        model.apply(subjects.execution_record(execution_key(JOB, 2, 0, 0)), replace(begun(0), job_version=2), 6)
        told = [(item.job_version, item.event.message) for item in history(entry)]
        assert [version for version, message in told if message == "Job running"] == [1, 2]

    def test_what_begins_after_the_end_lets_no_job_run(self) -> None:
        model, entry = made(record=job_record(events=with_event((), SUBMITTED)))
        stop = event(NOW + SECOND, "State Update", "Job stopped")
        stopped = replace(entry.job, desired=DesiredState.STOPPED, events=with_event(entry.job.events, stop))
        model.apply(subjects.job_record(JOB), stopped, 3)
        model.apply(subjects.execution_record(execution_key(JOB, 1, 0, 0)), begun(0), 4)
        assert "Job running" not in [item.event.message for item in history(entry)]

    def test_a_job_that_goes_on_has_no_end(self) -> None:
        assert [item.event.message for item in history(made()[1])] == ["Job submitted"]
        assert made()[1].progress.state is JobState.PENDING
