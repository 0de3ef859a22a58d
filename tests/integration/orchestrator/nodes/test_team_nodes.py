"""Nodes of a team: they serve some namespaces alone, and of the others they get, see and are asked nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from orchestrator.admission.auth import TOLD_SECONDS
from orchestrator.rules import shortfalls
from shared.ids import ExecutionId, JobId, NodeId
from shared.messaging.client import taken_in
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    BeginUpload,
    CompleteUpload,
    ExecutionStarted,
    GrantGiven,
    GrantRequest,
    IndexGrantRequest,
    PartsRequest,
    Reconciliation,
    RequestRefused,
    RunOutput,
    TaskEnded,
)
from shared.protocol.pasted import JoinToken, read
from tests.integration.played_node import PlayedNode, played_node
from tests.integration.running import Running
from tests.waiting import answered

NOOP = {"Name": "main", "Engine": {"Type": "noop"}}
PUBLISHES = NOOP | {"Publisher": {"Type": "s3managed"}}
WAITS = {"Timeouts": {"QueueTimeout": 600}}
ENDED = TaskEnded(output=RunOutput(), run_seconds=0.1)


async def token(running: Running, **allowed: Any) -> JoinToken:
    answer = await running.ask("/api/v1/orchestrator/tokens", "PUT", allowed)
    assert answer.status == 200, answer.json
    assert answer.headers["Cache-Control"] == "no-store"
    return read(answer.json["Text"], JoinToken)


@asynccontextmanager
async def joined(running: Running, name: str, **allowed: Any) -> AsyncIterator[PlayedNode]:
    """A node that has joined with a token, and has registered."""
    made = await token(running, **allowed)
    async with played_node(name, server=running.server, secret=made.credential) as node:
        assert isinstance(await node.register(), Reconciliation)
        yield node


async def run(running: Running, node: PlayedNode, **job: Any) -> None:
    job_id = await running.submit(Tasks=[NOOP], **job)
    execution = (await node.accept_assignment()).execution_id
    await node.report(execution, ExecutionStarted(), ENDED)
    await running.wait_state(job_id, "Completed")


def failure(found: dict[str, Any]) -> str:
    return str(found["Job"]["State"]["Message"])


async def test_a_job_goes_to_a_node_that_serves_its_namespace(running: Running) -> None:
    async with joined(running, "of-a", Namespaces=["a"]) as of_a, joined(running, "of-b", Namespaces=["b"]) as of_b:
        for _ in range(3):
            await run(running, of_a, Namespace="a")
            await run(running, of_b, Namespace="b")


async def test_a_node_without_namespaces_serves_all(running: Running) -> None:
    async with joined(running, "of-all") as node, joined(running, "of-a", Namespaces=["a"]):
        await run(running, node, Namespace="b")


async def test_where_no_node_serves_the_namespace_the_job_says_so_and_names_no_other(running: Running) -> None:
    async with joined(running, "of-a", Namespaces=["a"], Labels={"team": "secret-team"}):
        failed = await running.wait_state(await running.submit(Tasks=[NOOP], Namespace="c"), "Failed")
        told = failure(failed)
        assert shortfalls.no_node_serves("c") in told
        assert "tarpon node token create --namespace c" in told
        assert "available: 0" in told

        waiting = await running.submit(Tasks=[NOOP | WAITS], Namespace="c")
        why = await running.api(f"/jobs/{waiting}/waits?namespace=c")
        assert why["Summary"] == shortfalls.no_node_serves("c")
        assert (why["NodesTotal"], why["Nodes"], why["Standings"]) == (0, [], [])
        for text in (json.dumps(failed), json.dumps(why)):
            assert "of-a" not in text
            assert "secret-team" not in text


async def test_why_a_job_waits_names_the_nodes_of_its_namespace_alone(running: Running) -> None:
    async with joined(running, "of-a", Namespaces=["a"]), joined(running, "of-both", Namespaces=["a", "b"]):
        needs = {"Constraints": [{"Key": "zone", "Operator": "=", "Values": ["x"]}], "Tasks": [NOOP | WAITS]}
        waiting = await running.submit(Namespace="b", **needs)
        why = await running.api(f"/jobs/{waiting}/waits?namespace=b")
        assert [each["NodeID"] for each in why["Nodes"]] == ["of-both"]
        failed = await running.wait_state(await running.submit(Namespace="b", **needs | {"Tasks": [NOOP]}), "Failed")
        assert "of-both" in failure(failed)
        assert "of-a" not in json.dumps(failed)


async def test_the_labels_of_a_token_hold_whatever_the_node_says(running: Running) -> None:
    async with joined(running, "n-1", Labels={"team": "a"}) as node:
        await node.register(labels={"team": "b", "zone": "1", "name": "another"})
        labels = (await running.api("/nodes/n-1"))["Node"]["Info"]["Labels"]
        assert labels == {"team": "a", "zone": "1", "name": "n-1"}


async def test_a_node_that_needs_approval_gets_nothing_before(running: Running) -> None:
    async with joined(running, "n-1", Approval=True) as node:
        assert (await running.api("/nodes/n-1"))["Node"]["Membership"] == "PENDING"
        listed = await running.api("/nodes?filter-approval=pending")
        assert [each["Info"]["NodeID"] for each in listed["Nodes"]] == ["n-1"]
        failed = await running.wait_state(await running.submit(Tasks=[NOOP]), "Failed")
        assert "Node n-1: has not been approved by an operator: `tarpon node approve n-1`" in failure(failed)
        waiting = await running.submit(Tasks=[NOOP | WAITS])
        why = await running.api(f"/jobs/{waiting}/waits")
        assert (why["Summary"], why["Nodes"][0]["Standing"]) == ("1 node not approved yet", "unapproved")

        approved = await running.ask("/api/v1/orchestrator/nodes/n-1", "PUT", {"Action": "approve"})
        assert approved.status == 200
        execution = (await node.accept_assignment()).execution_id
        await node.report(execution, ExecutionStarted(), ENDED)
        await running.wait_state(waiting, "Completed")
        assert (await running.api("/nodes/n-1"))["Node"]["Membership"] == "APPROVED"


async def test_a_node_that_was_approved_may_be_rejected_and_approved_again(running: Running) -> None:
    async with joined(running, "n-1", Approval=True, Namespaces=["a"]) as node:
        for action in ("approve", "reject", "approve"):
            answer = await running.ask("/api/v1/orchestrator/nodes/n-1", "PUT", {"Action": action})
            assert answer.status == 200, answer.json
        state = (await running.api("/nodes/n-1"))["Node"]
        assert (state["Membership"], state["Namespaces"]) == ("APPROVED", ["a"])

        async def is_back() -> bool:
            return isinstance(await node.register(), Reconciliation)

        await answered(is_back, within=20, what="the node is in again")
        async with asyncio.timeout(TOLD_SECONDS / 2):  # it does not stay as one who is only told why it is rejected
            await run(running, node, Namespace="a")


async def test_a_node_that_is_not_known_cannot_be_approved(running: Running) -> None:
    answer = await running.ask("/api/v1/orchestrator/nodes/nobody", "PUT", {"Action": "approve"})
    assert answer.status == 404
    assert "NodeNotFound" in json.dumps(answer.json)
    assert "`tarpon node list` shows the nodes." in json.dumps(answer.json)


# ---- a node of one team that wants what is another team's ----------------------------------------------------------


class Hostile:
    """A valid node of team a, beside one of team b that runs a job; what it tries is counted."""

    def __init__(self, node: PlayedNode, victim: PlayedNode, execution: ExecutionId) -> None:
        self.node = node
        self.victim = victim
        self.execution = execution
        self.attempts = 0
        self.heard: list[Msg] = []

    @property
    def client(self) -> Client:
        return self.node.connection.client

    async def is_refused(self, request: messages.NodeRequest) -> None:
        self.attempts += 1
        answer = await self.node.ask(request)
        assert isinstance(answer, RequestRefused), answer
        assert "X-Amz" not in f"{answer!r}"

    async def subscribe(self, subject: str) -> None:
        async def hear(message: Msg) -> None:
            self.heard.append(message)

        self.attempts += 1
        await self.client.subscribe(subject, cb=hear)

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        self.attempts += 1
        await self.client.publish(subject, payload, reply=reply)


@pytest.fixture
async def hostile(running: Running) -> AsyncIterator[Hostile]:
    async with joined(running, "of-a", Namespaces=["a"]) as of_a, joined(running, "of-b", Namespaces=["b"]) as of_b:
        await running.submit(Tasks=[PUBLISHES], Namespace="b")
        assignment = await of_b.accept_assignment()
        await of_b.report(assignment.execution_id, ExecutionStarted())
        yield Hostile(of_a, of_b, assignment.execution_id)
        assert isinstance(await of_b.ask_for_grant(assignment.execution_id), GrantGiven), "team b is not disturbed"


async def test_it_gets_no_right_for_what_another_team_runs(hostile: Hostile) -> None:
    guesses = [ExecutionId(hostile.execution[:-1] + digit) for digit in "0123456789abcdef"]
    for execution in {hostile.execution, *guesses, ExecutionId("e-1")}:
        await hostile.is_refused(GrantRequest(execution_id=execution))
        await hostile.is_refused(GrantRequest(execution_id=execution, s3_code="AccessDenied"))
        await hostile.is_refused(IndexGrantRequest(execution_id=execution))
        await hostile.is_refused(BeginUpload(execution_id=execution))
        await hostile.is_refused(BeginUpload(execution_id=execution, lost="u"))
        await hostile.is_refused(PartsRequest(execution_id=execution, upload_id="u", first=1, count=1))
        await hostile.is_refused(CompleteUpload(execution_id=execution, upload_id="u", etags=("x",)))
    assert hostile.attempts >= 100


async def test_it_cannot_tell_what_there_is_from_how_it_is_refused(hostile: Hostile) -> None:
    """Whether an execution is another's or nobody's."""
    texts = set()
    for execution in (hostile.execution, ExecutionId("e-00000000-0000-0000-0000-000000000000")):
        answer = await hostile.node.ask_for_grant(execution)
        assert isinstance(answer, RequestRefused)
        texts.add((answer.code, answer.message.replace(execution, "X"), answer.retryable))
    assert len(texts) == 1


async def test_it_hears_nothing_of_another_team(running: Running, hostile: Hostile) -> None:
    victim = NodeId("of-b")
    for subject in (
        subjects.node_orders(victim),
        subjects.ALL_NODE_ORDERS,
        "tarpon.v1.node.>",
        f"{subjects.node_inbox(victim)}.>",
        "_INBOX.>",
        subjects.ALL_EVENTS,
        "tarpon.v1.events.b.>",
        subjects.ALL_API_REQUESTS,
        subjects.ALL_NODE_REPORTS,
        subjects.ALL_NODE_REQUESTS,
        subjects.ALL_NODE_HEARTBEATS,
        "$KV.>",
        "$JS.>",
        "$SYS.>",
        "*.*.*.*.*.*",
        ">",
    ):
        await hostile.subscribe(subject)
    await taken_in(hostile.client)
    await running.submit(Tasks=[PUBLISHES], Namespace="b")
    await hostile.victim.report((await hostile.victim.accept_assignment()).execution_id, ExecutionStarted())
    await taken_in(hostile.client)
    assert hostile.heard == []


async def test_it_speaks_for_no_node_of_another_team(running: Running, hostile: Hostile) -> None:
    victim, execution = NodeId("of-b"), hostile.execution
    said = messages.encode(messages.Report(execution_id=execution, facts=(ENDED,)))
    asked = messages.encode(GrantRequest(execution_id=execution))
    reply = f"{subjects.node_inbox(hostile.node.id)}.stolen"
    await hostile.subscribe(reply)
    for subject in (
        subjects.node_reports(victim),
        subjects.node_requests(victim),
        subjects.node_heartbeat(victim),
        subjects.node_orders(victim),
        subjects.api_request("billing", "jobs.list"),
        subjects.event("b", JobId("j-1"), "started"),
        "$JS.API.STREAM.NAMES",
        f"$JS.API.DIRECT.GET.KV_{subjects.STATE_BUCKET}",
        f"$KV.{subjects.STATE_BUCKET}.binding.of-a",
        subjects.server_request("PING", "CONNZ"),
        subjects.AUTH_REQUESTS,
    ):
        await hostile.publish(subject, asked, reply)
        await hostile.publish(subject, said, reply)
    await taken_in(hostile.client)
    assert hostile.heard == []
    with pytest.raises((nats.errors.Error, nats.js.errors.Error)):
        await hostile.client.jetstream(timeout=1).stream_info(f"KV_{subjects.STATE_BUCKET}")


async def test_what_it_says_of_another_teams_execution_counts_for_nothing(running: Running, hostile: Hostile) -> None:
    await hostile.node.report(hostile.execution, ENDED)
    await hostile.node.report(ExecutionId(f"{hostile.execution[:-4]}0000"), ENDED)
    await run(running, hostile.node, Namespace="a")  # which comes after it
    listed = await running.api("/jobs?namespace=b")
    assert [each["State"]["StateType"] for each in listed["Items"]] == ["Running"]


async def test_it_is_told_nothing_by_claiming_to_hold_another_teams_execution(hostile: Hostile) -> None:
    held = (hostile.execution, ExecutionId("e-none"))
    answer = await hostile.node.register(held=held)
    assert isinstance(answer, Reconciliation)
    assert set(answer.settled) == set(held), "both are to be forgotten, as if neither were there"
