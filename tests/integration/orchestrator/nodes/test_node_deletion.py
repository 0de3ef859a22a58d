"""A node that is gone is deleted: its record and the binding of its name, and nothing of one that is still needed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.rules.records import BindingRecord
from shared.ids import NodeId
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, Reconciliation
from tests.integration.orchestrator.jobs.removal.test_retention import another
from tests.integration.played_node import PlayedNode
from tests.integration.running import Answer, Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered, eventually

TASK = {"Name": "main", "Engine": {"Type": "noop"}}


async def delete(running: Running, node: str, message: str = "") -> Answer:
    body = {"Action": "delete", "Message": message}
    return await running.ask(f"/api/v1/orchestrator/nodes/{node}", "PUT", body)


async def known(running: Running) -> dict[str, Any]:
    return {each["Info"]["NodeID"]: each for each in await running.compute_nodes()}


async def deleted(running: Running, node: str) -> None:
    """Delete it as soon as that is possible."""
    answer = await answered(lambda: delete(running, node), lambda answer: answer.status != 409, what="it may go")
    assert answer.status == 200


async def leave(node: PlayedNode) -> None:
    """As a node does that is stopped in order."""
    await node.register(leaving=True)


@pytest.fixture
async def impatient(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """An orchestrator for which who says nothing for half a second is gone."""
    sets = ("Orchestrator.NodeManager.DisconnectTimeout=500ms",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


async def test_a_node_that_has_left_is_deleted_and_its_name_is_free_for_another_key(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running.node("a") as node:
        await node.register()
        await running.api("/nodes/a", {"Action": "drain"}, "PUT")
        await leave(node)
    answer = await delete(running, "a", "its machine\nis gone")
    told = {"Success": True, "Error": "", "Warning": "", "JoinToken": "", "TokenIsUsable": False}
    assert (answer.status, answer.json) == (200, told)
    assert await known(running) == {}
    assert "Node a is deleted: its machine is gone" in caplog.text
    async with asyncio.timeout(10), running.node("a") as another:  # of another key
        another.session = "another"
        await another.register()
        assert not (await known(running))["a"]["Draining"]
        job = await running.submit(Tasks=[TASK])
        assert (await another.accept_assignment()).job_id == job


async def test_a_name_that_is_not_deleted_stays_with_its_key(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running.node("a") as node:
        await node.register()
        await leave(node)

    async def join() -> None:
        async with running.node("a"):
            raise AssertionError("it was let in")

    async with asyncio.TaskGroup() as group:
        joining = group.create_task(join(), name="join")
        await eventually(lambda: "belongs to another key" in caplog.text)
        joining.cancel()


async def test_a_node_that_is_connected_stays(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        answer = await delete(running, "a")
        assert (answer.status, answer.json["Code"]) == (409, "NodeConnected")
        assert "Stop it first" in answer.json["Hint"]
        assert list(await known(running)) == ["a"]


async def test_a_node_whose_executions_have_not_ended_stays_until_they_have(running: Running) -> None:
    async with running.node("a") as node:
        await node.register()
        job = await running.submit(Tasks=[TASK])
        execution = (await node.accept_assignment()).execution_id
        await node.report(execution, ExecutionStarted())
        await node.register(held=(execution,), leaving=True)
        answer = await delete(running, "a")
        assert (answer.status, answer.json["Code"]) == (409, "NodeHoldsExecutions")
        assert "1 executions" in answer.json["Message"]
        await running.api(f"/jobs/{job}", method="DELETE")
        await deleted(running, "a")
        assert (await running.wait_state(job, "Stopped"))["Executions"]["Items"][0]["NodeID"] == "a"
        assert await known(running) == {}


async def test_a_deleted_node_that_was_only_away_is_a_new_one_when_it_comes_back(impatient: Running) -> None:
    """Its connection stands, so it does not join anew: it is asked to register, as it always is."""
    async with impatient.node("a") as node:
        await node.register()
        await deleted(impatient, "a")
        assert await known(impatient) == {}
        assert isinstance(await node.register(), Reconciliation)
        assert list(await known(impatient)) == ["a"]


async def test_a_key_of_a_node_that_never_registered_is_deleted_by_its_whole_name(impatient: Running) -> None:
    async with impatient.node("never-seen"):
        pass
    assert (await delete(impatient, "never")).status == 404
    await deleted(impatient, "never-seen")
    answer = await delete(impatient, "never-seen")
    assert (answer.status, answer.json["Code"]) == (404, "NotFound")
    async with asyncio.timeout(10), impatient.node("never-seen") as another:
        await another.register()


async def test_a_node_that_nobody_knows_cannot_be_deleted(running: Running) -> None:
    answer = await delete(running, "z")
    assert (answer.status, answer.json["Code"]) == (404, "NotFound")


async def test_the_leader_keeps_the_lives_of_keys_that_an_orchestrator_of_an_earlier_version_has_left_out(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.nodes.key_keeping.TICK_SECONDS", 0.05)
    node, binding = NodeId("n-9"), BindingRecord(public_key="U", since=5, owner="maria")

    async def ends(running: Running) -> list[tuple[str, str]]:
        found = (await running.ask(f"/api/v1/orchestrator/nodes/{node}/keys")).json
        return [(each["State"], each["Owner"]) for each in found.get("Keys", ())]

    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as running,
        another(running) as earlier,
    ):
        await earlier.create(subjects.binding_record(node), binding)
        await eventually(lambda: node in earlier.model.keys)
        await earlier.delete(subjects.binding_record(node))
        await answered(lambda: ends(running), lambda told: told == [("Deleted", "maria")], what="it is deleted")
