"""Access of an operator's commands to the state: beside the orchestrators that work with it, or alone.

The commands use the secrets and the settings of the orchestrator on its own machine, and NATS itself. So nothing of
this can be asked for over the network, and it works where no orchestrator runs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from orchestrator.admission.secret_files import Secrets, load_secrets
from orchestrator.admission.tls.encryption import Encryption, prepare, remember_earlier_version
from orchestrator.data_folder import kept_name, locked
from orchestrator.nats_servers.addresses import running_addresses
from orchestrator.nats_servers.opening import OpenedNats, opened_nats
from orchestrator.service import secret_sources
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection, connect
from shared.runtime import durable
from shared.settings.config import Config

CONNECT_SECONDS = 20.0
_NAME = "tarpon-admin"

Progress = Callable[[int, int], None]
"""Is told how many are done, and of how many that are known of."""


class Access(NamedTuple):
    connection: Connection
    secrets: Secrets


@asynccontextmanager
async def access(config: Config, *, alone: bool = False) -> AsyncIterator[Access]:
    """A connection that stands. The embedded server runs meanwhile, if no orchestrator of this DataDir has it run.

    With `alone` no orchestrator may run with this DataDir.

    Raises AlreadyRunning, MessagingUnavailable, and what an orchestrator raises that cannot start.
    """
    folder = config.data_dir / "orchestrator"
    await asyncio.to_thread(durable.make_folder, folder)
    async with AsyncExitStack() as stack:
        running = () if alone else await asyncio.to_thread(running_addresses, config.data_dir)
        if alone or not (running or config.orchestrator.nats.servers):
            stack.enter_context(locked(folder / "lock", config.data_dir))
        secrets = await asyncio.to_thread(load_secrets, secret_sources(config))
        encryption = await asyncio.to_thread(_prepared, config, secrets)
        nats = OpenedNats(running, encryption.trust)
        if not running:
            name = await asyncio.to_thread(kept_name, folder / "name")
            nats = await stack.enter_async_context(opened_nats(config, secrets, name, encryption))
        seed = secrets.orchestrator_seed.reveal()
        connection = await stack.enter_async_context(
            connect(nats.servers, name=_NAME, nkey_seed=seed, trust=nats.trust, quiet=True)
        )
        await _wait_connected(connection)
        yield Access(connection, secrets)


def _prepared(config: Config, secrets: Secrets) -> Encryption:
    remember_earlier_version(config.data_dir)
    return prepare(config, secrets.authority, now=time.time())


async def _wait_connected(connection: Connection) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.wait_connected()
    except TimeoutError:
        problem = connection.problem or f"NATS at {', '.join(connection.servers)} does not answer"
        raise MessagingUnavailable(f"{problem}.", hint="`tarpon agent nats-check` tells what is in the way.") from None
