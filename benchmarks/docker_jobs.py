"""What a docker job costs beside its container alone: `python -m benchmarks.docker_jobs [--jobs N] [--before PYTHON]`.

Four ways to run `true` in a container of one engine, in turn: `docker run --rm`; a loop over the engine's API that
creates, starts, waits, reads the log and removes, which is the floor; Bacalhau's server, if `bacalhau` is found (or
MATRIX_BACALHAU names it); and Tarpon, if asked for also as another checkout has it (`--before` its interpreter). Jobs
publish their results into the same SeaweedFS by the managed publisher.

A job alone is timed from its submit to the first answer that says it has ended, asked for every 2 ms; jobs per second
are from the first submit to the last end, with so many in flight; processor time is that of all jobs submitted at once.
Needs root, dockerd and busybox, and two quiet processors. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiodocker
import aiohttp

from benchmarks.process_meter import ProcessMeter
from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tests.e2e.stack import TERMINAL, Stack
from tests.engine import IMAGE, TestEngine
from tests.matrix.cells import NotHere
from tests.matrix.client_peers import bacalhau, engine_with_digest
from tests.servers import HOST, S3Server, start_weed

ALONE_POLL_SECONDS, MANY_POLL_SECONDS, RARE_POLL_SECONDS = 0.002, 0.05, 1.0
WARM_UP = 5
FACTOR = 1000.0

Runs = Callable[[int, int], Awaitable[float]]


class Way(NamedTuple):
    """`run(jobs, in_flight)` runs so many and gives the seconds that it took; `pids` are of its processes."""

    run: Runs
    pids: Mapping[str, list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=int, default=20, help="jobs one after the other, in each round")
    parser.add_argument("--jobs", type=int, default=60, help="jobs with several in flight, in each round")
    parser.add_argument("--in-flight", type=int, nargs="*", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", default="", help="the interpreter of another checkout's environment")
    arguments = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with ExitStack() as stack:
        ways = _ways(stack, arguments.before)
        print(json.dumps(asyncio.run(_measure(ways, arguments)), indent=1))


def _ways(stack: ExitStack, before: str) -> dict[str, Way]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    engine = stack.enter_context(engine_with_digest(folder))
    s3 = start_weed(folder / "s3")
    stack.callback(s3.stop)
    ways = {
        "docker run": Way(partial(_docker_runs, engine), {}),
        "bare loop": Way(partial(_bare, engine), {"client": [0]}),
        "tarpon": stack.enter_context(_tarpon(folder / "tarpon", s3, engine, sys.executable)),
    }
    if before:
        ways["tarpon before"] = stack.enter_context(_tarpon(folder / "before", s3, engine, before))
    try:
        served = stack.enter_context(bacalhau(folder, s3, engine))
        ways["bacalhau"] = Way(partial(_jobs, served.port), {"server": [served.pid]})
    except NotHere as error:
        tell(f"bacalhau is left out: {error}")
    return ways


@contextmanager
def _tarpon(folder: Path, s3: S3Server, engine: TestEngine, python: str) -> Iterator[Way]:
    folder.mkdir()
    stack = Stack(folder, s3)
    try:
        orchestrator = stack.start_orchestrator(python=python)
        name = f"node-{folder.name}"  # a node takes the engine's containers that bear its name for its own
        node = stack.start_compute(
            name, python=python, Engines_Types_Docker_Socket=engine.url, Compute_Heartbeat_Interval="15s"
        )
        pids = {"orchestrator": [orchestrator.process.pid], "nats": [stack.nats_pid()], "node": [node.process.pid]}
        yield Way(partial(_jobs, stack.api_port), pids)
    finally:
        stack.stop()


async def _measure(ways: Mapping[str, Way], arguments: argparse.Namespace) -> dict[str, Any]:
    meters = {name: ProcessMeter(_own(way.pids)) for name, way in ways.items()}
    for way in ways.values():
        await way.run(WARM_UP, 1)
    alone: dict[str, list[float]] = {name: [] for name in ways}
    many: dict[str, dict[int, list[float]]] = {name: {each: [] for each in arguments.in_flight} for name in ways}
    cost: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for _ in range(arguments.alone):
            for name, way in ways.items():
                alone[name].append(await way.run(1, 1))
        for in_flight in arguments.in_flight:
            for name, way in ways.items():
                many[name][in_flight].append(arguments.jobs / await way.run(arguments.jobs, in_flight))
        for name, way in ways.items():
            meters[name].begin()
            await way.run(arguments.jobs, arguments.jobs)
            cost[name].append({each: spent / arguments.jobs for each, spent in meters[name].seconds().items()})
    return {
        name: {
            "alone_ms": round(statistics.median(alone[name]) * FACTOR, 1),
            "jobs_per_s": {each: round(statistics.median(found), 2) for each, found in many[name].items()},
            "cpu_ms_per_job": {
                each: round(statistics.median(found[each] for found in cost[name]) * FACTOR, 2)
                for each in cost[name][0]
            },
        }
        for name in ways
    }


def _own(pids: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {name: [pid or os.getpid() for pid in found] for name, found in pids.items()}


# ---- the ways --------------------------------------------------------------------------------------------------------


async def _docker_runs(engine: TestEngine, jobs: int, in_flight: int) -> float:
    command = ["docker", "-H", engine.url, "run", "--rm", "--network", "none", "--entrypoint", "/bin/true", IMAGE]

    async def run() -> None:
        done = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert await done.wait() == 0

    return await _timed(run, jobs, in_flight)


async def _bare(engine: TestEngine, jobs: int, in_flight: int) -> float:
    async with _docker(engine) as docker:
        return await _timed(partial(_bare_container, docker), jobs, in_flight)


async def _bare_container(docker: aiodocker.Docker) -> None:
    spec: dict[str, Any] = {
        "Image": IMAGE,
        "Entrypoint": ["/bin/true"],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": "none", "Init": True},
    }
    container = await docker.containers.create(spec)
    await container.start()
    assert (await container.wait())["StatusCode"] == 0
    await container.log(stdout=True, stderr=True)
    await container.delete(force=True, v=True)


@asynccontextmanager
async def _docker(engine: TestEngine) -> AsyncIterator[aiodocker.Docker]:
    connector = aiohttp.UnixConnector(path=str(engine.socket), limit=0)
    async with aiodocker.Docker(url="http://engine", connector=connector) as docker:
        yield docker
    await connector.close()


async def _jobs(port: int, jobs: int, in_flight: int) -> float:
    """By the API that both have."""
    base = f"http://{HOST}:{port}/api/v1/orchestrator/jobs"
    async with aiohttp.ClientSession() as session:
        if jobs == 1:
            begun = time.monotonic()
            job = await _submitted(session, base)
            while await _state(session, base, job) not in TERMINAL:  # noqa: ASYNC110  # another process's
                await asyncio.sleep(ALONE_POLL_SECONDS)
            return time.monotonic() - begun
        return await _many(session, base, jobs, in_flight)


async def _many(session: aiohttp.ClientSession, base: str, jobs: int, in_flight: int) -> float:
    running: set[str] = set()
    begun, left = time.monotonic(), jobs
    while left or running:
        new = min(left, in_flight - len(running))
        async with asyncio.TaskGroup() as group:
            submits = [group.create_task(_submitted(session, base), name="submit") for _ in range(new)]
        running |= {each.result() for each in submits}
        left -= new
        # All at once are there for the processor time, which looks would add to.
        await asyncio.sleep(MANY_POLL_SECONDS if in_flight < jobs else RARE_POLL_SECONDS)
        running -= await _ended(session, base, running)
    return time.monotonic() - begun


async def _submitted(session: aiohttp.ClientSession, base: str) -> str:
    engine = {"Type": "docker", "Params": {"Image": IMAGE, "Entrypoint": ["/bin/true"]}}
    task = {"Name": "main", "Engine": engine, "Publisher": {"Type": "s3managed"}}
    async with session.put(base, json={"Job": {"Type": "batch", "Count": 1, "Tasks": [task]}}) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["JobID"])


async def _state(session: aiohttp.ClientSession, base: str, job: str) -> str:
    async with session.get(f"{base}/{job}") as answer:
        state = str((await answer.json())["Job"]["State"]["StateType"])
        assert state not in TERMINAL - {"Completed"}, await answer.text()
        return state


async def _ended(session: aiohttp.ClientSession, base: str, running: Collection[str]) -> set[str]:
    """Of those that run, mostly by one look at the newest jobs."""
    query = {"limit": str(2 * len(running)), "order_by": "created_at", "reverse": "true"}
    async with session.get(base, params=query) as answer:
        found = (await answer.json())["Items"]
    states = {str(each["ID"]): str(each["State"]["StateType"]) for each in found}
    for job in running:
        states[job] = states.get(job) or await _state(session, base, job)
    failed = [each["State"] for each in found if each["State"]["StateType"] in TERMINAL - {"Completed"}]
    assert not failed, failed
    return {job for job in running if states[job] in TERMINAL}


async def _timed(act: Callable[[], Awaitable[None]], jobs: int, in_flight: int) -> float:
    free = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with free:
            await act()

    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(one(), name="container")
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
