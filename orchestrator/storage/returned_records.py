"""Returned records: what NATS has brought back that was removed, and marks that do not go by themselves.

It does so when its server was killed (orchestrator/storage/removal_marks.py tells why): as a rule marks, but records of
what an earlier version of Tarpon has removed. Who was there knows such a record: it is older than what was
followed, and not known. So after each break of the feed the headers of all that is stored are looked through.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sized
from itertools import islice

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from orchestrator.storage.record_feed import FeedPlace, RecordFeed
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection
from shared.runtime.aio import first_of

_log = logging.getLogger(__name__)

MOST = 65_536
"""So many are remembered; of more when these are removed, and all is looked through again."""
GRACE_SECONDS = 15.0
"""In which whoever removes a record writes the second mark."""
SHOWN = 5
RETRY_SECONDS = 0.5

KeyOf = Callable[[Msg, FeedPlace], str]
"""The key of a message that should not be there, and nothing of others."""


class ReturnedRecords:
    """What was found and waits to be removed again, with its revision; `total` is of all records that were found.

    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = 0
        self.wanted = asyncio.Event()
        """That somebody looks through what is stored."""
        self._clock = clock
        self._records: dict[str, int] = {}
        self._marks: dict[str, tuple[int, float]] = {}
        self._left_out = False

    def note(self, key: str, revision: int) -> bool:
        """Note a record; whether that is news."""
        if self._records.get(key) == revision or not self._has_room(self._records):
            return False
        self._records[key] = revision
        self.total += 1
        return True

    def note_mark(self, key: str, revision: int, *, is_last: bool) -> None:
        """Note a mark, in the order of marks of this key: the last one settles the others."""
        if is_last:
            self._marks.pop(key, None)
        elif self._has_room(self._marks):
            self._marks[key] = revision, self._clock()

    def _has_room(self, noted: Sized) -> bool:
        self._left_out |= len(noted) >= MOST
        return len(noted) < MOST

    def records(self, most: int) -> list[tuple[str, int]]:
        return list(islice(self._records.items(), most))

    def marks(self, most: int) -> list[tuple[str, int]]:
        """Those whose last one should have followed by now."""
        before, found = self._clock() - GRACE_SECONDS, list[tuple[str, int]]()
        for key, (revision, since) in self._marks.items():
            if since > before or len(found) == most:
                break
            found.append((key, revision))
        return found

    def drop(self, key: str) -> None:
        """It is removed, or something else is stored under its key."""
        self._records.pop(key, None)
        self._marks.pop(key, None)
        if self._left_out and not self._records and not self._marks:
            self._left_out = False
            self.wanted.set()

    def __repr__(self) -> str:
        return f"<ReturnedRecords, {len(self._records)} of {self.total} wait, {len(self._marks)} marks>"

    async def look_whenever_wanted(self, connection: Connection, stream: str, subject: str, key_of: KeyOf) -> None:
        """Look through what is stored on `subject`, until cancelled; `key_of` knows what should not be there."""
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            try:
                await self._look(connection.client, stream, subject, key_of)
            except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
                _log.debug("What is stored could not be looked through: %r", error)
                self.wanted.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _look(self, client: Client, stream: str, subject: str, key_of: KeyOf) -> None:
        found: list[str] = []
        end = asyncio.Event()

        def take(message: Msg, at: FeedPlace) -> None:
            key = key_of(message, at)
            if key and self.note(key, at.in_stream):
                found.append(key)

        async def until_end() -> None:
            await end.wait()

        feed = RecordFeed(
            client, stream=stream, subject=subject, after=0, take=take, on_current=end.set, headers_only=True
        )
        try:
            await first_of(feed.run(), until_end())
        finally:
            if found:
                told = "NATS has brought back %d records that were removed, as it may when its server was killed: %s%s."
                more = ", ..." if len(found) > SHOWN else ""
                _log.warning(told + " They are removed again.", len(found), ", ".join(found[:SHOWN]), more)
