"""The record of a result: what is told of a verified archive beside it in the bucket, to find it by that alone.

It has what the lists of jobs and results show, and nothing of what a task does, is given, or wrote.
"""

from collections.abc import Mapping, Sequence

import msgspec

from orchestrator.rules.location import Location
from orchestrator.rules.records import (
    JUST_RECORDED,
    OF_INCARNATIONS,
    SCHEMA,
    Event,
    ExecutionRecord,
    Failure,
    JobRecord,
    KeyedRecord,
    NameRecord,
    Record,
    SpecRecord,
    VerifiedResult,
    schema_of,
)
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import OPS, Job, SpecConfig, Task
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.protocol.messages import RunOutput
from shared.protocol.results.result_record import FORMAT

LOST_ENGINE = "lost"
"""The engine of a task of which nothing is known any more: no node has it, so that nothing runs in its place."""
_TOPIC = "Rebuild"


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Fields are as in the records of the job and the execution. `count` is how many parts the job has.

    `format` is told always; a program leaves alone what has one that it does not know.
    """

    format: int
    job_id: JobId
    namespace: str
    name: str
    type: str
    version: int
    count: int
    keeps: tuple[int, ...] = ()
    execution_id: ExecutionId
    partition: int
    attempt: int
    incarnation: str = ""
    node_id: NodeId
    state: ExecutionState
    failure: Failure | None = None
    exit_code: int | None = None
    run_seconds: float = 0.0
    location: Location
    result: VerifiedResult
    job_create_time: int
    create_time: int
    modify_time: int


def result_record(
    job: JobRecord, spec: Job, keeps: tuple[int, ...], execution: ExecutionRecord, *, count: int
) -> ResultRecord | None:
    """What is told of this execution, of one of `count` parts; None where it has no result, or has it no more."""
    if not execution.has_counting_result or execution.location is None or execution.result_deleted:
        return None
    assert execution.result is not None
    return ResultRecord(
        format=FORMAT,
        job_id=job.id,
        namespace=job.namespace,
        name=job.name,
        type=spec.type,
        version=execution.job_version,
        count=count,
        keeps=keeps,
        execution_id=execution.id,
        partition=execution.partition,
        attempt=execution.attempt,
        incarnation=execution.incarnation,
        node_id=execution.node_id,
        state=execution.state,
        failure=execution.failure,
        exit_code=execution.output.exit_code if execution.output is not None else None,
        run_seconds=execution.run_seconds,
        location=execution.location,
        result=execution.result,
        job_create_time=job.create_time,
        create_time=execution.create_time,
        modify_time=execution.modify_time,
    )


def rebuilt(found: Sequence[ResultRecord], *, now: int) -> list[tuple[str, Record]]:
    """The records of one job, by their keys, out of all that is told of its results, of which there is one at least."""
    versions = {each.version: each for each in found}
    newest = versions[max(versions)]
    job = _job_record(found, newest, versions.get(1, newest), now)
    records: list[tuple[str, Record]] = []
    if newest.name not in {"", newest.job_id}:
        records.append((subjects.name_record(newest.namespace, newest.name), NameRecord(job_id=newest.job_id)))
    records += [
        (
            subjects.spec_record(newest.job_id, number),
            SpecRecord(schema=schema_of(_spec(each)), job=_spec(each), keeps=each.keeps),
        )
        for number, each in versions.items()
        if number > 1
    ]
    keyed: list[KeyedRecord] = [*map(_execution_record, found), job]
    return records + [(each.key, each) for each in keyed]


def _job_record(found: Sequence[ResultRecord], newest: ResultRecord, first: ResultRecord, now: int) -> JobRecord:
    of_versions = {newest.version, *newest.keeps}
    parts = {each.partition: each.node_id for each in found if each.version in of_versions}
    first_spec = _spec(first)
    told = f"Known by its results in the bucket alone: those of {len(parts)} of {newest.count} parts"
    return JobRecord(
        schema=schema_of(first_spec),
        id=newest.job_id,
        namespace=newest.namespace,
        name=newest.name,
        version=newest.version,
        failure=f"{told}; what became of the others is lost." if len(parts) < newest.count else "",
        events=(Event(time=now, number=JUST_RECORDED, topic=_TOPIC, message=f"{told}."),),
        create_time=newest.job_create_time,
        submit_time=min(each.create_time for each in found if each.version == newest.version),
        modify_time=max(each.modify_time for each in found),
        first=first_spec,
        targets=_targets(parts, newest),
    )


def _targets(parts: Mapping[int, NodeId], newest: ResultRecord) -> tuple[NodeId, ...]:
    """The nodes of an ops job, without the names of those that have no result."""
    return tuple(parts.get(part, NodeId("")) for part in range(newest.count)) if newest.type == OPS else ()


def _spec(found: ResultRecord) -> Job:
    task = Task(name="main", engine=SpecConfig(type=LOST_ENGINE), publisher=SpecConfig(type="s3managed"))
    return Job(name=found.name, namespace=found.namespace, type=found.type, count=found.count, tasks=(task,))


def _execution_record(found: ResultRecord) -> ExecutionRecord:
    return ExecutionRecord(
        schema=OF_INCARNATIONS if found.incarnation else SCHEMA,
        id=found.execution_id,
        job_id=found.job_id,
        job_version=found.version,
        partition=found.partition,
        attempt=found.attempt,
        incarnation=found.incarnation,
        node_id=found.node_id,
        resources=Capacity(),
        state=found.state,
        failure=found.failure,
        output=RunOutput(exit_code=found.exit_code) if found.exit_code is not None else None,
        run_seconds=found.run_seconds,
        location=found.location,
        result=found.result,
        create_time=found.create_time,
        modify_time=found.modify_time,
    )
