"""A running nats-server of ours with its callout and streams, and nodes of nothing but nats-py (no tests in here)."""

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from orchestrator.admission.auth import serve_auth
from orchestrator.admission.bounds.attempts import NatsAttempts
from orchestrator.admission.bounds.held_back import HeldBack
from orchestrator.admission.budgets import Budgets
from orchestrator.admission.claims import Claim
from orchestrator.admission.nats_accounts import KnownAccounts
from orchestrator.admission.nats_config import ServerConfig
from orchestrator.admission.node_keys import StoredNodeKeys
from orchestrator.admission.secret_files import Secrets, SecretSources, load_secrets
from orchestrator.nats_servers.server import NatsServer
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import NodeId
from shared.messaging.client import taken_in
from shared.messaging.transport import Connection, connect
from shared.protocol.subjects import STATE_BUCKET, node_inbox
from shared.runtime.aio import background
from shared.settings.secret import Secret
from tests.servers import HOST, free_ports
from tests.waiting import eventually

WITHIN_SECONDS = 10.0


def new_user_seed() -> str:
    return str(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER), "ascii")


def new_account_seed() -> str:
    return str(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT), "ascii")


def public_key(seed: str) -> str:
    return str(nkeys.from_seed(bytearray(seed, "ascii")).public_key, "ascii")


class CountedBindings(StoredNodeKeys):
    """The bindings of production; `binds` counts the questions."""

    binds = 0

    async def bind(self, claim: Claim) -> None:
        self.binds += 1
        await super().bind(claim)


class Node:
    """A connection with the rights of one node. `errors` are what the server said about it."""

    def __init__(self, node: NodeId, client: Client, errors: list[Exception]) -> None:
        self.id = node
        self.client = client
        self.errors = errors

    async def settle(self) -> None:
        """Return when the server has dealt with everything that was sent before, refusals included."""
        await taken_in(self.client)

    async def is_denied(self, what: str) -> None:
        """The server refused something whose kind and subject are `what`, which nats-py tells in small letters."""
        what = what.lower()
        await eventually(lambda: any(what in str(error) for error in self.errors), what=f"the refusal: {what}")


class Bus:
    """The server, the orchestrator's connection to it, and means to join it."""

    replicas = 1

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.held_back = HeldBack()
        self.secrets: Secrets = load_secrets(
            SecretSources(directory=directory / "secrets", join_secret=Secret(secrets.token_urlsafe(32)))
        )
        self.config = ServerConfig(
            directory=directory / "nats",
            host=HOST,
            port=free_ports(1)[0],
            server_name="tarpon-test",
            issuer=self.secrets.issuer_public_key,
            orchestrator=self.secrets.orchestrator_public_key,
        )
        self.server = NatsServer(self.config)
        self.urls = [self.server.url]
        self.connection: Connection
        self.bindings: CountedBindings
        self._stack = AsyncExitStack()

    @property
    def client(self) -> Client:
        """The orchestrator's own client of nats-py."""
        return self.connection.client

    @property
    def jetstream(self) -> JetStreamContext:
        return self.client.jetstream()

    async def bucket(self) -> KeyValue:
        return await self.jetstream.key_value(STATE_BUCKET)

    @asynccontextmanager
    async def orchestrator(
        self, bindings_of: type[CountedBindings] = CountedBindings
    ) -> AsyncIterator[tuple[Connection, CountedBindings]]:
        """One more orchestrator: its connection, with the callout served over it."""
        seed = self.secrets.orchestrator_seed.reveal()
        async with connect(self.urls, name="orchestrator", nkey_seed=seed) as connection:
            store, ready = Store(connection, Model(max_attempts=1), replicas=self.replicas), asyncio.Event()
            bindings, accounts = bindings_of(store), KnownAccounts()
            serving = serve_auth(
                connection,
                bindings,
                secrets=self.secrets,
                budgets=Budgets(),
                attempts=NatsAttempts(self.held_back),
                accounts=accounts,
                ready=ready,
            )
            async with background(state=store.keep_model(), accounts=accounts.follow(connection), auth=serving):
                async with asyncio.timeout(WITHIN_SECONDS):
                    await store.ready.wait()
                    await ready.wait()
                yield connection, bindings

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bus"]:
        """Everything up; nodes that joined are disconnected at the end."""
        async with (
            self.server,
            background(nats=self.server.supervise()),
            self.orchestrator() as (self.connection, self.bindings),
            self._stack,
        ):
            yield self

    async def join(self, node: str = "", *, seed: str = "", token: str | None = "", **options: Any) -> Node:
        """Connect as a node would; a wrong `token`, none, or another `name` show what is refused.

        Raises what nats-py raises if the server refuses.
        """
        name = NodeId(node or f"node-{uuid.uuid4().hex[:8]}")
        errors: list[Exception] = []

        async def remember(error: Exception) -> None:
            errors.append(error)

        if token == "":
            token = self.secrets.join_secret.reveal()
        settings = {
            "name": name,
            "token": token,
            "nkeys_seed_str": seed or new_user_seed(),
            "inbox_prefix": node_inbox(name),
            "allow_reconnect": False,
            "connect_timeout": WITHIN_SECONDS,
            "error_cb": remember,
            **options,
        }
        client = Client()
        try:
            await client.connect(servers=self.urls, **settings)
        except BaseException:
            await client.close()
            raise
        self._stack.push_async_callback(client.close)
        return Node(name, client, errors)


class Inbox:
    """Everything that arrives on a subscription, in order."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def next(self) -> Msg:
        return await self._subscription.next_msg(timeout=WITHIN_SECONDS)

    @property
    def is_empty(self) -> bool:
        return self._subscription.pending_msgs == 0
