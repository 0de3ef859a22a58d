"""Whoever watches a job gets each of its events once, from whichever orchestrators, however often the stream breaks."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.stack import process_job
from tests.servers import HOST, S3Server

PARTS = 200
READERS = 8
MOST_EVENTS = 40
"""After at most so many a reader goes to another orchestrator."""


@pytest.fixture
def cluster(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), s3_server)
    try:
        made.start()
        yield made
        made.stop()
    finally:
        made.kill()


class Reader:
    """Goes from one orchestrator to another in the middle of what they tell."""

    def __init__(self, cluster: Cluster, job: str, seed: int) -> None:
        self.numbers: list[int] = []
        self.items: list[dict[str, Any]] = []
        self.connections = 0
        self._cluster = cluster
        self._job = job
        self._chance = random.Random(seed)

    async def read(self, http: aiohttp.ClientSession) -> None:
        while not await self._read_some(http, self._chance.randint(1, MOST_EVENTS)):
            pass

    async def _read_some(self, http: aiohttp.ClientSession, most: int) -> bool:
        """Whether the job has ended."""
        self.connections += 1
        port = self._chance.choice(self._cluster.orchestrators).api_port
        headers = {"Last-Event-ID": str(self.numbers[-1])} if self.numbers else {}
        url = f"http://{HOST}:{port}/api/v1/orchestrator/jobs/{self._job}/events"
        async with http.get(url, headers=headers) as answer:
            if answer.status == 404:  # it has not heard of the job yet
                return False
            kind, before = "", len(self.items)
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data" and kind == "history":
                    self.items.append(json.loads(value))
                    self.numbers.append(self.items[-1]["SeqNum"])
                elif name == "data" and json.loads(value)["State"]["StateType"] == "Completed":
                    return True
                if len(self.items) - before >= most:
                    return False
        return False


async def test_each_reader_that_goes_from_one_orchestrator_to_another_gets_each_event_once(cluster: Cluster) -> None:
    wanted = process_job("true") | {"Count": PARTS}
    job = cluster.orchestrators[0].api("/orchestrator/jobs", {"Job": wanted}, "PUT")["JobID"]
    readers = [Reader(cluster, job, seed) for seed in range(READERS)]
    async with aiohttp.ClientSession(read_bufsize=1 << 20) as http:
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for reader in readers:
                group.create_task(reader.read(http))
        whole = [await _history(http, each.api_port, job) for each in cluster.orchestrators]
    assert whole[0] == whole[1] == whole[2], "all of them tell the same"
    texts = Counter(_text(item) for item in whole[0])
    assert len(whole[0]) >= 1 + 3 * PARTS + 1
    assert set(texts.values()) == {1}
    for reader in readers:
        assert reader.connections > 3
        assert reader.items == whole[0]
        assert reader.numbers == sorted(set(reader.numbers))


async def _history(http: aiohttp.ClientSession, port: int, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        url = f"http://{HOST}:{port}/api/v1/orchestrator/jobs/{job}/history?limit=100&next_token={token}"
        async with http.get(url) as answer:
            page = await answer.json()
        found += page["Items"]
        token = page["NextToken"]
        if not token:
            return found


def _text(item: dict[str, Any]) -> str:
    return f"{item['ExecutionID']} {item['Event']['Message']}"
