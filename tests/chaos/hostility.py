"""A node that floods, kind after kind, and the honest jobs of which it is seen what that costs (no tests in here).

It floods while everything fails, for what has to hold then too. What it costs others is measured when all is over, for
then it is nobody else's doing.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from benchmarks.load import percentile
from tarpon.devstack.dies_with_parent import tied_command
from tests.chaos.load import Client
from tests.chaos.stack import Stack
from tests.environments import ROOT
from tests.hostile_node import Flood
from tests.servers import HOST

FLOOD_SECONDS = 3.0
PAUSE_SECONDS = 4.0
END_SECONDS = 20.0
EVERY_SECONDS = 0.25
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 20.0
NAMESPACE = "honest"
NOOP: dict[str, Any] = {
    "Type": "batch",
    "Namespace": NAMESPACE,
    "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}, "Resources": {"CPU": "10m", "Memory": "1MB"}}],
}
TERMINAL = frozenset({"Completed", "Failed", "Stopped"})


class Hostility:
    """`latencies` are of honest jobs beside the floods, from the submit until the job is seen to have ended."""

    def __init__(self, stack: Stack, client: Client) -> None:
        self.floods = 0
        self.latencies: list[float] = []
        self._stack = stack
        self._client = client

    async def flood(self) -> None:
        """One kind after the other, each from a node of its own, until cancelled."""
        while True:
            await self._flood_once(FLOOD_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    async def measure(self, seconds: float) -> None:
        """Each kind for its share of the time, and a job again and again meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flood_each(seconds / len(Flood)), name="floods")
            while loop.time() < until:
                group.create_task(self._run_job(), name="honest job")
                await asyncio.sleep(EVERY_SECONDS)

    def numbers(self, limit_seconds: float) -> dict[str, Any]:
        """`slow` is 1 where the honest jobs took too long."""
        ordered = sorted(self.latencies)
        if not ordered:
            return {"floods": self.floods, "honest_jobs": 0, "slow": 0}
        p95 = percentile(ordered, 0.95)
        return {
            "floods": self.floods,
            "honest_jobs": len(ordered),
            "honest_p50_ms": round(percentile(ordered, 0.5) * 1e3, 1),
            "honest_p95_ms": round(p95 * 1e3, 1),
            "honest_max_ms": round(ordered[-1] * 1e3, 1),
            "slow": int(p95 >= limit_seconds),
        }

    async def _flood_each(self, seconds: float) -> None:
        for _ in Flood:
            await self._flood_once(seconds)

    async def _flood_once(self, seconds: float) -> None:
        kinds, ports = list(Flood), self._stack.nats_ports
        number, self.floods = self.floods, self.floods + 1
        server = f"nats://{HOST}:{ports[number % len(ports)]}"
        arguments = [kinds[number % len(kinds)], str(seconds), f"hostile-{number}", server]
        command = tied_command([sys.executable, "-m", "tests.hostile_node", *arguments], signal.SIGKILL)
        secret = (self._stack.root / "shared" / "secrets" / "join.secret").read_text().strip()
        environment = {"PATH": os.environ["PATH"], "TARPON_COMPUTE_AUTH_TOKEN": secret}

        def run() -> None:
            with suppress(subprocess.TimeoutExpired):  # it was killed: where all are slow, it has flooded all the same
                subprocess.run(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=seconds + END_SECONDS,
                    check=False,
                )

        await asyncio.to_thread(run)

    async def _run_job(self) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await self._client.ask("PUT", "/orchestrator/jobs", {"Job": NOOP}, first=0, what=_is_good)
                path = f"/orchestrator/jobs/{answer.body['JobID']}?namespace={NAMESPACE}"
                while True:
                    if await self._has_ended(path):
                        break
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            pass  # so long at least
        self.latencies.append(time.monotonic() - begun)

    async def _has_ended(self, path: str) -> bool:
        answer = await self._client.ask_once("GET", self._client.ports[0], path)
        return answer is not None and _is_good(answer.status) and _state(answer.body) in TERMINAL

    def __repr__(self) -> str:
        return f"<Hostility, {self.floods} floods, {len(self.latencies)} honest jobs>"


def _is_good(status: int) -> bool:
    return status == 200


def _state(body: dict[str, Any]) -> str:
    return str(body["Job"]["State"]["StateType"])
