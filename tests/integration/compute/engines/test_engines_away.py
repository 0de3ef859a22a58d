"""A job waits for an engine or a node that was there not long ago, and for what is away for long no job waits."""

from pathlib import Path
from typing import Any

import pytest

from shared.protocol import messages
from shared.protocol.messages import Assignments, AssignmentsAnswered, Rejected
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

AWAY = "Waiting for node n-1, whose engine is away."


async def test_a_job_waits_while_the_only_engine_is_away_and_runs_when_it_is_back(running: Running) -> None:
    async with running.node("n-1") as node:
        await node.register()
        await node.register(engines=("noop",))
        found = await running.wait_state(job := await running.submit(), "Queued")
        assert found["Job"]["State"]["Message"] == AWAY
        await node.register()
        assert (await node.accept_assignment()).job_id == job


async def test_an_orchestrator_that_is_started_anew_knows_since_when_an_engine_is_away(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        await node.register(engines=("noop",))
        seed = node.seed
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch) as running,
        running.node("n-1", seed=seed) as node,
    ):
        await node.register(engines=("noop",))
        found = await running.wait_state(await running.submit(), "Queued")
        assert found["Job"]["State"]["Message"] == AWAY


async def test_an_engine_that_is_away_for_longer_than_the_limit_is_none(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.NodeManager.ReturnTimeout=1s",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        await node.register(engines=("noop",))
        found = await running.wait_state(await running.submit(), "Failed")
        assert "Node n-1: its engine process is away" in found["Job"]["State"]["Message"]


async def test_a_job_waits_for_the_only_node_that_could_run_it_also_when_that_has_disappeared(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.NodeManager.DisconnectTimeout=1s", "Orchestrator.Scheduler.Backoff.Floor=50ms")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running:
        async with running.node("n-1") as node:
            await node.register()
            job = await running.submit()
            await node.accept_assignment()
            seed = node.seed

        def waits(found: dict[str, Any]) -> bool:
            return bool(found["Job"]["State"]["Message"] == "Waiting for node n-1 to connect.")

        await answered(lambda: running.api(f"/jobs/{job}?include=executions"), waits, within=20, what="it waits")
        async with running.node("n-1", seed=seed) as node:
            await node.register()
            assert (await node.accept_assignment()).job_id == job


async def test_a_node_that_has_disappeared_for_longer_than_the_limit_is_not_waited_for(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.NodeManager.DisconnectTimeout=1s", "Orchestrator.NodeManager.ReturnTimeout=0s")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running:
        async with running.node("n-1") as node:
            await node.register()
            job = await running.submit()
            await node.accept_assignment()
        found = await running.wait_state(job, "Failed")
        assert "No compute node is connected" in found["Job"]["State"]["Message"]


async def test_a_node_that_has_not_seen_its_engine_since_it_was_started_may_be_given_the_job_again(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("Orchestrator.Scheduler.Backoff.Floor=50ms", "Orchestrator.Scheduler.MaxAttempts=1")
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        job = await running.submit()
        await _refuse(node)
        assert (await node.accept_assignment()).job_id == job


async def _refuse(node: PlayedNode) -> None:
    order, received = await node.next_order()
    while not isinstance(order, Assignments):
        order, received = await node.next_order()
    answers = (Rejected(reason="EngineNotOffered", detail="no engine"),) * len(order.assignments)
    await received.respond(messages.encode(AssignmentsAnswered(answers=answers)))
