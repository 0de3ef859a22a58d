"""A nats-server as a user may have it, with a configuration of one's own and nothing of Tarpon's (no tests in here)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.nats_servers.process import ServerInfo, read_info
from orchestrator.nats_servers.server import find_program
from tests.e2e.stack import Service, _plain_environment
from tests.servers import HOST, free_ports
from tests.waiting import answered

START_SECONDS = 30.0


class OwnNats(Service):
    def __init__(self, folder: Path, config: str) -> None:
        self.port = free_ports(1)[0]
        self.config = folder / "own-nats.conf"
        self.config.write_text(f'server_name: own\nhost: "{HOST}"\nport: {self.port}\n{config}')
        super().__init__([find_program(), "-c", str(self.config)], _plain_environment(), folder / "own-nats.log")

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"tls://{HOST}:{self.port}"

    async def ready(self) -> None:
        async def info() -> ServerInfo | None:
            assert self.is_running, self.tail()
            return await read_info(HOST, self.port)

        await answered(info, within=START_SECONDS, what="the server answers")


@asynccontextmanager
async def own_nats(folder: Path, config: str = "") -> AsyncIterator[OwnNats]:
    server = OwnNats(folder, config)
    await asyncio.to_thread(server.start)
    try:
        await server.ready()
        yield server
    finally:
        await asyncio.to_thread(server.kill)
