"""What one job costs a compute node alone: `python -m benchmarks.node_jobs [--jobs N] [--engine process|noop]`.

One node process, a real NATS server, and this program as its orchestrator, which offers short jobs so that `at-once` of
them are held at a time, and sends receipts. Results of `true` go to a server that discards them. Prints one JSON
object: processor time per job of the node's own process and of the tasks it started, reports per job, and how long a
job takes from its offer to the report of its end (of one alone, with `--at-once 1`).
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from benchmarks.discard_server import HOST
from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import SpecConfig, Task
from shared.protocol import subjects
from shared.protocol.messages import (
    Accepted,
    AnyFact,
    Assignment,
    Assignments,
    ExecutionFailed,
    OutputPublished,
    Receipt,
    Reconciliation,
    Report,
    TaskEnded,
    assignment_answers,
    decode,
    encode,
    report,
    reports,
)
from shared.protocol.nodes.message import Message
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import background
from tests.nats_bus import Bus

NODE = NodeId("node-a")
WITHIN_SECONDS = 10.0
PURGED_AFTER = 1000
QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=key%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date="
TICKS = os.sysconf("SC_CLK_TCK")


class Offers:
    """The orchestrator's side: offers jobs, hears of their ends, sends receipts."""

    def __init__(self, bus: Bus, engine: str, port: int) -> None:
        self.seconds: list[float] = []
        self.reports = 0
        self.messages = 0
        self.registered = asyncio.Event()
        self._bus = bus
        self._engine = engine
        self._port = port
        self._ends: dict[ExecutionId, asyncio.Future[AnyFact]] = {}
        self._receipts: list[ExecutionId] = []
        self._offers: list[Assignment] = []

    async def hear_requests(self) -> None:
        async with self._bus.connection.subscribe(subjects.node_requests(NODE)) as received:
            async for message in received:
                await message.respond(encode(Reconciliation()))
                self.registered.set()

    async def hear_reports(self) -> None:
        last = OutputPublished if self._engine == "process" else TaskEnded
        async with self._bus.connection.subscribe(subjects.node_reports(NODE)) as received:
            async for message in received:
                self.messages += 1
                if self.messages % PURGED_AFTER == 0:  # nobody else takes them out of the stream
                    await self._bus.connection.client.jetstream().purge_stream(subjects.REPORTS_STREAM)
                for each in _reports(message.payload):
                    self.reports += 1
                    end = each.facts[-1]
                    told = self._ends.pop(each.execution_id, None) if isinstance(end, last | ExecutionFailed) else None
                    if told is not None:  # once: a report may come again
                        told.set_result(end)

    async def one(self) -> None:
        execution = ExecutionId(f"e-{uuid.uuid4()}")
        begun = time.monotonic()
        end = self._ends[execution] = asyncio.get_running_loop().create_future()
        self._offers.append(self._assignment(execution))
        fact = await end
        assert not isinstance(fact, ExecutionFailed), fact
        self.seconds.append(time.monotonic() - begun)
        self._receipts.append(execution)

    async def send_offers(self) -> None:
        """Those that wait together, as the orchestrator does."""
        while True:
            await asyncio.sleep(0.0005)
            if self._offers:
                offers, self._offers = tuple(self._offers), []
                payload = await self._order(Assignments(assignments=offers))
                answers = decode(assignment_answers, payload).answers
                assert all(isinstance(answer, Accepted) for answer in answers), answers

    async def send_receipts(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            if self._receipts:
                ids, self._receipts = tuple(self._receipts), []
                with contextlib.suppress(MessagingUnavailable):  # the node has just been stopped
                    await self._order(Receipt(execution_ids=ids))

    async def _order(self, order: Message) -> bytes:
        return await self._bus.connection.request(subjects.node_orders(NODE), encode(order), timeout=WITHIN_SECONDS)

    def _assignment(self, execution: ExecutionId) -> Assignment:
        task = Task(name="main", engine=SpecConfig(type="noop"))
        url = f"http://{HOST}:{self._port}/bucket/results/j-1/{execution}.tar.gz?{QUERY}&X-Amz-Signature={'0' * 64}"
        if self._engine == "process":
            engine = SpecConfig(type="process", params={"Entrypoint": ["true"]})
            task = Task(name="main", engine=engine, publisher=SpecConfig(type="s3managed"))
        return Assignment(
            execution_id=execution,
            job_id=JobId("j-1"),
            job_name="a-job",
            job_type="batch",
            namespace="default",
            job_version=1,
            task=task,
            resources=Capacity(cpu=0.02, memory=1_000_000),
            archive=SignedUrl(method="PUT", url=url, headers={"If-None-Match": "*"}, lifetime_seconds=3600)
            if self._engine == "process"
            else None,
        )


def _reports(payload: bytes) -> list[Report]:
    message = decode(reports, payload)
    return [message] if isinstance(message, Report) else [decode(report, each) for each in message.reports]


async def measure(folder: Path, engine: str, count: int, at_once: int, port: int) -> dict[str, Any]:
    async with Bus(folder).running() as bus:
        offers = Offers(bus, engine, port)
        loops = {
            "requests": offers.hear_requests(),
            "reports": offers.hear_reports(),
            "offers": offers.send_offers(),
            "receipts": offers.send_receipts(),
        }
        async with background(**loops):
            node = await asyncio.to_thread(_start_node, folder, bus)
            try:
                await offers.registered.wait()
                return await _measured(offers, node.pid, engine, count, at_once)
            finally:
                node.terminate()
                await asyncio.to_thread(node.wait, WITHIN_SECONDS * 3)


async def _measured(offers: Offers, pid: int, engine: str, count: int, at_once: int) -> dict[str, Any]:
    await _run(offers, min(count, 50), at_once)  # warms up
    offers.seconds, offers.reports, offers.messages = [], 0, 0
    own, tasks, begun = *_cpu_seconds(pid), time.monotonic()
    await _run(offers, count, at_once)
    seconds = time.monotonic() - begun
    own_after, tasks_after = _cpu_seconds(pid)
    return {
        "engine": engine,
        "jobs": count,
        "at_once": at_once,
        "jobs_per_s": round(count / seconds, 1),
        "node_cpu_us_per_job": round((own_after - own) / count * 1e6),
        "tasks_cpu_us_per_job": round((tasks_after - tasks) / count * 1e6),
        "reports_per_job": round(offers.reports / count, 2),
        "report_messages_per_job": round(offers.messages / count, 2),
        "latency_ms_p50": round(statistics.median(offers.seconds) * 1e3, 2),
    }


async def _run(offers: Offers, count: int, at_once: int) -> None:
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await offers.one()

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(some(), name=f"offers-{number}")


def _start_node(folder: Path, bus: Bus) -> "subprocess.Popen[bytes]":
    settings = {
        "DATADIR": folder / "node",
        "NAMEPROVIDER": NODE,
        "COMPUTE_ORCHESTRATORS": bus.server.url,
        "COMPUTE_AUTH_TOKEN": bus.secrets.join_secret.reveal(),
        "ENGINES_TYPES_PROCESS_ENABLED": "true",
        "ENGINES_DISABLED": "docker",
        "COMPUTE_QUEUECAPACITY": "1000",
        "ENGINES_TYPES_PROCESS_SANDBOX": os.environ.get("SANDBOX", "off"),
    }
    environment = {**os.environ, **{f"TARPON_{name}": str(value) for name, value in settings.items()}}
    command = os.environ.get("NODE_COMMAND", f"{sys.executable} -m tarpon").split()
    with (folder / "node.log").open("wb") as log:
        return subprocess.Popen([*command, "serve", "--compute"], env=environment, stdout=log, stderr=log)


def _cpu_seconds(pid: int) -> tuple[float, float]:
    """User and system time of the process, and of its children that have ended (proc(5))."""
    fields = [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    return sum(fields[:2]) / TICKS, sum(fields[2:]) / TICKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--engine", choices=["process", "noop"], default="process")
    parser.add_argument("--at-once", type=int, default=32)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "benchmarks.discard_server"]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(command, stdout=subprocess.PIPE) as sink:
        assert sink.stdout is not None
        try:
            port = int(sink.stdout.readline())
            print(
                json.dumps(
                    asyncio.run(measure(Path(folder), arguments.engine, arguments.jobs, arguments.at_once, port))
                )
            )
        finally:
            sink.kill()


if __name__ == "__main__":
    main()
