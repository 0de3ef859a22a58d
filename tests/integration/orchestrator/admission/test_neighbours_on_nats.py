"""A NATS server that is not Tarpon's alone, or that was set up for an earlier version."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from orchestrator.admission.nats_accounts import EARLIER, Accounts, KnownAccounts, ask_accounts
from orchestrator.admission.nats_config import ConfigSection, Neighbours, render_part
from orchestrator.admission.secret_files import Secrets, SecretSources, integration_password, load_secrets
from shared.messaging.transport import connect
from shared.protocol.messages import Reconciliation
from shared.protocol.subjects import accounts_question
from shared.runtime.aio import background
from tests.integration.played_node import PlayedNode, played_node
from tests.integration.running import Running, running_orchestrator
from tests.own_nats import OwnNats, own_nats
from tests.servers import S3Server
from tests.waiting import eventually

NODES = "/api/v1/orchestrator/nodes"

EARLIER_CONFIG = """
max_payload: 1048576
ping_interval: "10s"
ping_max: 2
accounts {
  TARPON {
    jetstream: enabled
    users: [ { nkey: ORCHESTRATOR } ]
    exports: [
      { service: "tarpon.v1.node.*.out.reports", accounts: [ NODES ] }
      { service: "tarpon.v1.node.*.out.requests", accounts: [ NODES ] }
      { service: "tarpon.v1.node.*.out.heartbeat", accounts: [ NODES ] }
      { service: "tarpon.v1.api.>", accounts: [ INTEGRATIONS ] }
      { stream: "tarpon.v1.events.>", accounts: [ INTEGRATIONS ] }
    ]
    imports: [
      { service: { account: NODES, subject: "tarpon.v1.node.*.in.>" } }
    ]
  }
  NODES {
    exports: [
      { service: "tarpon.v1.node.*.in.>", accounts: [ TARPON ] }
    ]
    imports: [
      { service: { account: TARPON, subject: "tarpon.v1.node.*.out.reports" } }
      { service: { account: TARPON, subject: "tarpon.v1.node.*.out.requests" } }
      { service: { account: TARPON, subject: "tarpon.v1.node.*.out.heartbeat" } }
    ]
  }
  INTEGRATIONS {
    imports: [
      { service: { account: TARPON, subject: "tarpon.v1.api.>" } }
      { stream: { account: TARPON, subject: "tarpon.v1.events.>" } }
    ]
  }
  SYS {}
}
system_account: SYS
authorization {
  timeout: 2
  auth_callout {
    issuer: ISSUER
    account: TARPON
    auth_users: [ ORCHESTRATOR ]
  }
}
"""
"""What an earlier version printed, and servers have."""

OWN_CONFIG = """
accounts {
  SHOP { users: [ { user: shop, password: shop } ], jetstream: enabled }
  NODES { users: [ { user: other, password: other } ] }
  $SYS { users: [ { user: admin, password: admin } ] }
  include "tarpon-accounts.conf"
}
include "tarpon-server.conf"
"""
"""As somebody has it for programs of their own, with accounts of names that Tarpon once had."""


class Setting:
    """An orchestrator over a server, and the ways to join it."""

    def __init__(self, server: OwnNats, running: Running, secrets: Secrets) -> None:
        self.server = server
        self.running = running
        self._secrets = secrets

    def node(self) -> AbstractAsyncContextManager[PlayedNode]:
        return played_node("n-1", server=self.server.url, secret=self.running.secret)

    async def log_in(self, user: str, password: str) -> Client:
        client = Client()
        await client.connect(self.server.url, user=user, password=password, allow_reconnect=False)
        return client

    async def ask_as_integration(self) -> dict[str, Any]:
        client = Client()
        password = integration_password(self._secrets.integration_secret, "billing").reveal()
        prefix = "_INBOX.billing"
        await client.connect(self.server.url, user="billing", password=password, inbox_prefix=prefix)
        answer = await client.request("tarpon.v1.api.billing.jobs.list", b"{}", timeout=10)
        await client.close()
        found: dict[str, Any] = json.loads(answer.data)
        return found


@asynccontextmanager
async def set_up(
    folder: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, config: str, **beside: object
) -> AsyncIterator[Setting]:
    """`config` may include the parts; `beside` is what Neighbours takes."""
    secrets = load_secrets(SecretSources(directory=folder / "data" / "orchestrator" / "secrets"))
    keys = {"issuer": secrets.issuer_public_key, "orchestrator": secrets.orchestrator_public_key}
    neighbours = Neighbours(**beside)  # type: ignore[arg-type]
    for part in ConfigSection:
        (folder / f"tarpon-{part}.conf").write_text(render_part(part, neighbours, **keys))
    config = config.replace("ISSUER", keys["issuer"]).replace("ORCHESTRATOR", keys["orchestrator"])
    async with own_nats(folder, f'jetstream {{ store_dir: "{folder / "js"}" }}\n{config}') as server:
        sets = (f"Orchestrator.NATS.Servers={server.url}",)
        async with running_orchestrator(folder, s3_server, monkeypatch, publisher=False, sets=sets) as running:
            yield Setting(server, running, secrets)


async def works(setting: Setting) -> None:
    """A node joins, is known, and its connection is ended when it is rejected; an integration is answered."""
    async with setting.node() as node:
        assert isinstance(await node.register(), Reconciliation)
        assert (await setting.ask_as_integration())["Items"] == []
        first = node.connection.connections
        rejected = await setting.running.ask(f"{NODES}/n-1", "PUT", {"Action": "reject"})
        assert not rejected.json.get("Warning"), rejected.body
        await eventually(lambda: node.connection.connections != first or not node.connection.connected)


async def test_a_server_that_an_earlier_version_set_up_goes_on(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with set_up(tmp_path, s3_server, monkeypatch, EARLIER_CONFIG) as setting:
        await works(setting)


async def test_a_server_with_accounts_and_users_of_its_own_serves_both(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = ("shop", "other", "admin")
    async with set_up(tmp_path, s3_server, monkeypatch, OWN_CONFIG, system_account="$SYS", users=users) as setting:
        await works(setting)
        admin = await setting.log_in("admin", "admin")
        assert b"server_name" in (await admin.request("$SYS.REQ.SERVER.PING.VARZ", b"", timeout=5)).data
        shop = await setting.log_in("shop", "shop")
        await shop.jetstream().add_stream(name="ORDERS", subjects=["orders.>"])
        for client in (admin, shop):
            await client.close()


async def test_the_names_of_accounts_are_those_of_the_server(tmp_path: Path) -> None:
    secrets = load_secrets(SecretSources(directory=tmp_path / "secrets"))
    keys = {"issuer": secrets.issuer_public_key, "orchestrator": secrets.orchestrator_public_key}
    seed = secrets.orchestrator_seed.reveal()
    named = render_part(ConfigSection.ALL, Neighbours(system_account="My $YS"), **keys) + 'system_account: "My $YS"\n'
    named = named.replace("accounts {\n", 'accounts {\n  "My $YS" {}\n', 1)
    async with own_nats(tmp_path, named) as server, connect((server.url,), name="o", nkey_seed=seed) as connection:
        known = KnownAccounts()
        async with background(follow=known.follow(connection)), asyncio.timeout(10):
            await known.known.wait()
        assert known.names == Accounts(system="My $YS")


@pytest.mark.parametrize(("told", "why"), [("eA.eQ", "says 2 instead of 3"), ("eA.!.eQ", "says what is no name")])
async def test_a_mapping_that_was_changed_by_hand_is_told_until_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, told: str, why: str
) -> None:
    secrets = load_secrets(SecretSources(directory=tmp_path / "secrets"))
    keys = {"issuer": secrets.issuer_public_key, "orchestrator": secrets.orchestrator_public_key}
    seed = secrets.orchestrator_seed.reveal()
    text = re.sub(
        r'(mappings: \{.*accounts\.\$1)[^"]*', rf"\1.{told}", render_part(ConfigSection.ALL, Neighbours(), **keys)
    )
    async with own_nats(tmp_path, text) as server, connect((server.url,), name="o", nkey_seed=seed) as connection:
        known = KnownAccounts()
        async with background(follow=known.follow(connection)):
            await eventually(lambda: why in caplog.text, within=10, what="it is told")
            assert "[MessagingUnfit]" in caplog.text
            assert not known.known.is_set()


async def test_names_that_a_later_version_tells_beside_are_passed_over(tmp_path: Path) -> None:
    question = accounts_question("*")
    mapping = f'mappings: {{ "{question}": "{accounts_question("$1")}.eA.eQ.eg.ew" }}\n'
    async with own_nats(tmp_path, mapping) as server:
        client = Client()
        await client.connect(server.url)
        assert await ask_accounts(client) == Accounts("x", "y", "z")
        await client.close()


async def test_a_server_that_tells_no_names_has_those_of_earlier_versions(tmp_path: Path) -> None:
    async with own_nats(tmp_path) as server:
        client = Client()
        await client.connect(server.url)
        assert await ask_accounts(client) == EARLIER
        await client.close()
