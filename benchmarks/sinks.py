"""Where the tools publish to: a server that discards, or a SeaweedFS that stores and checks signatures."""

import asyncio
import subprocess
import sys
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.desks import BucketDesk, Desk, DiscardDesk
from benchmarks.discard_server import STREAMED
from benchmarks.link import link
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.verification import Absent
from shared.ids import ExecutionId, JobId
from shared.jobs.namespaces import DEFAULT_NAMESPACE
from shared.protocol.objects import archive_key, index_key
from tarpon.devstack.seaweedfs import HOST, REGION, SeaweedFS
from tarpon.devstack.signed_requests import Keys

PREFIX = "results"
START_SECONDS = 10
ROOM_BYTES = 1 << 20
"""Stored once before anything is measured, so that the server has made room for the bucket."""


class Sink(ABC):
    """Takes objects, each under a key of its own, and knows how many bytes it got."""

    @abstractmethod
    def variables(self, key: str) -> dict[str, str]:
        """What a rival gets: URL for a PUT by curl, OBJECT and the settings with which rclone gets there."""

    @abstractmethod
    def desk(self, key: str) -> AbstractAsyncContextManager[Desk]:
        """Who answers a node's questions for URLs."""

    @abstractmethod
    def received_bytes(self, key: str) -> int:
        """What has come for this key since it was asked last; with the index, where there is one."""


class DiscardSink(Sink):
    def __init__(self, port: int) -> None:
        self._base = f"http://{HOST}:{port}"
        self._told_bytes = 0

    def variables(self, key: str) -> dict[str, str]:
        keys = Keys("nobody", "nothing")
        urls = {"URL": f"{self._base}/bucket/{key}", "STREAM_URL": f"{self._base}{STREAMED}/{key}"}
        return urls | {"OBJECT": f"sink:bucket/{key}"} | _rclone(self._base, keys)

    @asynccontextmanager
    async def desk(self, key: str) -> AsyncIterator[Desk]:
        yield DiscardDesk(f"{self._base}/bucket/{key}")

    def received_bytes(self, key: str) -> int:  # noqa: ARG002  # it keeps no objects
        with urllib.request.urlopen(f"{self._base}/total", timeout=START_SECONDS) as answer:
            total = int(answer.read())
        received, self._told_bytes = total - self._told_bytes, total
        return received


class S3Sink(Sink):
    def __init__(self, server: SeaweedFS) -> None:
        self._server = server
        bucket = server.create_bucket(prefix=PREFIX)
        self._settings = Location(bucket=bucket, key=PREFIX, region=REGION, endpoint=server.endpoint)

    def variables(self, key: str) -> dict[str, str]:
        async def sign() -> str:
            async with self._bucket() as bucket:
                return (await bucket.sign_put(key, create_only=False)).url

        place = f"sink:{self._settings.bucket}/{key}"
        return {"URL": asyncio.run(sign()), "OBJECT": place} | _rclone(self._server.endpoint, self._server.orchestrator)

    @asynccontextmanager
    async def desk(self, key: str) -> AsyncIterator[Desk]:
        async with self._bucket() as bucket:
            probed = await bucket.health.check()
            assert probed.ready, probed
            yield BucketDesk(bucket, key)

    def received_bytes(self, key: str) -> int:
        async def size() -> int:
            async with self._bucket() as bucket:
                found = [await bucket.head(each) for each in (key, index_key(key))]
            return sum(0 if isinstance(each, Absent) else each.size_bytes for each in found)

        return asyncio.run(size())

    def _bucket(self) -> Bucket:
        return Bucket(self._settings, credentials=CredentialSource(self._snapshot))

    def _snapshot(self) -> Snapshot:
        keys = self._server.orchestrator
        return Snapshot(
            access_key=keys.access,
            secret_key=keys.secret,
            token=None,
            expires_at=None,
            loaded_at=datetime.now(UTC),
            source="benchmark",
        )

    def make_room(self) -> None:
        url = self.variables(f"{PREFIX}/room")["URL"]
        with urllib.request.urlopen(urllib.request.Request(url, data=bytes(ROOM_BYTES), method="PUT"), timeout=60):
            pass


@contextmanager
def linked_sink(mbit: float, delay_ms: float) -> Iterator[Sink]:
    """The one that discards, behind a link."""
    with discard_server() as port, link(port, mbit=mbit, delay_ms=delay_ms) as linked:
        yield DiscardSink(linked)


@contextmanager
def discard_sink(folder: Path) -> Iterator[Sink]:  # noqa: ARG001  # it keeps nothing
    with discard_server() as port:
        yield DiscardSink(port)


@contextmanager
def discard_server() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.discard_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()


@contextmanager
def s3_sink(folder: Path) -> Iterator[Sink]:
    server = SeaweedFS(folder / "s3")
    server.start()
    try:
        sink = S3Sink(server)
        sink.make_room()
        yield sink
    finally:
        server.stop()


SINKS = {"discard": discard_sink, "s3": s3_sink}


def key_of(execution: ExecutionId) -> str:
    return archive_key(PREFIX, DEFAULT_NAMESPACE, JobId("benchmark"), execution)


def _rclone(endpoint: str, keys: Keys) -> dict[str, str]:
    settings = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": endpoint,
        "REGION": REGION,
        "FORCE_PATH_STYLE": "true",
        "ACCESS_KEY_ID": keys.access,
        "SECRET_ACCESS_KEY": keys.secret,
    }
    return {f"RCLONE_CONFIG_SINK_{name}": value for name, value in settings.items()}
