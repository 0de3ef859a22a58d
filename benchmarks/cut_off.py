"""How long the trusted of yesterday keep anything: `python -m benchmarks.cut_off [--rounds 20] [--servers 1|3]`.

In each round a node is rejected, the key of a user with an open stream of events is revoked, so is that of a program
on NATS, and a join token. What is measured runs from the request to the moment at which nothing is left: the node's
connection has ended; the stream has ended and each orchestrator refuses the key; the program's connection has ended;
each server refuses the token. Meanwhile an honest node's jobs go on, whose times are told too. `gains` counts those who
were still let in after the answer to the revocation, on whichever orchestrator or server.

Prints one JSON object. `--servers 3` is three orchestrators on three NATS servers.
"""

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from nats.aio.client import Client

from benchmarks.running import end_on_sigterm, tell, warn_of_load
from shared.protocol.pasted import JoinToken, read
from tests.e2e.cluster import Cluster
from tests.e2e.stack import Stack
from tests.integration.played_node import played_node
from tests.servers import HOST, start_weed

API = "/api/v1/orchestrator"
JOB = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "process", "Params": {"Entrypoint": ["true"]}}}]}
WITHIN_SECONDS = 30.0
JOIN_SECONDS = 1.0
"""A node that is refused tries again for ever: after so long it counts as not let in."""
KINDS = ("node", "key", "program", "token")


class Site(NamedTuple):
    """Where the orchestrators and their servers are."""

    apis: Sequence[str]
    servers: Sequence[str]


class Measured(NamedTuple):
    seconds: dict[str, list[float]]
    gains: dict[str, int]
    jobs: list[float]


class Rounds:
    """Cuts somebody off, again and again."""

    def __init__(self, site: Site, session: aiohttp.ClientSession) -> None:
        self._site = site
        self._session = session
        self.measured = Measured({kind: [] for kind in KINDS}, dict.fromkeys(KINDS, 0), [])

    async def one(self, number: int) -> None:
        steps = (self._node, self._key, self._program, self._token)
        for kind, step in zip(KINDS, steps, strict=True):
            async with asyncio.timeout(WITHIN_SECONDS):
                self.measured.seconds[kind].append(await step(f"{kind}-of-yesterday-{number}"))

    async def _node(self, name: str) -> float:
        async with played_node(name, server=self._server(name), secret=await self._join_token()) as node:
            await node.register()
            standing = node.connection.connections
            return await _seconds(
                self.call("PUT", f"/nodes/{name}", {"Action": "reject"}), node.connection.lost(standing)
            )

    async def _key(self, name: str) -> float:
        bearer = {"Authorization": f"Bearer {await self._new_key(name)}"}
        job = (await self.call("PUT", "/jobs", {"Job": JOB}))["JobID"]
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(
                    self._session.get(f"{api}{API}/jobs/{job}/events", params={"follow": "true"}, headers=bearer)
                )
                for api in self._site.apis
            ]

            async def none_left() -> None:
                for stream in streams:
                    await _read_to_its_end(stream)
                for api in self._site.apis:
                    if await self._status(f"{api}{API}/jobs", bearer) != HTTPStatus.UNAUTHORIZED:
                        self.measured.gains["key"] += 1

            return await _seconds(self.call("DELETE", f"/users/{name}"), none_left())

    async def _program(self, name: str) -> float:
        key, closed = await self._new_key(name), asyncio.Event()
        async with _connected(self._server(name), name, key, closed):
            seconds = await _seconds(self.call("DELETE", f"/users/{name}"), closed.wait())
        for server in self._site.servers:
            if await _comes_in(_connected(server, name, key, asyncio.Event())):
                self.measured.gains["program"] += 1
        return seconds

    async def _token(self, name: str) -> float:
        token = (await self.call("PUT", "/tokens", {"Uses": 0}))["Text"]
        secret = read(token, JoinToken)
        began = time.perf_counter()
        await self.call("DELETE", f"/tokens/{secret.id}")
        seconds = time.perf_counter() - began
        for number, server in enumerate(self._site.servers):
            if await _comes_in(played_node(f"{name}-{number}", server=server, secret=secret.credential)):
                self.measured.gains["token"] += 1
        return seconds

    async def _join_token(self) -> str:
        return read((await self.call("PUT", "/tokens", {}))["Text"], JoinToken).credential

    async def _new_key(self, name: str) -> str:
        made = await self.call("PUT", "/users", {"Name": name, "Capabilities": ["read:job", "write:job"]})
        return str(made["Key"])

    def _server(self, name: str) -> str:
        """They take turns."""
        return self._site.servers[int(name.rpartition("-")[2]) % len(self._site.servers)]

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self._site.apis[0]}{API}{path}"
        async with self._session.request(method, url, json=body) as answer:
            told = await answer.json()
            assert answer.ok, told
            return told

    async def _status(self, url: str, headers: dict[str, str]) -> int:
        async with self._session.get(url, headers=headers) as answer:
            return answer.status

    async def honest_jobs(self) -> None:
        """One after the other, for ever; how long each took."""
        while True:
            began = time.perf_counter()
            job = (await self.call("PUT", "/jobs", {"Job": JOB}))["JobID"]
            state = ""
            while state not in {"Completed", "Failed"}:
                await asyncio.sleep(0.02)
                state = (await self.call("GET", f"/jobs/{job}"))["Job"]["State"]["StateType"]
            assert state == "Completed", state
            self.measured.jobs.append(time.perf_counter() - began)


async def _seconds(request: Awaitable[Any], end: Awaitable[Any]) -> float:
    """From the request to the end, which is awaited from the beginning. The answer may come later."""
    began = time.perf_counter()

    async def asked() -> None:
        await request

    async def ended() -> float:
        await end
        return time.perf_counter() - began

    async with asyncio.TaskGroup() as group:
        seconds = group.create_task(ended(), name="end")
        group.create_task(asked(), name="request")
    return seconds.result()


async def _read_to_its_end(stream: aiohttp.ClientResponse) -> None:
    try:
        async for _ in stream.content.iter_any():
            pass
    except aiohttp.ClientError:
        return


@asynccontextmanager
async def _connected(server: str, name: str, key: str, closed: asyncio.Event) -> AsyncIterator[Client]:
    async def on_closed() -> None:
        closed.set()

    async def on_error(_: Exception) -> None:
        """It is told in words of the server's; what counts is that the connection ends."""

    client = Client()
    try:
        await client.connect(
            server, user=name, password=key, inbox_prefix=f"_INBOX.@{name}", allow_reconnect=False,
            error_cb=on_error, closed_cb=on_closed,
        )  # fmt: skip
        yield client
    finally:
        await client.close()


async def _comes_in(opening: Any) -> bool:
    try:
        async with asyncio.timeout(JOIN_SECONDS), opening:
            return True
    except Exception:  # noqa: BLE001  # however it is refused
        return False


async def measure(site: Site, rounds: int) -> Measured:
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        made = Rounds(site, session)
        jobs = group.create_task(made.honest_jobs(), name="honest jobs")
        for number in range(rounds):
            await made.one(number)
            tell(f"{number + 1} of {rounds} rounds, {len(made.measured.jobs)} jobs")
        jobs.cancel()
    return made.measured


def _shares(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50_s": 0.5, "p95_s": 0.95, "max_s": 1.0}
    return {name: round(ordered[math.ceil(share * len(ordered)) - 1], 3) for name, share in at.items()}


def _answer(measured: Measured) -> dict[str, Any]:
    told: dict[str, Any] = {kind: _shares(values) for kind, values in measured.seconds.items()}
    return {**told, "gains": measured.gains, "honest_jobs": {"count": len(measured.jobs), **_shares(measured.jobs)}}


def _on_one(root: Path, do: Callable[[Site], Measured]) -> Measured:
    s3 = start_weed(root / "s3")
    stack = Stack(root / "stack", s3)
    try:
        stack.start_orchestrator()
        stack.start_compute("honest")
        return do(Site((f"http://{HOST}:{stack.api_port}",), (f"nats://{HOST}:{stack.nats_port}",)))
    finally:
        stack.stop()
        s3.stop()


def _on_three(root: Path, do: Callable[[Site], Measured]) -> Measured:
    s3 = start_weed(root / "s3")
    cluster = Cluster(root / "stack", s3)
    try:
        cluster.start(computes=1)
        apis = [f"http://{HOST}:{each.api_port}" for each in cluster.orchestrators]
        return do(Site(apis, [f"nats://{HOST}:{port}" for port in cluster.nats_ports]))
    finally:
        cluster.kill()
        s3.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--servers", type=int, default=1, choices=(1, 3))
    arguments = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("s3", "stack"):
            (root / name).mkdir()
        on = _on_one if arguments.servers == 1 else _on_three
        measured = on(root, lambda site: asyncio.run(measure(site, arguments.rounds)))
    print(json.dumps(_answer(measured) | {"rounds": arguments.rounds, "servers": arguments.servers}, indent=2))


if __name__ == "__main__":
    main()
