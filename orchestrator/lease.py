"""Which orchestrator decides: the one that holds the lease, a key that expires unless it is renewed.

Losing it stops all decisions at once. What a leader that does not know yet that it was replaced still writes is
fenced by the records themselves: keys that a decision determines, and revisions.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue

from shared import subjects
from shared.aio import finish, heeding
from shared.errors import MessagingUnavailable
from shared.transport import Connection

_log = logging.getLogger(__name__)

LEASE_SECONDS = 3.0
RENEW_SECONDS = 1.0
TRY_SECONDS = 0.5
CALL_SECONDS = 1.0


class Lease:
    """`holder` names this orchestrator, the same after a restart, so that it takes its own old lease over at once."""

    def __init__(self, connection: Connection, holder: str) -> None:
        self.is_held = False
        self.leader = ""
        self._connection = connection
        self._holder = holder

    async def lead(self, decide: Callable[[], Awaitable[None]]) -> None:
        """Whenever the lease is held, run `decide`; cancel it when the lease is lost. Until cancelled."""
        while True:
            held = await self._acquire()
            if held is None:
                await asyncio.sleep(TRY_SECONDS)
                continue
            bucket, revision = held
            _log.info("This orchestrator leads.")
            self.is_held = True
            try:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(_forever(decide), name="leader")
                    await self._renew(bucket, revision)
                    task.cancel()
            finally:
                self.is_held = False
            _log.warning("This orchestrator does not lead any more.")

    async def _acquire(self) -> tuple[KeyValue, int] | None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                bucket = await heeding(self._connection.client.jetstream().key_value(subjects.LEASE_BUCKET))
                return bucket, await heeding(self._claim(bucket))
        except nats.js.errors.KeyWrongLastSequenceError:
            return None
        except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
            _log.debug("The lease cannot be tried: %r", error)
            return None

    async def _claim(self, bucket: KeyValue) -> int:
        try:
            revision = await bucket.create(subjects.LEASE_KEY, self._holder.encode())
        except nats.js.errors.KeyWrongLastSequenceError:
            entry = await bucket.get(subjects.LEASE_KEY)
            self.leader = (entry.value or b"").decode(errors="replace")
            if self.leader != self._holder:
                raise
            revision = await bucket.update(subjects.LEASE_KEY, self._holder.encode(), last=entry.revision)
        self.leader = self._holder
        return revision

    async def _renew(self, bucket: KeyValue, revision: int) -> None:
        """Return when the lease is lost, or may be: renewed too late to be sure of it."""
        valid_until = time.monotonic() + LEASE_SECONDS
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            sent = time.monotonic()
            if sent >= valid_until:
                return
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + valid_until - sent):
                    revision = await heeding(bucket.update(subjects.LEASE_KEY, self._holder.encode(), last=revision))
                valid_until = sent + LEASE_SECONDS
            except nats.js.errors.KeyWrongLastSequenceError:
                return
            except (nats.errors.Error, OSError, TimeoutError) as error:
                _log.debug("The lease could not be renewed: %r", error)
                if not self._connection.connected:
                    return

    async def resign(self) -> None:
        """Give the lease up at an orderly stop, so that another orchestrator need not wait for its end."""
        if self.is_held:
            await finish(self._delete(), within=CALL_SECONDS)

    async def _delete(self) -> None:
        try:
            bucket = await self._connection.client.jetstream().key_value(subjects.LEASE_BUCKET)
            await bucket.delete(subjects.LEASE_KEY)
        except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
            _log.debug("The lease was not given up: %r", error)

    def __repr__(self) -> str:
        return f"<Lease of {self._holder}, {'held' if self.is_held else f'held by {self.leader or None}'}>"


async def _forever(decide: Callable[[], Awaitable[None]]) -> None:
    await decide()
    raise RuntimeError("what a leader does ended by itself")
