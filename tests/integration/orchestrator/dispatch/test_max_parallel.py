"""Of the parts of a job no more run at once than it says, whoever leads, and the next begins when one has ended."""

from pathlib import Path
from typing import Any

import pytest

from shared.jobs.capacity import Capacity
from shared.protocol.messages import Assignment, ExecutionStarted, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

DONE = TaskEnded(output=RunOutput(), run_seconds=0.1)
TASK = {
    "Name": "main",
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}},
    "Publisher": {"Type": "noop"},
    "FailOnExitCode": True,
    "Retries": {"Max": 1},
}


async def begin(node: PlayedNode) -> Assignment:
    assignment = await node.accept_assignment()
    await node.report(assignment.execution_id, ExecutionStarted())
    return assignment


async def waits_for(running: Running, job: str, reason: str) -> dict[str, Any]:
    async def describe() -> dict[str, Any]:
        found: dict[str, Any] = await running.api(f"/jobs/{job}?include=executions")
        return found

    def is_so(found: dict[str, Any]) -> bool:
        return reason in found["Job"]["State"]["Details"].get("WaitsFor", "")

    return await answered(describe, is_so, within=20, what=f"the job tells {reason!r}")


async def test_the_parts_of_a_job_run_in_their_order_and_no_more_at_once_than_it_says(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    floor = ("Orchestrator.Scheduler.Backoff.Floor=50ms",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=floor) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit(Count=5, MaxParallel=2, Tasks=[TASK])
        first, second = await begin(node), await begin(node)
        assert {first.partition_index, second.partition_index} == {0, 1}
        found = await waits_for(running, job, "another of its parts to end: 2 may run at once (MaxParallel)")
        assert found["Job"]["MaxParallel"] == 2
        assert len(found["Executions"]["Items"]) == 2, "none is placed beside them"
        failed = TaskEnded(output=RunOutput(exit_code=1), run_seconds=0.1)
        await node.report(first.execution_id, failed)
        third = await begin(node)
        await node.report(third.execution_id, DONE)
        seed = node.seed
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=floor) as running,
        running.node("n-1", seed=seed) as node,
    ):
        await node.register(held=(second.execution_id, third.execution_id))
        for _ in range(3):
            following = await begin(node)
            found = await running.api(f"/jobs/{job}?include=executions")
            live = [each for each in found["Executions"]["Items"] if each["DesiredState"]["StateType"] == 1]
            assert len(live) <= 2, "also after another orchestrator has taken over"
            await node.report(following.execution_id, DONE)
        await node.report(second.execution_id, DONE)
        found = await running.wait_state(job, "Completed")
        done = [each for each in found["Executions"]["Items"] if each["ComputeState"]["Message"] == ""]
        assert sorted(each["PartitionIndex"] for each in done) == [0, 1, 2, 3, 4]


async def test_a_job_of_many_parts_comes_to_its_end_with_no_more_at_once_than_it_says(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    many, most = 150, 20
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        running.node("n-1") as node,
    ):
        await node.register(capacity=Capacity(cpu=1000.0, memory=1 << 40, disk=1 << 40))
        job = await running.submit(Count=many, MaxParallel=most, Tasks=[TASK])
        at_once, seen = list[Assignment](), list[int]()
        while len(seen) < many:
            at_once.append(await node.accept_assignment())
            seen.append(at_once[-1].partition_index)
            assert len(at_once) <= most
            if len(at_once) == most or len(seen) == many:
                for each in at_once:
                    await node.report(each.execution_id, ExecutionStarted(), DONE)
                at_once.clear()
        found = await running.wait_state(job, "Completed")
        assert sorted(seen) == list(range(many))
        assert sorted(each["PartitionIndex"] for each in found["Executions"]["Items"]) == sorted(seen)
