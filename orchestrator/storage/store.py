"""The store: records in a key-value bucket of JetStream.

Every write is conditional: a record is created only if its key is new, and updated only if it still has the revision
that was read. What is written is in the model when the write returns; what other orchestrators write arrives by
watching. What is read past the model is read from the leader of the stream, because its other replicas may be behind.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import RawStreamMsg

from orchestrator.rules.records import Record, decode_record
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage.atomic_writes import AtomicWrite, AtomicWrites
from orchestrator.storage.horizon import Horizon
from orchestrator.storage.nats_fitness import check_server
from orchestrator.storage.record_feed import FeedPlace, RecordFeed
from orchestrator.storage.record_intake import RecordIntake
from orchestrator.storage.removal_marks import (
    MARK_SECONDS,
    Removing,
    away_seconds,
    is_last,
    is_purged,
    is_removal,
    let_marks_expire,
    told_of,
)
from orchestrator.storage.returned_records import ReturnedRecords
from orchestrator.storage.standstill import Standstill
from orchestrator.storage.start.reading_progress import ReadingProgress
from orchestrator.storage.start.saved_state import SavedState, StreamNow, stream_now
from orchestrator.storage.start.seen_revisions import SeenRevisions
from orchestrator.storage.streams import set_up_streams
from shared.errors import MessagingFull, MessagingUnavailable, MessagingUnfit, NotReady, RevisionConflict, Unavailable
from shared.messaging.transport import Connection
from shared.protocol import subjects
from shared.runtime.aio import first_of, raising_cancellation

_log = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()
WRITE_SECONDS = 5.0
SET_UP_SECONDS = 10.0
RETRY_SECONDS = 0.5
FIND_OUT_SECONDS = 1.0
SETTLE_SECONDS = 1.0
"""How long a reader of a history waits for what was just stored: it comes with the feed, a moment after the answer."""

_STREAM = f"KV_{subjects.STATE_BUCKET}"
_PREFIX = f"$KV.{subjects.STATE_BUCKET}."


class StateUnfinished(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "The state is being restored, or that was interrupted: not all of it is there, so nothing is decided.",
            hint="Where `tarpon admin restore` or `rebuild` does not run any more, stop the orchestrators, run it once"
            " more, and start them again.",
        )


class StateNewer(Unavailable):
    def __init__(self, key: str) -> None:
        super().__init__(
            f"A later version of Tarpon has written this state ({key}), so this one decides nothing: it would drop what"
            " it does not know.",
            hint="Start the version that wrote it again, or a later one; or restore a backup that this one has taken.",
        )


class Store:
    """Reads and writes records; `ready` is set once the model holds everything that was stored before.

    `replicas` is on how many servers streams and buckets are that are made here, `mark_seconds` how long the removal
    of a record is told, `is_led` whether any orchestrator leads.
    """

    def __init__(
        self,
        connection: Connection,
        model: Model,
        *,
        replicas: int = 1,
        mark_seconds: float = MARK_SECONDS,
        is_led: Callable[[], bool] = lambda: True,
    ) -> None:
        self.model = model
        self.returned = ReturnedRecords()
        self.ready = asyncio.Event()
        self._problem: MessagingUnavailable | None = None
        """Why what is stored cannot be followed."""
        self._connection = connection
        self._is_led = is_led
        self._replicas = replicas
        self._removing = Removing(connection, _STREAM, seconds=mark_seconds, timeout=WRITE_SECONDS)
        self._atomic = AtomicWrites(connection, _STREAM, timeout=WRITE_SECONDS)
        self._mark_seconds = mark_seconds
        self._away_seconds = away_seconds(mark_seconds)
        self._progress = ReadingProgress()
        self._created = ""
        """When the stream was made, as its server tells it."""
        self._standstill = Standstill(mark_seconds)
        self._intake = RecordIntake(model)
        self._set_up_on = 0
        self._watched = 0
        self._followed_until = 0.0
        """When the last message that was followed was stored, by the server's clock."""
        self._current_at = 0.0
        self._awaited: dict[asyncio.Event, int] = {}
        self._looking = asyncio.Lock()
        self._asked = self._looked_for = self._last_stored = 0

    async def create(self, key: str, record: Record) -> None:
        """Store a new record. Raises RevisionConflict if the key is taken, MessagingUnavailable if unknown."""
        self._standstill.check()
        await self._write(key, record, 0)

    async def create_again(self, key: str, record: Record) -> None:
        """As `create`, also where a record was removed before, at the cost of a look.

        Decisions are not taken again: theirs are new keys.
        """
        last = await self._last(key)
        self._standstill.check()
        await self._write(key, record, last.seq or 0 if last is not None and self._is_gone(key, last) else 0)

    async def is_removed(self, key: str) -> bool:
        """Whether a record was there and was removed, a short time ago."""
        last = await self._last(key)
        return last is not None and self._is_gone(key, last)

    def _is_gone(self, key: str, found: RawStreamMsg) -> bool:
        if is_removal(found.headers):
            return True
        if found.time is None or not self._has_returned(key, found.seq or 0, found.time.timestamp()):
            return False
        self.returned.note(key, found.seq or 0)
        return True

    def _has_returned(self, key: str, revision: int, stored_at: float) -> bool:
        """Whether a record that is stored was removed before, as far as is known here.

        By its number it is among what was followed, and it is not known. Where the server has lost what it stored last,
        numbers are given again; so its time has to tell the same.
        """
        was_followed = revision <= self.model.followed and stored_at <= self._followed_until
        return was_followed and not self.model.revision_of(key) and not self._intake.is_unread(key)

    async def update(self, key: str, record: Record, *, revision: int | None = None) -> None:
        """Replace the record that the model holds. Raises RevisionConflict if it has changed or gone meanwhile.

        Who has awaited anything since it read the record names the `revision` that it read.
        """
        known = self.model.revision_of(key) if revision is None else revision
        if not known:  # it would be made anew, once the mark of its removal has gone
            raise RevisionConflict(key)
        await self._write(key, record, known)

    async def _write(self, key: str, record: Record, revision: int) -> None:
        payload = _encoder.encode(record)
        self.check_may_write()
        self._intake.writing[key] = payload, record
        try:
            stored = await self._connection.publish_durably(
                f"{_PREFIX}{key}", payload, timeout=WRITE_SECONDS, after=revision
            )
        except MessagingUnavailable as error:
            raise type(error)(f"The record {key} could not be stored: {error.message}", hint=error.hint) from error
        finally:
            self._intake.writing.pop(key, None)
        self.model.apply(key, record, stored)

    async def write_together(self, records: Sequence[tuple[str, Record, int]]) -> None:
        """Store records under their keys, each in place of a revision, 0 being none: all or, where one changed, none.

        Raises RevisionConflict, MessagingUnfit where the server is too old for that, and MessagingUnavailable: all
        are stored, or none is.
        """
        self._standstill.check()
        self.check_may_write()
        writes = [AtomicWrite(f"{_PREFIX}{key}", _encoder.encode(each), after) for key, each, after in records]
        first = await self._atomic.write(writes) - len(writes) + 1
        for number, (key, record, _) in enumerate(records, first):
            self.model.apply(key, record, number)

    async def delete(self, key: str) -> None:
        """Remove the record that the model holds; nothing where it holds none.

        Raises RevisionConflict if the record has changed meanwhile, MessagingUnavailable if it may be there still.
        """
        revision = self.model.revision_of(key)
        if revision:
            await self._remove(key, revision)

    async def delete_with_job(self, key: str) -> None:
        """As `delete`, at half the cost, an execution whose job's record goes next: without, it means nothing."""
        revision = self.model.revision_of(key)
        if revision:
            self.check_may_write()
            with told_of(key):
                self.model.forget(key, await self._removing.remove_lightly(f"{_PREFIX}{key}", revision))

    async def delete_again(self, key: str, revision: int) -> None:
        """Remove a record that was brought back, unless something else is stored by now. Raises as `delete`."""
        found = await self._last(key)
        if found is not None and found.seq == revision and self._is_gone(key, found):
            await self._remove(key, revision)
            _log.info("The record %s, which NATS had brought back, is removed again.", key)
        self.returned.drop(key)

    async def mark_again(self, key: str, revision: int) -> None:
        """Have a mark go by itself that does not. Raises as `delete`."""
        await self._remove(key, revision)
        self.returned.drop(key)

    async def _remove(self, key: str, revision: int) -> None:
        self.check_may_write()
        on_gone = partial(self.model.forget, key)
        with told_of(key):
            await self._removing.remove(f"{_PREFIX}{key}", revision, purged=is_purged(key), on_gone=on_gone)

    def check_may_write(self) -> None:
        """Raise MessagingUnavailable if nothing may be written; a leader's store knows of such a time."""

    async def read(self, key: str) -> Record | None:
        """The stored record itself, past the model; None if there is none."""
        found = await self._last(key)
        if found is None:
            return None
        if self._is_gone(key, found):
            self.model.forget(key, found.seq or 0)
            return None
        record = decode_record(key, found.data or b"")
        if record is not None:
            self._intake.apply(key, record, found.seq or 0)
        return record

    async def _last(self, key: str) -> RawStreamMsg | None:
        """What is stored under the key, be it a record or the mark of one that was removed."""
        stream = self._connection.client.jetstream()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await raising_cancellation(stream.get_last_msg(_STREAM, f"{_PREFIX}{key}"))
        except nats.js.errors.NotFoundError:
            return None
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"The record {key} could not be read: {error!r}") from error

    async def catch_up(self) -> None:
        """Return when the model holds all that anybody stored before this call. Raises MessagingUnavailable.

        One look is under way at a time, and whoever asks meanwhile shares the next, so that a thousand cost two.
        """
        self._asked += 1
        asked = self._asked
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                async with self._looking:
                    if self._looked_for < asked:
                        await self._look()
                    last = self._last_stored
                await self._until_watched(last)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            raise MessagingUnavailable(f"What was stored last cannot be told: {error!r}") from error

    async def _look(self) -> None:
        """Find out what was stored last, for all who have asked by now."""
        looked_for = self._asked
        info = await raising_cancellation(self._connection.client.jetstream().stream_info(_STREAM))
        self._looked_for, self._last_stored = looked_for, info.state.last_seq

    async def _until_watched(self, sequence: int) -> None:
        if self._watched >= sequence:
            return
        reached = asyncio.Event()
        self._awaited[reached] = sequence
        try:
            await reached.wait()
        finally:
            del self._awaited[reached]

    async def settle(self, entry: JobEntry) -> None:
        """Return when the history of the job has all that is known of it, or after a while."""
        newest = max((entry.revision, *entry.records.revisions.values()))
        with contextlib.suppress(TimeoutError), self.model.news.watch(entry.id) as watch:
            async with asyncio.timeout(SETTLE_SECONDS):
                while self.model.news.settled < newest:
                    await watch.changed()

    async def keep_model(self) -> None:
        """Make the streams where they are absent, then follow every record, over every connection, until cancelled."""
        await first_of(self._keep_model(), self._standstill.run(), self._find_out())

    async def _find_out(self) -> None:
        """Also what nobody asks for, as where another orchestrator leads."""
        while True:
            await asyncio.sleep(FIND_OUT_SECONDS)
            self.model.find_out()

    async def _keep_model(self) -> None:
        followed = 0
        while True:
            number = await self._connection.next_connection(followed)
            try:
                await self._follow(number)
                followed = number
            except MessagingUnavailable as error:
                self._warn(error)
                await asyncio.sleep(RETRY_SECONDS)
            except (nats.errors.Error, OSError, TimeoutError) as error:
                self._warn(MessagingUnavailable(repr(error)))
                await asyncio.sleep(RETRY_SECONDS)

    def _warn(self, problem: MessagingUnavailable) -> None:
        """Of each problem once, as it is tried again and again."""
        if self._problem is None or self._problem.message != problem.message:
            told = "The stored state cannot be followed at present: %s [%s] %s"
            _log.warning(told, problem.message, problem.code, problem.hint)
        self._problem = problem

    async def _follow(self, number: int) -> None:
        stream = self._connection.client.jetstream()
        async with asyncio.timeout(SET_UP_SECONDS):
            if self._set_up_on != number:
                await check_server(self._connection.client)
                await raising_cancellation(set_up_streams(stream, self._replicas))
                await let_marks_expire(self._connection.client, _STREAM, timeout=SET_UP_SECONDS)
                self._set_up_on = number
            info = await stream_now(self._connection.client, _STREAM, timeout=SET_UP_SECONDS)
            await self._note_stream(info)
        if self.ready.is_set():  # the server that fed us was away, and may have been killed
            self.returned.wanted.set()
        looking = self.returned.look_whenever_wanted(self._connection, _STREAM, f"{_PREFIX}>", self._returned_key)
        await first_of(self._feed(info.state.last_seq), self._connection.lost(number), looking)

    def _returned_key(self, message: Msg, at: FeedPlace) -> str:
        key = message.subject.removeprefix(_PREFIX)
        if self._is_mark(key, message, at):
            return ""
        return key if self._has_returned(key, at.in_stream, at.stored_at / 1e9) else ""

    def _is_mark(self, key: str, message: Msg, at: FeedPlace) -> bool:
        headers = message.headers
        if headers is None or not is_removal(headers):
            return False
        self.returned.note_mark(key, at.in_stream, is_last=is_last(headers))
        return True

    async def _note_stream(self, info: StreamNow) -> None:
        if self._created and info.created != self._created:
            self.model.distrust()
        is_first, self._created = not self._created, info.created
        if is_first and self.model.filed.saved is not None:
            await self._resume(info)

    async def _resume(self, info: StreamNow) -> None:
        """Take in what an earlier process has left in the index, if it is of this stream; what follows is read then."""
        index = self.model.filed
        state = SavedState(index, self._connection.client, _STREAM, mark_seconds=self._mark_seconds)
        place = await state.fitting(info)
        if place is None:
            await asyncio.to_thread(index.begin_anew)
            return
        self.model.resume()
        self.model.begin_loading()
        for records in index.kept():
            for key, revision, payload in records:
                self._intake.take(key, payload, revision)
            await asyncio.sleep(0)
        self.model.end_loading()
        self.model.resumed()
        self.model.news.settle(place.followed)
        self._watched, self._followed_until = place.followed, place.followed_at / 1e9
        self._current_at = time.time()
        _log.info("The index of ended jobs has the state up to %d: %r", place.followed, self.model)

    async def _feed(self, target: int) -> None:
        """Take what is stored, of which `target` is the last, and what comes after it, until the feed breaks off."""
        was_away = self._watched > 0 and not 0 <= time.time() - self._current_at <= self._away_seconds
        found = SeenRevisions() if was_away else None
        horizon = Horizon(self.model, after=0 if was_away else self.model.news.settled)
        doubt = asyncio.Event()

        def take(message: Msg, at: FeedPlace) -> None:
            sequence = at.in_stream
            self._followed_until = max(self._followed_until, at.stored_at / 1e9)
            key = message.subject.removeprefix(_PREFIX)
            is_gone = self._is_mark(key, message, at)
            self._intake.take(key, None if is_gone else message.data, sequence)
            if found is not None and not is_gone:
                found.add(self.model.revision_of(key) if self._intake.is_unread(key) else sequence)
            self._reached(sequence, at.stored_at)
            horizon.pass_over(key, sequence)
            if not self.ready.is_set():
                self._progress.note(at.pending)
                if sequence >= target:  # others may write faster than it is ever all read
                    finish()

        def finish() -> None:
            nonlocal found
            if found is not None:
                self.model.keep_only(found, target)
                found = None
            self._reached(target)
            self._current_at = time.time()
            self._problem = None
            self._caught_up()

        def on_current() -> None:
            horizon.reach_end()
            if horizon.seen >= target:
                finish()
            else:
                doubt.set()

        async def settle() -> None:
            """The last messages up to `target` may be gone; or the server that feeds us has not heard of them yet."""
            while True:
                await doubt.wait()
                doubt.clear()
                following = await self._following(horizon.seen)
                if following is None or following > target:
                    finish()

        if not self.ready.is_set():
            self.model.begin_loading()
        feed = RecordFeed(
            self._connection.client,
            stream=_STREAM,
            subject=f"{_PREFIX}>",
            after=horizon.seen,
            take=take,
            on_current=on_current,
        )
        await first_of(feed.run(), settle())

    async def _following(self, sequence: int) -> int | None:
        """The number of the first message after this one by the leader of the stream, whose word counts; None if none.

        Raises nats.errors.Error, TimeoutError.
        """
        stream = self._connection.client.jetstream()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                found = await raising_cancellation(
                    stream.get_msg(_STREAM, seq=sequence + 1, subject=f"{_PREFIX}>", next=True)
                )
        except nats.js.errors.NotFoundError:
            return None
        return found.seq

    def _caught_up(self) -> None:
        if not self.ready.is_set():
            self.model.end_loading()
            self.model.keep_up(self._created)
            _log.info("The stored state is read: %r", self.model)
            self.ready.set()

    def _reached(self, revision: int, stored_at: int = 0) -> None:
        """Everything up to this revision is in the model."""
        self._watched = max(self._watched, revision)
        self.model.follow(self._watched, max(stored_at, int(self._followed_until * 1e9)))
        for reached, sequence in self._awaited.items():
            if revision >= sequence:
                reached.set()

    @property
    def may_decide(self) -> bool:
        """Whether all is there and read, and nothing is of a newer program, of whose records this one drops parts."""
        return self.ready.is_set() and not self._intake.newer_schema and not self.model.unfinished

    @property
    def failures(self) -> int:
        """How many records could not be taken in, though they could be read."""
        return self._intake.failures

    def is_unread(self, key: str) -> bool:
        """Whether something is stored under this key that is not in the model, and is left alone."""
        return self._intake.is_unread(key)

    def check_whole(self) -> None:
        """Raise RecordsNotTaken while the model lacks what is stored and can be read, by a fault of this program."""
        self._intake.check()

    def check_ready(self) -> None:
        """Raise NotReady, MessagingFull or MessagingUnfit until the model holds everything that was stored before.

        Also StateUnfinished, and StateNewer where nobody else leads either.
        """
        if not self.ready.is_set():
            if isinstance(self._problem, MessagingFull | MessagingUnfit):
                raise type(self._problem)(self._problem.message, hint=self._problem.hint)
            why = self._connection.problem
            hint = f"{why[0].upper()}{why[1:]}." if why else "Try again in a moment."
            told = f"The orchestrator is still reading its state. {self._progress.text}".strip()
            raise NotReady(told, hint=hint)
        if self.model.unfinished:
            raise StateUnfinished
        if self._intake.newer_schema and not self._is_led():
            raise StateNewer(self._intake.newer_key)
