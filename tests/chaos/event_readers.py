"""Readers of jobs' events that go from one orchestrator to another while everything fails (no tests in here)."""

import asyncio
import contextlib
import json
import random

import aiohttp

from shared.runtime.aio import begin
from tests.chaos.evidence import TERMINAL
from tests.chaos.load import JOBS, UNREACHABLE, Client, Load
from tests.servers import HOST

EVERY = 3
"""Of so many jobs one is read."""
AT_ONCE = 16
LOOK_SECONDS = 0.2
STREAM_SECONDS = (0.2, 5.0)
"""After how long a reader leaves an orchestrator for another one, at least and at most."""
PAGE = 500


class EventReaders:
    """`told` are the numbers of the events of each job that was read, as they came."""

    def __init__(self, client: Client, http: aiohttp.ClientSession, load: Load, *, seed: int) -> None:
        self.told: dict[str, list[int]] = {}
        self.connections = 0
        self._client = client
        self._http = http
        self._load = load
        self._chance = random.Random(seed)
        self._free = asyncio.Semaphore(AT_ONCE)

    def __repr__(self) -> str:
        return f"<EventReaders of {len(self.told)} jobs>"

    async def run(self) -> None:
        """Read what is accepted, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for number, job in list(self._load.accepted.items()):
                    if number % EVERY == 0 and job not in self.told:
                        self.told[job] = []
                        begin(group, self._read(job), name=f"reader of {job}")
                await asyncio.sleep(LOOK_SECONDS)

    async def _read(self, job: str) -> None:
        async with self._free:
            has_ended = False
            while not has_ended:
                with contextlib.suppress(*UNREACHABLE):
                    async with asyncio.timeout(self._chance.uniform(*STREAM_SECONDS)):
                        has_ended = await self._stream(job, self.told[job])
                await asyncio.sleep(LOOK_SECONDS)

    async def _stream(self, job: str, told: list[int]) -> bool:
        """Whether the job has ended."""
        self.connections += 1
        headers = {"Last-Event-ID": str(told[-1])} if told else {}
        url = f"http://{HOST}:{self._chance.choice(self._client.ports)}/api/v1{JOBS}/{job}/events"
        async with self._http.get(url, headers=headers) as answer:
            if answer.status != 200:  # it has not heard of the job, or reads its state
                return False
            kind = ""
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "history":
                    told.append(json.loads(value)["SeqNum"])
                elif name == "data" and json.loads(value)["State"]["StateType"] in TERMINAL:
                    return True
        return False


async def recorded(client: Client, job: str) -> list[int]:
    """The numbers of all events of a job, as an orchestrator tells them afterwards."""
    found: list[int] = []
    token = ""
    while True:
        path = f"{JOBS}/{job}/history?all_job_versions=true&limit={PAGE}&next_token={token}"
        answer = await client.ask("GET", path, first=hash(job), what=lambda status: status in {200, 404})
        found += [item["SeqNum"] for item in answer.body.get("Items", ())]
        token = answer.body.get("NextToken", "")
        if not token or not answer.body.get("Items"):
            return found
