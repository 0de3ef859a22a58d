"""An orchestrator that runs within a test, over real NATS and real S3, and how to ask it (no tests in here)."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from orchestrator.service import run
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import background
from shared.settings.config import Config
from shared.settings.loading import load
from tests.integration.played_node import PlayedNode, played_node
from tests.servers import HOST, REGION, S3Server, free_ports
from tests.waiting import answered

JOIN_SECRET = "TARPON_ORCHESTRATOR_AUTH_TOKEN"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the API answered; `json` is nothing where it is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    json: Any


async def ask(http: aiohttp.ClientSession, url: str, method: str = "GET", body: Any = None, **more: Any) -> Answer:
    """One request. `more` goes to aiohttp."""
    async with http.request(method, URL(url, encoded=True), json=body, allow_redirects=False, **more) as answer:
        data = await answer.read()
        is_json = answer.content_type == "application/json"
        return Answer(
            status=answer.status, headers=answer.headers, body=data, json=json.loads(data) if is_json and data else None
        )


class Running:
    """The orchestrator under test, and how to ask it."""

    def __init__(
        self, config: Config, http: aiohttp.ClientSession, shown: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.config = config
        self.http = http
        self._shown = shown
        self.server = f"nats://{HOST}:{config.orchestrator.port}"
        self.secret = config.orchestrator.auth.token.reveal()

    async def api(self, path: str, body: Any = None, method: str = "GET") -> Any:
        url = f"http://{HOST}:{self.config.api.port}/api/v1/orchestrator{path}"
        async with self.http.request(method, url, json=body, headers=self._shown) as answer:
            return json.loads(await answer.read())

    async def compute_nodes(self) -> list[Any]:
        """Without the orchestrator, which is a node too."""
        nodes = (await self.api("/nodes"))["Nodes"]
        return [each for each in nodes if each["Info"]["NodeType"] == "Compute"]

    async def ask(self, path: str, method: str = "GET", body: Any = None, **more: Any) -> Answer:
        """A request to any path, with its status and headers."""
        more["headers"] = {**self._shown, **more.get("headers", {})}
        return await ask(self.http, f"http://{HOST}:{self.config.api.port}{path}", method, body, **more)

    async def submit(self, **job: Any) -> str:
        engine = {"Type": "process", "Params": {"Entrypoint": ["true"]}}
        task = {"Name": "main", "Engine": engine, "Publisher": {"Type": "s3managed"}}
        answer = await self.api("/jobs", {"Job": {"Type": "batch", "Tasks": [task], **job}}, "PUT")
        return str(answer["JobID"])

    async def wait_state(self, job: str, state: str) -> dict[str, Any]:
        async def describe() -> dict[str, Any]:
            found: dict[str, Any] = await self.api(f"/jobs/{job}?include=executions,history")
            return found

        def is_so(found: dict[str, Any]) -> bool:
            return bool(found["Job"]["State"]["StateType"] == state)

        return await answered(describe, is_so, within=20, what=f"the job is {state}")

    def node(self, name: str, *, seed: str = "") -> AbstractAsyncContextManager[PlayedNode]:
        return played_node(name, server=self.server, secret=self.secret, seed=seed)

    async def put(self, url: SignedUrl, body: bytes) -> int:
        async with self.http.put(url.url, data=body, headers=url.headers) as answer:
            return answer.status


@asynccontextmanager
async def running_orchestrator(
    folder: Path,
    s3_server: S3Server,
    patch: pytest.MonkeyPatch,
    *,
    publisher: bool = True,
    sets: tuple[str, ...] = (),
    restored: bool = False,
    shown: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Running]:
    """Yields when the API is up and, where there is a `publisher`, its bucket can be used.

    `shown` are the headers of whoever asks through it, where a key is asked for.
    """
    for name, value in s3_server.environment().items():
        patch.setenv(name, value)
    bucket = await asyncio.to_thread(s3_server.create_bucket)
    api, nats = free_ports(2)
    s3 = {"Bucket": bucket, "Key": "results", "Region": REGION, "Endpoint": s3_server.endpoint, "ProbeInterval": "1s"}
    settings = [f"DataDir={folder / 'data'}", f"API.Port={api}", f"Orchestrator.Port={nats}"]
    settings += ["API.Auth.Anonymous=true"]  # most tests are not about who asks
    if publisher:
        settings += [f"Publishers.Types.S3Managed.{key}={value}" for key, value in s3.items()]
    config = load(
        sets=[*settings, f"Orchestrator.Host={HOST}", *sets], env={JOIN_SECRET: secrets.token_urlsafe(32)}
    ).config
    ready = asyncio.Event()
    async with (
        aiohttp.ClientSession() as http,
        background(orchestrator=run(config, ready=ready.set, restored=restored)),
    ):
        await ready.wait()
        made = Running(config, http, shown)
        if publisher:
            await _wait_publisher(made)
        yield made


async def _wait_publisher(running: Running) -> None:
    async def is_ready() -> bool:
        return bool((await running.ask("/api/v1/agent/node")).json["Publishers"]["S3Managed"]["Ready"])

    await answered(is_ready, within=20, what="the publisher is ready")
