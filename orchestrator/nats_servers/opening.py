"""The NATS that an orchestrator works with: a server of its own, which runs meanwhile, or those of the settings."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from orchestrator.admission.nats_config import ServerConfig, ServerTls
from orchestrator.admission.secret_files import Secrets
from orchestrator.admission.tls.encryption import Encryption
from orchestrator.nats_servers.server import NatsServer
from shared.runtime.aio import background
from shared.settings.config import Config


class OpenedNats(NamedTuple):
    """Where it is, for this process; `server` is our own, if it has one."""

    servers: tuple[str, ...]
    trust: ssl.SSLContext | None
    server: NatsServer | None = None


@asynccontextmanager
async def opened_nats(config: Config, secrets: Secrets, name: str, encryption: Encryption) -> AsyncIterator[OpenedNats]:
    """That of the settings, or a server of our own that runs meanwhile."""
    settings = config.orchestrator
    if settings.nats.servers:
        yield OpenedNats(settings.nats.servers, encryption.trust)
        return
    server = NatsServer(
        ServerConfig(
            directory=config.data_dir / "orchestrator" / "nats",
            host=settings.host,
            port=settings.port,
            server_name=name,
            issuer=secrets.issuer_public_key,
            orchestrator=secrets.orchestrator_public_key,
            sync_interval=settings.nats.sync_interval,
            tls=_server_tls(config, encryption),
        ),
        trust=encryption.trust,
        binary=settings.nats.server_binary,
    )
    async with server, background(nats_server=server.supervise()):
        yield OpenedNats((server.url,), encryption.trust, server)


def _server_tls(config: Config, encryption: Encryption) -> ServerTls | None:
    if (served := encryption.nats) is None:
        return None
    return ServerTls(
        certificate=served.certificate.certificate.absolute(),
        key=served.certificate.key.absolute(),
        clients=encryption.nats_clients.taken.absolute() if encryption.nats_clients else None,
        timeout=config.orchestrator.tls.server_timeout,
        plain_too=encryption.nats_plain_too,
    )
