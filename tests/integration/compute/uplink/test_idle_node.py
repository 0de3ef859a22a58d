"""A node that is connected and lets its work lie, or says that it has more than it can have."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.jobs.capacity import Capacity
from shared.protocol.messages import ExecutionProgressed, Reconciliation, RequestRefused, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

TASK = {"Name": "main", "Engine": {"Type": "noop"}}
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)
FAILED, COMPLETED = 10, 9


@pytest.fixture
async def impatient(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr("orchestrator.dispatch.assignments.ANSWER_SECONDS", 0.2)
    settings = "Orchestrator.NodeManager"
    sets = (f"{settings}.AnswerTimeout=500ms", f"{settings}.StartTimeout=1s", f"{settings}.MaxCapacity.GPU=2")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


async def is_done_by(running: Running, job: str, node: PlayedNode) -> dict[str, Any]:
    """How the job's executions ended, by node; its last one is done by this node."""
    async with asyncio.timeout(20):
        assignment = await node.accept_assignment()
    assert assignment.job_id == job
    await node.report(assignment.execution_id, ENDED)
    return await running.wait_state(job, "Completed")


def ends(job: dict[str, Any]) -> dict[str, int]:
    return {each["NodeID"]: each["ComputeState"]["StateType"] for each in job["Executions"]["Items"]}


async def test_what_a_connected_node_does_not_answer_goes_elsewhere_and_the_node_rests(impatient: Running) -> None:
    async with impatient.node("hostile") as hostile, impatient.node("honest") as honest:
        await hostile.register()
        job = await impatient.submit(Tasks=[TASK])
        await hostile.next_order()  # and it does not answer
        await honest.register()
        found = await is_done_by(impatient, job, honest)
        assert ends(found) == {"hostile": FAILED, "honest": COMPLETED}
        told = [each["Event"]["Message"] for each in found["History"]["Items"]]
        assert "Node hostile has not answered for 0.5 s" in told
        for _ in range(3):
            again = await impatient.submit(Tasks=[TASK])
            assert list(ends(await is_done_by(impatient, again, honest))) == ["honest"]


@pytest.mark.parametrize("action", ["undrain", "drain"])
async def test_what_a_node_accepts_and_does_not_begin_goes_elsewhere(impatient: Running, action: str) -> None:
    async with impatient.node("hostile") as hostile, impatient.node("honest") as honest:
        await hostile.register()
        job = await impatient.submit(Tasks=[TASK])
        await hostile.accept_assignment()
        await impatient.api("/nodes/hostile", {"Action": action}, "PUT")
        await honest.register()
        assert ends(await is_done_by(impatient, job, honest)) == {"hostile": FAILED, "honest": COMPLETED}
        assert (await impatient.api("/nodes/hostile"))["Node"]["LiveExecutions"] == 0


async def test_a_node_that_prepares_an_execution_keeps_it_while_it_says_so_but_not_for_ever(
    impatient: Running,
) -> None:
    told = 0

    async def go_on(execution: Any) -> None:
        nonlocal told
        while True:
            await hostile.report(execution, ExecutionProgressed(detail=f"{told} %"))
            told += 1
            await asyncio.sleep(0.2)

    async with impatient.node("hostile") as hostile, impatient.node("honest") as honest:
        await hostile.register()
        job = await impatient.submit(Tasks=[TASK])
        execution = (await hostile.accept_assignment()).execution_id
        await honest.register()
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(go_on(execution), name="progress")
            await is_done_by(impatient, job, honest)
            talking.cancel()
    assert told > 10


async def test_a_node_counts_for_no_more_than_the_operator_allows(impatient: Running) -> None:
    async with impatient.node("hostile") as node:
        much = 10**18
        await node.register(capacity=Capacity(cpu=1e18, memory=much, disk=much, gpu=much))
        found = (await impatient.api("/nodes/hostile"))["Node"]["Info"]["ComputeNodeInfo"]["MaxCapacity"]
    assert found == {"CPU": 1024.0, "Memory": 64 << 40, "Disk": 1 << 50, "GPU": 2}


@pytest.mark.parametrize("capacity", [Capacity(cpu=-1.0), Capacity(memory=-1), Capacity(gpu=-1)])
async def test_a_node_cannot_have_less_than_nothing(running: Running, capacity: Capacity) -> None:
    async with running.node("hostile") as node:
        answer = await node.register(capacity=capacity)
        assert isinstance(answer, RequestRefused)
        assert answer.code == "NodeInfoInvalid"
        assert isinstance(await node.register(), Reconciliation)
