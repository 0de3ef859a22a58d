"""Whether what replicas agree about is right: `python -m benchmarks.agreement [--jobs 100] [--lie KIND]`.

With a lie, of four owners' nodes two or three are honest and one lies in this way (tests/e2e/lying_node.py; `wrong`
computes something else; `collude` are two that do): how many jobs gave the right result, and what was noted against
whom. Without one all are honest, and meanwhile nodes and the orchestrator are killed: no node may have differed.

Prints one JSON object.
"""

import argparse
import asyncio
import json
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.running import end_on_sigterm, tell, warn_of_load
from shared.runtime.aio import pipelined
from tarpon import Client
from tarpon.results.fetch_job import get_results
from tests.e2e.stack import TERMINAL, Service, Stack
from tests.e2e.test_agreement import ANSWER, differed, start, verified_job
from tests.servers import HOST, start_weed

HONEST, PATIENCE_SECONDS, AT_ONCE = ("node-a", "node-b", "node-c", "node-d"), 120.0, 20
LIES = ("wrong", "digest", "other", "late", "bytes", "collude")
KILL_SECONDS, GET_AT_ONCE = 4.0, 8


def nodes_of(lie: str, go: Path, digest: str) -> list[tuple[str, str]]:
    """Names, and how each lies."""
    match lie:
        case "":
            return [(name, "") for name in HONEST]
        case "wrong":
            return [("node-a", ""), ("node-b", ""), ("liar", "")]
        case "collude":
            return [("node-a", ""), ("liar-1", ""), ("liar-2", "")]
        case "late":
            return [("node-a", ""), ("node-b", ""), ("liar", f"late={go}")]
        case "other":
            return [("node-a", ""), ("node-b", ""), ("liar", f"other={digest}")]
        case _:
            return [("node-a", ""), ("node-b", ""), ("liar", lie)]


class Kills(threading.Thread):
    """Kills nodes and the orchestrator, one after the other, and starts each again."""

    def __init__(self, stack: Stack, seed: int) -> None:
        super().__init__()
        self._services: list[Service] = [*stack.computes.values()]
        assert stack.orchestrator is not None
        self._services += [stack.orchestrator] * 2
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        while not self._over.wait(KILL_SECONDS * self._chance.random()):
            service = self._chance.choice(self._services)
            self.kills[service.log.stem] += 1
            service.kill()
            time.sleep(self._chance.random())
            service.start()

    def stop(self) -> None:
        self._over.set()
        self.join()


def insist(stack: Stack, path: str, body: Any = None, method: str = "GET") -> Any:
    """As long as nobody answers, as the orchestrator is killed now and then."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return stack.api(path, body, method)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def ended(stack: Stack, jobs: set[str]) -> set[str]:
    return {job for job in jobs if insist(stack, f"/orchestrator/jobs/{job}")["Job"]["State"]["StateType"] in TERMINAL}


def run_jobs(stack: Stack, count: int) -> list[str]:
    """Some at a time, each with a token of its own, so that one that is submitted twice is one."""
    jobs: list[str] = []
    going: set[str] = set()
    deadline = time.monotonic() + PATIENCE_SECONDS + count
    while len(jobs) < count or going:
        assert time.monotonic() < deadline, f"{len(going)} jobs do not end"
        while len(jobs) < count and len(going) < AT_ONCE:
            job = verified_job(ANSWER) | {"Name": f"job-{len(jobs)}"}
            body = {"Job": job, "IdempotencyToken": f"token-{len(jobs)}"}
            jobs.append(insist(stack, "/orchestrator/jobs", body, "PUT")["JobID"])
            going.add(jobs[-1])
        time.sleep(0.2)
        going -= ended(stack, going)
        tell(f"{len(jobs) - len(going)} of {count} jobs have ended")
    return jobs


async def judged(stack: Stack, jobs: list[str]) -> dict[str, int]:
    """How many jobs ended how, and what a user is given of those that completed."""
    found: Counter[str] = Counter()
    async with Client(HOST, stack.api_port) as client:

        async def judge(job: str) -> None:
            state = (await client.get(job)).state.state_type
            found[state] += 1
            if state == "Completed":
                fetched = await get_results(client, job, output_dir=stack.root / "got" / job)
                assert fetched.folder is not None
                found[f"gave {(fetched.folder / 'stdout').read_text().strip()}"] += 1

        await pipelined(jobs, judge, at_once=GET_AT_ONCE)
    return dict(found)


def measured(stack: Stack, lie: str, count: int, seed: int) -> dict[str, Any]:
    stack.start_orchestrator(
        Orchestrator_NodeManager_RestAfterDifferences="0", Orchestrator_NodeManager_DisconnectTimeout="5s"
    )
    go, digest = stack.root / "go", ""
    if lie == "other":
        start(stack, *HONEST[:3])
        first = stack.wait_ended(stack.submit(verified_job("echo right")))
        digest = first["Executions"]["Items"][0]["PublishedResult"]["Params"]["ContentDigest"]
        stack.computes.pop("node-c").stop()
    for name, how in nodes_of(lie, go, digest):
        if name not in stack.computes:
            start(stack, name, lie=how)
    kills = Kills(stack, seed)
    begun = time.monotonic()
    if not lie:
        kills.start()
    try:
        jobs = run_jobs(stack, count)
    finally:
        if not lie:
            kills.stop()
    seconds = time.monotonic() - begun
    stack.wait_ready()
    go.touch()
    time.sleep(2.0)  # for what is told late
    return {
        "lie": lie or "none",
        "jobs": count,
        "seconds": round(seconds, 1),
        **asyncio.run(judged(stack, jobs)),
        "differed": {name: differed(stack, name) for name in stack.computes},
        "kills": dict(kills.kills),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--lie", choices=LIES, default="")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        s3 = start_weed(root / "s3")
        try:
            (root / "stack").mkdir()
            stack = Stack(root / "stack", s3)
            try:
                found = measured(stack, options.lie, options.jobs, options.seed)
            finally:
                stack.stop()
        finally:
            s3.stop()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
