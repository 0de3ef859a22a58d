"""Three nats-servers that keep everything three times, started once for all who ask for them (no tests in here)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from orchestrator.admission.nats_config import render_accounts
from orchestrator.admission.secret_files import SecretSources, load_secrets
from orchestrator.nats_servers.server import find_program
from orchestrator.storage.streams import STREAMS
from tests.e2e.stack import Service, _plain_environment
from tests.nats_bus import Bus
from tests.servers import HOST, free_ports

SIZE = 3
START_SECONDS = 30.0


class NatsCluster:
    """`folder` has the secrets of an orchestrator, below `secrets`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(SIZE)
        self._secrets = load_secrets(SecretSources(directory=folder / "secrets"))
        self._routes = free_ports(SIZE)
        self._servers = [self._server(number) for number in range(SIZE)]

    @property
    def urls(self) -> list[str]:
        return [f"nats://{HOST}:{port}" for port in self.ports]

    def _server(self, number: int) -> Service:
        name = f"nats-{number}"
        issuer, orchestrator = self._secrets.issuer_public_key, self._secrets.orchestrator_public_key
        port, routes = self._routes[number], ", ".join(f'"nats://{HOST}:{port}"' for port in self._routes)
        config = self.folder / f"{name}.conf"
        config.write_text(
            f'server_name: {name}\nhost: "{HOST}"\nport: {self.ports[number]}\n'
            f'jetstream {{ store_dir: "{self.folder / name}" }}\n'
            f'cluster {{ name: test, no_advertise: true, host: "{HOST}", port: {port}, routes: [ {routes} ] }}\n'
            + render_accounts(issuer=issuer, orchestrator=orchestrator)
        )
        return Service([find_program(), "-c", str(config)], _plain_environment(), self.folder / f"{name}.log")

    def start(self) -> None:
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        for server in self._servers:
            server.kill()

    async def ready(self) -> None:
        """Wait until streams can be made, and leave none of an earlier test."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await self._clear()
            except (nats.errors.Error, OSError, TimeoutError):
                assert time.monotonic() < deadline, self._servers[0].tail()
                await asyncio.sleep(0.05)
            else:
                return

    async def _clear(self) -> None:
        client: Client = await nats.connect(
            self.urls, nkeys_seed_str=self._secrets.orchestrator_seed.reveal(), allow_reconnect=False
        )
        try:
            stream = client.jetstream(timeout=2.0)
            await stream.account_info()
            for name in STREAMS:
                with contextlib.suppress(nats.js.errors.NotFoundError):
                    await stream.delete_stream(name)
        finally:
            await client.close()

    @asynccontextmanager
    async def bus(self) -> AsyncIterator["ReplicatedBus"]:
        await self.ready()
        async with ReplicatedBus(self).running() as bus:
            yield bus


class ReplicatedBus(Bus):
    """As a Bus, over the three servers."""

    replicas = SIZE

    def __init__(self, cluster: NatsCluster) -> None:
        super().__init__(cluster.folder)
        self.urls = cluster.urls

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ReplicatedBus"]:
        async with self.orchestrator() as (self.connection, self.bindings), self._stack:
            yield self
