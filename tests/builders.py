"""Jobs, their records, executions and assignments as tests need them: plain, but for what a test says."""

from typing import Any

from msgspec.structs import replace

from orchestrator.rules.records import ExecutionRecord, JobRecord
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Job, SpecConfig, Task
from shared.jobs.states import ExecutionState
from shared.protocol.messages import Assignment

JOB, NODE = "j-1", "n-1"


def new_task(*, engine: str = "noop", publisher: str = "", **more: Any) -> Task:
    return replace(Task(name="main", engine=SpecConfig(type=engine), publisher=SpecConfig(type=publisher)), **more)


def new_job(name: str = "a-job", *, count: int = 1, engine: str = "noop", publisher: str = "", **more: Any) -> Job:
    """With one task that does nothing."""
    plain = Job(name=name, type="batch", count=count, tasks=(new_task(engine=engine, publisher=publisher),))
    return replace(plain, **more)


def new_job_record(of: str = JOB, *, at: int = 1, **more: Any) -> JobRecord:
    """Its first version, submitted at this instant, which is called as its id is."""
    plain = JobRecord(
        id=JobId(of), namespace="default", name=of, version=1, create_time=at, submit_time=at, modify_time=at
    )
    return replace(plain, **more)


def new_execution(
    state: ExecutionState = ExecutionState.NEW,
    *,
    of: str = JOB,
    version: int = 1,
    partition: int = 0,
    attempt: int = 0,
    on: str = NODE,
    at: int = 1,
    **more: Any,
) -> ExecutionRecord:
    """With the id of its decision, on one CPU, decided and changed last at this instant."""
    plain = ExecutionRecord(
        id=new_execution_id(execution_key(JobId(of), version, partition, attempt)),
        job_id=JobId(of),
        job_version=version,
        partition=partition,
        attempt=attempt,
        node_id=NodeId(on),
        resources=Capacity(cpu=1.0),
        state=state,
        create_time=at,
        modify_time=at,
    )
    return replace(plain, **more)


def new_assignment(execution_id: str = "e-1", **more: Any) -> Assignment:
    """Of a task that does nothing and publishes nothing."""
    plain = Assignment(
        execution_id=ExecutionId(execution_id),
        job_id=JobId(JOB),
        job_name="a-job",
        job_type="batch",
        namespace="default",
        job_version=1,
        task=new_task(),
        resources=Capacity(cpu=1.0),
    )
    return replace(plain, **more)
