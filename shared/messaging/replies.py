"""Replies, which find the requests that wait for them: one inbox for all requests over one connection.

nats-py has requests too, at about three times the cost each: a random inbox and a `wait_for` for every one. These are
most of what an orchestrator does, so they are numbered instead, and one timer looks after them.
"""

import asyncio
from collections.abc import Mapping

import nats.errors

from shared.messaging.client import MendedClient

_NO_RESPONDERS = b"NATS/1.0 503"

LATE_SECONDS = 0.02
"""How much later than asked for a request may time out."""


class Replies:
    """The requests that wait over `client`. Call `open` before the first one."""

    def __init__(self, client: MendedClient) -> None:
        self._client = client
        self._prefix = f"{client.new_inbox()}."
        self._count = 0
        self._waiting: dict[bytes, tuple[asyncio.Future[bytes], float]] = {}
        """By inbox, each with when it times out, by the clock of the loop."""
        self._is_watched = False

    async def open(self) -> None:
        await self._client.take(f"{self._prefix}*", self._on_reply)

    async def request(
        self, subject: str, payload: bytes, *, timeout: float, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Raises what nats-py raises, and TimeoutError."""
        self._count += 1
        inbox = f"{self._prefix}{self._count}"
        place, loop = inbox.encode(), asyncio.get_running_loop()
        reply: asyncio.Future[bytes] = loop.create_future()
        self._waiting[place] = reply, loop.time() + timeout
        if not self._is_watched:
            self._watch(loop)
        try:
            await self._client.ask(subject, payload, reply=inbox, headers=headers)
            return await reply
        finally:
            del self._waiting[place]

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

    def _on_reply(self, subject: bytes, payload: bytes, headers: bytes) -> None:
        waiting = self._waiting.get(bytes(subject))
        if waiting is None or waiting[0].done():
            return
        if headers and headers.startswith(_NO_RESPONDERS):
            waiting[0].set_exception(nats.errors.NoRespondersError())
        else:
            waiting[0].set_result(bytes(payload))

    def __repr__(self) -> str:
        return f"<Replies, {len(self._waiting)} awaited>"


def _fail(reply: asyncio.Future[bytes], error: Exception) -> None:
    if not reply.done():
        reply.set_exception(error)
