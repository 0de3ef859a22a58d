"""The lease: a key that expires unless it is renewed. The orchestrator that holds it decides.

A leader stops by its own clock half a second before the key can expire, and whatever acts in its name asks before it
acts, because a process that was paused may go on at any line. What still gets through is fenced by the records
themselves: keys that a decision determines, and revisions.
"""

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable

import nats.errors
import nats.js.errors
from nats.js.kv import KeyValue

from orchestrator.storage.streams import LEASE_SECONDS
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import finish, raising_cancellation

_log = logging.getLogger(__name__)

LEAD_SECONDS = LEASE_SECONDS - 0.5
"""How long after it asked for the lease, or for its renewal, an orchestrator leads."""
RENEW_SECONDS = 1.0
TRY_SECONDS = 0.5
CALL_SECONDS = 1.0


class Lease:
    """`holder` names this orchestrator, the same after a restart, so that it takes its own old lease over at once.

    It does so once: where two have one name, as with a copied DataDir, they would take it from each other for ever.
    """

    def __init__(self, connection: Connection, holder: str) -> None:
        self.leader = ""
        self._seen_at = -math.inf
        self._connection = connection
        self._holder = holder
        self._session = os.urandom(8).hex()
        self._may_inherit = True
        self._leads_until = 0.0
        self._held: tuple[KeyValue, int] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this orchestrator leads at this moment."""
        return _now() < self._leads_until

    @property
    def is_led(self) -> bool:
        """Whether this orchestrator leads, or another one was seen to a short time ago."""
        return self.is_held or _now() - self._seen_at < LEASE_SECONDS

    def check(self) -> None:
        """Raise MessagingUnavailable unless this orchestrator leads."""
        if not self.is_held:
            raise MessagingUnavailable("This orchestrator does not lead any more.")

    async def lead(self, decide: Callable[[], Awaitable[None]], *, may: Callable[[], bool] = lambda: True) -> None:
        """Whenever the lease is held, run `decide`; cancel it when the lease is lost. Until cancelled.

        The lease is neither asked for nor kept while `may` is false.
        """
        while True:
            if not await (self._acquire() if may() else self._look()):
                await asyncio.sleep(TRY_SECONDS)
                continue
            _log.info("This orchestrator leads.")
            try:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(_forever(decide), name="leader")
                    await self._renew(may)
                    task.cancel()
            finally:
                self._leads_until = 0.0
            _log.warning("This orchestrator does not lead any more.")

    async def _acquire(self) -> bool:
        sent = _now()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                bucket = await raising_cancellation(
                    self._connection.client.jetstream().key_value(subjects.LEASE_BUCKET)
                )
                sent = _now()
                self._held = bucket, await raising_cancellation(self._claim(bucket))
        except nats.js.errors.KeyWrongLastSequenceError:
            return False
        except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
            _log.debug("The lease cannot be tried: %r", error)
            return False
        self.leader, self._may_inherit, self._leads_until = self._holder, False, sent + LEAD_SECONDS
        return True

    async def _look(self) -> bool:
        """See whether another orchestrator leads, where this one may not: it does not lead afterwards."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                bucket = await raising_cancellation(
                    self._connection.client.jetstream().key_value(subjects.LEASE_BUCKET)
                )
                entry = await raising_cancellation(bucket.get(subjects.LEASE_KEY))
        except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
            _log.debug("The lease cannot be looked at: %r", error)
            return False
        self.leader, self._seen_at = (entry.value or b"").decode(errors="replace").partition(" ")[0], _now()
        return False

    async def _claim(self, bucket: KeyValue) -> int:
        value = f"{self._holder} {self._session}"
        try:
            return await bucket.create(subjects.LEASE_KEY, value.encode())
        except nats.js.errors.KeyWrongLastSequenceError:
            entry = await bucket.get(subjects.LEASE_KEY)
            found = (entry.value or b"").decode(errors="replace")
            self.leader, self._seen_at = found.partition(" ")[0], _now()
            if found != value and not (self._may_inherit and self.leader == self._holder):
                raise
            return await bucket.update(subjects.LEASE_KEY, value.encode(), last=entry.revision)

    async def _renew(self, may: Callable[[], bool]) -> None:
        """Return when the lease is lost, or may be (renewed too late to be sure of it), or must not be kept."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.sleep(max(0.0, min(pause, self._leads_until - _now())))
            sent = _now()
            if self._held is None or sent >= self._leads_until or not may():
                return
            bucket, revision = self._held
            value = f"{self._holder} {self._session}".encode()
            try:
                async with asyncio.timeout(self._leads_until - sent):
                    self._held = (
                        bucket,
                        await raising_cancellation(bucket.update(subjects.LEASE_KEY, value, last=revision)),
                    )
                self._leads_until, pause = sent + LEAD_SECONDS, RENEW_SECONDS
            except nats.js.errors.KeyWrongLastSequenceError:
                self._held = None
                return
            except (nats.errors.Error, OSError, TimeoutError) as error:
                _log.debug("The lease could not be renewed: %r", error)
                pause = TRY_SECONDS
                if not self._connection.connected:
                    return

    async def resign(self) -> None:
        """Give the lease up at an orderly stop, so that another orchestrator need not wait for its end."""
        if self._held is not None:
            with contextlib.suppress(TimeoutError):
                await finish(self._delete(*self._held), within=CALL_SECONDS)

    async def _delete(self, bucket: KeyValue, revision: int) -> None:
        """Only if it is still ours: the revision is that of our last renewal."""
        try:
            await bucket.delete(subjects.LEASE_KEY, last=revision)
        except (nats.errors.Error, OSError) as error:
            _log.debug("The lease was not given up: %r", error)

    def __repr__(self) -> str:
        return f"<Lease of {self._holder}, {'held' if self.is_held else f'held by {self.leader or None}'}>"


def _now() -> float:
    """Seconds that also pass while this process or its machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def _forever(decide: Callable[[], Awaitable[None]]) -> None:
    await decide()
    raise RuntimeError("what a leader does ended by itself")
