"""How answers find the requests that wait for them: one inbox for all requests over one connection.

nats-py has requests too, at about three times the cost each: a random inbox and a `wait_for` for every one. These are
most of what an orchestrator does, so they are numbered instead, and each has one timer.
"""

import asyncio
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

_STATUS, _NO_RESPONDERS = "Status", "503"


class Replies:
    """The requests that wait over `client`. Call `open` before the first one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = f"{client.new_inbox()}."
        self._count = 0
        self._waiting: dict[str, asyncio.Future[Msg]] = {}

    async def open(self) -> None:
        await self._client.subscribe(f"{self._prefix}*", cb=self._on_reply)

    async def request(
        self, subject: str, payload: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Raises what nats-py raises, and TimeoutError."""
        self._count += 1
        inbox = f"{self._prefix}{self._count}"
        loop = asyncio.get_running_loop()
        reply = self._waiting[inbox] = loop.create_future()
        timer = loop.call_later(timeout, _fail, reply, TimeoutError("no answer"))
        try:
            await self._client.publish(subject, payload, reply=inbox, headers=dict(headers) if headers else None)
            message = await reply
        finally:
            timer.cancel()
            del self._waiting[inbox]
        if message.headers is not None and message.headers.get(_STATUS) == _NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        content: bytes = message.data
        return content

    def close(self) -> None:
        """Nothing will be answered any more: fail what waits, instead of having it wait for its time-out."""
        for reply in self._waiting.values():
            _fail(reply, nats.errors.ConnectionClosedError())

    async def _on_reply(self, message: Msg) -> None:
        reply = self._waiting.get(message.subject)
        if reply is not None and not reply.done():
            reply.set_result(message)

    def __repr__(self) -> str:
        return f"<Replies, {len(self._waiting)} awaited>"


def _fail(reply: asyncio.Future[Msg], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
