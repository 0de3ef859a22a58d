"""Numbers and nesting beyond what can be kept: refused with their place where they come in, harmless where they are."""

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from orchestrator.rules.records import BindingRecord, NodeRecord, Record
from orchestrator.state.filing.filing import AT_ONCE
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.jobs.spec import SpecConfig, Task
from shared.jobs.states import ExecutionState, JobState
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, NodeInfo, RunOutput, TaskEnded
from shared.runtime.aio import background, pipelined
from tests.builders import new_job, new_job_record
from tests.integration.fed_api import JOBS, FedApi
from tests.integration.orchestrator.nats_api.test_integrations import program
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.integration.running import Running
from tests.nats_bus import Bus
from tests.unit.orchestrator.state.test_model import execution
from tests.waiting import eventually

STATE = f"$KV.{subjects.STATE_BUCKET}."
HUGE = b"1" + b"0" * 30
DEEP = b"[" * 950 + b"]" * 950
JOB = b'{"Job":{"Type":"batch","Tasks":[{"Name":"main","Engine":{"Type":"noop","Params":{"n":[1,%s]}}}]}}'
OTHERS = AT_ONCE + 76
ODD = 40


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (JOB % HUGE, "Job.Tasks[0].Engine.Params.n[1]: a whole number"),
        (JOB % b"1e999", "Job.Tasks[0].Engine.Params.n[1]: a number is out of range"),
        (JOB % DEEP, "Job.Tasks[0].Engine.Params.n[1][0]"),
        (b'{"Job":{"Priority":' + HUGE + b"}}", "Job.Priority: a whole number"),
        (b'{"Job":{"State":' + b'{"a":' * 950 + b"1" + b"}" * 950 + b"}}", "Job.State.a.a"),
        (b'{"Job":{"Name":"a\\ud800b"}}', "not JSON"),
        (b'{"Job":{"Name":"\xff"}}', "not JSON"),
    ],
    ids=["number", "exponent", "nesting", "a typed number", "the server's own", "half a pair", "no utf-8"],
)
async def test_a_request_is_refused_with_its_place(running: Running, body: bytes, place: str) -> None:
    answer = await running.ask(JOBS, "PUT", data=body)
    assert (answer.status, answer.json["Code"]) == (400, "InvalidDocument")
    assert place in answer.json["Message"]
    async with program(running) as client:
        asked = await client.request("tarpon.v1.api.billing.jobs.submit", body, timeout=10)
        told = msgspec.json.decode(asked.data)
    assert (told["Status"], told["Code"]) == (400, "InvalidDocument")
    assert place in told["Message"]


async def test_a_query_beyond_any_bound_is_no_error_of_the_program(fed: FedApi) -> None:
    for number in ("9" * 30, "9" * 5000, "-1", "1e5"):
        for query in (f"limit={number}", f"next_token={number}"):
            assert (await fed.ask(f"{JOBS}?{query}")).status in {200, 400}, query


async def test_facts_beyond_any_bound_are_put_aside_and_harm_nothing(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit(Tasks=[{"Name": "main", "Engine": {"Type": "noop"}}])
        held = ExecutionId((await node.accept_assignment()).execution_id)
        await node.report(held, ExecutionStarted())
        report = b'{"type":"Report","execution_id":"%s","facts":[{"type":"TaskEnded","output":{"exit_code":%s},%s}]}'
        for code, seconds in ((HUGE, b'"run_seconds":1'), (b"1", b'"run_seconds":1e300'), (DEEP, b'"run_seconds":1')):
            await node.tell(report % (held.encode(), code, seconds))
        await node.report(held, TaskEnded(output=RunOutput(), run_seconds=0.1))
        await running.wait_state(job, "Completed")
        registration = b'{"type":"Registration","session":"s","inventory":1,"info":{"node_id":"a","version":"1"%s}}'
        for capacity in (b',"capacity":{"Memory":' + HUGE + b"}", b',"capacity":{"CPU":1e300}'):
            await node.connection.request(subjects.node_requests(node.id), registration % capacity, timeout=5)
        await node.connection.publish(
            subjects.node_heartbeat(node.id), b'{"type":"Heartbeat","session":"s","running":' + HUGE + b"}"
        )
        await node.register()
    assert (await running.ask("/readyz")).status == 200
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def records(number: int) -> dict[str, Record]:
    """A job that has ended and its execution, as an earlier version has stored them."""
    job = JobId(f"j-{number}")
    key = execution_key(job, 1, 0, 0)
    params: dict[str, Any] = {"n": 10**30} if number < ODD / 2 else {}
    task = Task(name="main", engine=SpecConfig(type="noop", params=params))
    record = new_job_record(job, first=new_job(job, tasks=(task,), namespace="default"))
    output = RunOutput(exit_code=10**30 if number < ODD else 0)
    ended = replace(execution(ExecutionState.COMPLETED, of=job), id=new_execution_id(key), output=output)
    return {subjects.job_record(job): record, subjects.execution_record(key): ended}


async def store_raw(bus: Bus, stored: dict[str, Record]) -> None:
    async def publish(key: str) -> None:
        await bus.connection.publish_durably(STATE + key, msgspec.json.encode(stored[key]), timeout=10)

    await pipelined(stored, publish, at_once=64)


async def test_jobs_that_earlier_versions_took_in_harm_no_other(bus: Bus) -> None:
    for number in range(ODD + OTHERS):
        await store_raw(bus, records(number))
    async with other(bus) as connection, following(connection) as store:
        model = store.model
        assert model.backlog.job_states[JobState.COMPLETED] == len(model.jobs) == ODD + OTHERS
        with model.news.watch(JobId("j-5")) as watch:
            await store_raw(bus, records(5))
            async with asyncio.timeout(5):
                await watch.changed()
        store.check_whole()
        assert store.failures == 0


class FailingModel(Model):
    """One that has a fault."""

    fails = True

    def take_in(self, key: str, record: Record, revision: int) -> None:
        if self.fails and key.endswith("faulty"):
            raise OverflowError("a fault")
        super().take_in(key, record, revision)


async def test_a_record_that_fails_is_told_loudly_and_keeps_no_other_from_being_known(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    model = FailingModel(max_attempts=1)
    async with other(bus) as connection, following(bus.connection) as writer:
        store = Store(connection, model)
        await writer.create(subjects.binding_record(NodeId("faulty")), BindingRecord(public_key="U"))
        async with background(state=store.keep_model()):
            await eventually(store.ready.is_set)
            info = NodeInfo(node_id=NodeId("n-1"), version="0")
            await writer.create(subjects.node_record(NodeId("n-1")), NodeRecord(info=info))
            await eventually(lambda: NodeId("n-1") in model.nodes)
            assert store.failures == 1
            with pytest.raises(Exception, match=r"1 stored records could not be taken in.* binding\.faulty"):
                store.check_whole()
            logged = [each for each in caplog.records if "binding.faulty" in each.getMessage()]
            assert [each.levelno for each in logged] == [logging.ERROR]
            model.fails = False
            await writer.update(subjects.binding_record(NodeId("faulty")), BindingRecord(public_key="V"))
            await eventually(lambda: model.bindings.get(NodeId("faulty")) == BindingRecord(public_key="V"))
            store.check_whole()


async def test_readiness_tells_of_what_is_missing(fed: FedApi) -> None:
    assert (await fed.ask("/readyz")).status == 200
    fed.store._intake._failed["job.j-1"] = None
    answer = await fed.ask("/readyz")
    assert (answer.status, answer.json["Code"]) == (503, "RecordsNotTaken")
