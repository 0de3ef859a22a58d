"""A task that has failed by its exit code: how often it is run, what becomes of its result, and who is told."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.messages import Assignment, ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

FAST = "Orchestrator.Scheduler.Backoff.Floor=50ms"
ARCHIVE = gzip.compress(b"\0" * 1024)


def task(*, publisher: str = "noop", **more: Any) -> dict[str, Any]:
    engine = {"Type": "process", "Params": {"Entrypoint": ["true"]}}
    plain = {"Name": "main", "Engine": engine, "Publisher": {"Type": publisher}}
    return plain | {"FailOnExitCode": True, "Retries": {"Max": 2}} | more


def ended(exit_code: int) -> TaskEnded:
    return TaskEnded(output=RunOutput(exit_code=exit_code), run_seconds=0.1)


async def end_next(node: PlayedNode, exit_code: int) -> Assignment:
    assignment = await node.accept_assignment()
    await node.report(assignment.execution_id, ExecutionStarted(), ended(exit_code))
    return assignment


async def publish(running: Running, node: PlayedNode, assignment: Assignment, body: bytes) -> None:
    assert assignment.archive is not None
    assert await running.put(assignment.archive, body) == 200
    md5, sha256 = hashlib.md5(body).hexdigest(), hashlib.sha256(body).hexdigest()
    published = OutputPublished(size_bytes=len(body), md5=md5, sha256=sha256, entries=0, raw_bytes=1024)
    await node.report(assignment.execution_id, published)


async def test_a_part_that_fails_is_run_again_until_it_does_not_and_no_node_is_blamed(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = (FAST, "Orchestrator.Scheduler.MaxAttempts=1")
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        for _ in range(4):  # different jobs, as many as make a node suspect that is blamed
            job = await running.submit(Tasks=[task()])
            for code in (7, 9, 0):
                await end_next(node, code)
            found = await running.wait_state(job, "Completed")
            executions = sorted(found["Executions"]["Items"], key=lambda each: each["CreateTime"])
            assert [each["RunOutput"]["ExitCode"] for each in executions] == [7, 9, 0]
            assert [each["ComputeState"]["Message"] for each in executions] == [
                "The task ended with exit code 7.",
                "The task ended with exit code 9.",
                "",
            ]
        (told,) = await running.compute_nodes()
        assert not told.get("Suspicion")


async def test_when_its_retries_are_used_up_the_job_has_failed_and_its_history_names_the_code(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=(FAST,)) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit(Tasks=[task(Retries={"Max": 1, "OnExitCodes": [75]})])
        for _ in range(2):
            await end_next(node, 75)
        found = await running.wait_state(job, "Failed")
        assert found["Job"]["State"]["Message"] == "The task ended with exit code 75. (the last of 2 attempts)"
        ends = [each["Event"] for each in found["History"]["Items"] if "ExitCode" in each["Event"]["Details"]]
        assert [each["Details"]["ErrorCode"] for each in ends] == ["NonZeroExitCode"] * 2
        assert {each["Details"]["ExitCode"] for each in ends} == {"75"}


async def test_another_orchestrator_goes_on_counting_and_knows_why_a_result_is_being_published(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=(FAST,)) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit(Tasks=[task(publisher="s3managed", Retries={"Max": 1})])
        first = await end_next(node, 3)
        await publish(running, node, first, ARCHIVE)
        second = await end_next(node, 4)
        await running.wait_state(job, "Running")
        assert not (await running.api(f"/jobs/{job}/results")).get("Items"), "it may go better yet"
        seed = node.seed
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=(FAST,)) as running,
        running.node("n-1", seed=seed) as node,
    ):
        await node.register(held=(second.execution_id,))
        body = gzip.compress(b"\0" * 2048)
        assert second.archive is not None
        await publish(running, node, second, body)
        found = await running.wait_state(job, "Failed")
        assert found["Job"]["State"]["Message"] == "The task ended with exit code 4. (the last of 2 attempts)"
        (result,) = (await running.api(f"/jobs/{job}/results"))["Items"]
        assert result["Params"]["ExecutionID"] == second.execution_id
        assert result["Params"]["ExitCode"] == 4
        (earlier,) = (await running.api(f"/jobs/{job}/results?execution_id={first.execution_id}"))["Items"]
        assert earlier["Params"]["ExitCode"] == 3, "that of an earlier attempt is there for who asks for it"


async def test_the_result_of_a_job_that_completed_has_the_exit_code_of_its_task(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit(Tasks=[task(publisher="s3managed", FailOnExitCode=False, Retries={})])
        await publish(running, node, await end_next(node, 3), ARCHIVE)
        await running.wait_state(job, "Completed")
        (result,) = (await running.api(f"/jobs/{job}/results"))["Items"]
        assert result["Params"]["ExitCode"] == 3


async def test_the_time_of_the_job_ends_its_retries(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        retries = {"Max": 100, "BackOff": "1h"}
        job = await running.submit(Tasks=[task(Retries=retries, Timeouts={"TotalTimeout": 10})])
        await end_next(node, 1)
        waiting = await running.wait_state(job, "Queued")
        assert waiting["Job"]["State"]["Message"].startswith("Waiting until ")
        found = await running.wait_state(job, "Failed")
        assert found["Job"]["State"]["Message"].startswith("Not ended within its total time-out of 10 s.")
