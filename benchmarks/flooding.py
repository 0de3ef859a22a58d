"""One identity that floods: `python -m benchmarks.flooding KIND SECONDS`, against an orchestrator of one's own.

Where that is, and by which key, is in the environment. It ends by itself, runs at the priority FLOOD_NICE, as it
shares the processors with what it floods, and does no more than RATE things a second over WIDTH connections. Prints how
much it did, and which answers it got, as a line of JSON,
after a line when it begins.
"""

import asyncio
import base64
import enum
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import nats.errors
import nkeys
import uvloop
from nacl.utils import random
from nats.aio.client import Client

from benchmarks.nats_wire import connect
from shared.protocol import subjects
from tests.servers import HOST

RATE = 2000
WIDTH = 64
JOBS = "/api/v1/orchestrator/jobs"
NOOP = {"Type": "batch", "Namespace": "flood", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
LARGE = b'{"Job": {"Type": "batch"' + b"".join(b', "name%d": 1' % number for number in range(60_000)) + b"}}"
_GONE = (aiohttp.ClientError, OSError, TimeoutError, nats.errors.Error, asyncio.IncompleteReadError)


class Kind(enum.StrEnum):
    SILENT = "silent"
    SLOW_HEADERS = "slow-headers"
    WRONG_KEYS = "wrong-keys"
    WRONG_PASSWORDS = "wrong-passwords"
    NATS_TOKENS = "nats-tokens"
    REQUESTS = "requests"
    STREAMS = "streams"
    LOGS = "logs"
    BODIES = "bodies"
    SUBMITS = "submits"
    PROGRAM = "program"


class Flooder:
    """Does what its kind says until `until`, a monotonic time."""

    def __init__(self, kind: Kind, until: float) -> None:
        self.done: Counter[str] = Counter()
        self._until = until
        self._kind = kind
        self._url = os.environ["FLOOD_API"]
        self._port = int(self._url.rpartition(":")[2])
        self._key = {"Authorization": f"Bearer {os.environ['FLOOD_KEY']}"}
        self._job = os.environ["FLOOD_JOB"]
        self._acts: dict[Kind, Callable[[aiohttp.ClientSession], Awaitable[object]]] = {
            Kind.SILENT: lambda _: self._hold(b""),
            Kind.SLOW_HEADERS: lambda _: self._hold(b"GET / HTTP/1.1\r\nX-Slow: "),
            Kind.WRONG_KEYS: lambda http: self._ask(http, headers={"Authorization": f"Bearer {random(16).hex()}"}),
            Kind.WRONG_PASSWORDS: lambda http: self._ask(http, headers=_guess()),
            Kind.NATS_TOKENS: lambda _: self._knock(),
            Kind.REQUESTS: lambda http: self._ask(http, headers=self._key),
            Kind.STREAMS: lambda http: self._follow(http, "events"),
            Kind.LOGS: lambda http: self._follow(http, "logs"),
            Kind.BODIES: lambda http: self._ask(http, headers=self._key, method="PUT", data=LARGE),
            Kind.SUBMITS: lambda http: self._ask(http, headers=self._key, method="PUT", json={"Job": NOOP}),
        }

    def __repr__(self) -> str:
        return f"<Flooder {self._kind}, {self.done.total()} done>"

    async def run(self) -> None:
        if self._kind is Kind.PROGRAM:
            await self._program()
            return
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
            width = 400 if self._kind in {Kind.STREAMS, Kind.LOGS, Kind.SILENT, Kind.SLOW_HEADERS} else WIDTH
            for _ in range(width):
                group.create_task(self._go_on(http), name="flood")

    async def _go_on(self, http: aiohttp.ClientSession) -> None:
        while (left := self._until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._acts[self._kind](http)
            except _GONE as error:
                self.done[type(error).__name__] += 1
            await asyncio.sleep(WIDTH / RATE)

    async def _ask(self, http: aiohttp.ClientSession, *, method: str = "GET", **more: Any) -> None:
        async with http.request(method, f"{self._url}{JOBS}", **more) as answer:
            await answer.read()
            self.done[str(answer.status)] += 1

    async def _hold(self, begun: bytes) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(begun)
            self.done["opened"] += 1
            await reader.read()
        finally:
            writer.transport.abort()

    async def _follow(self, http: aiohttp.ClientSession, what: str) -> None:
        """Ask, and read nothing of the answer."""
        socket = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers = self._key | (socket | {"Sec-WebSocket-Key": base64.b64encode(random(16)).decode()})
        headers = headers if what == "logs" else self._key
        url = f"{self._url}{JOBS}/{self._job}/{what}?follow=true"
        async with http.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            self.done[str(answer.status)] += 1
            if answer.status < 400:
                await asyncio.sleep(max(0.0, self._until - time.monotonic()))

    async def _knock(self) -> None:
        client = Client()
        seed = nkeys.encode_seed(random(32), nkeys.PREFIX_BYTE_USER).decode()
        self.done["connects"] += 1
        try:
            await client.connect(
                os.environ["NATS_URL"],
                name=f"stranger-{random(8).hex()}",
                token="no-such-token",  # it is none
                nkeys_seed_str=seed,
                allow_reconnect=False,
                connect_timeout=3,
            )
        finally:
            with suppress(*_GONE):
                await client.close()

    async def _program(self) -> None:
        def deliver(_: str, payload: bytes) -> None:
            self.done["refused" if b'"Code"' in payload[:200] else "answers"] += 1

        wire = await connect(
            os.environ["NATS_URL"], user="flooder", password=os.environ["FLOOD_PASSWORD"], deliver=deliver, trust=None
        )
        wire.subscribe(f"{subjects.integration_inbox('flooder')}.*")
        body, number = json.dumps({"Job": NOOP}).encode(), 0
        while time.monotonic() < self._until:
            for _ in range(RATE // 20):
                number += 1
                reply = f"{subjects.integration_inbox('flooder')}.{number}"
                wire.publish(subjects.api_request("flooder", "jobs.submit"), body, reply=reply)
            await asyncio.sleep(0.05)
        self.done["sent"] = number
        wire.close()


def _guess() -> dict[str, str]:
    shown = base64.b64encode(b"snoopy:" + random(8).hex().encode()).decode()
    return {"Authorization": f"Basic {shown}"}


def main(kind: str, seconds: str) -> None:
    os.nice(int(os.environ["FLOOD_NICE"]))  # not before all is imported, as it may starve
    print("begun", flush=True)
    flooder = Flooder(Kind(kind), time.monotonic() + float(seconds))
    uvloop.run(flooder.run())
    print(json.dumps(flooder.done), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
