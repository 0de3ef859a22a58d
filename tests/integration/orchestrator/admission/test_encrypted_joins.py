"""A join token pins the authority: a node that has it is let in, and asks why it is not, over TLS alone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from compute.uplink.identity import Identity
from compute.uplink.invitation import Invitation, invitation
from compute.uplink.refusals import explain_refusals
from compute.uplink.trust import trust_of
from shared.ids import NodeId
from shared.messaging.transport import Connection, connect
from shared.protocol.subjects import node_inbox
from shared.runtime.aio import background
from shared.settings.config import Auth, Compute, Config
from shared.settings.secret import Secret
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import new_user_seed
from tests.servers import HOST, S3Server
from tests.waiting import eventually

NODE = NodeId("n-1")
TOKENS = "/api/v1/orchestrator/tokens"


@pytest.fixture
async def encrypted(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    sets = ("Orchestrator.TLS.PlainText=never",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


async def token(running: Running) -> dict[str, Any]:
    return dict((await running.ask(TOKENS, "PUT", {})).json)


def invited(text: str, *servers: str) -> Invitation:
    return invitation(Config(compute=Compute(orchestrators=servers, auth=Auth(token=Secret(text)))))


@asynccontextmanager
async def joining(by: Invitation) -> AsyncIterator[Connection]:
    """As a node of ours does it."""
    seed, trust = new_user_seed(), trust_of(Config().compute.tls, by.authority)
    async with (
        connect(
            by.servers, name=NODE, nkey_seed=seed, token=by.shown, inbox_prefix=node_inbox(NODE), trust=trust
        ) as connection,
        background(refusals=explain_refusals(connection, by, Identity(NODE, seed), trust)),
    ):
        yield connection


async def test_one_pasted_text_is_all_that_a_node_needs_to_join_over_tls(encrypted: Running) -> None:
    by = invited((await token(encrypted))["Text"])
    assert by.servers == (f"tls://{HOST}:{encrypted.config.orchestrator.port}",)
    assert by.authority
    async with asyncio.timeout(20), joining(by) as connection:
        await connection.wait_connected()
        url = connection.client.connected_url
        assert url is not None
        assert url.scheme == "tls"


async def test_a_refused_node_asks_why_over_tls(encrypted: Running, caplog: pytest.LogCaptureFixture) -> None:
    made = await token(encrypted)
    await encrypted.ask(f"{TOKENS}/{made['Token']['ID']}", "DELETE")
    with caplog.at_level(logging.WARNING):
        async with joining(invited(made["Text"])):
            await eventually(lambda: "[JoinTokenRevoked]" in caplog.text, within=30)


async def test_a_stranger_at_the_address_of_the_token_hears_nothing_of_it(encrypted: Running) -> None:
    """Also where its address does not say that it is encrypted: the authority in the token says it."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"S","version":"2.15.1","max_payload":1048576,"nonce":"n"}\r\n')
        heard.append(await reader.read(4096))
        writer.close()

    made = await token(encrypted)
    async with await asyncio.start_server(listen, HOST, 0) as server:
        by = invited(made["Text"], f"nats://{HOST}:{server.sockets[0].getsockname()[1]}")
        async with joining(by) as connection:
            await eventually(lambda: len(heard) > 1, within=20)
            assert not connection.connected
    assert all(each[:2] in {b"\x16\x03", b""} for each in heard)
    assert all(by.shown.encode() not in each and NODE.encode() not in each for each in heard)
