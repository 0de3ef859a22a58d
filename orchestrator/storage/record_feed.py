"""The feed of records: every message of a stream reaches this process, in order, or the feed breaks off.

nats-py has ordered consumers too, but takes 10 to 20 s to notice that one is gone with its server, and asks for another
only once in that time. Meanwhile a leader would not see what others accept, and a follower would show what was.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from shared.runtime.aio import finish, raising_cancellation

_log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
"""How often the server says something, if there is nothing else to say."""
SILENT_SECONDS = 3.0
CLOSE_SECONDS = 1.0

_CONTROL = "100"
_STATUS, _LAST_OF_CONSUMER, _STALLED = "Status", "Nats-Last-Consumer", "Nats-Consumer-Stalled"
"""Headers of ADR-15 of NATS; the last names where to answer so that a consumer that waits for us goes on."""


_SHORT_REPLY = 9
"""So many tokens a reply subject of a delivery has, or at least two more: of the domain and the account (ADR-15)."""


class FeedPlace(NamedTuple):
    """A delivery's numbers in its stream and in its consumer, when it was stored, and how many are still to come.

    The time is the server's, in nanoseconds since 1970.
    """

    in_stream: int
    in_consumer: int
    stored_at: int
    pending: int


Take = Callable[[Msg, FeedPlace], None]
"""Is given a message and its place in the stream."""


def place(reply: str) -> FeedPlace:
    """What a delivery's reply subject tells, at a tenth of the cost of nats-py's metadata."""
    tokens = reply.split(".")
    at = 5 if len(tokens) == _SHORT_REPLY else 7
    return FeedPlace(int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 2]), int(tokens[at + 3]))


def delivered(reply: str) -> int:
    """How often this delivery has been made, which is told just before its numbers."""
    tokens = reply.split(".")
    return int(tokens[4 if len(tokens) == _SHORT_REPLY else 6])


def _running() -> float:
    """Goes on while the machine is suspended, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FeedBroken(nats.errors.Error):
    """A message is missing, or nothing was heard for too long."""


class RecordFeed:
    """`take` is called for each message of `subject` in `stream`, from the one after sequence number `after` on.

    `on_current` is called whenever there is nothing more to come at present. With `headers_only` no payload comes.
    """

    def __init__(
        self,
        client: Client,
        *,
        stream: str,
        subject: str,
        after: int,
        take: Take,
        on_current: Callable[[], None],
        headers_only: bool = False,
    ) -> None:
        self._client = client
        self._stream = stream
        self._subject = subject
        self._after = after
        self._take = take
        self._on_current = on_current
        self._headers_only = headers_only
        self._delivered = 0
        self._heard_at = math.inf
        self._broken = asyncio.Event()
        self._failure = ""

    async def run(self) -> None:
        """Until cancelled. Raises FeedBroken, and what nats-py raises when the feed cannot begin."""
        inbox = self._client.new_inbox()
        subscription = await raising_cancellation(self._client.subscribe(inbox, cb=self._on_message))
        try:
            info = await raising_cancellation(self._client.jetstream().add_consumer(self._stream, self._config(inbox)))
            if not info.num_pending:
                self._on_current()
            await self._until_broken()
        finally:
            await finish(_end(subscription), within=CLOSE_SECONDS)

    def _config(self, inbox: str) -> ConsumerConfig:
        return ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            filter_subject=self._subject,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            idle_heartbeat=HEARTBEAT_SECONDS,
            flow_control=True,
            mem_storage=True,
            num_replicas=1,
            headers_only=self._headers_only or None,
        )

    async def _until_broken(self) -> None:
        self._heard_at = _running()
        while not self._broken.is_set():
            left = self._heard_at + SILENT_SECONDS - _running()
            if left <= 0:
                raise FeedBroken(f"Nothing was heard of {self._stream} for {SILENT_SECONDS:g} s.")
            try:
                async with asyncio.timeout(left):
                    await self._broken.wait()
            except TimeoutError:
                continue
        raise FeedBroken(self._failure or f"A message of {self._stream} is missing.")

    async def _on_message(self, message: Msg) -> None:
        """Whatever fails ends the feed, which then is begun again: nats-py would go on, and tell nobody.

        So does a message that comes after a long silence: this process may have stood still meanwhile, and messages
        that were meant for it may have gone.
        """
        before, self._heard_at = self._heard_at, _running()
        if self._heard_at - before > SILENT_SECONDS:
            self._failure = self._failure or f"Nothing was heard of {self._stream} for {self._heard_at - before:.0f} s."
            self._broken.set()
        try:
            if message.headers is not None and message.headers.get(_STATUS) == _CONTROL:
                await self._on_control(message, message.headers)
            elif not self._broken.is_set():
                self._deal_with(message)
        except Exception as error:  # noqa: BLE001  # it is raised by `run`
            _log.exception("What was heard of %s could not be dealt with.", self._stream)
            self._failure = f"A message of {self._stream} could not be dealt with: {error!r}."
            self._broken.set()

    def _deal_with(self, message: Msg) -> None:
        self._delivered += 1
        at = place(message.reply)
        if at.in_consumer != self._delivered:
            self._broken.set()
            return
        self._take(message, at)
        if not at.pending:
            self._on_current()

    async def _on_control(self, message: Msg, headers: dict[str, str]) -> None:
        last = headers.get(_LAST_OF_CONSUMER, "")
        if last.isdecimal() and int(last) != self._delivered:
            self._broken.set()
        go_on = message.reply or headers.get(_STALLED, "")
        if go_on:
            await self._client.publish(go_on)
        elif last == str(self._delivered):
            self._on_current()

    def __repr__(self) -> str:
        return f"<RecordFeed of {self._stream}, {self._delivered} messages after {self._after}>"


async def _end(subscription: Subscription) -> None:
    with contextlib.suppress(nats.errors.Error, OSError):  # it may have ended with its connection
        await subscription.unsubscribe()
