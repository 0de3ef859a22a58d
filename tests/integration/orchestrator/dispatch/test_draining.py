"""Nodes that are drained, or leave: nothing new goes there, and what has not begun there goes elsewhere at once."""

import asyncio
from typing import Any

import pytest

from orchestrator.dispatch import scheduler
from shared.ids import ExecutionId
from shared.protocol import messages
from shared.protocol.messages import ExecutionFailed, ExecutionStarted, HandBack, RunOutput, TaskEnded
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running
from tests.waiting import eventually

NOT_BEGUN = ExecutionFailed(reason="NodeRestarted", detail="The node takes nothing on any more.", not_begun=True)
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)
TASK = {"Name": "main", "Engine": {"Type": "noop"}}
ATTEMPTS = 5


async def _act(running: Running, node: str, action: str) -> Any:
    answer = await running.api(f"/nodes/{node}", {"Action": action}, "PUT")
    assert answer["Success"]
    return (await running.api(f"/nodes/{node}"))["Node"]


async def _hand_back(node: PlayedNode) -> tuple[ExecutionId, ...]:
    """What the node is asked to hand back next; it does so."""
    while True:
        order, received = await node.next_order()
        await received.respond(messages.encode(messages.Accepted(session=node.session, inventories=0)))
        if isinstance(order, HandBack):
            for each in order.execution_ids:
                await node.report(each, NOT_BEGUN)
            return order.execution_ids


async def test_nothing_is_placed_on_a_drained_node_until_that_ends(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        assert (await _act(running, "a", "drain"))["Draining"]
        job = await running.submit(Tasks=[TASK])
        found = await running.wait_state(job, "Queued")
        assert found["Job"]["State"]["Message"] == "Waiting for node a, which is drained."
        await node.register()  # what it says of itself does not end its drain
        assert not (await _act(running, "a", "undrain"))["Draining"]
        assignment = await node.accept_assignment()
        await node.report(assignment.execution_id, ENDED)
        await running.wait_state(job, "Completed")


async def test_what_has_not_begun_goes_elsewhere_and_uses_no_attempt_up(running: Running) -> None:
    async with running.node("a") as a, running.node("b") as b:
        await a.register()
        await b.register()
        await _act(running, "b", "drain")
        job = await running.submit(Tasks=[TASK])
        here, there = a, b
        for _ in range(ATTEMPTS + 1):
            assignment = await here.accept_assignment()
            await _act(running, there.id, "undrain")
            await _act(running, here.id, "drain")
            assert await _hand_back(here) == (assignment.execution_id,)
            here, there = there, here
        assignment = await here.accept_assignment()
        await here.report(assignment.execution_id, ENDED)
        found = await running.wait_state(job, "Completed")
    handed_back = [
        each["Event"]["Message"]
        for each in found["History"]["Items"]
        if each["Event"]["Details"].get("ErrorCode") == "HandedBack"
    ]
    assert handed_back == [NOT_BEGUN.detail] * (ATTEMPTS + 1)


async def test_what_runs_on_a_drained_node_ends_there(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit(Tasks=[TASK])
        assignment = await node.accept_assignment()
        await node.report(assignment.execution_id, ExecutionStarted())
        await running.wait_state(job, "Running")
        assert (await _act(running, "a", "drain"))["LiveExecutions"] == 1
        await node.report(assignment.execution_id, ENDED)
        await running.wait_state(job, "Completed")
        assert (await running.api("/nodes/a"))["Node"]["LiveExecutions"] == 0


async def test_what_was_on_its_way_to_a_node_that_leaves_is_placed_elsewhere_at_once(running: Running) -> None:
    async with running.node("a") as a, running.node("b") as b:
        await a.register()
        job = await running.submit(Tasks=[TASK])
        await a.next_order()  # and it does not answer
        await b.register()
        await a.register(leaving=True)
        assignment = await b.accept_assignment()
        await b.report(assignment.execution_id, ENDED)
        found = await running.wait_state(job, "Completed")
    told = [each["Event"]["Message"] for each in found["History"]["Items"]]
    assert "Handed back by node a, which is stopping" in told


async def test_what_waits_for_capacity_starts_when_it_is_free_and_not_when_the_clock_ticks(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "TICK_SECONDS", 1000.0)
    whole = {**TASK, "Resources": {"CPU": "8"}}
    async with running.node("a") as node, asyncio.timeout(20):
        await node.register()
        jobs = [await running.submit(Tasks=[whole]) for _ in range(5)]
        for job in jobs:
            assignment = await node.accept_assignment()
            assert assignment.job_id == job, "in their order"
            await node.report(assignment.execution_id, ENDED)
        await running.wait_state(jobs[-1], "Completed")


async def test_an_unknown_action_and_an_unknown_node_are_named(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        await eventually_known(running)
        answer = await running.ask("/api/v1/orchestrator/nodes/a", "PUT", {"Action": "evaporate"})
        assert (answer.status, "drain, undrain" in answer.json["Hint"]) == (400, True)
        assert (await running.ask("/api/v1/orchestrator/nodes/z", "PUT", {"Action": "drain"})).status == 404


async def eventually_known(running: Running) -> None:
    found: list[Any] = []

    async def look() -> None:
        found[:] = await running.compute_nodes()

    await look()
    await eventually(lambda: found)
