"""The dump of records: all that is stored at one moment, read while others go on writing.

A reader of the stream that is at its end knows each record as it stands then: what was replaced before it came there
came again. So reading goes on until the end is reached once, and that end is the moment. All that was acknowledged
before the reading began is there by then, since the leader of the stream is asked first what it has stored.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from orchestrator.storage.record_feed import place
from orchestrator.storage.removal_marks import is_removal
from shared.errors import MessagingUnavailable, NotFound
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import finish, raising_cancellation

STREAM = f"KV_{subjects.STATE_BUCKET}"
PREFIX = f"$KV.{subjects.STATE_BUCKET}."

BATCH = 64
"""So many records are in memory at a time, each of which may have as many bytes as a message."""
ASK_SECONDS = 10.0
FETCH_SECONDS = 2.0
IDLE_SECONDS = 60.0
CLOSE_SECONDS = 2.0
_OUTRUN = 4
"""After so many times what was there at the beginning, it is not read to its end any more."""
_FEW = 100_000


class StateAbsent(NotFound):
    """No orchestrator has stored anything on this NATS server."""


class DumpedRecord(NamedTuple):
    """What is stored under a key since a revision; no `payload` where it was removed after an earlier one was given."""

    key: str
    revision: int
    payload: bytes | None


class RecordDump:
    """The records, in the order in which they were stored; a later one of a key replaces an earlier one.

    `count` is how many were there at the beginning, and `revision` the moment of which they are, once all are read.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.count = 0
        self.revision = 0
        self._target = 0
        self._pending = 0

    async def batches(self) -> AsyncIterator[list[DumpedRecord]]:
        """Raises StateAbsent, MessagingUnavailable."""
        stream = self._connection.client.jetstream(timeout=ASK_SECONDS)
        try:
            await self._begin(stream)
            consumer = await raising_cancellation(stream.add_consumer(STREAM, _consumer()))
            try:
                self._pending = consumer.num_pending or 0
                reader = await stream.pull_subscribe_bind(consumer.name, stream=STREAM)
                async for batch in self._read(stream, reader):
                    yield batch
            finally:
                await finish(_forget(stream, consumer.name), within=CLOSE_SECONDS)
        except nats.js.errors.NotFoundError as error:
            raise StateAbsent(
                "No orchestrator has stored anything on this NATS server yet.",
                hint="Run this where the orchestrator runs, as its user and with its settings.",
            ) from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"What is stored could not be read to its end: {error!r}") from error

    async def _begin(self, stream: JetStreamContext) -> None:
        info = await raising_cancellation(stream.stream_info(STREAM))
        self._target, self.count = info.state.last_seq, info.state.messages

    async def _read(
        self, stream: JetStreamContext, reader: JetStreamContext.PullSubscription
    ) -> AsyncIterator[list[DumpedRecord]]:
        read = 0
        while not await self._is_whole(stream):
            messages = await _fetched(reader)
            read += len(messages)
            if read > _OUTRUN * self.count + _FEW:
                raise MessagingUnavailable(
                    "Records are written faster than they can be read.", hint="Try again when there is less to do."
                )
            yield [each for message in messages if (each := self._dumped(message)) is not None]

    def _dumped(self, message: Msg) -> DumpedRecord | None:
        at = place(message.reply)
        self.revision, self._pending = at.in_stream, at.pending
        key = message.subject.removeprefix(PREFIX)
        if not is_removal(message.headers):
            return DumpedRecord(key, at.in_stream, message.data)
        # A mark from before the reading began has taken the place of what nobody was given.
        return DumpedRecord(key, at.in_stream, None) if at.in_stream > self._target else None

    async def _is_whole(self, stream: JetStreamContext) -> bool:
        """Whether the end is reached, which a server that is behind the leader of the stream cannot tell alone."""
        if self._pending:
            return False
        if self.revision >= self._target:
            return True
        try:
            await raising_cancellation(stream.get_msg(STREAM, seq=self.revision + 1, subject=f"{PREFIX}>", next=True))
        except nats.js.errors.NotFoundError:  # the last marks have gone
            return True
        return False

    def __repr__(self) -> str:
        return f"<RecordDump of {self.count} records, at {self.revision}>"


def _consumer() -> ConsumerConfig:
    return ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL,
        filter_subject=f"{PREFIX}>",
        ack_policy=AckPolicy.NONE,
        inactive_threshold=IDLE_SECONDS,
        mem_storage=True,
        num_replicas=1,
    )


async def _fetched(reader: JetStreamContext.PullSubscription) -> list[Msg]:
    try:
        return await raising_cancellation(reader.fetch(BATCH, timeout=FETCH_SECONDS))
    except TimeoutError:
        return []


async def _forget(stream: JetStreamContext, consumer: str) -> None:
    try:
        await stream.delete_consumer(STREAM, consumer)
    except (nats.errors.Error, OSError):
        return  # it goes by itself
