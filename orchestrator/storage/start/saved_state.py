"""The saved state: what an earlier process has left in the index of ended jobs, and whether it is of this stream.

NATS has the state, and the index may be of another one: of a stream that was made anew or restored, of one that has
lost what it stored last, or of one in which so much has happened that marks of removals have gone meanwhile. Whatever
does not fit, everything is read anew.
"""

import asyncio
import logging
from datetime import datetime

import msgspec
import nats.js.errors
from nats.aio.client import Client

from orchestrator.state.filing.index_file import SavedPlace
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.storage.removal_marks import is_removal
from shared.errors import MessagingUnavailable
from shared.protocol import subjects
from shared.runtime.aio import pipelined, raising_cancellation

_log = logging.getLogger(__name__)

LOOKED_AT = 16
"""So many of the records that were saved last, and as many others, are compared with what is stored."""
AT_ONCE = 8
_PART_OF_MARKS = 0.5
"""For so much of the life of marks they are sure to be there, however long it takes to come to them."""


class _State(msgspec.Struct):
    last_seq: int = 0


class StreamNow(msgspec.Struct):
    """A stream as its server tells of it; `ts` is when, by the server's clock."""

    created: str = ""
    ts: str = ""
    state: _State = msgspec.field(default_factory=_State)

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.ts).timestamp() if self.ts else 0.0


_decoder = msgspec.json.Decoder(StreamNow)


async def stream_now(client: Client, stream: str, *, timeout: float) -> StreamNow:
    """Raises nats.errors.Error, MessagingUnavailable."""
    answer = await raising_cancellation(client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=timeout))
    try:
        return _decoder.decode(answer.data)
    except msgspec.DecodeError:
        raise MessagingUnavailable(f"What the NATS server says of {stream} is not understood.") from None


class SavedState:
    """`mark_seconds` is how long the removal of a record is told."""

    def __init__(self, index: JobIndex, client: Client, stream: str, *, mark_seconds: float) -> None:
        self._index = index
        self._client = client
        self._stream = stream
        self._prefix = f"$KV.{subjects.STATE_BUCKET}."
        self._mark_seconds = mark_seconds

    async def fitting(self, now: StreamNow) -> SavedPlace | None:
        """Up to where the index has all of this stream; None where it is of no use, which is told in the log.

        Raises nats.errors.Error, TimeoutError.
        """
        place = self._index.saved
        if place is None:
            return None
        age = max(0.0, now.now - place.followed_at / 1e9)
        why = self._why_not(place, now, age) or await self._what_differs(place)
        if why:
            _log.info("The index of ended jobs is made anew, because %s.", why)
            return None
        return place

    def _why_not(self, place: SavedPlace, now: StreamNow, age: float) -> str:
        if not place.stream or place.stream != now.created:
            return "the stream of the state is another one"
        if now.state.last_seq < place.followed:
            return "NATS has lost what was stored last"
        if now.state.last_seq > place.followed and age > _PART_OF_MARKS * self._mark_seconds:
            return f"what was removed in the last {age / 60:.0f} min may not be told any more"
        return ""

    async def _what_differs(self, place: SavedPlace) -> str:
        jobs = [(subjects.job_record(job), revision) for job, revision in self._index.some(LOOKED_AT)]
        incarnation = (subjects.INCARNATION_RECORD, self._index.kept_revision(subjects.INCARNATION_RECORD))
        differing: list[str] = []

        async def compare(known: tuple[str, int]) -> None:
            if not await self._is_same(*known, place.followed):
                differing.append(known[0])

        await pipelined([*jobs, *self._index.last_kept(LOOKED_AT), incarnation], compare, at_once=AT_ONCE)
        return f"what is stored as {differing[0]} is not what it was" if differing else ""

    async def _is_same(self, key: str, revision: int, followed: int) -> bool:
        """Whether this revision is stored, or a later one of which the feed will tell."""
        stream = self._client.jetstream()
        try:
            async with asyncio.timeout(5.0):
                found = await raising_cancellation(stream.get_last_msg(self._stream, f"{self._prefix}{key}"))
        except nats.js.errors.NotFoundError:
            return not revision
        if (found.seq or 0) > followed:
            return True
        return found.seq == revision and not is_removal(found.headers)

    def __repr__(self) -> str:
        return f"<SavedState of {self._stream} in {self._index!r}>"
