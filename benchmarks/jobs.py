"""How many whole jobs a second: `python -m benchmarks.jobs [--jobs N] [--engine process|noop|docker]`.

Submits N jobs of `true` at once to one orchestrator with two nodes, NATS and SeaweedFS on this machine, and prints one
JSON object: jobs per second from the first submit to the last end, and the processor time of each process per job.
Docker jobs run in the engine of `--socket`, which must have the image; without one, in an engine of the benchmark's
own, which needs root and dockerd.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tarpon.client import Client
from tests.e2e.stack import TERMINAL, Stack, process_job
from tests.engine import IMAGE, start_engine
from tests.servers import HOST, start_weed

SUBMITTERS = 64
POLL_SECONDS = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--engine", choices=["process", "noop", "docker"], default="process")
    parser.add_argument("--socket", default="", help="the container engine's socket, such as unix:///run/docker.sock")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _socket(arguments.engine, arguments.socket) as socket:
        print(json.dumps(_measure(Path(folder), arguments.jobs, arguments.engine, socket)))


@contextmanager
def _socket(engine: str, socket: str) -> Iterator[str]:
    """Raises CannotStart, with the reason, where an engine is needed and there can be none."""
    if engine != "docker" or socket:
        yield socket
        return
    made = start_engine()
    try:
        yield made.url
    finally:
        made.stop()


def _measure(folder: Path, count: int, engine: str, socket: str) -> dict[str, Any]:
    load = os.getloadavg()[0]
    s3 = start_weed(folder / "weed")
    root = folder / "stack"
    root.mkdir()
    stack = Stack(root, s3)
    docker: dict[str, Any] = {"Engines_Types_Docker_Socket": socket} if socket else {}
    try:
        orchestrator = stack.start_orchestrator()
        nodes = [stack.start_compute(name, **docker) for name in ("node-a", "node-b")]
        pids = {"orchestrator": orchestrator.process.pid, "nats": stack.nats_pid(), "s3": s3.pid}
        pids |= {f"node {number}": node.process.pid for number, node in enumerate(nodes, start=1)}
        before = {name: _cpu_seconds(pid) for name, pid in pids.items()}
        seconds, states = asyncio.run(_run(stack.api_port, count, _job(engine)))
        spent = {name: round((_cpu_seconds(pid) - before[name]) / count * 1e6) for name, pid in pids.items()}
    finally:
        stack.stop()
        s3.stop()
    return {
        "engine": engine,
        "jobs": count,
        "jobs_per_s": round(count / seconds, 1),
        "states": states,
        "cpus": os.cpu_count(),
        "load_before": load,
        "cpu_us_per_job": spent,
    }


def _job(engine: str) -> dict[str, Any]:
    job = process_job("true")
    params: dict[str, Any] = {"Entrypoint": ["true"]}
    if engine == "docker":
        params["Image"] = IMAGE
    job["Tasks"][0]["Engine"] = {"Type": engine, "Params": params if engine != "noop" else {}}
    if engine == "noop":
        del job["Tasks"][0]["Publisher"]
    return job


async def _run(port: int, count: int, job: dict[str, Any]) -> tuple[float, dict[str, int]]:
    free = asyncio.Semaphore(SUBMITTERS)
    async with Client(HOST, port) as client:

        async def submit() -> None:
            async with free:
                await client.submit(job)

        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(submit(), name="submit")
        while True:
            states = await _states(client)
            if sum(states[state] for state in TERMINAL) >= count:
                return time.monotonic() - begun, dict(states)
            await asyncio.sleep(POLL_SECONDS)


async def _states(client: Client) -> Counter[str]:
    states: Counter[str] = Counter()
    token = ""
    while True:
        page = await client.list(limit=1000, next_token=token)
        states.update(item.state.state_type for item in page.items)
        token = page.next_token
        if not token:
            return states


def _cpu_seconds(pid: int) -> float:
    """User and system time, of children that have ended too (proc(5), fields 14 to 17), at 100 ticks a second."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / 100


if __name__ == "__main__":
    main()
