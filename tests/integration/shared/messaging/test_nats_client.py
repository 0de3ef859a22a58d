"""nats-py's client against a real server, where it has to be helped."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from shared.errors import MessagingUnavailable
from shared.messaging.client import MendedClient, taken_in
from shared.messaging.transport import MAX_PAYLOAD_BYTES, Received, connect
from tests.nats_bus import new_user_seed
from tests.own_nats import OwnNats, own_nats

MANY = 100


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OwnNats]:
    async with own_nats(tmp_path) as server:
        yield server


@pytest.fixture
async def asker(server: OwnNats) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(server.url, allow_reconnect=False)
    yield client
    await client.close()


async def answer(message: Msg) -> None:
    await message.respond(b"here")


async def unheard(asker: Client, subject: str) -> int:
    try:
        await asker.request(subject, timeout=5)
    except nats.errors.NoRespondersError:
        return 1
    return 0


async def test_whoever_asks_is_heard_once_a_subscription_is_taken_in(server: OwnNats, asker: Client) -> None:
    client, lost = MendedClient(), 0
    await client.connect(server.url, allow_reconnect=False)
    for number in range(MANY):
        await client.subscribe(f"a.{number}", cb=answer)
        await taken_in(client)
        lost += await unheard(asker, f"a.{number}")
    await client.close()
    assert lost == 0


async def test_whoever_asks_is_heard_within_a_subscription_of_ours(server: OwnNats, asker: Client) -> None:
    lost = 0
    async with connect((server.url,), name="n", nkey_seed=new_user_seed()) as connection:
        await connection.wait_connected()
        for number in range(MANY):
            async with connection.subscribe(f"b.{number}") as received, asyncio.TaskGroup() as group:
                asking = group.create_task(unheard(asker, f"b.{number}"))
                answering = group.create_task(_answer_one(received))
                lost += await asking
                answering.cancel()
    assert lost == 0


async def _answer_one(received: AsyncIterator[Received]) -> None:
    await (await anext(received)).respond(b"here")


async def test_a_flush_that_is_cancelled_does_not_end_the_connection(server: OwnNats) -> None:
    client = MendedClient()
    await client.connect(server.url, allow_reconnect=False)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.flush())
        group.create_task(_cancel(task))
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("nobody", timeout=5)
    await client.close()


def test_to_flush_a_connection_that_is_gone_is_an_error_of_connections(tmp_path: Path) -> None:
    """As when the server dies just before; with uvloop it was an error that ends the process."""

    async def flush_when_gone() -> None:
        async with own_nats(tmp_path) as server:
            client = MendedClient()
            await client.connect(server.url, allow_reconnect=False)
            assert isinstance(client._transport, TcpTransport)
            client._transport.close()  # type: ignore[no-untyped-call]
            await asyncio.sleep(0)
            with pytest.raises(ConnectionError):
                await client.flush()
            await client.close()

    uvloop.run(flush_when_gone())


def test_to_send_once_what_writes_has_ended_with_its_connection_is_an_error_of_connections(tmp_path: Path) -> None:
    """As when the server is killed: what writes hears of it before whoever sends."""

    async def send_when_gone() -> None:
        async with own_nats(tmp_path) as server:
            client = MendedClient()
            await client.connect(server.url, allow_reconnect=False)
            assert isinstance(client._transport, TcpTransport)
            assert client._flusher_task is not None
            client._flusher_task.cancel()
            client._transport.close()  # type: ignore[no-untyped-call]
            await asyncio.sleep(0)
            with pytest.raises(ConnectionError):
                await client.ask("a", b"", reply="b", headers={"c": "d"})
            await client.close()

    uvloop.run(send_when_gone())


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def test_what_is_sent_together_comes_in_order_and_whole(server: OwnNats) -> None:
    sent = [(f"a.{number}", bytes([number]) * number) for number in range(1, MANY)]
    async with (
        connect((server.url,), name="n", nkey_seed=new_user_seed()) as connection,
        connection.subscribe("a.*") as received,
    ):
        await connection.wait_connected()
        await connection.publish_all(sent)
        came = [await anext(received) for _ in sent]
    assert [(each.subject, each.payload) for each in came] == sent


async def test_what_is_too_large_is_left_out_of_what_is_sent_together(server: OwnNats) -> None:
    async with (
        connect((server.url,), name="n", nkey_seed=new_user_seed()) as connection,
        connection.subscribe("a") as received,
    ):
        await connection.wait_connected()
        await connection.publish_all([("a", b"first"), ("a", bytes(MAX_PAYLOAD_BYTES + 1)), ("a", b"last")])
        came = [(await anext(received)).payload for _ in range(2)]
    assert came == [b"first", b"last"]


async def test_what_cannot_be_sent_together_is_told(server: OwnNats) -> None:
    async with connect((server.url,), name="n", nkey_seed=new_user_seed()) as connection:
        await connection.wait_connected()
        server.stop()
        await connection.lost(1)
        with pytest.raises(MessagingUnavailable):
            await connection.publish_all([("a", b"first"), ("a", b"last")])
