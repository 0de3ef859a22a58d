"""Heartbeats, by which the node shows that it lives."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from msgspec.structs import replace

from compute.disk.disk_space import Space
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection
from shared.protocol.messages import Heartbeat, encode

PROGRESS_SECONDS = 2.0
"""How often, while there is progress to tell."""


async def send_heartbeats(
    connection: Connection,
    subject: str,
    heartbeat: Callable[[], Heartbeat],
    *,
    interval_seconds: float,
    has_progress: Callable[[], bool],
    space: Callable[[], Space] = Space,
) -> None:
    """Until cancelled. One that cannot be sent is not made up for: the next one says all that it said."""
    beaten_at = -math.inf
    while True:
        if time.monotonic() - beaten_at >= interval_seconds or has_progress():
            beaten_at = time.monotonic()
            with contextlib.suppress(MessagingUnavailable):
                free, size = space()
                told = replace(heartbeat(), sent_at=time.time(), disk_free=free, disk_size=size)
                await connection.publish(subject, encode(told))
        left = beaten_at + interval_seconds - time.monotonic()
        await asyncio.sleep(max(0.0, min(PROGRESS_SECONDS, left)))
