"""Servers of a cluster: what each says of itself in the system account, and what of that is in the way."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from orchestrator.admission.nats_accounts import ORCHESTRATORS, Accounts
from orchestrator.admission.nats_config import FOR_INTEGRATIONS, FROM_NODES, PING_SECONDS
from orchestrator.storage.nats_fitness import OLDEST_TEXT, is_old
from shared.errors import MessagingUnfit
from shared.messaging.transport import MAX_PAYLOAD_BYTES, Connection
from shared.protocol import subjects

PATIENCE_SECONDS = 0.5
"""How long answers are waited for after the last one; how many servers there are nobody knows."""
NEARLY_FULL = 0.95

T = TypeVar("T")


class ServerProblem(NamedTuple):
    message: str
    hint: str


class ServerFacts(msgspec.Struct):
    """Of VARZ, what matters here (nats-server, `server/monitor.go`)."""

    server_name: str = ""
    version: str = ""
    connections: int = 0
    max_connections: int = 0
    max_payload: int = 0
    ping_interval: int = 0
    jetstream: dict[str, object] = {}
    config_load_time: str = ""


class _Import(msgspec.Struct):
    subject: str = ""
    account: str = ""
    invalid: bool = False


class _Detail(msgspec.Struct):
    account_name: str = ""
    imports: list[_Import] = []


class _Account(msgspec.Struct):
    account_detail: _Detail | None = None
    accounts: list[str] = []


class _Sender(msgspec.Struct):
    name: str = ""


class _VariablesTold(msgspec.Struct):
    server: _Sender = msgspec.field(default_factory=_Sender)
    data: ServerFacts | None = None


class _AccountTold(msgspec.Struct):
    server: _Sender = msgspec.field(default_factory=_Sender)
    data: _Account | None = None


async def ask_servers(system: Connection) -> list[ServerFacts]:
    """What each one runs with. Raises MessagingUnavailable, and what nats-py raises."""
    told = await _ask_all(system, subjects.VARIABLES, [b"{}"], _VariablesTold)
    return sorted((each.data for each in told if each.data is not None), key=lambda each: each.server_name)


def problems_of(server: ServerFacts) -> Iterator[ServerProblem]:
    name = f"Server {server.server_name[:80]}"
    if is_old(server.version):
        yield ServerProblem(
            f"{name} is version {server.version[:40]}, and {OLDEST_TEXT} or later is needed.",
            "Install a later nats-server, and start it again.",
        )
    if server.max_payload < MAX_PAYLOAD_BYTES:
        yield ServerProblem(
            f"{name} takes messages of {server.max_payload:,} bytes at most, not {MAX_PAYLOAD_BYTES:,}.",
            f"Set max_payload: {MAX_PAYLOAD_BYTES} in its configuration, and reload it.",
        )
    if server.max_connections > 0 and server.connections >= NEARLY_FULL * server.max_connections:
        yield ServerProblem(
            f"{name} has {server.connections} of {server.max_connections} possible connections.",
            "Raise max_connections in its configuration, and reload it.",
        )


def remarks_on(server: ServerFacts) -> Iterator[str]:
    """What works, and could be better."""
    name = f"Server {server.server_name[:80]}"
    seconds = server.ping_interval / 1e9
    if seconds > PING_SECONDS:
        yield (
            f"{name} asks silent connections every {seconds:.0f} s whether they live; with"
            f' `ping_interval: "{PING_SECONDS}s"` one that hangs is asked nothing more after half a minute.'
        )
    if not server.jetstream:
        yield f"{name} has no JetStream, so that it keeps no copy of the state."


class Joints(NamedTuple):
    """What accounts there are, and what is not joined as it has to be, on any server."""

    names: list[str]
    lacking: list[str]


async def ask_joints(system: Connection, servers: Iterable[ServerFacts], accounts: Accounts) -> Joints:
    """Raises as `ask_servers`."""
    wanted = {
        ORCHESTRATORS: {(subjects.ALL_NODE_ORDERS, accounts.nodes)},
        accounts.nodes: {(subject, ORCHESTRATORS) for subject in FROM_NODES},
        accounts.integrations: {(subject, ORCHESTRATORS) for _, subject in FOR_INTEGRATIONS},
    }
    questions = [b"{}", *(msgspec.json.encode({"account": account}) for account in wanted)]
    told = await _ask_all(system, subjects.ACCOUNT, questions, _AccountTold)
    answers = [(each.server.name, each.data) for each in told if each.data is not None]
    names = sorted({name[:80] for _, data in answers for name in data.accounts})
    found = {(server, detail.account_name): detail for server, data in answers if (detail := data.account_detail)}
    lacking: list[str] = []
    for server in servers:
        for account, imports in wanted.items():
            detail = found.get((server.server_name, account))
            if detail is None:
                lacking.append(f"Server {server.server_name[:80]} has no account {account}.")
                continue
            good = {(each.subject, each.account) for each in detail.imports if not each.invalid}
            lacking += [
                f"The account {account} of server {server.server_name[:80]} does not import {subject} from {of}."
                for subject, of in sorted(imports - good)
            ]
    return Joints(names, lacking)


async def _ask_all(system: Connection, what: str, questions: Sequence[bytes], kind: type[T]) -> list[T]:
    inbox, decoder, told = system.client.new_inbox(), msgspec.json.Decoder(kind), list[T]()
    async with system.subscribe(inbox) as answers:
        for question in questions:
            await system.client.publish(subjects.server_request("PING", what), question, reply=inbox)
        while True:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    answer = (await anext(answers)).payload
            except TimeoutError:
                return told
            if not answer:  # nobody takes such a request
                raise MessagingUnfit("What the orchestrator takes for the system account is another one.")
            told.append(decoder.decode(answer))
