"""Replies, which find the requests that wait for them: one inbox for all requests over one connection.

nats-py has requests too, at about three times the cost each: a random inbox and a `wait_for` for every one. These are
most of what an orchestrator does, so they are numbered instead, and one timer looks after them.
"""

import asyncio
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

_STATUS, _NO_RESPONDERS = "Status", "503"

LATE_SECONDS = 0.02
"""How much later than asked for a request may time out."""


class Replies:
    """The requests that wait over `client`. Call `open` before the first one."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = f"{client.new_inbox()}."
        self._count = 0
        self._waiting: dict[str, tuple[asyncio.Future[Msg], float]] = {}
        """By inbox, each with when it times out, by the clock of the loop."""
        self._is_watched = False

    async def open(self) -> None:
        await self._client.subscribe(f"{self._prefix}*", cb=self._on_reply)

    async def request(
        self, subject: str, payload: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Raises what nats-py raises, and TimeoutError."""
        self._count += 1
        inbox = f"{self._prefix}{self._count}"
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Msg] = loop.create_future()
        self._waiting[inbox] = reply, loop.time() + timeout
        if not self._is_watched:
            self._watch(loop)
        try:
            await self._client.publish(subject, payload, reply=inbox, headers=dict(headers) if headers else None)
            message = await reply
        finally:
            del self._waiting[inbox]
        if message.headers is not None and message.headers.get(_STATUS) == _NO_RESPONDERS:
            raise nats.errors.NoRespondersError
        content: bytes = message.data
        return content

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail what has waited for too long, and look again soon while something waits."""
        now = loop.time()
        for reply, until in self._waiting.values():
            if until <= now:
                _fail(reply, TimeoutError("no answer"))
        self._is_watched = bool(self._waiting)
        if self._is_watched:
            loop.call_later(LATE_SECONDS, self._watch, loop)

    def close(self) -> None:
        """Nothing will be answered any more: fail what waits, instead of having it wait for its time-out."""
        for reply, _ in self._waiting.values():
            _fail(reply, nats.errors.ConnectionClosedError())

    async def _on_reply(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(message)

    def __repr__(self) -> str:
        return f"<Replies, {len(self._waiting)} awaited>"


def _fail(reply: asyncio.Future[Msg], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
