"""Replicas: on how many servers of a NATS cluster the state is, changed for what is there already."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import nats.errors
from nats.aio.client import Client

from orchestrator.admission.secret_files import Secrets
from orchestrator.storage.streams import STREAMS
from shared.errors import MessagingUnavailable, MessagingUnfit
from shared.messaging.transport import connect
from shared.runtime.aio import raising_cancellation

ASK_SECONDS = 10.0
COPY_SECONDS = 120.0
LOOK_SECONDS = 0.25
_ABSENT = 10059


class Kept(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A stream, on how many servers it was and is, and whether all of them have all of it by now."""

    stream: str
    before: int
    now: int
    complete: bool


async def set_replicas(client: Client, count: int) -> list[Kept]:
    """Of each stream that there is, whose configuration stays as it is otherwise.

    Raises MessagingUnavailable, MessagingUnfit, and what nats-py raises.
    """
    kept: list[Kept] = []
    for stream in STREAMS:
        info = await _ask(client, f"STREAM.INFO.{stream}")
        if info is None:
            continue
        config = info["config"]
        before = int(config.get("num_replicas", 1))
        if before != count:
            await _ask(client, f"STREAM.UPDATE.{stream}", config | {"num_replicas": count})
        complete = await _until_copied(client, stream, count)
        kept.append(Kept(stream=stream, before=before, now=count, complete=complete))
    if not kept:
        raise MessagingUnavailable(
            "No orchestrator has stored anything on this server yet.",
            hint="Start one first: Orchestrator.NATS.Replicas says on how many servers it stores.",
        )
    return kept


async def connected_set_replicas(
    servers: Sequence[str], secrets: Secrets, count: int, trust: ssl.SSLContext | None = None
) -> list[Kept]:
    """As `set_replicas`, over a connection of its own. Raises MessagingUnavailable."""
    seed = secrets.orchestrator_seed.reveal()
    async with connect(servers, name="nats-replicas", nkey_seed=seed, trust=trust, quiet=True) as connection:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await connection.wait_connected()
            return await set_replicas(connection.client, count)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(
                f"{connection.problem}." if connection.problem else f"JetStream does not answer: {error!r}",
                hint="`tarpon agent nats-check` tells what is in the way.",
            ) from error


async def _until_copied(client: Client, stream: str, count: int) -> bool:
    until = time.monotonic() + COPY_SECONDS
    while not _is_copied(await _ask(client, f"STREAM.INFO.{stream}") or {}, count):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _is_copied(info: Mapping[str, Any], count: int) -> bool:
    cluster = info.get("cluster") or {}
    copies = cluster.get("replicas") or []
    return count == 1 or (
        bool(cluster.get("leader")) and len(copies) == count - 1 and all(each.get("current") for each in copies)
    )


async def _ask(client: Client, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """JetStream's answer; None about what is not there."""
    payload = msgspec.json.encode(body) if body is not None else b""
    answer = await raising_cancellation(client.request(f"$JS.API.{what}", payload, timeout=ASK_SECONDS))
    told: dict[str, Any] = msgspec.json.decode(answer.data)
    error = told.get("error")
    if error is None:
        return told
    if error.get("err_code") == _ABSENT:
        return None
    raise MessagingUnfit(
        f"NATS would not keep {what.rpartition('.')[2]} on so many servers:"
        f" {str(error.get('description', 'it does not say why'))[:300]} (JetStream error {error.get('err_code', 0)}).",
        hint="It takes so many servers of one cluster with JetStream and room; `tarpon agent nats-check` lists them.",
    )
