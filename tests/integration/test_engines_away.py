"""A job waits for an engine that was there not long ago, and for one that is away for long no job waits."""

from pathlib import Path

import pytest

from shared import messages
from shared.messages import Assignments, AssignmentsAnswered, Rejected
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

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
    sets = ("Orchestrator.NodeManager.EngineTimeout=1s",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, sets=sets) as running,
        running.node("n-1") as node,
    ):
        await node.register()
        await node.register(engines=("noop",))
        found = await running.wait_state(await running.submit(), "Failed")
        assert "Node n-1: its engine process is away" in found["Job"]["State"]["Message"]


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
