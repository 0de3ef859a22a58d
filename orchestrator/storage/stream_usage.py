"""The usage of streams: how full they are, and whether all servers that keep one have all of it."""

import asyncio
import logging
from collections.abc import Mapping

import msgspec
import nats.errors
from nats.js.api import PeerInfo, StreamInfo

from orchestrator.storage.streams import STREAMS
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection
from shared.protocol.orchestrators.rest_cluster import BEHIND, CURRENT, LEADS, OFFLINE
from shared.runtime.aio import raising_cancellation

_log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
ASK_SECONDS = 5.0


class StreamFill(msgspec.Struct, frozen=True, kw_only=True):
    """`limit_bytes` is 0 where there is none. Of `replicas` servers, `current` have all of it; one keeps it alone."""

    bytes: int
    messages: int
    limit_bytes: int = 0
    replicas: int = 1
    current: int = 1
    servers: Mapping[str, str] = {}
    """What each server that keeps it is for it (`StreamView.servers`), by its name."""


class StreamUsage:
    """What was told of each stream last, by its name; nothing of one that could not be asked."""

    def __init__(self, connection: Connection) -> None:
        self.streams: dict[str, StreamFill] = {}
        self._connection = connection

    async def run(self) -> None:
        """Ask once in a while, until cancelled."""
        while True:
            self.streams = await self._ask()
            await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self) -> dict[str, StreamFill]:
        found: dict[str, StreamFill] = {}
        try:
            async with asyncio.timeout(ASK_SECONDS):
                stream = self._connection.client.jetstream()
                for name in STREAMS:  # there are three
                    found[name] = fill_of(await raising_cancellation(stream.stream_info(name)))
        except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
            _log.debug("Streams cannot be asked about: %r", error)
        return found

    def __repr__(self) -> str:
        return f"<StreamUsage of {len(self.streams)} streams>"


def fill_of(info: StreamInfo) -> StreamFill:
    """A server tells of the others that keep a stream; where none leads, nobody answers for all."""
    cluster, limit = info.cluster, info.config.max_bytes or 0
    others = cluster.replicas or [] if cluster is not None else []
    leader = {cluster.leader: LEADS} if cluster is not None and cluster.leader else {}
    return StreamFill(
        bytes=info.state.bytes,
        messages=info.state.messages,
        limit_bytes=max(0, limit),
        replicas=info.config.num_replicas or 1,
        current=1 + sum(bool(each.current) and not each.offline for each in others),
        servers=leader | {each.name: _standing(each) for each in others if each.name},
    )


def _standing(server: PeerInfo) -> str:
    if server.offline:
        return OFFLINE
    return CURRENT if server.current else BEHIND
