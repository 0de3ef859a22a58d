"""What a node can do over NATS, and what it cannot, however it words its messages.

Each attack is followed by a harmless message on the same way whose answer is awaited, so that the attack has had its
effect, if it has one, before the state is looked at.
"""

import asyncio
import base64
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import nats.errors
import nkeys
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from orchestrator.admission import auth
from orchestrator.admission.bounds import attempts
from orchestrator.admission.claims import Claim
from shared.ids import NodeId
from shared.messaging.client import taken_in
from shared.protocol import subjects
from tests.nats_bus import WITHIN_SECONDS, Bus, CountedBindings, Inbox, Node, new_user_seed, public_key

RECORD = "job.j-1"
STREAMS = {subjects.REPORTS_STREAM, f"KV_{subjects.STATE_BUCKET}", f"KV_{subjects.LEASE_BUCKET}"}
REFUSED = "(?i)authorization violation"

EVIL_REPLIES = [
    f"$KV.{subjects.STATE_BUCKET}.{RECORD}",
    f"$KV.{subjects.STATE_BUCKET}.job.j-new",
    f"$JS.API.STREAM.DELETE.{subjects.REPORTS_STREAM}",
    f"$JS.API.STREAM.DELETE.KV_{subjects.STATE_BUCKET}",
    f"$JS.API.STREAM.PURGE.KV_{subjects.STATE_BUCKET}",
    f"$JS.API.STREAM.MSG.DELETE.KV_{subjects.STATE_BUCKET}",
]


async def inbox(client: Client, subject: str) -> Inbox:
    subscription = await client.subscribe(subject)
    await taken_in(client)
    return Inbox(subscription)


async def answering(client: Client, subject: str, answer: bytes) -> list[Msg]:
    """Answer whatever arrives on `subject`; what has arrived is in the list."""
    received: list[Msg] = []

    async def respond(message: Msg) -> None:
        received.append(message)
        if message.reply:
            await message.respond(answer)

    await client.subscribe(subject, cb=respond)
    await taken_in(client)
    return received


async def report(node: Node, payload: bytes = b"{}", headers: dict[str, str] | None = None) -> dict[str, Any]:
    """A report as a node makes it, and the acknowledgement of the stream."""
    answer = await node.client.request(
        subjects.node_reports(node.id), payload, timeout=WITHIN_SECONDS, headers=headers or {}
    )
    acknowledgement: dict[str, Any] = json.loads(answer.data)
    return acknowledgement


class Stored:
    """A record that nodes must not touch, and how everything looked before an attack."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def prepare(self) -> None:
        await (await self._bus.bucket()).put(RECORD, b"untouched")
        self._before = await self._look()

    async def is_untouched(self) -> None:
        assert await self._look() == self._before
        entry = await (await self._bus.bucket()).get(RECORD)
        assert (entry.value, entry.revision) == (b"untouched", self._before["revision"])

    async def _look(self) -> dict[str, object]:
        streams = {stream.config.name: stream for stream in await self._bus.jetstream.streams_info()}
        assert set(streams) == STREAMS
        state = streams[f"KV_{subjects.STATE_BUCKET}"].state
        return {"revision": state.last_seq, "records": state.messages}


@pytest.fixture
async def stored(bus: Bus) -> Stored:
    return Stored(bus)


# ---- who may join -----------------------------------------------------------------------------------------------


async def raw_connect(bus: Bus, *, name: str, nkey: str, signer: str) -> str:
    """The server's answer to a client that shows `nkey` and signs with the seed `signer`."""
    reader, writer = await asyncio.open_connection(bus.config.host, bus.config.port)
    try:
        nonce = json.loads((await reader.readline()).removeprefix(b"INFO "))["nonce"]
        signature = nkeys.from_seed(bytearray(signer, "ascii")).sign(nonce.encode())
        options = {
            "name": name,
            "nkey": nkey,
            "sig": base64.urlsafe_b64encode(signature).decode().rstrip("="),
            "auth_token": bus.secrets.join_secret.reveal(),
            "verbose": False,
            "protocol": 1,
        }
        writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        async with asyncio.timeout(WITHIN_SECONDS):
            return (await reader.readline()).decode().strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_node_that_joins_can_do_all_that_its_work_needs(bus: Bus) -> None:
    node = await bus.join()
    requests = await answering(bus.client, subjects.ALL_NODE_REQUESTS, b"granted")
    heartbeats = await inbox(bus.client, subjects.ALL_NODE_HEARTBEATS)
    orders = await answering(node.client, subjects.node_orders(node.id), b"accepted")

    assert (await report(node))["stream"] == subjects.REPORTS_STREAM
    answer = await node.client.request(subjects.node_requests(node.id), b"grant?", timeout=WITHIN_SECONDS)
    assert answer.data == b"granted"
    assert answer.subject.startswith(subjects.node_inbox(node.id) + ".")
    await node.client.publish(subjects.node_heartbeat(node.id), b"alive")
    assert (await heartbeats.next()).data == b"alive"
    for _ in range(3):
        answered = await bus.connection.request(subjects.node_orders(node.id), b"run", timeout=WITHIN_SECONDS)
        assert answered == b"accepted"

    assert [subjects.sender(message.subject) for message in requests] == [node.id]
    assert all(order.reply for order in orders)
    assert node.errors == []


@pytest.mark.parametrize("token", ["wrong", "ü", None], ids=["wrong", "not ascii", "none"])
async def test_a_node_without_the_join_secret_is_refused(bus: Bus, token: str | None) -> None:
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join(token=token)
    assert bus.bindings.binds == 0


@pytest.mark.parametrize("name", ["", "a.b", "*", ">", "node-1.in", "x" * 65, "orders\n"])
async def test_a_name_that_is_no_node_id_is_refused(bus: Bus, name: str) -> None:
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join(name=name)
    assert bus.bindings.binds == 0


async def test_a_client_without_a_key_is_refused(bus: Bus) -> None:
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join(nkeys_seed_str=None)
    assert bus.bindings.binds == 0


async def test_who_knows_a_public_key_alone_cannot_use_it(bus: Bus) -> None:
    seed, other = new_user_seed(), new_user_seed()
    orchestrator = bus.secrets.orchestrator_public_key

    assert await raw_connect(bus, name="node-1", nkey=public_key(seed), signer=seed) == "PONG"
    for nkey in (public_key(seed), orchestrator):
        assert "Authorization Violation" in await raw_connect(bus, name="node-1", nkey=nkey, signer=other)


async def test_an_id_stays_with_the_key_that_took_it_first(bus: Bus) -> None:
    seed = new_user_seed()
    await bus.join("node-1", seed=seed)

    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join("node-1")
    await bus.join("node-1", seed=seed)
    await bus.join("node-2", seed=seed)


async def test_an_id_stays_with_its_key_after_the_server_was_killed(bus: Bus) -> None:
    seed = new_user_seed()
    await bus.join("node-1", seed=seed)
    connections, killed = bus.connection.connections, bus.server.pid
    assert killed is not None

    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(WITHIN_SECONDS):
        await bus.connection.next_connection(connections)

    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join("node-1")
    await bus.join("node-1", seed=seed)


async def test_an_id_stays_with_its_key_after_everything_was_stopped(tmp_path: Path) -> None:
    seed = new_user_seed()
    async with Bus(tmp_path).running() as bus:
        await bus.join("node-1", seed=seed)
    async with Bus(tmp_path).running() as bus:
        with pytest.raises(nats.errors.Error, match=REFUSED):
            await bus.join("node-1")
        await bus.join("node-1", seed=seed)


async def test_a_node_that_cannot_be_bound_at_present_is_refused(bus: Bus) -> None:
    await bus.jetstream.delete_key_value(subjects.STATE_BUCKET)
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join()


async def test_no_secret_is_in_any_file_of_the_server(bus: Bus) -> None:
    seed = new_user_seed()
    node = await bus.join(seed=seed)
    await report(node)
    with pytest.raises(nats.errors.Error, match=REFUSED):
        await bus.join(token="wrong-secret")

    files = [path for path in bus.config.directory.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    hidden = [
        bus.secrets.join_secret.reveal(),
        bus.secrets.issuer_seed.reveal(),
        bus.secrets.orchestrator_seed.reveal(),
        seed,
        "wrong-secret",
    ]
    assert content
    assert [secret for secret in hidden if secret.encode() in content] == []


# ---- where a node may publish and subscribe ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "subject",
    [
        ">",
        "*.>",
        "tarpon.>",
        "tarpon.v1.node.*.in.>",
        "tarpon.v1.node.victim.in.>",
        "tarpon.v1.node.victim.in.orders",
        "tarpon.v1.node.victim.out.>",
        "tarpon.v1.node.*.out.reports",
        "tarpon.v1.leader.reports",
        "tarpon.v1.api.>",
        "tarpon.v1.events.>",
        "_INBOX.>",
        "_INBOX.*.*",
        "_INBOX.victim.>",
        "_R_.>",
        "$JS.API.>",
        "$JS.ACK.>",
        "$KV.>",
        "$SYS.>",
        "$SYS.REQ.USER.AUTH",
        "$SRV.>",
    ],
)
async def test_a_node_can_listen_to_nothing_but_its_own(bus: Bus, subject: str) -> None:
    victim, node = await bus.join("victim"), await bus.join("node-1")
    await answering(victim.client, subjects.node_orders(victim.id), b"accepted")
    await answering(bus.client, subjects.ALL_NODE_REQUESTS, b"granted")

    overheard = [await inbox(node.client, subject), Inbox(await node.client.subscribe(subject, queue="q"))]
    await node.settle()
    await bus.connection.request(subjects.node_orders(victim.id), b"run", timeout=WITHIN_SECONDS)
    await victim.client.request(subjects.node_requests(victim.id), b"grant?", timeout=WITHIN_SECONDS)
    await report(victim)
    await bus.join("node-2")
    await node.settle()

    await node.is_denied(f'permissions violation for subscription to "{subject}"')
    assert all(each.is_empty for each in overheard)


@pytest.mark.parametrize(
    "subject",
    [
        "tarpon.v1.node.victim.in.orders",
        "tarpon.v1.node.victim.out.reports",
        "tarpon.v1.node.victim.out.requests",
        "tarpon.v1.node.victim.out.heartbeat",
        "tarpon.v1.node.node-1.in.orders",
        "tarpon.v1.leader.reports",
        "tarpon.v1.api.me.jobs.submit",
        "tarpon.v1.events.default.j-1.done",
        "_INBOX.victim.anything",
        f"$KV.{subjects.STATE_BUCKET}.{RECORD}",
        f"$JS.API.STREAM.DELETE.{subjects.REPORTS_STREAM}",
        "$JS.API.INFO",
        f"$JS.ACK.{subjects.REPORTS_STREAM}.orchestrator.1.1.1.1.1",
        "$SYS.REQ.USER.AUTH",
        "$SYS.REQ.SERVER.PING",
        "$SRV.PING",
    ],
)
async def test_a_node_can_publish_nowhere_but_on_its_own(bus: Bus, stored: Stored, subject: str) -> None:
    victim, node = await bus.join("victim"), await bus.join("node-1")
    seen = [
        await inbox(victim.client, subjects.node_may_subscribe(victim.id)[0]),
        await inbox(victim.client, subjects.node_may_subscribe(victim.id)[1]),
        await inbox(bus.client, "tarpon.>"),
    ]
    await stored.prepare()

    await node.client.publish(subject, b"{}")
    await node.client.publish(subject, b"{}", reply=f"{subjects.node_inbox(node.id)}.x")
    await node.settle()
    await taken_in(bus.client)
    await victim.settle()

    await node.is_denied(f'permissions violation for publish to "{subject}"')
    assert all(each.is_empty for each in seen)
    await stored.is_untouched()


async def test_what_a_node_publishes_elsewhere_below_its_own_reaches_nobody(bus: Bus, stored: Stored) -> None:
    node = await bus.join()
    seen = await inbox(bus.client, ">")
    await stored.prepare()

    await node.client.publish(f"tarpon.v1.node.{node.id}.out.reports.more", b"{}", reply=EVIL_REPLIES[0])
    await node.settle()
    await node.client.publish(subjects.node_heartbeat(node.id), b"last")

    while (message := await seen.next()).data != b"last":
        assert f"node.{node.id}" not in message.subject
    await stored.is_untouched()


# ---- reply subjects, which the server does not check -------------------------------------------------------------


@pytest.mark.parametrize("reply", EVIL_REPLIES)
async def test_the_acknowledgement_of_a_report_touches_no_state(bus: Bus, stored: Stored, reply: str) -> None:
    node = await bus.join()
    await stored.prepare()

    await node.client.publish(subjects.node_reports(node.id), b"{}", reply=reply)

    assert (await report(node))["seq"] == 2
    await node.settle()
    await stored.is_untouched()


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"seq": 1}'], ids=["empty", "object", "sequence"])
@pytest.mark.parametrize("reply", EVIL_REPLIES)
async def test_the_answer_to_a_request_touches_no_state(bus: Bus, stored: Stored, reply: str, answer: bytes) -> None:
    node = await bus.join()
    received = await answering(bus.client, subjects.ALL_NODE_REQUESTS, answer)
    await stored.prepare()

    await node.client.publish(subjects.node_requests(node.id), b"{}", reply=reply)
    answered = await node.client.request(subjects.node_requests(node.id), b"{}", timeout=WITHIN_SECONDS)

    assert answered.data == answer
    assert len(received) == 2
    await taken_in(bus.client)
    await stored.is_untouched()


@pytest.mark.parametrize("reply", EVIL_REPLIES)
async def test_the_answer_to_an_order_touches_no_state(bus: Bus, stored: Stored, reply: str) -> None:
    node = await bus.join()
    orders = await inbox(node.client, subjects.node_orders(node.id))
    await stored.prepare()

    answers = await inbox(bus.client, "_INBOX.order")
    await bus.client.publish(subjects.node_orders(node.id), b"run", reply="_INBOX.order")
    order = await orders.next()
    await node.client.publish(order.reply, b"{}", reply=reply)

    answer = await answers.next()
    assert answer.data == b"{}"
    if answer.reply:
        await answer.respond(b"")
    await taken_in(bus.client)
    await node.settle()
    await stored.is_untouched()


async def test_an_order_is_answered_once_and_its_reply_subject_is_of_no_further_use(bus: Bus) -> None:
    node = await bus.join()
    orders = await inbox(node.client, subjects.node_orders(node.id))
    answers = await inbox(bus.client, "_INBOX.order")

    await bus.client.publish(subjects.node_orders(node.id), b"run", reply="_INBOX.order")
    order = await orders.next()
    await node.client.publish(order.reply, b"first")
    await node.client.publish(order.reply, b"second")
    await node.settle()
    await taken_in(bus.client)

    assert (await answers.next()).data == b"first"
    assert answers.is_empty
    await node.is_denied("permissions violation for publish to")


async def test_an_answer_steered_onto_another_node_arrives_without_a_reply_subject(bus: Bus) -> None:
    """A receiver of orders drops what it cannot answer, so this places no order."""
    victim, node = await bus.join("victim"), await bus.join("node-1")
    received = await inbox(victim.client, subjects.node_orders(victim.id))
    await answering(bus.client, subjects.ALL_NODE_REQUESTS, b'{"type": "Assignment"}')

    steered = subjects.node_orders(victim.id)
    await node.client.publish(subjects.node_requests(node.id), b"{}", reply=steered)
    await node.client.publish(subjects.node_reports(node.id), b"{}", reply=steered)
    await report(node)
    await node.settle()

    assert (await received.next()).reply == ""
    assert (await received.next()).reply == ""
    await taken_in(bus.client)
    await victim.settle()
    assert received.is_empty


async def test_a_node_cannot_take_the_subject_of_an_answer_that_the_server_made(bus: Bus) -> None:
    """`_R_` and `$JS.ACK` are the server's own; as reply subjects they would mix up answers of others."""
    node = await bus.join()
    requests = await inbox(bus.client, subjects.ALL_NODE_REQUESTS)

    await node.client.publish(subjects.node_requests(node.id), b"{}", reply="_R_.abcdef.ghijkl")
    await node.settle()

    await node.is_denied("permissions violation for publish with reply")
    await taken_in(bus.client)
    assert requests.is_empty


@pytest.mark.parametrize("destination", ["tarpon.v1.node.victim.in.orders", f"$KV.{subjects.STATE_BUCKET}.{RECORD}"])
async def test_a_trace_of_a_message_goes_nowhere_that_its_sender_may_not_publish(
    bus: Bus, stored: Stored, destination: str
) -> None:
    """nats-server publishes what happened to a message that has the header Nats-Trace-Dest."""
    victim, node = await bus.join("victim"), await bus.join("node-1")
    received = await inbox(victim.client, subjects.node_orders(victim.id))
    await stored.prepare()

    await node.client.publish(subjects.node_reports(node.id), b"{}", headers={"Nats-Trace-Dest": destination})
    await node.client.publish(subjects.node_heartbeat(node.id), b"{}", headers={"Nats-Trace-Dest": destination})
    await report(node)
    await node.settle()
    await taken_in(bus.client)
    await victim.settle()

    assert received.is_empty
    await stored.is_untouched()


@pytest.mark.parametrize(
    "headers",
    [{"Nats-Rollup": "all"}, {"Nats-TTL": "1s"}, {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": "a"}],
    ids=["rollup", "ttl", "schedule"],
)
async def test_headers_of_a_report_cannot_remove_the_reports_of_others(bus: Bus, headers: dict[str, str]) -> None:
    victim, node = await bus.join("victim"), await bus.join("node-1")
    await report(victim)

    assert "error" in await report(node, headers=headers)

    state = (await bus.jetstream.stream_info(subjects.REPORTS_STREAM)).state
    assert (state.messages, state.first_seq) == (1, 1)


# ---- many nodes, several orchestrators --------------------------------------------------------------------------


async def test_several_orchestrators_share_the_nodes_that_join(bus: Bus) -> None:
    async with bus.orchestrator() as (_, bindings), asyncio.TaskGroup() as joining:
        for number in range(40):
            joining.create_task(bus.join(f"node-{number}"))
    assert bus.bindings.binds > 0
    assert bindings.binds > 0
    assert bus.bindings.binds + bindings.binds == 40


async def test_two_hundred_nodes_can_join_at_once(bus: Bus) -> None:
    started = time.monotonic()
    async with asyncio.TaskGroup() as joining:
        tasks = [joining.create_task(bus.join(f"node-{number}")) for number in range(200)]
    assert all(task.result().client.is_connected for task in tasks)
    assert time.monotonic() - started < WITHIN_SECONDS
    assert bus.bindings.binds == 200


class HangingBindings(CountedBindings):
    """A state that does not answer."""

    async def bind(self, claim: Claim) -> None:
        self.binds += 1
        await asyncio.Event().wait()
        raise AssertionError


async def test_who_was_not_judged_in_time_is_not_judged_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server has given up by then; to judge it would make those late who can still be answered in time."""
    monkeypatch.setattr(attempts, "AT_ONCE", 2)
    monkeypatch.setattr(auth, "PATIENCE_SECONDS", auth.BIND_SECONDS / 2)
    bus = Bus(tmp_path)
    refusals: list[str] = []

    async def try_to_join() -> None:
        """Refused, though nats-py may take the server's first ping, after 2 s, for a welcome that it is not."""
        try:
            node = await bus.join()
        except nats.errors.Error as error:
            refusals.append(str(error))
            return
        try:
            with pytest.raises((nats.errors.Error, TimeoutError)):
                await node.client.flush(timeout=int(WITHIN_SECONDS))
        finally:
            await node.client.close()

    async with bus.server, bus.orchestrator(HangingBindings) as (_, bindings):
        async with asyncio.TaskGroup() as joining:
            for _ in range(20):
                joining.create_task(try_to_join())
        assert bindings.binds == 2
    assert [text for text in refusals if not re.search(REFUSED, text)] == []


async def test_a_node_that_is_away_is_noticed_at_once(bus: Bus) -> None:
    """An order to nobody is answered by the server, so that the orchestrator need not wait for its time-out."""
    with pytest.raises(nats.errors.NoRespondersError):
        await bus.client.request(subjects.node_orders(NodeId("away")), b"run", timeout=WITHIN_SECONDS)
