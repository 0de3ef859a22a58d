"""Where state is kept: records in a key-value bucket of JetStream, reports in a work-queue stream.

Every write is conditional: a record is created only if its key is new, and updated only if it still has the revision
that was read. What is written is in the model when the write returns; what other orchestrators write arrives by
watching.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.kv import KeyValue

from orchestrator.model import Model, decode_record
from orchestrator.records import SCHEMA, Record
from shared import subjects
from shared.aio import finish, heeding
from shared.errors import MessagingUnavailable, NotReady, RevisionConflict
from shared.transport import Connection

_log = logging.getLogger(__name__)

C = TypeVar("C")

WRITE_SECONDS = 5.0
SET_UP_SECONDS = 10.0
RETRY_SECONDS = 0.5

REPORTS_PER_NODE = 4096
"""How many reports of one node are kept; then that node is told to wait and the others go on."""
REPORTS_BYTES = 1 << 30
REPORTS_IN_FLIGHT = 512
REPORT_SECONDS = 15
"""After how long a report that was taken and not acknowledged is given out again."""


class Store:
    """Reads and writes records; `ready` is set once the model holds everything that was stored before."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self.model = model
        self.ready = asyncio.Event()
        self.newer_schema = False
        self._connection = connection
        self._buckets: tuple[int, KeyValue] | None = None
        self._watched = 0

    async def create(self, key: str, record: Record) -> None:
        """Store a new record. Raises RevisionConflict if the key is taken, MessagingUnavailable if unknown."""
        await self._write(key, record, 0)

    async def update(self, key: str, record: Record) -> None:
        """Replace the record that the model holds. Raises RevisionConflict if it has changed meanwhile."""
        await self._write(key, record, self.model.revision_of(key))

    async def _write(self, key: str, record: Record, revision: int) -> None:
        payload = msgspec.json.encode(record)
        bucket = await self._bucket()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                stored = await heeding(bucket.update(key, payload, last=revision))
        except nats.js.errors.KeyWrongLastSequenceError:
            raise RevisionConflict(key) from None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"The record {key} could not be stored: {error!r}") from error
        self.model.apply(key, record, stored)

    async def read(self, key: str) -> Record | None:
        """The stored record itself, past the model; None if there is none."""
        bucket = await self._bucket()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                entry = await heeding(bucket.get(key))
        except nats.js.errors.KeyNotFoundError:
            return None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"The record {key} could not be read: {error!r}") from error
        record = decode_record(key, entry.value or b"")
        if record is not None:
            self.model.apply(key, record, entry.revision or 0)
        return record

    async def _bucket(self) -> KeyValue:
        number, client = self._connection.connections, self._connection.client
        if self._buckets is None or self._buckets[0] != number:
            try:
                bucket = await heeding(client.jetstream().key_value(subjects.STATE_BUCKET))
            except (nats.errors.Error, OSError, TimeoutError) as error:
                raise MessagingUnavailable(f"The state cannot be reached: {error!r}") from error
            self._buckets = number, bucket
        return self._buckets[1]

    # ---- keeping the model up to date -------------------------------------------------------------------------------

    async def keep_model(self) -> None:
        """Make the streams where they are absent, then follow every record, over every connection, until cancelled."""
        followed = 0
        while True:
            number = await self._connection.next_connection(followed)
            try:
                await self._follow(number)
                followed = number
            except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
                _log.warning("The stored state cannot be followed at present: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, number: int) -> None:
        stream = self._connection.client.jetstream()
        async with asyncio.timeout(SET_UP_SECONDS):
            await heeding(set_up_streams(stream))
            info = await heeding(stream.stream_info(f"KV_{subjects.STATE_BUCKET}"))
        target = info.state.last_seq
        prefix = f"$KV.{subjects.STATE_BUCKET}."

        async def take(message: Msg) -> None:
            sequence = message.metadata.sequence.stream
            self._take(message.subject.removeprefix(prefix), message.data, sequence)
            if sequence >= target:
                self._caught_up()

        config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._watched + 1)
        subscription = await heeding(
            stream.subscribe(
                f"{prefix}>",
                cb=take,
                stream=f"KV_{subjects.STATE_BUCKET}",
                ordered_consumer=True,
                config=config,
            )
        )
        try:
            if self._watched >= target:
                self._caught_up()
            await self._connection.lost(number)
        finally:
            await finish(_unsubscribe(subscription), within=WRITE_SECONDS)

    def _caught_up(self) -> None:
        if not self.ready.is_set():
            _log.info("The stored state is read: %r", self.model)
            self.ready.set()

    def _take(self, key: str, payload: bytes, revision: int) -> None:
        try:
            record = decode_record(key, payload)
        except msgspec.DecodeError as error:
            _log.error("The stored record %s cannot be read and is left alone: %s", key, error)
            record = None
        self._watched = max(self._watched, revision)
        if record is None:
            return
        if record.schema > SCHEMA:
            self.newer_schema = True
        self.model.apply(key, record, revision)

    def check_ready(self) -> None:
        """Raise NotReady until the model holds everything that was stored before."""
        if not self.ready.is_set():
            raise NotReady("The orchestrator is still reading its state.", hint="Try again in a moment.")


async def _unsubscribe(subscription: JetStreamContext.PushSubscription) -> None:
    try:
        await subscription.unsubscribe()
    except (nats.errors.Error, OSError):
        _log.debug("The watch ended with its connection.")


async def set_up_streams(stream: JetStreamContext) -> None:
    """Make the buckets and the stream of reports, unless they exist."""
    await _unless_it_exists(
        stream.create_key_value,
        KeyValueConfig(bucket=subjects.STATE_BUCKET, history=1, storage=StorageType.FILE, direct=True),
    )
    await _unless_it_exists(
        stream.create_key_value,
        KeyValueConfig(bucket=subjects.LEASE_BUCKET, history=1, ttl=3, storage=StorageType.MEMORY, direct=False),
    )
    await _unless_it_exists(
        stream.add_stream,
        StreamConfig(
            name=subjects.REPORTS_STREAM,
            subjects=[subjects.ALL_NODE_REPORTS],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            discard_new_per_subject=True,
            max_msgs_per_subject=REPORTS_PER_NODE,
            max_bytes=REPORTS_BYTES,
        ),
    )


async def _unless_it_exists(make: Callable[[C], Awaitable[object]], config: C) -> None:
    try:
        await make(config)
    except nats.js.errors.BadRequestError as error:
        if error.err_code != 10058:  # the stream exists with another configuration, which its operator may have set
            raise


async def restart_reports_consumer(stream: JetStreamContext) -> None:
    """Give out every report that is not acknowledged again, now and to this process's subscription."""
    try:
        await stream.delete_consumer(subjects.REPORTS_STREAM, subjects.REPORTS_CONSUMER)
    except nats.js.errors.NotFoundError:
        _log.debug("There was no consumer of reports yet.")
    await stream.add_consumer(
        subjects.REPORTS_STREAM,
        ConsumerConfig(
            durable_name=subjects.REPORTS_CONSUMER,
            deliver_subject=subjects.REPORTS_DELIVERY,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=REPORT_SECONDS,
            max_ack_pending=REPORTS_IN_FLIGHT,
        ),
    )
