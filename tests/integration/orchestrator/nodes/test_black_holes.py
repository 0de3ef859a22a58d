"""A node that fails whatever it is given eats no jobs: others do them, and it is suspect until something goes well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.jobs.capacity import Capacity
from shared.protocol import messages
from shared.protocol.messages import (
    AnyFact,
    Assignments,
    AssignmentsAnswered,
    ExecutionFailed,
    ExecutionStarted,
    Rejected,
    RunOutput,
    TaskEnded,
)
from shared.runtime.aio import background
from tests.integration.played_node import PlayedNode
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server
from tests.waiting import answered

JOBS = 20
BUSY_SECONDS = 0.1
SETS = ("Orchestrator.Scheduler.Backoff.Floor=50ms",)
WELL: tuple[AnyFact, ...] = (ExecutionStarted(), TaskEnded(output=RunOutput(), run_seconds=0.01))
MISMATCH = "driver/library version mismatch"
SMALL = Capacity(cpu=2.0, memory=1 << 34, disk=1 << 34)
NOOP = {"Name": "main", "Engine": {"Type": "noop"}}

Facts = Callable[[], tuple[AnyFact, ...]]


async def _play(node: PlayedNode, facts: Facts, *, seconds: float = 0.0) -> None:
    """One task after the other, each of which takes so long."""
    while True:
        execution = (await node.accept_assignment()).execution_id
        await asyncio.sleep(seconds)
        await node.report(execution, *facts())


@asynccontextmanager
async def three_nodes(running: Running, facts: Facts) -> AsyncIterator[None]:
    """Of which the one called `hole` tells these facts at once of whatever it is given; the others are at work."""
    async with running.node("hole") as hole, running.node("n-1") as one, running.node("n-2") as two:
        for node in (hole, one, two):
            await node.register(capacity=SMALL)
        good = {node.id: _play(node, lambda: WELL, seconds=BUSY_SECONDS) for node in (one, two)}
        async with background(hole=_play(hole, facts), **good):
            yield


async def suspicions(running: Running) -> dict[str, str]:
    nodes = await running.compute_nodes()
    return {node["Info"]["NodeID"]: node["Suspicion"] for node in nodes}


async def _refuse(node: PlayedNode, rejected: Rejected) -> None:
    while True:
        order, received = await node.next_order()
        if isinstance(order, Assignments):
            answers = AssignmentsAnswered(answers=(rejected,) * len(order.assignments))
            await received.respond(messages.encode(answers))


@pytest.mark.parametrize(
    ("reason", "retryable"), [("NodeStopping", True), ("QueueFull", True), ("Odd", True), ("InvalidTask", False)]
)
async def test_no_job_fails_where_one_node_of_two_refuses_everything(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, reason: str, *, retryable: bool
) -> None:
    rejected = Rejected(reason=reason, detail="no", retryable=retryable)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        running.node("hole") as hole,
        running.node("n-1") as one,
    ):
        for node in (hole, one):
            await node.register(capacity=SMALL)
        async with background(hole=_refuse(hole, rejected), one=_play(one, lambda: WELL, seconds=BUSY_SECONDS)):
            jobs = [await running.submit(Tasks=[NOOP]) for _ in range(JOBS)]
            ended = [await running.wait_state(job, "Completed") for job in jobs]
        assert all("n-1" in {each["NodeID"] for each in job["Executions"]["Items"]} for job in ended)


@pytest.mark.parametrize(
    "reason", ["GPUNotGiven", "NodeError", "TaskNotStarted", "ImageNotFound", "ImageNotPulled", "HandedBack"]
)
async def test_no_job_fails_where_one_node_of_three_fails_everything_at_once(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    failed = (ExecutionFailed(reason=reason, detail=MISMATCH),)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        three_nodes(running, lambda: failed),
    ):
        jobs = [await running.submit(Tasks=[NOOP]) for _ in range(JOBS)]
        attempts = [len((await running.wait_state(job, "Completed"))["Executions"]["Items"]) for job in jobs]
        assert sum(attempts) < 3 * JOBS


async def _forget(node: PlayedNode) -> None:
    """As one does that dies by whatever it is given, and has lost what it knew each time it is back."""

    async def come_back() -> None:
        while True:
            await node.register(capacity=SMALL)
            await asyncio.sleep(BUSY_SECONDS)

    async with background(again=come_back()):
        while True:
            await node.accept_assignment()


async def test_no_job_fails_where_one_node_of_two_forgets_everything_it_has_taken(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        running.node("hole") as hole,
        running.node("n-1") as one,
    ):
        for node in (hole, one):
            await node.register(capacity=SMALL)
        async with background(hole=_forget(hole), one=_play(one, lambda: WELL, seconds=0.3)):
            jobs = [await running.submit(Tasks=[NOOP]) for _ in range(JOBS)]
            ended = [await running.wait_state(job, "Completed") for job in jobs]
        assert all("n-1" in {each["NodeID"] for each in job["Executions"]["Items"]} for job in ended)


async def test_it_is_shown_as_suspect_with_the_reason_until_one_task_goes_well(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, repaired = (ExecutionFailed(reason="GPUNotGiven", detail=MISMATCH),), asyncio.Event()
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        three_nodes(running, lambda: WELL if repaired.is_set() else failed),
    ):

        async def after_more_jobs() -> dict[str, str]:
            await running.submit(Tasks=[NOOP], Count=3)
            return await suspicions(running)

        found = await answered(after_more_jobs, lambda found: bool(found["hole"]), within=20, what="it is suspect")
        assert (found["n-1"], found["n-2"]) == ("", "")
        assert found["hole"].startswith("It has failed different jobs in a row since ")
        assert found["hole"].endswith(f"and is given one task at a time (GPUNotGiven: {MISMATCH})")
        repaired.set()
        await answered(after_more_jobs, lambda found: not found["hole"], within=20, what="it does well again")


async def test_a_suspect_node_is_suspect_for_the_next_orchestrator_too(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = (ExecutionFailed(reason="GPUNotGiven", detail=MISMATCH),)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        three_nodes(running, lambda: failed),
    ):

        async def after_more_jobs() -> dict[str, str]:
            await running.submit(Tasks=[NOOP], Count=3)
            return await suspicions(running)

        known = await answered(after_more_jobs, lambda found: bool(found["hole"]), within=20, what="it is suspect")
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running:
        assert await suspicions(running) == known


async def test_bad_jobs_fail_and_make_no_node_suspect(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a job with a bad command does on whichever node: one more asks, and then it is believed."""
    failed = (ExecutionFailed(reason="TaskNotStarted", detail="no such program"),)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        running.node("n-1") as one,
        running.node("n-2") as two,
    ):
        for node in (one, two):
            await node.register(capacity=SMALL)
        async with background(one=_play(one, lambda: failed), two=_play(two, lambda: failed)):
            for job in [await running.submit(Tasks=[NOOP]) for _ in range(JOBS)]:
                found = await running.wait_state(job, "Failed")
                assert found["Job"]["State"]["Message"] == "no such program"
                assert len(found["Executions"]["Items"]) == 2
            assert await suspicions(running) == {"n-1": "", "n-2": ""}


async def test_a_job_that_every_node_fails_comes_to_an_end(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = (ExecutionFailed(reason="NodeError", detail="on fire"),)
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        running.node("n-1") as one,
        running.node("n-2") as two,
    ):
        for node in (one, two):
            await node.register(capacity=SMALL)
        async with background(one=_play(one, lambda: failed), two=_play(two, lambda: failed)):
            found = await running.wait_state(await running.submit(Tasks=[NOOP]), "Failed")
            assert found["Job"]["State"]["Message"] == "on fire (the first of 5 attempts)"
            assert len(found["Executions"]["Items"]) == 5


async def test_a_job_with_a_queue_time_out_does_not_wait_for_ever_where_its_only_node_refused_it(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected = Rejected(reason="InvalidTask", detail="no such thing", retryable=False)
    task = NOOP | {"Timeouts": {"QueueTimeout": 1}}
    async with (
        running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=SETS) as running,
        running.node("n-1") as one,
    ):
        await one.register(capacity=SMALL)
        async with background(one=_refuse(one, rejected)):
            found = await running.wait_state(await running.submit(Tasks=[task]), "Failed")
        assert found["Job"]["State"]["Message"].endswith("refused this job: no such thing")
