"""A real node on a real NATS server, with this test as its orchestrator: every end is told once it has happened."""

import asyncio
import contextlib
import hashlib
import io
import os
import signal
import subprocess
import tarfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pytest
from blockbuster import blockbuster_ctx
from msgspec.structs import replace

from compute import service
from shared.errors import AlreadyRunning
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import ResultPath, SpecConfig, Task
from shared.protocol import subjects
from shared.protocol.messages import (
    Accepted,
    AnyFact,
    Assignment,
    CancelExecution,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    GrantGiven,
    GrantRequest,
    HandBack,
    Heartbeat,
    NodeRequest,
    OrderAnswer,
    OutputPublished,
    Receipt,
    Reconciliation,
    Register,
    Registration,
    Rejected,
    Report,
    RequestRefused,
    TaskEnded,
    decode,
    encode,
    heartbeats,
    node_requests,
    order_answers,
    report,
)
from shared.protocol.nodes.message import Message
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import background
from shared.runtime.automatic_labels import with_automatic
from shared.runtime.durable import boot_id
from tests.builders import new_assignment
from tests.nats_bus import Bus
from tests.node_process import NodeProcess, node_config
from tests.private_mounts import private_mounts, without_rights_to_mount
from tests.servers import S3Server
from tests.waiting import eventually

F = TypeVar("F")
UNREACHABLE = "http://127.0.0.1:1/bucket/key?X-Amz-Signature=5ec4e7"


class Orchestrator:
    """Hears everything that the node says, and answers as it is told."""

    def __init__(self, bus: Bus, node: NodeId) -> None:
        self.bus = bus
        self.node = node
        self.registrations: list[Registration] = []
        self.grant_requests: list[ExecutionId] = []
        self.reports: list[Report] = []
        self.heartbeats: list[Heartbeat] = []
        self.reconciliation = Reconciliation()
        self.is_silent = False
        self.new_grant: Callable[[], SignedUrl] | None = None

    async def hear_requests(self) -> None:
        async with self.bus.connection.subscribe(subjects.node_requests(self.node)) as received:
            async for message in received:
                answer = encode(self._answer(decode(node_requests, message.payload)))
                if not self.is_silent:
                    await message.respond(answer)

    def _answer(self, request: NodeRequest) -> Message:
        match request:
            case Registration():
                self.registrations.append(request)
                return self.reconciliation
            case GrantRequest(execution_id=execution_id):
                self.grant_requests.append(execution_id)
                if self.new_grant is None:
                    return RequestRefused(code="NotReady", message="no bucket today", retryable=True)
                return GrantGiven(archive=self.new_grant())
            case _:
                return RequestRefused(code="GrantRefused", message="single PUTs alone today")

    async def hear_reports(self) -> None:
        async with self.bus.connection.subscribe(subjects.node_reports(self.node)) as received:
            async for message in received:
                self.reports.append(decode(report, message.payload))

    async def hear_heartbeats(self) -> None:
        async with self.bus.connection.subscribe(subjects.node_heartbeat(self.node)) as received:
            async for message in received:
                self.heartbeats.append(decode(heartbeats, message.payload))

    async def order(self, order: Message) -> OrderAnswer:
        payload = await self.bus.connection.request(subjects.node_orders(self.node), encode(order), timeout=5)
        return decode(order_answers, payload)

    def facts(self, execution_id: ExecutionId) -> list[AnyFact]:
        return [fact for report in self.reports if report.execution_id == execution_id for fact in report.facts]

    async def fact(self, execution_id: ExecutionId, kind: type[F]) -> F:
        def found() -> list[F]:
            return [fact for fact in self.facts(execution_id) if isinstance(fact, kind)]

        await eventually(found, within=20, what=f"{kind.__name__} of {execution_id}: {self.facts(execution_id)}")
        return found()[0]


@pytest.fixture
async def orchestrator(bus: Bus) -> AsyncIterator[Orchestrator]:
    playing = Orchestrator(bus, NodeId(f"node-{uuid.uuid4().hex[:8]}"))
    async with background(
        requests=playing.hear_requests(), reports=playing.hear_reports(), heartbeats=playing.hear_heartbeats()
    ):
        yield playing


@pytest.fixture
async def node(orchestrator: Orchestrator, tmp_path: Path) -> AsyncIterator[NodeProcess]:
    bus = orchestrator.bus
    secret = bus.secrets.join_secret.reveal()
    with NodeProcess(tmp_path / "data", orchestrator.node, bus.server.url, secret) as process:
        await asyncio.to_thread(process.start)
        await eventually(lambda: orchestrator.registrations, what="the node registers")
        yield process


def assignment(script: str = "", **changes: Any) -> Assignment:
    """A noop task without publisher, or a script with one."""
    params = {"Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    engine = SpecConfig(type="Process", params=params) if script else SpecConfig(type="noop")
    task = Task(name="main", engine=engine)
    if script:
        outputs = (ResultPath(name="outputs", path="/outputs"),)
        task = replace(task, publisher=SpecConfig(type="s3managed"), result_paths=outputs)
    made = new_assignment(
        f"e-{uuid.uuid4()}",
        resources=Capacity(cpu=1.0, memory=100_000_000),
        task=task,
        archive=SignedUrl(method="PUT", url=UNREACHABLE, lifetime_seconds=3600) if script else None,
    )
    return replace(made, **changes)


def folder_of(node: NodeProcess, execution_id: ExecutionId) -> Path:
    return node.data_dir / "compute" / "executions" / execution_id


def journalled(node: NodeProcess) -> list[str]:
    """Which executions the journal does not forget again."""
    remembered: dict[str, bool] = {}
    for line in (node.data_dir / "compute" / "journal.jsonl").read_text().splitlines():
        name, _, content = line.partition(" ")
        remembered[name] = content != "null"
    return [name for name, is_remembered in remembered.items() if is_remembered]


def has_line(path: Path) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text().endswith("\n")


def signer(s3_server: S3Server, bucket: str, key: str) -> Callable[[], SignedUrl]:
    def sign() -> SignedUrl:
        url = s3_server.client(s3_server.orchestrator).generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": key, "IfNoneMatch": "*"}
        )
        return SignedUrl(method="PUT", url=url, headers={"If-None-Match": "*"}, lifetime_seconds=3600)

    return sign


async def test_a_node_tells_what_it_is(orchestrator: Orchestrator, node: NodeProcess) -> None:
    info = orchestrator.registrations[0].info
    assert info.node_id == orchestrator.node
    assert info.engines == ("noop", "process", "wasm")
    assert info.runtimes == {"wasm": f"wasmtime {version('wasmtime')}"}
    assert info.publishers == ("s3managed",)
    assert info.capacity == Capacity(cpu=2.0, memory=2_000_000_000, disk=1_000_000_000)
    isolation = {"process": "none", "wasm": "wasmtime"}
    assert info.isolation == isolation
    assert (info.labels, info.queue_capacity) == (with_automatic({"zone": "a"}, orchestrator.node, isolation), 1)
    assert info.loopback_id
    await eventually(lambda: orchestrator.heartbeats)
    assert orchestrator.heartbeats[0].session == orchestrator.registrations[0].session


async def test_a_short_task_costs_one_report_and_is_forgotten_on_receipt(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    order = assignment()
    answer = await orchestrator.order(order)
    assert answer == Accepted(session=orchestrator.registrations[0].session, inventories=1)
    await orchestrator.fact(order.execution_id, TaskEnded)
    (report,) = orchestrator.reports
    assert [type(fact) for fact in report.facts] == [ExecutionStarted, TaskEnded]
    assert journalled(node) == [order.execution_id]
    await orchestrator.order(Receipt(execution_ids=(order.execution_id,)))
    await eventually(lambda: journalled(node) == [])


async def test_an_inventory_names_what_was_accepted_before_it(orchestrator: Orchestrator, node: NodeProcess) -> None:
    order = assignment("sleep 1000")
    answer = await orchestrator.order(order)
    assert isinstance(answer, Accepted)
    await orchestrator.order(Register())
    await eventually(lambda: len(orchestrator.registrations) == 2)
    assert orchestrator.registrations[1].inventory > answer.inventories
    assert orchestrator.registrations[1].held == (order.execution_id,)


async def test_a_result_reaches_the_bucket_with_the_url_of_the_assignment(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    key = "results/j-1/e-1.tar.gz"
    grant = signer(s3_server, bucket, key)()
    order = assignment("echo hello; echo oops >&2; echo data > outputs/file; exit 3", archive=grant)
    await orchestrator.order(order)
    published = await orchestrator.fact(order.execution_id, OutputPublished)
    stored = s3_server.client().get_object(Bucket=bucket, Key=key)
    body = stored["Body"].read()
    assert published.sha256 == hashlib.sha256(body).hexdigest()
    assert (published.size_bytes, published.md5) == (len(body), stored["ETag"].strip('"'))
    ended = await orchestrator.fact(order.execution_id, TaskEnded)
    assert (ended.output.stdout, ended.output.stderr, ended.output.exit_code) == ("hello\n", "oops\n", 3)
    assert orchestrator.grant_requests == []


async def test_a_node_tells_that_a_result_waits_for_s3(orchestrator: Orchestrator, node: NodeProcess) -> None:
    orchestrator.new_grant = lambda: SignedUrl(method="PUT", url=UNREACHABLE, lifetime_seconds=3600)
    await orchestrator.order(order := assignment("echo hello"))
    await orchestrator.fact(order.execution_id, TaskEnded)
    await eventually(lambda: [beat.waiting_for_s3 for beat in orchestrator.heartbeats[-1:]] == [1])
    assert orchestrator.heartbeats[-1].publishing == 1
    told = await orchestrator.fact(order.execution_id, ExecutionProgressed)
    assert told.detail.startswith("Publishing, waiting for S3: 127.0.0.1:1: ")
    assert "5ec4e7" not in told.detail


async def test_a_node_tells_how_far_a_result_is_that_takes_long(orchestrator: Orchestrator, node: NodeProcess) -> None:
    orchestrator.new_grant = lambda: SignedUrl(method="PUT", url=UNREACHABLE, lifetime_seconds=3600)
    await orchestrator.order(order := assignment("head -c 1000 /dev/zero"))
    await eventually(lambda: any(beat.uploads for beat in orchestrator.heartbeats), within=30)
    (told,) = next(beat.uploads for beat in orchestrator.heartbeats if beat.uploads)
    assert (told.execution_id, told.done_bytes, told.bytes_per_second) == (order.execution_id, 0, 0)
    assert told.total_bytes >= 1000


async def test_no_secret_reaches_the_task_the_disk_or_the_log(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    sign = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")
    order = assignment("env; cat /proc/$PPID/environ >/dev/null; exit 0", archive=sign())
    await orchestrator.order(order)
    await orchestrator.fact(order.execution_id, OutputPublished)
    output = (await orchestrator.fact(order.execution_id, TaskEnded)).output.stdout
    assert f"BACALHAU_EXECUTION_ID={order.execution_id}\n" in output
    secrets = [orchestrator.bus.secrets.join_secret.reveal(), "X-Amz-Signature"]
    files = [path for path in node.data_dir.rglob("*") if path.is_file()]
    texts = [output, node.log, *(path.read_text(errors="replace") for path in files)]
    assert [secret for secret in secrets for text in texts if secret in text] == []
    assert "seed" not in node.log.lower()


async def test_an_offer_that_is_repeated_runs_once(orchestrator: Orchestrator, node: NodeProcess) -> None:
    order = assignment()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(orchestrator.order(order), name="offer") for _ in range(5)]
    assert all(isinstance(answer.result(), Accepted) for answer in answers)
    await orchestrator.fact(order.execution_id, TaskEnded)
    await orchestrator.order(Receipt(execution_ids=(order.execution_id,)))
    assert isinstance(await orchestrator.order(order), Accepted)
    await orchestrator.order(another := assignment())
    await orchestrator.fact(another.execution_id, TaskEnded)
    assert len(orchestrator.facts(order.execution_id)) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": Task(engine=SpecConfig(type="docker"))}, "EngineNotOffered"),
        ({"task": Task(engine=SpecConfig(type="process"))}, "InvalidTask"),
        ({"task": Task(engine=SpecConfig(type="noop"), publisher=SpecConfig(type="ipfs"))}, "PublisherNotOffered"),
        ({"task": Task(engine=SpecConfig(type="noop"), env={"A": "env:HOME"})}, "VariableRefused"),
        ({"resources": Capacity(cpu=64.0)}, "CapacityExceeded"),
    ],
)
async def test_what_the_node_can_never_run_is_rejected_for_good(
    orchestrator: Orchestrator, node: NodeProcess, changes: Mapping[str, Any], reason: str
) -> None:
    answer = await orchestrator.order(assignment(**changes))
    assert isinstance(answer, Rejected)
    assert (answer.reason, answer.retryable) == (reason, False)
    assert answer.detail


async def test_more_than_the_queue_holds_is_rejected_for_now(orchestrator: Orchestrator, node: NodeProcess) -> None:
    answers = [await orchestrator.order(assignment("sleep 1000")) for _ in range(4)]
    assert [type(answer) for answer in answers] == [Accepted, Accepted, Accepted, Rejected]
    assert isinstance(answers[-1], Rejected)
    assert (answers[-1].reason, answers[-1].retryable) == ("QueueFull", True)
    await eventually(lambda: [(each.running, each.queued) for each in orchestrator.heartbeats[-1:]] == [(2, 1)])


async def test_orders_that_nobody_waits_for_or_that_make_no_sense_are_dropped(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    orders = subjects.node_orders(orchestrator.node)
    order, unsafe = assignment(), assignment(execution_id=ExecutionId("../../escape"))
    await orchestrator.bus.connection.publish(orders, encode(order))
    for payload in (b"", b"{}", b'{"type":"FutureOrder"}', encode(unsafe)):
        await orchestrator.bus.client.publish(orders, payload, reply=f"_INBOX.{uuid.uuid4().hex}")
    await orchestrator.order(another := assignment())
    await orchestrator.fact(another.execution_id, TaskEnded)
    assert {report.execution_id for report in orchestrator.reports} == {another.execution_id}
    assert "no reply subject" in node.log


async def test_cancelling_stops_the_task_and_is_told(orchestrator: Orchestrator, node: NodeProcess) -> None:
    order = assignment("echo $$ > outputs/pid; sleep 1000")
    await orchestrator.order(order)
    pid_file = folder_of(node, order.execution_id) / "workspace" / "outputs" / "pid"
    await eventually(has_line(pid_file))
    pid = int(pid_file.read_text())
    await orchestrator.order(CancelExecution(execution_id=order.execution_id, reason="no longer wanted"))
    assert (await orchestrator.fact(order.execution_id, ExecutionCancelled)).reason == "no longer wanted"
    assert not Path(f"/proc/{pid}").exists()


async def test_cancelling_while_the_result_is_published_is_told(orchestrator: Orchestrator, node: NodeProcess) -> None:
    order = assignment("echo done")
    await orchestrator.order(order)
    await orchestrator.fact(order.execution_id, TaskEnded)
    await orchestrator.order(CancelExecution(execution_id=order.execution_id))
    await orchestrator.fact(order.execution_id, ExecutionCancelled)
    told = [type(fact) for fact in orchestrator.facts(order.execution_id)]
    assert told == [ExecutionStarted, TaskEnded, ExecutionCancelled]


async def test_cancelling_what_waits_for_a_slot_is_told(orchestrator: Orchestrator, node: NodeProcess) -> None:
    for _ in range(2):
        await orchestrator.order(assignment("sleep 1000"))
    await orchestrator.order(order := assignment("echo never"))
    await orchestrator.order(CancelExecution(execution_id=order.execution_id))
    await orchestrator.fact(order.execution_id, ExecutionCancelled)
    assert [type(fact) for fact in orchestrator.facts(order.execution_id)] == [ExecutionCancelled]


async def test_a_task_over_its_time_limit_fails_with_what_it_wrote(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    order = assignment("echo begun; sleep 1000", execution_timeout_seconds=0.5)
    await orchestrator.order(order)
    failed = await orchestrator.fact(order.execution_id, ExecutionFailed)
    assert failed.reason == "ExecutionTimedOut"
    assert failed.output is not None
    assert failed.output.stdout == "begun\n"


async def test_a_result_that_cannot_be_published_in_time_is_told(orchestrator: Orchestrator, node: NodeProcess) -> None:
    orchestrator.new_grant = lambda: SignedUrl(method="PUT", url=UNREACHABLE, lifetime_seconds=3600)
    order = assignment("echo done", publish_timeout_seconds=0.5)
    await orchestrator.order(order)
    failed = await orchestrator.fact(order.execution_id, ExecutionFailed)
    assert failed.reason == "PublishTimedOut"
    assert "127.0.0.1:1" in failed.detail
    assert "X-Amz" not in failed.detail


async def test_what_the_orchestrator_has_settled_is_stopped_and_forgotten_without_a_word(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    order = assignment("echo $$ > outputs/pid; sleep 1000")
    await orchestrator.order(order)
    pid_file = folder_of(node, order.execution_id) / "workspace" / "outputs" / "pid"
    await eventually(has_line(pid_file))
    orchestrator.reconciliation = Reconciliation(settled=(order.execution_id,))
    await orchestrator.order(Register())
    await eventually(lambda: not folder_of(node, order.execution_id).exists())
    assert {type(fact) for fact in orchestrator.facts(order.execution_id)} <= {ExecutionStarted}


async def test_a_killed_node_tells_what_it_lost_and_leaves_no_process_behind(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    daemon = "setsid sh -c 'echo $$ > outputs/daemon; exec sleep 1000' &"
    order = assignment(f"{daemon} echo $$ > outputs/task; sleep 1000")
    await orchestrator.order(order)
    outputs = folder_of(node, order.execution_id) / "workspace" / "outputs"
    await orchestrator.fact(order.execution_id, ExecutionStarted)
    await eventually(has_line(outputs / "task"))
    await eventually(has_line(outputs / "daemon"))
    pids = [int((outputs / name).read_text()) for name in ("task", "daemon")]
    await asyncio.to_thread(node.kill)
    assert all(_is_running(pid) for pid in pids)
    await asyncio.to_thread(node.start)
    failed = await orchestrator.fact(order.execution_id, ExecutionFailed)
    assert failed.reason == "NodeRestarted"
    await eventually(lambda: not any(_is_running(pid) for pid in pids))
    await eventually(lambda: orchestrator.registrations[-1].session != orchestrator.registrations[0].session)
    assert orchestrator.registrations[-1].held == (order.execution_id,)


async def test_what_waits_for_a_slot_is_not_held_after_a_kill_and_can_be_offered_again(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    running = [assignment("sleep 1000") for _ in range(2)]
    for order in running:
        await orchestrator.order(order)
        await orchestrator.fact(order.execution_id, ExecutionStarted)
    await orchestrator.order(waiting := assignment("echo hello"))
    await asyncio.to_thread(node.kill)
    registered = len(orchestrator.registrations)
    await asyncio.to_thread(node.start)
    await eventually(lambda: len(orchestrator.registrations) > registered)
    assert set(orchestrator.registrations[-1].held) == {order.execution_id for order in running}
    assert isinstance(await orchestrator.order(waiting), Accepted)
    assert (await orchestrator.fact(waiting.execution_id, TaskEnded)).output.stdout == "hello\n"
    assert [type(fact) for fact in orchestrator.facts(waiting.execution_id)][:2] == [ExecutionStarted, TaskEnded]


async def test_a_task_is_in_the_journal_before_it_runs(orchestrator: Orchestrator, node: NodeProcess) -> None:
    journal = node.data_dir / "compute" / "journal.jsonl"
    await orchestrator.order(order := assignment(f"cat {journal}"))
    output = (await orchestrator.fact(order.execution_id, TaskEnded)).output.stdout
    assert order.execution_id in output


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_finished_result_is_published_after_a_kill_without_running_again(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server, tmp_path: Path
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    runs = tmp_path / "runs"
    order = assignment(f"echo run >> {runs}; echo hello")
    await orchestrator.order(order)
    await orchestrator.fact(order.execution_id, TaskEnded)
    await asyncio.to_thread(node.kill)
    orchestrator.new_grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")
    await asyncio.to_thread(node.start)
    published = await orchestrator.fact(order.execution_id, OutputPublished)
    body = s3_server.client().get_object(Bucket=bucket, Key="results/j-1/e-1.tar.gz")["Body"].read()
    assert hashlib.sha256(body).hexdigest() == published.sha256
    assert order.execution_id in orchestrator.grant_requests
    assert runs.read_text() == "run\n"


async def test_a_result_that_a_power_cut_may_have_torn_is_not_published(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    await orchestrator.order(order := assignment("echo hello"))
    await orchestrator.fact(order.execution_id, TaskEnded)
    await asyncio.to_thread(node.kill)
    journal = node.data_dir / "compute" / "journal.jsonl"
    journal.write_text(journal.read_text().replace(boot_id(), "the-boot-before"))
    orchestrator.new_grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")
    await asyncio.to_thread(node.start)
    assert (await orchestrator.fact(order.execution_id, ExecutionFailed)).reason == "NodeRestarted"
    assert not s3_server.client().list_objects_v2(Bucket=bucket).get("Contents")


async def test_a_result_that_an_orderly_stop_kept_is_published_after_the_next_boot(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    await orchestrator.order(order := assignment("echo hello"))
    await orchestrator.fact(order.execution_id, TaskEnded)
    assert await asyncio.to_thread(node.terminate) == 0
    journal = node.data_dir / "compute" / "journal.jsonl"
    journal.write_text(journal.read_text().replace(boot_id(), "the-boot-before"))
    orchestrator.new_grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")
    await asyncio.to_thread(node.start)
    await orchestrator.fact(order.execution_id, OutputPublished)


async def test_an_end_without_receipt_is_told_again_after_a_restart(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    await orchestrator.order(order := assignment())
    await orchestrator.fact(order.execution_id, TaskEnded)
    told = list(orchestrator.facts(order.execution_id))
    await asyncio.to_thread(node.kill)
    begun = time.monotonic()
    await asyncio.to_thread(node.start)
    await eventually(lambda: len(orchestrator.facts(order.execution_id)) == 2 * len(told))
    again = orchestrator.facts(order.execution_id)[-1]
    assert isinstance(again, TaskEnded)
    assert 0 < again.age_seconds < time.monotonic() - begun + 60


async def test_a_damaged_journal_entry_is_told_as_a_failure(orchestrator: Orchestrator, node: NodeProcess) -> None:
    await orchestrator.order(order := assignment())
    await orchestrator.fact(order.execution_id, TaskEnded)
    await asyncio.to_thread(node.kill)
    with (node.data_dir / "compute" / "journal.jsonl").open("a") as journal:
        journal.write(f"{order.execution_id} {{\n")
    await asyncio.to_thread(node.start)
    assert (await orchestrator.fact(order.execution_id, ExecutionFailed)).reason == "NodeError"


async def test_a_node_that_is_asked_to_stop_tells_what_it_stops_and_exits_cleanly(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    running = [assignment("sleep 1000") for _ in range(3)]  # two run, one waits
    for order in running:
        await orchestrator.order(order)
    await orchestrator.fact(running[0].execution_id, ExecutionStarted)
    assert await asyncio.to_thread(node.terminate) == 0
    for order in running:
        assert (await orchestrator.fact(order.execution_id, ExecutionFailed)).reason == "NodeRestarted"


async def test_what_has_not_begun_is_handed_back_when_it_is_asked_for(
    orchestrator: Orchestrator, node: NodeProcess, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    running = [assignment(f"until test -e {go}; do sleep 0.02; done", archive=None) for _ in range(2)]
    waiting, never_offered = assignment(f"touch {tmp_path / 'ran'}"), ExecutionId("e-never-offered")
    for order in (*running, waiting):
        await orchestrator.order(order)
    await orchestrator.fact(running[0].execution_id, ExecutionStarted)
    ids = tuple(each.execution_id for each in (*running, waiting))
    for _ in range(2):
        await orchestrator.order(HandBack(execution_ids=(*ids, never_offered)))
    for each in (waiting.execution_id, never_offered):
        failed = await orchestrator.fact(each, ExecutionFailed)
        assert (failed.reason, failed.not_begun) == ("NodeRestarted", True)
    await orchestrator.order(replace(waiting, execution_id=never_offered))
    go.touch()
    for order in running:
        await orchestrator.fact(order.execution_id, TaskEnded)
    assert not (tmp_path / "ran").exists(), "also when it is offered late"
    assert [type(fact) for fact in orchestrator.facts(never_offered)] == [ExecutionFailed]


async def test_a_task_may_end_and_be_published_while_its_node_stops(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server, tmp_path: Path
) -> None:
    await asyncio.to_thread(node.terminate)
    node.drain_seconds, known = 20.0, len(orchestrator.registrations)
    await asyncio.to_thread(node.start)
    await eventually(lambda: len(orchestrator.registrations) > known)
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")()
    go = tmp_path / "go"
    script = f"until test -e {go}; do sleep 0.02; done"
    running, other, waiting = assignment(script, archive=grant), assignment("sleep 1000"), assignment("true")
    for order in (running, other, waiting):
        await orchestrator.order(order)
    await orchestrator.fact(other.execution_id, ExecutionStarted)
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(asyncio.to_thread(node.terminate), name="stop")
        assert (await orchestrator.fact(waiting.execution_id, ExecutionFailed)).not_begun
        await eventually(lambda: orchestrator.registrations[-1].leaving)
        assert running.execution_id in orchestrator.registrations[-1].held
        go.touch()
        await orchestrator.fact(running.execution_id, OutputPublished)
        await orchestrator.order(CancelExecution(execution_id=other.execution_id))
    assert stopping.result() == 0
    await orchestrator.fact(other.execution_id, ExecutionCancelled)


async def test_a_result_on_its_way_is_finished_before_the_node_stops(
    orchestrator: Orchestrator, node: NodeProcess, s3_server: S3Server
) -> None:
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    await orchestrator.order(order := assignment("echo hello", archive=None))
    await eventually(lambda: orchestrator.grant_requests)
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(asyncio.to_thread(node.terminate), name="stop")
        async with asyncio.timeout(5):
            while not isinstance(answer := await orchestrator.order(assignment()), Rejected):
                pass
        assert (answer.reason, answer.retryable) == ("NodeStopping", True)
        orchestrator.new_grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")
    assert stopping.result() == 0
    await orchestrator.fact(order.execution_id, OutputPublished)


async def test_the_end_of_a_task_is_told_when_nats_is_back(orchestrator: Orchestrator, node: NodeProcess) -> None:
    await orchestrator.order(order := assignment("sleep 0.3; echo done"))
    registered = len(orchestrator.registrations)
    assert orchestrator.bus.server.pid is not None
    os.kill(orchestrator.bus.server.pid, signal.SIGKILL)
    await orchestrator.fact(order.execution_id, TaskEnded)
    await eventually(lambda: len(orchestrator.registrations) > registered, within=20)
    assert orchestrator.registrations[-1].held == (order.execution_id,)


async def test_who_asks_for_a_registration_need_not_wait_until_an_earlier_one_has_timed_out(
    orchestrator: Orchestrator, node: NodeProcess
) -> None:
    orchestrator.is_silent = True  # as one that stops to lead with a registration in its hands
    registered = len(orchestrator.registrations)
    await orchestrator.order(Register())
    await eventually(lambda: len(orchestrator.registrations) == registered + 1, within=5)
    await orchestrator.order(Register())
    await eventually(lambda: len(orchestrator.registrations) > registered + 1, within=5)
    assert len(orchestrator.registrations) == registered + 2


async def test_two_nodes_do_not_share_a_folder(orchestrator: Orchestrator, node: NodeProcess) -> None:
    config = node_config(node.data_dir, "another", orchestrator.bus.server.url, "")
    with pytest.raises(AlreadyRunning):
        await service.run(config)


async def test_a_cancelled_node_leaves_nothing_behind(orchestrator: Orchestrator, tmp_path: Path) -> None:
    secret = orchestrator.bus.secrets.join_secret.reveal()
    config = node_config(tmp_path / "data", orchestrator.node, orchestrator.bus.server.url, secret)
    open_files: list[int] = []
    for _ in range(3):
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(service.run(config, ready=ready.set), name="node")
            await ready.wait()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        open_files.append(len(list(Path("/proc/self/fd").iterdir())))
    assert {each.get_name() for each in asyncio.all_tasks()} & {"assignments", "registration", "deletions"} == set()
    assert open_files[1] == open_files[2]


async def test_nothing_a_node_does_blocks_its_loop(
    orchestrator: Orchestrator, tmp_path: Path, s3_server: S3Server
) -> None:
    secret = orchestrator.bus.secrets.join_secret.reveal()
    config = node_config(tmp_path / "data", orchestrator.node, orchestrator.bus.server.url, secret)
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    grant = signer(s3_server, bucket, "results/j-1/e-1.tar.gz")()
    with blockbuster_ctx(["compute", "shared"]):
        async with background(node=service.run(config)):
            await eventually(lambda: orchestrator.registrations)
            await orchestrator.order(order := assignment("echo hello > outputs/file", archive=grant))
            await orchestrator.fact(order.execution_id, OutputPublished)
            await orchestrator.order(Receipt(execution_ids=(order.execution_id,)))
            await orchestrator.order(Register())
            await eventually(lambda: len(orchestrator.registrations) == 2)
    told = [type(fact) for fact in orchestrator.facts(order.execution_id)]
    assert told == [ExecutionStarted, TaskEnded, OutputPublished]


class TestOwnMounts:
    """Of nodes that have mounts of their own, so that nothing can happen to those of the machine."""

    @pytest.fixture
    def precious(self, tmp_path: Path) -> Path:
        folder = tmp_path / "precious"
        folder.mkdir(mode=0o750)
        (folder / "file").write_text("kept")
        return folder

    @asynccontextmanager
    async def node(self, orchestrator: Orchestrator, folder: Path, *within: str) -> AsyncIterator[NodeProcess]:
        bus = orchestrator.bus
        secret = bus.secrets.join_secret.reveal()
        within = (*private_mounts(), *within)
        with NodeProcess(folder / "data", orchestrator.node, bus.server.url, secret, within=within) as process:
            await asyncio.to_thread(process.start)
            await eventually(lambda: orchestrator.registrations, what="the node registers")
            yield process

    async def test_what_a_task_mounted_and_left_is_neither_published_nor_removed(
        self, orchestrator: Orchestrator, tmp_path: Path, precious: Path, s3_server: S3Server
    ) -> None:
        bucket = await asyncio.to_thread(s3_server.create_bucket)
        grant = signer(s3_server, bucket, "results/e.tar.gz")()
        script = f"mkdir outputs/x; mount --bind {precious} outputs/x; mount --bind {precious} .; echo made > outputs/y"
        async with self.node(orchestrator, tmp_path) as node:
            await orchestrator.order(order := assignment(script, archive=grant))
            published = await orchestrator.fact(order.execution_id, OutputPublished)
            await orchestrator.order(Receipt(execution_ids=(order.execution_id,)))
            await eventually(lambda: not folder_of(node, order.execution_id).exists())
            mounts = Path(f"/proc/{node.pid}/mounts").read_text()
        stored = s3_server.client().get_object(Bucket=bucket, Key="results/e.tar.gz")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(stored)) as tar:
            assert sorted(tar.getnames()) == ["exitCode", "outputs", "outputs/x", "outputs/y", "stderr", "stdout"]
        assert published.left_out_count == 1
        assert published.warnings == ("'outputs/x' is a mount that the task left: what it showed is not in the result",)
        assert (precious / "file").read_text() == "kept"
        assert precious.stat().st_mode & 0o777 == 0o750
        assert str(tmp_path) not in mounts

    async def test_a_mount_that_the_node_cannot_detach_is_told_to_its_operator(
        self, orchestrator: Orchestrator, tmp_path: Path, precious: Path
    ) -> None:
        async with self.node(orchestrator, tmp_path, *without_rights_to_mount()) as node:
            script = "mkdir outputs/x; touch ready; until [ -e go ]; do sleep 0.05; done"
            order = assignment(script)
            order = replace(order, task=replace(order.task, publisher=SpecConfig()))
            await orchestrator.order(order)
            workspace = folder_of(node, order.execution_id) / "workspace"
            await eventually((workspace / "ready").exists)
            enter = ["nsenter", "--target", str(node.pid), "--mount", "--"]
            mount = [*enter, "mount", "--bind", str(precious), str(workspace / "outputs" / "x")]
            await asyncio.to_thread(subprocess.run, mount, check=True)
            (workspace / "go").touch()
            await orchestrator.fact(order.execution_id, TaskEnded)
            await orchestrator.order(Receipt(execution_ids=(order.execution_id,)))
            await eventually(lambda: "cannot be detached and is left" in node.log)
            await orchestrator.order(Register())
            await eventually(lambda: len(orchestrator.registrations) == 2)
            (problem,) = orchestrator.registrations[1].info.problems
            assert "outputs/x was mounted by a task that has ended, and this node cannot detach it" in problem
            assert not (workspace / "ready").exists()
        assert (precious / "file").read_text() == "kept"
        assert precious.stat().st_mode & 0o777 == 0o750

    @pytest.mark.parametrize(
        ("script", "options"),
        [
            ("head -c 100000000 /dev/zero; exit 0", "size=8m"),
            ("head -c 100000000 /dev/zero >&2; exit 0", "size=8m"),
            ("head -c 100000000 /dev/zero > outputs/file; exit 0", "size=8m"),
            ("head -c 100000000 /dev/zero > outputs/file; sleep 0.2; exit 3", "size=8m"),
            ("i=0; while [ $i -lt 999 ]; do i=$((i + 1)); echo $i > outputs/$i || exit 0; done", "nr_inodes=200"),
        ],
        ids=["stdout", "stderr", "file", "failed", "inodes"],
    )
    async def test_a_task_that_ends_while_the_disk_is_full_fails_with_that_reason(
        self, orchestrator: Orchestrator, tmp_path: Path, script: str, options: str
    ) -> None:
        data = tmp_path / "data"
        data.mkdir()
        small_disk = ["sh", "-c", f'mount -t tmpfs -o {options} none {data} && exec "$0" "$@"']
        async with self.node(orchestrator, tmp_path, *small_disk):
            await orchestrator.order(order := assignment(script))
            failed = await orchestrator.fact(order.execution_id, ExecutionFailed)
            assert failed.reason == "DiskFull"
            await orchestrator.order(another := assignment("exit 7"))
            ended = await orchestrator.fact(another.execution_id, TaskEnded)
            assert ended.output.exit_code == 7, "there is room again"
