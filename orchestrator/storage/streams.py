"""Buckets and streams in JetStream: records, the lease, and the reports of nodes."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from shared.messaging.acknowledgements import refusal
from shared.protocol import subjects

_log = logging.getLogger(__name__)

C = TypeVar("C")

LEASE_SECONDS = 3.0
"""After how long without a renewal the leader's lease is gone from its bucket."""
REPORTS_PER_NODE = 32
"""How many messages of reports of one node are kept; then that node is told to wait and the others go on.

Each may have as many bytes as a message may have, all are written to one disk, and others wait for that. A node of ours
tells of 64 executions in one, so that it is told to wait only where nobody reads for long.
"""
REPORTS_BYTES = 1 << 30
REPORTS_IN_FLIGHT = 16_384
"""How many may be given out and not acknowledged. What was put off counts too, so that it takes many nodes which flood
to hold the others up; what is on its way to us is bounded by flow control.
"""
HEARTBEAT_SECONDS = 5.0
"""How often the consumer of reports says something, if there is nothing else to say."""
REPORT_SECONDS = 15
"""After how long a report that was taken and not acknowledged is given out again."""


STREAMS = (f"KV_{subjects.STATE_BUCKET}", f"KV_{subjects.LEASE_BUCKET}", subjects.REPORTS_STREAM)
"""All that is made here; a bucket is a stream too."""


async def set_up_streams(stream: JetStreamContext, replicas: int) -> None:
    """Make the buckets and the stream of reports, unless they exist. Raises MessagingUnavailable, MessagingFull."""
    await _unless_it_exists(
        subjects.STATE_BUCKET,
        stream.create_key_value,
        KeyValueConfig(
            bucket=subjects.STATE_BUCKET, history=1, storage=StorageType.FILE, direct=True, replicas=replicas
        ),
    )
    await _unless_it_exists(
        subjects.LEASE_BUCKET,
        stream.create_key_value,
        KeyValueConfig(
            bucket=subjects.LEASE_BUCKET,
            history=1,
            ttl=LEASE_SECONDS,
            storage=StorageType.MEMORY,
            direct=False,
            replicas=replicas,
        ),
    )
    await _unless_it_exists(
        subjects.REPORTS_STREAM,
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
            num_replicas=replicas,
        ),
    )


async def _unless_it_exists(name: str, make: Callable[[C], Awaitable[object]], config: C) -> None:
    try:
        await make(config)
    except nats.js.errors.APIError as error:
        if error.err_code != 10058:  # the stream exists with another configuration, which its operator may have set
            raise refusal(f"make {name}", error.err_code, error.description) from error


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
            flow_control=True,
            idle_heartbeat=HEARTBEAT_SECONDS,
        ),
    )


async def has_reports_consumer(stream: JetStreamContext) -> bool:
    try:
        await stream.consumer_info(subjects.REPORTS_STREAM, subjects.REPORTS_CONSUMER)
    except nats.js.errors.NotFoundError:
        return False
    return True
