"""A team with all that another one might want: a node, users, a secret, jobs that ended, run and wait (no tests)."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import nats.aio.client

from shared.ids import ExecutionId
from shared.protocol.messages import (
    TAKES_SECRETS,
    AnyFact,
    Assignment,
    BeginUpload,
    ExecutionStarted,
    GrantGiven,
    IndexGrantGiven,
    IndexGrantRequest,
    OutputPublished,
    PartsGiven,
    PartsRequest,
    Reconciliation,
    Register,
    RunOutput,
    TaskEnded,
    UnknownMessage,
    UploadBegun,
)
from shared.protocol.pasted import JoinToken, read
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import background
from tests.integration.orchestrator.hostile.attempts import FORGED
from tests.integration.played_node import PlayedNode, played_node
from tests.integration.running import Running

TOKENS = "/api/v1/orchestrator/tokens"
USERS = "/api/v1/orchestrator/users"
SECRETS = "/api/v1/orchestrator/secrets"
ROOM = {"CPU": 8.0, "Memory": 1 << 34, "Disk": 1 << 34}
"""What a node says that it has, as it travels."""


def noop(namespace: str, **more: Any) -> dict[str, Any]:
    """A task that is given the secret of its namespace."""
    return {"Name": "main", "Engine": {"Type": "noop"}, "Env": {"KEY": f"secret:{namespace}-secret"}, **more}


def publishing(namespace: str) -> dict[str, Any]:
    return noop(namespace, Publisher={"Type": "s3managed"})


async def join_token(running: Running, **allowed: Any) -> JoinToken:
    answer = await running.ask(TOKENS, "PUT", allowed)
    assert answer.status == 200, answer.json
    return read(answer.json["Text"], JoinToken)


async def key_of(running: Running, name: str, *capabilities: str, namespaces: tuple[str, ...], **more: Any) -> str:
    """A user of this name, and its key."""
    wanted = {"Name": name, "Capabilities": capabilities, "Namespaces": namespaces, **more}
    answer = await running.ask(USERS, "PUT", wanted)
    assert answer.status == 200, answer.json
    return str(answer.json["Key"])


class Member:
    """A node of a team: it takes all that it is given, and what it accepted is done by whoever asks for it."""

    def __init__(self, namespace: str, node: PlayedNode) -> None:
        self.namespace = namespace
        self.node = node
        self.held: set[ExecutionId] = set()
        self.accepted: asyncio.Queue[Assignment] = asyncio.Queue()
        self.forged: list[str] = []

    @property
    def client(self) -> nats.aio.client.Client:
        return self.node.connection.client

    async def attend(self) -> None:
        """As a node does: what is no order is dropped, and it registers again with who leads anew.

        What can be answered and is `FORGED` is remembered.
        """
        while True:
            with suppress(UnknownMessage):
                order, received = await self.node.next_order()
                if received.reply and FORGED.encode() in received.payload:
                    self.forged.append(received.subject)
                for each in await self.node.accept(order, received):
                    self.held.add(each.execution_id)
                    await self.accepted.put(each)
                if isinstance(order, Register):
                    await self.register()

    async def register(self) -> None:
        labels = {"kind": f"{self.namespace}-label"}
        answer = await self.node.register(labels=labels, abilities=(TAKES_SECRETS,), held=tuple(self.held))
        assert isinstance(answer, Reconciliation), answer

    async def report(self, execution: ExecutionId, *facts: AnyFact) -> None:
        """The last of what it has to tell of this execution."""
        await self.node.report(execution, *facts)
        self.held.discard(execution)

    async def next(self) -> Assignment:
        async with asyncio.timeout(60):
            return await self.accepted.get()


@asynccontextmanager
async def member(running: Running, namespace: str, token: JoinToken) -> AsyncIterator[Member]:
    async with played_node(f"{namespace}-node", server=running.server, secret=token.credential) as node:
        made = Member(namespace, node)
        await made.register()
        async with background(attend=made.attend()):
            yield made


@dataclass(frozen=True, kw_only=True)
class Team:
    """`done`, `running` and `waiting` are its jobs, `result` and `execution` what ran of the first two."""

    namespace: str
    member: Member
    token: JoinToken
    keys: dict[str, str]
    done: str
    result: Assignment
    running: str
    execution: Assignment
    waiting: str
    upload: str
    etag: str
    grant: SignedUrl
    part: SignedUrl
    index: SignedUrl

    def words(self) -> dict[str, str]:
        """Under the names by which attempts mean them."""
        assert self.result.archive is not None
        return {
            "namespace": self.namespace,
            "node": f"{self.namespace}-node",
            "name": f"{self.namespace}-done",
            "secret": f"{self.namespace}-secret",
            "label": f"{self.namespace}-label",
            "done": self.done,
            "running": self.running,
            "waiting": self.waiting,
            "result": self.result.execution_id,
            "execution": self.execution.execution_id,
            "upload": self.upload,
            "etag": self.etag,
            "token": self.token.id,
        }


async def published(running: Running, member: Member, body: bytes) -> tuple[Assignment, OutputPublished]:
    """The member does what it was given last."""
    given = await member.next()
    assert given.archive is not None
    assert await running.put(given.archive, body) == 200
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(body).hexdigest()
    fact = OutputPublished(size_bytes=len(body), md5=md5, sha256=sha256, entries=1, raw_bytes=len(body))
    ended = TaskEnded(output=RunOutput(stdout=f"{given.namespace}-stdout"), run_seconds=0.1)
    await member.report(given.execution_id, ExecutionStarted(), ended, fact)
    return given, fact


async def settled(running: Running, namespace: str, member: Member, token: JoinToken) -> Team:
    """A team whose job has ended, another runs and has begun an upload, and a third one waits."""
    value = {"Value": f"{namespace}-value"}
    stored = await running.ask(f"{SECRETS}/{namespace}-secret?namespace={namespace}", "PUT", value)
    assert stored.status == 200, stored.json
    keys = {
        "all": await key_of(running, f"{namespace}-all", "*", namespaces=(namespace,)),
        "reader": await key_of(running, f"{namespace}-reader", "read:*", namespaces=(namespace,)),
        "writer": await key_of(running, f"{namespace}-writer", "write:*", namespaces=(namespace,)),
    }
    task = publishing(namespace)
    more = {"Namespace": namespace, "Labels": {"kind": f"{namespace}-label"}}
    asked = {"Job": {"Type": "batch", "Tasks": [task], "Name": f"{namespace}-done", **more}}
    told = await running.ask(
        "/api/v1/orchestrator/jobs", "PUT", asked | {"IdempotencyToken": f"{namespace}-idempotency"}
    )
    done = str(told.json["JobID"])
    result, _ = await published(running, member, f"{namespace}-content".encode())
    await running.wait_state(done, "Completed")

    runs = await running.submit(Tasks=[task], Name=f"{namespace}-running", **more)
    execution = await member.next()
    await member.node.report(execution.execution_id, ExecutionStarted())
    await running.wait_state(runs, "Running")
    nowhere = [{"Key": "zone", "Operator": "=", "Values": [f"{namespace}-zone"]}]
    waits = task | {"Timeouts": {"QueueTimeout": 3600}}
    waiting = await running.submit(Tasks=[waits], Constraints=nowhere, Name=f"{namespace}-waiting", **more)

    upload, part, etag = await _begun(running, member, execution.execution_id)
    grant, index = (
        await member.node.ask_for_grant(execution.execution_id),
        await member.node.ask(IndexGrantRequest(execution_id=execution.execution_id)),
    )
    assert isinstance(grant, GrantGiven)
    assert isinstance(index, IndexGrantGiven)
    return Team(
        namespace=namespace,
        member=member,
        token=token,
        keys=keys,
        done=done,
        result=result,
        running=runs,
        execution=execution,
        waiting=waiting,
        upload=upload,
        etag=etag,
        grant=grant.archive,
        part=part,
        index=index.index,
    )


async def _begun(running: Running, member: Member, execution: ExecutionId) -> tuple[str, SignedUrl, str]:
    """An upload in parts of which one is there: its id, the URL of that part, and what S3 said to it."""
    begun = await member.node.ask(BeginUpload(execution_id=execution))
    assert isinstance(begun, UploadBegun)
    parts = await member.node.ask(PartsRequest(execution_id=execution, upload_id=begun.upload_id, first=1, count=2))
    assert isinstance(parts, PartsGiven)
    async with running.http.put(parts.parts[0].url, data=b"a part of it") as answer:
        assert answer.status == 200
        return begun.upload_id, parts.parts[1], answer.headers["ETag"].strip('"')


async def ended(member: Member, given: Assignment) -> None:
    await member.report(given.execution_id, ExecutionStarted(), TaskEnded(output=RunOutput(), run_seconds=0.1))


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()
