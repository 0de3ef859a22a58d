"""Atomic writes: several messages that a stream stores all together, or none of them (ADR-50 of NATS).

A stream has to permit it. Ours is told to when the first such write is made, and not before: a server of an earlier
version, which does not know of it, does not take a stream over that permits it.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import nats.errors

from shared.errors import MessagingUnavailable, MessagingUnfit
from shared.messaging.acknowledgements import EXPECTED, refusal
from shared.messaging.transport import Connection
from shared.runtime.aio import raising_cancellation

MOST = 1000
"""How many messages a server takes together."""
OLDEST_TEXT = "2.12"

_BATCH, _SEQUENCE, _COMMIT = "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"


class AtomicWrite(NamedTuple):
    """A message, and the number of the last one on its subject, 0 being none."""

    subject: str
    payload: bytes
    after: int


class AtomicWrites:
    """To one stream."""

    def __init__(self, connection: Connection, stream: str, *, timeout: float) -> None:
        self._connection = connection
        self._stream = stream
        self._timeout = timeout
        self._permitted_on = 0
        self._turn = asyncio.Lock()

    async def write(self, writes: Sequence[AtomicWrite]) -> int:
        """Store at least one message, in this order; the number of the last one, before which the others come.

        Raises RevisionConflict, and nothing is stored; MessagingUnfit where the server is too old;
        MessagingUnavailable: all are stored, or none is.
        """
        async with self._turn:  # what comes of a batch depends on the order in which its messages arrive
            await self._permit()
            batch = os.urandom(16).hex()
            *others, last = list(enumerate(writes, 1))
            for number, each in others:
                await self._send(each, _headers(batch, number) | {EXPECTED: str(each.after)})
            number, write = last
            return await self._connection.publish_durably(
                write.subject,
                write.payload,
                timeout=self._timeout,
                after=write.after,
                headers=_headers(batch, number) | {_COMMIT: "1"},
            )

    async def _send(self, write: AtomicWrite, headers: dict[str, str]) -> None:
        """Where it is lost, the server finds that one is missing and stores none."""
        try:
            await self._connection.client.publish(write.subject, write.payload, headers=headers)
        except (nats.errors.Error, OSError) as error:
            raise MessagingUnavailable(f"Nothing can be sent on {write.subject}: {error!r}") from error

    async def _permit(self) -> None:
        """Once for each connection: the next server may be another one."""
        number = self._connection.connections
        if self._permitted_on == number:
            return
        config = (await self._ask("INFO", b""))["config"]
        if not config.get("allow_atomic"):
            config = (await self._ask("UPDATE", json.dumps(config | {"allow_atomic": True}).encode()))["config"]
        if not config.get("allow_atomic"):  # it has left out what it does not know
            raise MessagingUnfit(
                f"The NATS server cannot store several jobs together: {OLDEST_TEXT} or later is needed for that.",
                hint="Install a later nats-server, or submit the jobs one by one.",
            )
        self._permitted_on = number

    async def _ask(self, what: str, request: bytes) -> dict[str, Any]:
        subject = f"$JS.API.STREAM.{what}.{self._stream}"
        answer = await raising_cancellation(self._connection.request(subject, request, timeout=self._timeout))
        try:
            found: dict[str, Any] = json.loads(answer)
            if "error" not in found:
                return {"config": dict(found["config"])}
            problem = found["error"]
            raise refusal(f"permit atomic writes to {self._stream}", problem["err_code"], problem["description"])
        except (ValueError, KeyError, TypeError) as error:
            raise MessagingUnavailable(f"What {self._stream} is cannot be read: {error!r}") from error


def _headers(batch: str, number: int) -> dict[str, str]:
    return {_BATCH: batch, _SEQUENCE: str(number)}
