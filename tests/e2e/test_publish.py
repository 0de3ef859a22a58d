"""Results of many mebibytes in whole runs, with an S3 that is slow or away and nodes that are killed meanwhile."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import NO_SANDBOX, Stack, process_job, wait_until
from tests.faulty_s3 import Fault, FaultyS3, Kind
from tests.servers import HOST, S3Server
from tests.waiting import eventually

OUTPUTS = [{"Name": "outputs", "Path": "/outputs"}]
PART_BYTES = 8 << 20
RESULT_BYTES = 40_000_000
PARTS = 5


@pytest.fixture
async def s3(s3_server: S3Server) -> AsyncIterator[FaultyS3]:
    async with FaultyS3(s3_server.endpoint).serving() as proxy:
        yield proxy


async def start(stack: Stack, s3: FaultyS3) -> None:
    publisher = stack.publisher_settings(Endpoint=s3.endpoint)
    await asyncio.to_thread(stack.start_orchestrator, publisher=publisher)
    await asyncio.to_thread(lambda: stack.start_compute("node-a", Engines_Types_Process_Sandbox=NO_SANDBOX))
    s3.seen.clear()


def large_job(counter: Path) -> dict[str, Any]:
    script = f"echo run >> {counter}; head -c {RESULT_BYTES} /dev/urandom > outputs/data; sha256sum outputs/data"
    return process_job(script, ResultPaths=OUTPUTS)


def assert_is_right(stack: Stack, job: str, counter: Path) -> None:
    """It ran once, and what a user gets is what the task wrote."""
    described = stack.wait_ended(job)
    assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
    (execution,) = described["Executions"]["Items"]
    assert execution["PublishedResult"]["Params"]["Parts"] == PARTS
    assert counter.read_text() == "run\n"
    stack.cli("job", "get", job)
    folder = stack.root / f"job-{job}"
    digest, _, path = (folder / "stdout").read_text().split(" ", 2)
    assert path == "outputs/data\n"
    assert hashlib.sha256((folder / "outputs" / "data").read_bytes()).hexdigest() == digest


async def test_a_large_result_is_published_in_parts_and_fetched_as_it_was(stack: Stack, s3: FaultyS3) -> None:
    await start(stack, s3)
    counter = stack.root / "runs"
    job = await asyncio.to_thread(stack.submit, large_job(counter))
    await asyncio.to_thread(assert_is_right, stack, job, counter)
    assert sorted(seen.part for seen in s3.of(Kind.PART)) == list(range(1, PARTS + 1))
    assert (len(s3.of(Kind.INDEX)), s3.of(Kind.ARCHIVE)) == (1, [])
    assert all("transfer-encoding" not in seen.headers for seen in s3.of(Kind.PART))


async def test_a_node_that_is_killed_again_and_again_while_it_uploads_sends_each_part_once(
    stack: Stack, s3: FaultyS3
) -> None:
    await start(stack, s3)
    counter, never = stack.root / "runs", asyncio.Event()
    node = stack.computes["node-a"]

    def stored() -> Counter[int]:
        return Counter(seen.part for seen in s3.of(Kind.PART) if seen.status == 200)

    def hold_back(*parts: int) -> None:
        s3.forget_plans()
        for part in parts:
            s3.plan(Kind.PART, Fault(hold=never), part=part)

    def is_known() -> bool:
        return sum(stored().values()) == journalled(stack) == expected

    hold_back(1, 2, 3, 4, 5)
    job = await asyncio.to_thread(stack.submit, large_job(counter))
    await eventually(lambda: s3.of(Kind.PART), within=20)
    for held in ((2, 3, 4, 5), (4, 5), (5,)):
        expected = PARTS - len(held)
        await asyncio.to_thread(node.kill)
        hold_back(*held)
        await asyncio.to_thread(node.start)
        await eventually(is_known, within=20)
    await asyncio.to_thread(node.kill)
    s3.forget_plans()
    await asyncio.to_thread(node.start)
    await asyncio.to_thread(assert_is_right, stack, job, counter)
    never.set()
    assert stored() == Counter(range(1, PARTS + 1))
    assert len(s3.of(Kind.BEGIN)) == 1


def journalled(stack: Stack) -> int:
    """How many parts the node has written down as stored."""
    journals = stack.root.glob("node-a/compute/executions/*/upload.jsonl")
    return sum("etag" in json.loads(line) for journal in journals for line in journal.read_bytes().splitlines())


async def test_results_wait_while_s3_is_away_and_are_published_when_it_is_back(stack: Stack, s3: FaultyS3) -> None:
    await start(stack, s3)
    sizes = [10, 1000, 2 * PART_BYTES]
    counters = [stack.root / f"runs-{size}" for size in sizes]
    await s3.shut()
    scripts = [f"echo run >> {each}; head -c {size} /dev/urandom" for each, size in zip(counters, sizes, strict=True)]
    jobs = [await asyncio.to_thread(stack.submit, process_job(script)) for script in scripts]
    await asyncio.to_thread(
        wait_until, lambda: any(waits(stack, job) for job in jobs), within=25, what="a job says that it waits"
    )
    await asyncio.to_thread(
        wait_until, lambda: waiting_executions(stack) == len(jobs), within=5, what="the node says how many wait"
    )
    await s3.open()
    for job, counter in zip(jobs, counters, strict=True):
        described = await asyncio.to_thread(stack.wait_ended, job)
        assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
        assert len(described["Executions"]["Items"]) == 1
        assert counter.read_text() == "run\n"


def waits(stack: Stack, job: str) -> bool:
    events = [item["Event"] for item in stack.describe(job)["History"]["Items"]]
    told = [event["Message"] for event in events if event["Topic"] == "Publishing Results"]
    return any(message.startswith("Publishing, waiting for S3: 127.0.0.1:") for message in told)


def waiting_executions(stack: Stack) -> int:
    (node,) = stack.nodes()
    return int(node["Info"]["ComputeNodeInfo"]["WaitingExecutions"])


async def test_a_run_says_that_it_waits_for_s3(stack: Stack, s3: FaultyS3) -> None:
    await start(stack, s3)
    await s3.shut()
    file, err = stack.root / "job.json", stack.root / "run.err"
    file.write_text(json.dumps(process_job("echo hello")))
    command = [sys.executable, "-m", "tarpon", "job", "run", str(file)]
    environment = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(stack.api_port)}
    with err.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
    await eventually(lambda: "  Publishing, waiting for S3: 127.0.0.1:" in err.read_text(), within=25)
    await s3.open()
    async with asyncio.timeout(40):
        assert await process.wait() == 0
    assert "completed in" in err.read_text()
