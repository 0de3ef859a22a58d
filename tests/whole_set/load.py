"""Jobs that go on and on beside a trial of a whole set, and what came of them."""

import asyncio
import contextlib
import time
import uuid
from typing import Any

from msgspec import Struct

from shared.errors import TarponError
from tarpon import Client


class Submitted(Struct):
    """A job of the load, in which phase it was submitted, and how long it took until it was accepted."""

    id: str
    phase: str
    at: float
    took: float


class Load:
    """`per_second` jobs, as long as `run` goes on; a submit that is refused is repeated until it is taken."""

    def __init__(self, per_second: float) -> None:
        self.phase = "quiet"
        self._per_second = per_second
        self.submitted: list[Submitted] = []
        self.stopped = asyncio.Event()

    async def run(self, client: Client) -> None:
        async with asyncio.TaskGroup() as group:
            number = 0
            while not self.stopped.is_set():
                group.create_task(self._one(client, number), name=f"job {number}")
                number += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1 / self._per_second):
                        await self.stopped.wait()

    async def _one(self, client: Client, number: int) -> None:
        phase, at, began, token = self.phase, time.time(), time.monotonic(), str(uuid.uuid4())
        while True:
            try:
                accepted = await client.submit(job(number), idempotency_token=token)
            except TarponError:
                await asyncio.sleep(0.1)
            else:
                self.submitted.append(Submitted(accepted.job_id, phase, at, time.monotonic() - began))
                return


def job(number: int) -> dict[str, Any]:
    engine = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", f"sleep 0.2; echo {number}"]}}
    resources = {"CPU": "10m", "Memory": "16Mb"}
    task = {"Name": "main", "Engine": engine, "Publisher": {"Type": "s3managed"}, "Resources": resources}
    return {"Name": f"load-{number}", "Type": "batch", "Tasks": [task]}


async def judged(client: Client, submitted: list[Submitted]) -> dict[str, Any]:
    """What came of the load: which jobs were lost or ran again, and how long users waited."""
    seconds: dict[str, list[float]] = {}
    lost, twice = [], []
    for each in submitted:
        view = await client.get(each.id)
        if view.state.state_type != "Completed":
            lost.append(each.id)
        if len(await client.all_executions(each.id)) > 1:
            twice.append(each.id)
        seconds.setdefault(each.phase, []).append(view.modify_time / 1e9 - each.at)
    p95 = {phase: round(sorted(found)[int(len(found) * 0.95)], 2) for phase, found in seconds.items()}
    return {
        "jobs": len(submitted),
        "lost": lost,
        "ran_again": twice,
        "longest_submit_seconds": round(max(each.took for each in submitted), 2),
        "p95_seconds": p95,
    }
