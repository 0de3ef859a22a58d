"""How the node shows that it lives."""

import asyncio
import contextlib
from collections.abc import Callable

from shared.errors import MessagingUnavailable
from shared.messages import Heartbeat, encode
from shared.transport import Connection


async def send_heartbeats(
    connection: Connection, subject: str, heartbeat: Callable[[], Heartbeat], *, interval_seconds: float
) -> None:
    """Until cancelled. One that cannot be sent is not made up for: the next one says all that it said."""
    while True:
        with contextlib.suppress(MessagingUnavailable):
            await connection.publish(subject, encode(heartbeat()))
        await asyncio.sleep(interval_seconds)
