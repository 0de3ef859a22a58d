"""A job is run again as a new version: all of it, or what has not completed, whose results are then whole."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.messages import ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

BODY = gzip.compress(b"\0" * 1024)
PUBLISHED = OutputPublished(
    size_bytes=len(BODY),
    md5=hashlib.md5(BODY).hexdigest(),
    sha256=hashlib.sha256(BODY).hexdigest(),
    entries=0,
    raw_bytes=1024,
)
TASK = {
    "Name": "main",
    "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}},
    "Publisher": {"Type": "s3managed"},
    "FailOnExitCode": True,
}


async def do(running: Running, node: PlayedNode, *, fail: int | None = None) -> int:
    """Run the part that comes next and give its number; the part to `fail` ends with exit code 1."""
    assignment = await node.accept_assignment()
    code = int(assignment.partition_index == fail)
    assert assignment.archive is not None
    assert await running.put(assignment.archive, BODY) == 200
    ended = TaskEnded(output=RunOutput(exit_code=code), run_seconds=0.1)
    await node.report(assignment.execution_id, ExecutionStarted(), ended, PUBLISHED)
    return assignment.partition_index


async def offered(running: Running, job: str, version: int = 0) -> list[tuple[int, ...]]:
    """The results: of which part and version, and the exit code of a failed one."""
    items = (await running.api(f"/jobs/{job}/results?job_version={version or ''}"))["Items"]
    return [tuple(each["Params"][name] for name in ("PartitionIndex", "JobVersion", "ExitCode")) for each in items]


async def failed_job(running: Running, node: PlayedNode) -> str:
    """Part 0 has completed, part 1 has failed, and part 2 was never begun."""
    await node.register()
    job = await running.submit(Name="sweep", Count=3, MaxParallel=1, Tasks=[TASK])
    assert [await do(running, node, fail=1) for _ in range(2)] == [0, 1]
    await running.wait_state(job, "Failed")
    return job


async def rerun(running: Running, job: str, **wanted: Any) -> Any:
    return await running.api(f"/jobs/{job}/rerun", wanted, "PUT")


async def test_what_has_not_completed_is_run_again_and_the_results_are_whole(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1") as node,
    ):
        job = await failed_job(running, node)
        again = {"Failed": True, "IdempotencyToken": "once", "Reason": "the disk is larger now"}
        assert (await rerun(running, job, **again))["JobVersion"] == 2
        assert (await rerun(running, job, **again))["JobVersion"] == 2, "the same request, come again"
        assert (await rerun(running, job, IdempotencyToken="once"))["Code"] == "IdempotencyTokenUsed"
        assert await do(running, node) == 1
        running_still = await rerun(running, job, Failed=True)
        assert (running_still["Status"], running_still["Code"]) == (409, "Conflict")
        assert await do(running, node, fail=2) == 2
        await running.wait_state(job, "Failed")
        assert (await rerun(running, job, Failed=True))["JobVersion"] == 3
        assert await do(running, node) == 2
        found = await running.wait_state(job, "Completed")
        assert await offered(running, job) == [(0, 1, 0), (1, 2, 0), (2, 3, 0)]
        listed = {(each["PartitionIndex"], each["JobVersion"]) for each in found["Executions"]["Items"]}
        assert listed == {(0, 1), (1, 2), (2, 3)}
        told = [each["Event"] for each in found["History"]["Items"] if each["Event"]["Topic"] == "Submission"]
        assert told[-1]["Details"]["KeptParts"] == "2"
        assert await offered(running, job, 2) == [(0, 1, 0), (1, 2, 0), (2, 2, 1)]
        nothing = await rerun(running, job, Failed=True)
        assert nothing["Message"] == f"All parts of version 3 of job {job} have completed."
        assert "FailOnExitCode" not in nothing["Hint"]
        assert (await rerun(running, job, Failed=True, JobVersion=2))["JobVersion"] == 4
        assert await do(running, node) == 2
        await running.wait_state(job, "Completed")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch) as running:
        assert (await running.wait_state(job, "Completed"))["Job"]["Version"] == 4
        assert await offered(running, job) == [(0, 1, 0), (1, 2, 0), (2, 4, 0)]


async def test_where_an_exit_code_is_no_failure_it_is_told_how_it_would_be_one(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit(Name="sweep", Tasks=[TASK | {"FailOnExitCode": False}])
        await do(running, node, fail=0)
        await running.wait_state(job, "Completed")
        assert "`FailOnExitCode: true`" in (await rerun(running, job, Failed=True))["Hint"]
        unknown = await rerun(running, job, JobVersion=9)
        assert (unknown["Code"], unknown["Hint"]) == ("NotFound", "Its versions are 1.")


async def test_without_that_all_parts_are_run_again_and_nothing_is_kept(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1") as node,
    ):
        job = await failed_job(running, node)
        assert (await rerun(running, job))["JobVersion"] == 2
        assert [await do(running, node) for _ in range(3)] == [0, 1, 2]
        await running.wait_state(job, "Completed")
        assert await offered(running, job) == [(0, 2, 0), (1, 2, 0), (2, 2, 0)]
