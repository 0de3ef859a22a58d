"""Records in the bucket outlive the program that wrote them: these bytes are read for ever."""

import msgspec

from orchestrator.rules.records import ExecutionRecord, JobRecord, decode_record
from orchestrator.rules.result_record import ResultRecord, rebuilt
from shared.jobs.states import DesiredState
from shared.protocol.results.result_record import FORMAT

RECORD = (
    b'{"format":1,"job_id":"j-1","namespace":"team-a","name":"daily","type":"batch","version":2,"count":2,"keeps":[1],'
    b'"execution_id":"e-1","partition":1,"attempt":3,"incarnation":"0a","node_id":"n-1","state":"Failed",'
    b'"failure":{"reason":"NonZeroExitCode","retryable":true},"exit_code":3,"run_seconds":0.5,'
    b'"location":{"bucket":"b","key":"namespaces/team-a/j-1/e-1.tar.gz","region":"r","endpoint":"https://s3"},'
    b'"result":{"size_bytes":5,"sha256":"s","entries":1,"etag":"m"},"job_create_time":1,"create_time":2,'
    b'"modify_time":3}'
)


def test_the_first_format_is_read_and_written() -> None:
    found = msgspec.json.decode(RECORD, type=ResultRecord)
    assert found.format == FORMAT
    assert msgspec.json.decode(msgspec.json.encode(found)) == msgspec.json.decode(RECORD)


def test_a_job_of_which_results_are_missing_has_failed_and_is_not_run_again() -> None:
    found = msgspec.json.decode(RECORD, type=ResultRecord)
    records = dict(rebuilt([found], now=9))
    assert list(records)[:2] == ["name.dGVhbS1h.ZGFpbHk", "spec.j-1.2"]
    job, execution = records["job.j-1"], records["execution.j-1.2.1.3.0a"]
    assert isinstance(job, JobRecord)
    assert isinstance(execution, ExecutionRecord)
    assert (job.version, job.desired, "1 of 2 parts" in job.failure) == (2, DesiredState.RUNNING, True)
    assert (execution.result, execution.output and execution.output.exit_code) == (found.result, 3)
    for key, record in records.items():
        assert decode_record(key, msgspec.json.encode(record)) == record
