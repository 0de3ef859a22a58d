"""A state that was restored from a backup: what is decided again is told apart from what was decided before."""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.ids import ExecutionId
from shared.protocol.messages import Assignment, ExecutionStarted, OutputPublished, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

BEFORE, AFTER = b"what was published before the backup was restored", b"and after"


class Restorable:
    """An orchestrator with one bucket, whose state is copied and put back while it is stopped."""

    def __init__(self, folder: Path, s3_server: S3Server, patch: pytest.MonkeyPatch, bucket: str) -> None:
        self._folder = folder
        self._s3_server = s3_server
        self._patch = patch
        self._sets: tuple[str, ...] = (f"Publishers.Types.S3Managed.Bucket={bucket}",)

    def running(self, *, restored: bool = False) -> AbstractAsyncContextManager[Running]:
        return running_orchestrator(
            self._folder / "own", self._s3_server, self._patch, sets=self._sets, restored=restored
        )

    async def back_up(self) -> None:
        await asyncio.to_thread(shutil.copytree, self._folder / "own", self._folder / "copy")

    async def restore(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self._folder / "own")
        await asyncio.to_thread(shutil.copytree, self._folder / "copy", self._folder / "own")


@pytest.fixture
async def restorable(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Restorable:
    (tmp_path / "own").mkdir()
    return Restorable(tmp_path, s3_server, monkeypatch, await asyncio.to_thread(s3_server.create_bucket))


@asynccontextmanager
async def joined(running: Running) -> AsyncIterator[PlayedNode]:
    """A node that was never there before."""
    async with asyncio.timeout(20), running.node(f"n-{os.urandom(4).hex()}") as node:
        await node.register()
        yield node
        await node.register(leaving=True)


async def publish(running: Running, node: PlayedNode, assignment: Assignment, body: bytes) -> int:
    """As a node does; what S3 answered to the PUT."""
    assert assignment.archive is not None
    status = await running.put(assignment.archive, body)
    published = OutputPublished(
        size_bytes=len(body),
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(body).hexdigest(),
        entries=1,
        raw_bytes=1,
        was_there=status == 412,
    )
    ended = TaskEnded(output=RunOutput(), run_seconds=0.1)
    await node.report(ExecutionId(assignment.execution_id), ExecutionStarted(), ended, published)
    return status


async def run_once(running: Running, job: str, body: bytes) -> str:
    """Have a node run and publish the job; the id of the execution."""
    async with joined(running) as node:
        assignment = await node.accept_assignment()
        assert await publish(running, node, assignment, body) == 200
        await running.wait_state(job, "Completed")
    return assignment.execution_id


async def queued_job(running: Running) -> str:
    task = {"Name": "main", "Engine": {"Type": "noop"}, "Publisher": {"Type": "s3managed"}}
    return await running.submit(Tasks=[task | {"Timeouts": {"QueueTimeout": 3600}}])


async def test_a_decision_that_is_taken_again_is_another_one(restorable: Restorable) -> None:
    async with restorable.running() as running:
        ended = await queued_job(running)
        old = await run_once(running, ended, BEFORE)
        job = await queued_job(running)
    await restorable.back_up()
    async with restorable.running() as running:
        first = await run_once(running, job, BEFORE)
    await restorable.restore()
    async with restorable.running(restored=True) as running:
        second = await run_once(running, job, AFTER)
        assert second != first
        kept = await running.wait_state(ended, "Completed")
        assert [each["ID"] for each in kept["Executions"]["Items"]] == [old], "what was decided before keeps its id"
        later = await queued_job(running)
        third = await run_once(running, later, BEFORE)
    async with restorable.running() as running:  # as it goes on, without being restored again
        for job_id, execution in ((job, second), (later, third)):
            found = await running.wait_state(job_id, "Completed")
            assert [each["ID"] for each in found["Executions"]["Items"]] == [execution]
        answer = await running.ask(f"/api/v1/orchestrator/jobs/{job}/record", "DELETE")
        assert answer.json["Deleted"]


async def test_an_object_in_the_way_costs_an_attempt_and_not_the_job(restorable: Restorable) -> None:
    """When nobody has said that the state was restored."""
    async with restorable.running() as running:
        job = await queued_job(running)
    await restorable.back_up()
    async with restorable.running() as running:
        first = await run_once(running, job, BEFORE)
    await restorable.restore()
    async with restorable.running() as running, joined(running) as node:
        again = await node.accept_assignment()
        assert again.execution_id == first
        assert await publish(running, node, again, AFTER) == 412
        other = await node.accept_assignment()
        assert other.execution_id != first
        assert await publish(running, node, other, AFTER) == 200
        found = await running.wait_state(job, "Completed")
        assert "Another object was in the bucket already" in json.dumps(found["History"])


async def test_the_same_object_again_is_the_result(restorable: Restorable) -> None:
    """As when the answer to the first PUT was lost."""
    async with restorable.running() as running, joined(running) as node:
        job = await queued_job(running)
        assignment = await node.accept_assignment()
        assert assignment.archive is not None
        assert await running.put(assignment.archive, BEFORE) == 200
        assert await publish(running, node, assignment, BEFORE) == 412
        await running.wait_state(job, "Completed")
