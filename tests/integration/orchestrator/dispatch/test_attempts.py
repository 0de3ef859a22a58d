"""Attempts at a job follow each other after waits, whichever orchestrator leads, and whatever its nodes say."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from shared.protocol.messages import ExecutionFailed
from tests.integration.running import running_orchestrator
from tests.servers import S3Server

NODE_ERROR = ExecutionFailed(reason="NodeError", detail="the disk is on fire")


def waits(found: dict[str, Any]) -> list[float]:
    """Seconds between the end of an attempt and the beginning of the next one."""
    executions = sorted(found["Executions"]["Items"], key=lambda each: each["CreateTime"])
    pairs = itertools.pairwise(executions)
    return [(later["CreateTime"] - earlier["ModifyTime"]) / 1e9 for earlier, later in pairs]


async def test_attempts_wait_longer_each_time_and_come_to_an_end(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.Scheduler.Backoff.Floor=200ms", "Orchestrator.Scheduler.MaxAttempts=4")
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit()
        for _ in range(4):
            await node.report((await node.accept_assignment()).execution_id, NODE_ERROR)
        found = await running.wait_state(job, "Failed")
        first, second, third = waits(found)
        assert first >= 0.2
        assert second >= 0.4
        assert third >= 0.8
        assert found["Job"]["State"]["Message"] == "the disk is on fire (the first of 4 attempts)"


async def test_an_orchestrator_that_is_started_anew_waits_for_the_same_attempt(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.Scheduler.Backoff.Floor=3s", "Orchestrator.Scheduler.MaxAttempts=2")
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit()
        await node.report((await node.accept_assignment()).execution_id, NODE_ERROR)
        waiting = await running.wait_state(job, "Queued")
        assert waiting["Job"]["State"]["Message"].startswith("Waiting until ")
        seed = node.seed
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1", seed=seed) as node,
    ):
        await node.register()
        await node.report((await node.accept_assignment()).execution_id, NODE_ERROR)
        (waited,) = waits(await running.wait_state(job, "Failed"))
        assert waited >= 3.0
