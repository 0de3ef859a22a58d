"""What is decided about a version of a job is told of that version alone, whatever happens while it is carried out."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from orchestrator.admission.task_secrets import TaskSecrets
from orchestrator.dispatch.abandoned_uploads import AbandonedUploads
from orchestrator.dispatch.assignments import Offers
from orchestrator.dispatch.commands import Commands
from orchestrator.dispatch.grants import Grants
from orchestrator.dispatch.receipts import Receipts
from orchestrator.dispatch.scheduler import Scheduler
from orchestrator.dispatch.steps import Steps
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord, JobRecord, NodeRecord, Record, SpecRecord
from orchestrator.rules.time_outs import SilenceLimits
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from orchestrator.telemetry.traces import Traces
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Timeouts
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo, Registration
from shared.runtime.aio import background
from shared.runtime.tracing import OFF
from shared.settings.secret import Secret
from tests.audit_logs import audit_in
from tests.builders import new_execution, new_job, new_job_record, new_task
from tests.nats_bus import Bus

NODE = NodeInfo(
    node_id=NodeId("n-1"),
    version="1",
    engines=("noop",),
    publishers=("s3managed",),
    capacity=Capacity(cpu=8.0, memory=1 << 30, disk=1 << 30),
)
GOOD, BAD = JobId("j-good"), JobId("j-bad")


def record(job: JobId, engine: str, *, priority: int = 0) -> JobRecord:
    task = new_task(engine=engine, publisher="s3managed")
    return new_job_record(job, priority=priority, first=new_job(job, tasks=(task,), namespace="default"))


def scheduler_of(
    group: asyncio.TaskGroup,
    bus: Bus,
    store: Store,
    nodes: Nodes,
    locate: Callable[[str, JobId, ExecutionId, bool], Location],
) -> Scheduler:
    model, locations, steps = store.model, Locations(None), Steps(store.model, store)
    audit = audit_in(Path("nothing is signed, so that nothing is written"))
    grants = Grants(model, store, locations, AbandonedUploads(model, store, locations), audit)
    offers = Offers(
        group=group,
        connection=bus.connection,
        model=model,
        nodes=nodes,
        steps=steps,
        grants=grants,
        publish_seconds=60.0,
        check=lambda: None,
        traces=Traces(OFF, model, leads=lambda: True),
        secrets=TaskSecrets(model, store, Secret("of-the-tests")),
        audit=audit,
    )
    return Scheduler(
        model,
        store,
        nodes,
        offers,
        steps,
        locate=locate,
        unreachable=dict,
        publish_seconds=60.0,
        silence=SilenceLimits(answer_seconds=60.0, start_seconds=60.0),
        commands=Commands(offers, Receipts(group, bus.connection)),
        measures=Measures(),
    )


async def _group(opened: asyncio.Future[asyncio.TaskGroup]) -> None:
    """What is begun in it ends with it, such as offers to a node that does not answer."""
    async with asyncio.TaskGroup() as group:
        opened.set_result(group)
        await asyncio.Event().wait()


async def test_a_version_does_not_fail_for_what_was_decided_about_the_one_before(bus: Bus) -> None:
    store, other = (Store(bus.connection, Model(max_attempts=1)) for _ in range(2))
    model, key, heard = store.model, subjects.job_record(BAD), asyncio.Event()

    def locate(_: str, job: JobId, execution: ExecutionId, is_plain: bool) -> Location:  # noqa: FBT001  # the scheduler's
        """While the first is being placed, it is heard that the other was submitted anew."""
        spec, submitted = other.model.jobs[BAD].spec, other.model.jobs[BAD].job
        spec_key = subjects.spec_record(BAD, 2)
        model.apply(spec_key, SpecRecord(job=spec), other.model.revision_of(spec_key))
        model.apply(key, submitted, other.model.revision_of(key))
        heard.set()
        return Location(bucket="b", key=f"{job}/{execution}", region="r")

    opened: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
    async with background(offers=_group(opened)):
        await store.create(subjects.node_record(NODE.node_id), NodeRecord(info=NODE))
        await store.create(subjects.job_record(GOOD), record(GOOD, "noop", priority=9))
        await store.create(key, record(BAD, "nosuch"))
        await other.read(key)
        await other.create(subjects.spec_record(BAD, 2), SpecRecord(job=other.model.jobs[BAD].spec))
        await other.update(key, replace(other.model.jobs[BAD].job, version=2))
        nodes = Nodes(model, disconnect_seconds=60.0)
        nodes.on_registration(NODE.node_id, Registration(info=NODE, session="s", inventory=1))
        await scheduler_of(await opened, bus, store, nodes, locate)._place()
        assert heard.is_set()
        assert (model.jobs[BAD].job.version, model.jobs[BAD].job.failure) == (2, "")
        assert BAD not in model.backlog.reasons


async def test_a_task_that_ends_while_others_are_ended_for_its_time_out_is_not_ended_too(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(bus.connection, Model(max_attempts=1))
    slow, ends = running(0), running(1)
    genuine = Store.update

    async def update(of: Store, key: str, written: Record, *, revision: int | None = None) -> None:
        """As reports do, which are taken in all the time."""
        if key == slow.key:
            await genuine(of, ends.key, replace(ends, state=ExecutionState.PUBLISHING, modify_time=now_ns()))
        await genuine(of, key, written, revision=revision)

    monkeypatch.setattr("orchestrator.dispatch.scheduler.WRITES_AT_ONCE", 1)
    monkeypatch.setattr("orchestrator.rules.time_outs.SLACK_SECONDS", -1.0)
    opened: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()
    async with background(offers=_group(opened)):
        job = record(GOOD, "noop")
        assert job.first is not None
        timed = replace(job.first.task, timeouts=Timeouts(execution_timeout=5))
        await store.create(NodeRecord(info=NODE).key, NodeRecord(info=NODE))
        await store.create(job.key, replace(job, first=replace(job.first, count=2, tasks=(timed,))))
        await store.create(slow.key, slow)
        await store.create(ends.key, ends)
        scheduler = scheduler_of(await opened, bus, store, Nodes(store.model, disconnect_seconds=60.0), nowhere)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "update", update)
            await scheduler._end_overdue()
    states = {each.partition: each.state for each in store.model.jobs[GOOD].executions.values()}
    assert states == {0: ExecutionState.FAILED, 1: ExecutionState.PUBLISHING}


def running(partition: int) -> ExecutionRecord:
    """For half a century."""
    return new_execution(ExecutionState.RUNNING, of=GOOD, partition=partition, on=NODE.node_id, resources=Capacity())


def nowhere(_: str, job: JobId, execution: ExecutionId, is_plain: bool) -> Location:  # noqa: FBT001  # the scheduler's
    return Location(bucket="b", key=f"{job}/{execution}", region="r")
