"""A node that has lost its key, or whose key others know, keeps its name and gets another key by one token alone."""

import asyncio
from typing import Any

from shared.ids import NodeId
from shared.messaging.transport import connect
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, Reconciliation, RequestRefused
from shared.protocol.pasted import JoinToken, read
from tests.integration.orchestrator.nodes.test_team_nodes import joined, run, token
from tests.integration.played_node import played_node
from tests.integration.running import Running
from tests.nats_bus import new_user_seed
from tests.waiting import answered, eventually

NOOP = {"Name": "main", "Engine": {"Type": "noop"}}
NODE = "/api/v1/orchestrator/nodes/n-1"


async def is_refused(running: Running, node: str, secret: str, *, seed: str = "") -> None:
    key, inbox = seed or new_user_seed(), subjects.node_inbox(NodeId(node))
    async with connect([running.server], name=node, nkey_seed=key, token=secret, inbox_prefix=inbox) as new:
        async with asyncio.timeout(60):  # under load the server may hang up before its refusal is read
            await new.next_refusal(0)


async def rekeyed(running: Running) -> JoinToken:
    answer = await running.ask(f"{NODE}/key", "PUT", {})
    assert (answer.status, answer.json["Warning"]) == (200, ""), answer.json
    assert answer.json["Token"]["Rekeys"] == "n-1"
    return read(answer.json["Text"], JoinToken)


async def act(running: Running, **wanted: Any) -> dict[str, Any]:
    answer = await running.ask(NODE, "PUT", wanted)
    assert answer.status == 200, answer.json
    return dict(answer.json)


async def state(running: Running) -> dict[str, Any]:
    return dict((await running.api("/nodes/n-1"))["Node"])


async def test_a_node_keeps_its_name_and_what_it_is_allowed_under_a_new_key(running: Running) -> None:
    async with joined(running, "n-1", Namespaces=["a"], Labels={"team": "a"}, Owner="maria"):
        await act(running, Action="drain")
    text = await rekeyed(running)
    assert (await state(running))["Membership"] == "REJECTED"

    async with played_node("n-1", server=running.server, secret=text.credential, seed=new_user_seed()) as node:
        assert isinstance(await node.register(), Reconciliation)
        found = await state(running)
        assert (found["Membership"], found["Draining"], found["JoinToken"]) == ("APPROVED", True, text.id)
        assert (found["Namespaces"], found["Info"]["Labels"]["team"], found["Owner"]) == (["a"], "a", "maria")
        current, earlier = found["Keys"]
        assert (current["State"], earlier["State"], current["Until"]) == ("Current", "Replaced", None)
        assert (current["Owner"], earlier["Owner"]) == ("maria", "maria")
        assert earlier["Since"] < earlier["Until"] <= current["Since"]
        await act(running, Action="undrain")
        await run(running, node, Namespace="a")


async def test_the_old_key_is_cut_off_at_once_and_its_work_is_done_elsewhere(running: Running) -> None:
    async with joined(running, "n-1") as old:
        job = await running.submit(Tasks=[NOOP | {"Timeouts": {"QueueTimeout": 600}}])
        execution = (await old.accept_assignment()).execution_id
        await old.report(execution, ExecutionStarted())
        await running.wait_state(job, "Running")
        connections = old.connection.connections
        await rekeyed(running)

        await eventually(lambda: old.connection.connections != connections or not old.connection.connected)
        await running.wait_state(job, "Queued")
        refused = await old.ask_for_grant(execution)
        assert isinstance(refused, RequestRefused)
        assert "its key is being replaced" in refused.message


async def test_no_other_token_and_no_join_secret_takes_the_name(running: Running) -> None:
    async with joined(running, "n-1"):
        text = await rekeyed(running)
    other = await token(running, Uses=0)
    for secret in (other.credential, running.secret, "nothing"):
        await is_refused(running, "n-1", secret)
    await is_refused(running, "n-2", text.credential)


async def test_the_old_key_may_be_let_in_again_instead(running: Running) -> None:
    async with joined(running, "n-1") as old:
        text = await rekeyed(running)
        await act(running, Action="approve")

        async def is_back() -> bool:
            return isinstance(await old.register(), Reconciliation)

        await answered(is_back, within=20, what="the old key is in again")
    await is_refused(running, "n-1", text.credential)


async def test_a_node_that_is_rejected_then_does_not_come_back_by_the_token_of_its_new_key(running: Running) -> None:
    async with joined(running, "n-1"):
        text = await rekeyed(running)
    await act(running, Action="reject", Message="Found on a page")
    assert "Found on a page" in (await state(running))["ConnectionState"]["LastError"]
    await is_refused(running, "n-1", text.credential)
    await act(running, Action="delete", Force=True)
    await act(running, Action="delete")
    await is_refused(running, "n-1", text.credential)


async def test_of_two_tokens_for_a_new_key_the_later_one_is_good(running: Running) -> None:
    async with joined(running, "n-1"):
        first, second = await rekeyed(running), await rekeyed(running)
    listed = (await running.ask("/api/v1/orchestrator/tokens")).json["Tokens"]
    states = {each["ID"]: each["State"] for each in listed}
    assert (states[first.id], states[second.id]) == ("Revoked", "Usable")
    await act(running, Action="approve")
    listed = (await running.ask("/api/v1/orchestrator/tokens")).json["Tokens"]
    assert {each["State"] for each in listed if each["Rekeys"]} == {"Revoked"}


async def test_the_old_key_does_not_come_back_by_its_old_token_once_the_name_is_free(running: Running) -> None:
    seed, old = new_user_seed(), await token(running)
    async with played_node("n-1", server=running.server, secret=old.credential, seed=seed) as node:
        await node.register()
    text = await rekeyed(running)
    async with played_node("n-1", server=running.server, secret=text.credential, seed=new_user_seed()) as node:
        await node.register()
    await act(running, Action="delete", Force=True)
    await act(running, Action="delete")
    await is_refused(running, "n-1", old.credential, seed=seed)


async def test_whose_a_node_is_changes_without_its_joining_again(running: Running) -> None:
    async with joined(running, "n-1", Owner="maria") as node:
        connections = node.connection.connections
        await act(running, Action="set-owner", Owner="eve")
        found = await state(running)
        now, before = found["Keys"]
        assert (found["Owner"], now["Owner"], before["Owner"]) == ("eve", "eve", "maria")
        assert (now["Key"], now["Since"], before["State"]) == (before["Key"], before["Until"], "Replaced")
        await act(running, Action="set-owner", Owner="eve")
        assert (await state(running))["Keys"] == [now, before], "nothing has changed"
        refused = await running.ask(NODE, "PUT", {"Action": "set-owner", "Owner": "Not A Name"})
        assert (refused.status, "cannot be an owner" in refused.json["Message"]) == (400, True)
        assert node.connection.connections == connections
        await act(running, Action="reject")
    refused = await running.ask(NODE, "PUT", {"Action": "set-owner", "Owner": "maria"})
    assert (refused.status, refused.json["Code"]) == (409, "NodeShutOut")
    await act(running, Action="approve")
    assert [each["Owner"] for each in (await state(running))["Keys"]] == ["eve", "eve", "maria"]
    await act(running, Action="set-owner")
    assert (await state(running))["Owner"] == ""


async def test_a_node_that_is_not_known_has_no_key_to_exchange(running: Running) -> None:
    answer = await running.ask(f"{NODE}/key", "PUT", {})
    assert answer.status == 404


async def test_whoever_rejects_a_node_is_told_the_token_by_which_it_came(running: Running) -> None:
    async with joined(running, "n-1", Uses=2):
        told = await act(running, Action="reject")
        assert told["TokenIsUsable"]
        assert told["JoinToken"] == (await state(running))["JoinToken"] != ""
        told = await act(running, Action="reject", RevokeToken=True)
        assert not told["TokenIsUsable"]
    (listed,) = (await running.ask("/api/v1/orchestrator/tokens")).json["Tokens"]
    assert (listed["ID"], listed["State"]) == (told["JoinToken"], "Revoked")
