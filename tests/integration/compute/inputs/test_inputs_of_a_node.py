"""A real node fetches inputs from a real S3, with this test as its orchestrator, also after it was killed."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from compute.inputs.objects.partial_input import PIECE_BYTES
from compute.inputs.objects.progress import FIRST_SECONDS
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import InputSource, SpecConfig, Task
from shared.protocol import subjects
from shared.protocol.messages import (
    AnyFact,
    Assignment,
    CancelExecution,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    Reconciliation,
    Registration,
    Report,
    RequestRefused,
    TaskEnded,
    decode,
    encode,
    node_requests,
    report,
)
from shared.protocol.nodes.inputs import InputsRequest
from shared.protocol.nodes.message import Message
from shared.runtime.aio import background
from tests.builders import new_assignment
from tests.faulty_s3 import PASS, Fault, FaultyS3, Kind
from tests.integration.fetching import Desk, bucket_of
from tests.nats_bus import Bus
from tests.node_process import NodeProcess
from tests.servers import S3Server
from tests.waiting import eventually

F = TypeVar("F")
LARGE = os.urandom(5 * PIECE_BYTES // 2)


class Node:
    """The node, with `desk` and this as its orchestrator."""

    def __init__(self, bus: Bus, desk: Desk, process: NodeProcess, name: NodeId) -> None:
        self.bus = bus
        self.desk = desk
        self.process = process
        self.name = name
        self.reports: list[Report] = []
        self.registrations: list[Registration] = []

    async def hear_requests(self) -> None:
        async with self.bus.connection.subscribe(subjects.node_requests(self.name)) as received:
            async for message in received:
                request = decode(node_requests, message.payload)
                answer: Message = RequestRefused(code="GrantRefused", message="nothing is published here")
                if isinstance(request, Registration):
                    self.registrations.append(request)
                    answer = Reconciliation()
                elif isinstance(request, InputsRequest):
                    answer = await self.desk.ask(request)
                await message.respond(encode(answer))

    async def hear_reports(self) -> None:
        async with self.bus.connection.subscribe(subjects.node_reports(self.name)) as received:
            async for message in received:
                self.reports.append(decode(report, message.payload))

    async def run(self, script: str) -> Assignment:
        """Of the process engine, which sees its input below `$HOME/in`."""
        engine = SpecConfig(type="process", params={"Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]})
        source = InputSource(source=SpecConfig(type="s3managed", params={"Key": "data/"}), target="/in")
        task = Task(name="main", engine=engine, input_sources=(source,))
        made = new_assignment(f"e-{uuid.uuid4()}", task=task, resources=Capacity(cpu=1.0))
        await self.order(made)
        return made

    async def order(self, order: Message) -> None:
        await self.bus.connection.request(subjects.node_orders(self.name), encode(order), timeout=10)

    def facts(self, of: Assignment) -> list[AnyFact]:
        return [fact for each in self.reports if each.execution_id == of.execution_id for fact in each.facts]

    async def fact(self, of: Assignment, kind: type[F]) -> F:
        def found() -> list[F]:
            return [fact for fact in self.facts(of) if isinstance(fact, kind)]

        await eventually(found, within=40, what=f"{kind.__name__} of {of.execution_id}: {self.facts(of)}")
        return found()[0]

    def folder(self, of: Assignment) -> Path:
        return self.process.data_dir / "compute" / "executions" / of.execution_id


@pytest.fixture
async def node(bus: Bus, s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Node]:
    bucket = await asyncio.to_thread(bucket_of, s3_server)
    name = NodeId(f"node-{uuid.uuid4().hex[:8]}")
    secret = bus.secrets.join_secret.reveal()
    async with FaultyS3(s3_server.endpoint).serving() as s3, aiohttp.ClientSession() as http:
        with NodeProcess(tmp_path / "data", name, bus.server.url, secret) as process:
            made = Node(bus, Desk(s3, s3_server, bucket, http), process, name)
            async with background(requests=made.hear_requests(), reports=made.hear_reports()):
                await asyncio.to_thread(process.start)
                await eventually(lambda: made.registrations, within=20, what="the node registers")
                yield made


@asynccontextmanager
async def held(node: Node, *, but: int) -> AsyncIterator[None]:
    """S3 answers so many requests, and no other."""
    hold = asyncio.Event()
    node.desk.s3.plan(Kind.OTHER, *[PASS] * but, *[Fault(hold=hold)] * 8)
    try:
        yield
    finally:
        node.desk.s3.forget_plans()
        hold.set()


def pieces(node: Node) -> int:
    """How many are there of what is not whole."""
    notes = (node.process.data_dir / "compute" / "inputs" / "partial").glob("*.note")
    return sum(len(path.read_bytes().splitlines()) - 1 for path in notes)


async def test_a_node_tells_which_inputs_it_can_fetch(node: Node) -> None:
    assert {"inline", "s3", "s3managed", "upload"} <= set(node.registrations[0].info.input_sources)


async def test_a_task_reads_what_the_orchestrator_gives_and_no_url_is_left_anywhere(node: Node) -> None:
    await node.desk.add("a.txt", b"one\n")
    await node.desk.add("deep/b.bin", LARGE, is_hashed=True)
    made = await node.run("cat $HOME/in/a.txt; wc -c < $HOME/in/deep/b.bin")
    ended = await node.fact(made, TaskEnded)
    assert ended.output.stdout == f"one\n{len(LARGE)}\n"
    assert (await node.fact(made, ExecutionStarted)).fetch_seconds > 0
    kept = [path.read_bytes() for path in node.process.data_dir.rglob("*") if path.is_file()]
    assert not any(b"X-Amz-Signature" in content for content in (*kept, node.process.log.encode()))


async def test_a_node_that_was_killed_goes_on_with_what_had_come(node: Node) -> None:
    await node.desk.add("a", LARGE)
    async with held(node, but=1):
        first = await node.run("true")
        await eventually(lambda: pieces(node) == 1, within=20, what="a piece has come")
        node.process.kill()
    await asyncio.to_thread(node.process.start)
    assert (await node.fact(first, ExecutionFailed)).reason == "NodeRestarted"
    node.desk.s3.seen.clear()
    second = await node.run("md5sum < $HOME/in/a")
    assert (await node.fact(second, TaskEnded)).output.exit_code == 0
    assert len(node.desk.s3.seen) == 2
    assert await asyncio.to_thread((node.folder(second) / "workspace/in/a").read_bytes) == LARGE


async def test_a_task_that_is_stopped_while_its_inputs_come_is_cancelled(node: Node) -> None:
    await node.desk.add("a", LARGE)
    async with held(node, but=0):
        made = await node.run("true")
        await eventually(lambda: node.desk.s3.in_flight, within=20, what="the node reads")
        await node.order(CancelExecution(execution_id=made.execution_id, reason="no more"))
        assert (await node.fact(made, ExecutionCancelled)).reason == "no more"
    assert not any(isinstance(fact, ExecutionStarted) for fact in node.facts(made))
    assert not (node.folder(made) / "workspace").exists()


async def test_how_far_a_long_fetch_is_is_told(node: Node) -> None:
    await node.desk.add("a", b"x" * 100)
    await node.desk.add("b", LARGE)
    hold = asyncio.Event()
    node.desk.s3.plan(Kind.OTHER, *[Fault(hold=hold)] * 4)
    made = await node.run("true")
    await eventually(lambda: node.desk.s3.in_flight == 4, within=20, what="the node reads all")
    await asyncio.sleep(FIRST_SECONDS)  # what is quicker is not told
    hold.set()
    told = await node.fact(made, ExecutionProgressed)
    assert told.detail.startswith("Fetching inputs: ")
    assert told.detail.endswith(" of 20.0 MiB")
    await node.fact(made, TaskEnded)


async def test_an_input_that_has_changed_fails_its_task_with_a_sentence(node: Node) -> None:
    await node.desk.add("a.csv", b"one")
    await node.desk.store(f"{node.desk.prefix}/a.csv", b"two")
    made = await node.run("true")
    failed = await node.fact(made, ExecutionFailed)
    assert failed.reason == "InputChanged"
    assert failed.detail.endswith("/a.csv has changed since the job was submitted.")
