"""A node that an operator rejects, or that floods, is cut off at once, with its key and what it was given."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from orchestrator.admission import budgets
from orchestrator.admission.nats_accounts import Accounts, announcement
from shared.errors import MessagingUnavailable
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    ExecutionStarted,
    GrantRequest,
    Heartbeat,
    Reconciliation,
    RequestRefused,
    RunOutput,
    TaskEnded,
)
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import eventually

TASK = {"Name": "main", "Engine": {"Type": "noop"}}
FAILED, COMPLETED = 10, 9
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)


async def act(running: Running, node: str, action: str, **more: Any) -> dict[str, Any]:
    answer = await running.ask(f"/api/v1/orchestrator/nodes/{node}", "PUT", {"Action": action, **more})
    assert (answer.status, answer.json["Success"]) == (200, True), answer.json
    return dict(answer.json)


async def known(running: Running) -> dict[str, Any]:
    return {each["Info"]["NodeID"]: each for each in await running.compute_nodes()}


async def running_job(running: Running, node: PlayedNode) -> str:
    await node.register()
    job = await running.submit(Tasks=[TASK])
    await node.report((await node.accept_assignment()).execution_id, ExecutionStarted())
    await running.wait_state(job, "Running")
    return job


async def cut_off(node: PlayedNode, since: int) -> None:
    """It has a connection again, for it was told nothing; but not the one that it had."""
    async with asyncio.timeout(10):
        await node.connection.next_connection(since)


async def test_a_rejected_node_is_cut_off_and_its_work_is_done_elsewhere(running: Running) -> None:
    async with running.node("a") as a, running.node("b") as b:
        job = await running_job(running, a)
        connection = a.connection.connections
        await b.register()
        assert (await act(running, "a", "reject", Message="it lies"))["Warning"] == ""
        assignment = await b.accept_assignment()
        assert assignment.job_id == job
        await b.report(assignment.execution_id, ENDED)
        await running.wait_state(job, "Completed")
        await cut_off(a, connection)
        found = (await known(running))["a"]
        assert (found["Membership"], found["Connection"]) == ("REJECTED", "DISCONNECTED")
        assert found["ConnectionState"]["LastError"].endswith(": it lies")


async def test_a_rejected_node_is_told_so_and_can_do_nothing_else(running: Running) -> None:
    async with running.node("a") as node:
        job = await running_job(running, node)
        execution = (await running.api(f"/jobs/{job}?include=executions"))["Executions"]["Items"][0]["ID"]
        connection = node.connection.connections
        await act(running, "a", "reject", Message="it lies")
        await cut_off(node, connection)
        for answer in (await node.register(), await node.ask(GrantRequest(execution_id=execution))):
            assert isinstance(answer, RequestRefused)
            assert (answer.code, answer.retryable) == ("NodeRejected", False)
            assert answer.message == (
                "node a was rejected by an operator (it lies). `tarpon node approve a` lets it in again."
            )
        beat = messages.encode(Heartbeat(session=node.session))
        await node.connection.publish(subjects.node_heartbeat(node.id), beat)
        await node.register()
        assert (await known(running))["a"]["Connection"] == "DISCONNECTED"


async def test_an_approved_node_is_as_it_was(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        await act(running, "a", "approve")
        assert isinstance(await node.register(), Reconciliation)
        connection = node.connection.connections
        await act(running, "a", "reject")
        await cut_off(node, connection)
        assert isinstance(await node.register(), RequestRefused)
        await act(running, "a", "approve")
        assert (await known(running))["a"]["Membership"] == "APPROVED"
    async with running.node("a", seed=node.seed) as again:  # as it does by itself, half a minute later
        await again.register()
        job = await running.submit(Tasks=[TASK])
        await again.report((await again.accept_assignment()).execution_id, ENDED)
        await running.wait_state(job, "Completed")


async def test_a_node_deleted_by_force_stays_out_and_its_name_is_free_for_another_key(running: Running) -> None:
    async with running.node("a") as node, running.node("b") as other:
        job = await running_job(running, node)
        await other.register()
        connection = node.connection.connections
        await act(running, "a", "delete", Force=True)
        assert list(await known(running)) == ["b"]
        assert (await other.accept_assignment()).job_id == job
        await cut_off(node, connection)
        assert isinstance(await node.register(), RequestRefused)
        assert list(await known(running)) == ["b"]
    async with asyncio.timeout(10), running.node("a") as another:
        assert isinstance(await another.register(), Reconciliation)
        assert (await known(running))["a"]["Membership"] == "APPROVED"


async def test_where_a_connection_cannot_be_ended_nothing_counts_that_comes_over_it(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on servers whose configuration has no system account of ours."""
    elsewhere = Accounts(system="ELSEWHERE")
    monkeypatch.setattr("orchestrator.admission.nats_config.announcement", lambda _: announcement(elsewhere))
    monkeypatch.setattr("orchestrator.nodes.disconnections.CONNECT_SECONDS", 0.5)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        running.node("a") as a,
        running.node("b") as b,
    ):
        job = await running_job(running, a)
        execution = (await running.api(f"/jobs/{job}?include=executions"))["Executions"]["Items"][0]["ID"]
        await b.register()
        warning = (await act(running, "a", "reject"))["Warning"]
        assert "its connection stands" in warning
        await a.report(execution, ENDED)
        assert isinstance(await a.register(), RequestRefused)
        assignment = await b.accept_assignment()
        await b.report(assignment.execution_id, ENDED)
        found = await running.wait_state(job, "Completed")
    ends = {each["NodeID"]: each["ComputeState"]["StateType"] for each in found["Executions"]["Items"]}
    assert ends == {"a": FAILED, "b": COMPLETED}


async def test_a_node_that_floods_is_shut_out_and_may_come_back_later(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(budgets, "SHUT_OUT_SECONDS", 3.0)
    async with running.node("hostile") as node, running.node("honest") as honest:
        await node.register()
        await honest.register()
        connection, honest_connection = node.connection.connections, honest.connection.connections
        for _ in range(20 * budgets.FLOOD_PER_SECOND):
            if not node.connection.connected:
                break
            await node.connection.publish(subjects.node_heartbeat(node.id), b"{}")
        await eventually(lambda: "Node hostile sends far too much" in caplog.text)
        await eventually(lambda: "it has sent far too much, and may come back in" in caplog.text)
        error = (await running.api("/nodes/hostile"))["Node"]["ConnectionState"]["LastError"]
        assert error.startswith("It has sent far too much, and is shut out for ")
        await cut_off(node, connection)
        assert isinstance(await node.register(), Reconciliation)
        assert honest.connection.connections == honest_connection


async def test_a_node_that_floods_a_subject_which_nobody_takes_is_shut_out_by_its_servers_count(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("orchestrator.nodes.disconnections.LOOK_SECONDS", 0.1)
    sets = ("Orchestrator.NodeManager.MessagesPerSecond=100",)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running,
        running.node("honest") as honest,
        running.node("hostile") as node,
    ):
        await honest.register()
        await node.register()
        with contextlib.suppress(MessagingUnavailable, nats.errors.Error):
            for number in range(10_000):
                await node.connection.publish(f"tarpon.v1.node.{node.id}.out.nothing", b"")
                if number % 100 == 0:
                    await node.connection.client.flush()
        await eventually(lambda: "Node hostile sends far too much" in caplog.text)
        assert honest.connection.connections == 1
