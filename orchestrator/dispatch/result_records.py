"""Records of results in the bucket: the leader puts a small signed one beside each verified archive.

No job waits for that. It takes its time: so many a second that a busy orchestrator does not notice. Up to when all
are written is stored now and then, so that the next leader goes on from there, and begins with what was there before
where nothing is stored yet.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice

import msgspec

from orchestrator.admission.result_signing import ResultSigner
from orchestrator.rules.records import ResultsRecorded
from orchestrator.rules.result_record import ResultRecord, result_record
from orchestrator.s3.locations import Locations
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable, StorageUnavailable
from shared.ids import ExecutionId
from shared.jobs.states import ExecutionState
from shared.protocol import subjects
from shared.protocol.objects import record_key
from shared.runtime.aio import pipelined
from shared.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

PER_SECOND, QUIET_PER_SECOND = 25, 400
"""How many are written while executions go on, a percent or two of a processor, and while none does."""
AT_ONCE = 4
MOST_WAITING = 65_536
"""So many ids are in memory; of more when these are written, and all is looked through again."""
SAVE_SECONDS = 30.0
OVERLAP_NS = 60 * 10**9
"""How much of what should be written is written again by the next leader, whose clock may be another."""
TRIES_ELSEWHERE = 5
"""How often a record is tried whose result is in a bucket of earlier settings; then it has none."""

_encoder = msgspec.json.Encoder()


class ResultRecords:
    """The leader's. Unless it `is_on` nothing is written. `now` gives nanoseconds since 1970."""

    def __init__(
        self,
        model: Model,
        store: Store,
        locations: Locations,
        signer: ResultSigner,
        *,
        is_on: bool = True,
        now: Callable[[], int] = now_ns,
    ) -> None:
        self._is_on = is_on
        self._model = model
        self._store = store
        self._locations = locations
        self._signer = signer
        self._now = now
        self._waiting: dict[ExecutionId, int] = {}
        """With how often each was tried."""
        self._writing: dict[ExecutionId, asyncio.Event] = {}
        """Those on their way to the bucket, with what is set when they have come."""
        self._held_back: set[ExecutionId] = set()
        self._wanted = asyncio.Event()
        self._left_out = True
        self._since: int | None = None
        """Up to when all is written or waits, as far as results are looked for."""
        self._unsaved = False
        self._problem = ""

    def note(self, execution: ExecutionId) -> None:
        """Its result is verified."""
        if not self._is_on:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting[execution] = 0
        else:
            self._left_out = True
        self._wanted.set()

    @asynccontextmanager
    async def held_back(self, execution: ExecutionId) -> AsyncIterator[None]:
        """Nothing is written beside this result meanwhile, and nothing is on its way: so it goes with its record."""
        self._held_back.add(execution)
        try:
            if (written := self._writing.get(execution)) is not None:
                await written.wait()
            yield
        finally:
            self._held_back.discard(execution)

    async def run(self) -> None:
        """Write until cancelled."""
        if not self._is_on:
            return
        pauses = Backoff(1.0, 60.0, spread=0.2)
        saved_at = asyncio.get_running_loop().time()
        while True:
            try:
                if self._left_out and not self._waiting:
                    await self._look_for_all()
                await self._write_some()
                pauses.reset()
                self._problem = ""
                if self._unsaved and asyncio.get_running_loop().time() - saved_at > SAVE_SECONDS:
                    await self._save()
                    saved_at = asyncio.get_running_loop().time()
            except (MessagingUnavailable, StorageUnavailable) as error:
                self._tell(error.message)
                await pauses.pause()

    async def _write_some(self) -> None:
        """Some of what waits, and then as long as that may take."""
        batch = list(islice(self._waiting, AT_ONCE))
        if not batch:
            self._wanted.clear()
            try:
                async with asyncio.timeout(SAVE_SECONDS if self._unsaved else None):
                    await self._wanted.wait()
            except TimeoutError:
                return
        await pipelined(batch, self._write, at_once=AT_ONCE)
        await asyncio.sleep(len(batch) / (QUIET_PER_SECOND if self._is_quiet() else PER_SECOND))

    def _is_quiet(self) -> bool:
        return not any(self._model.executions.states[state] for state in ExecutionState if not state.is_terminal)

    async def _write(self, execution: ExecutionId) -> None:
        """Raises StorageUnavailable, and then it waits still, behind the others. So it does when cancelled."""
        if execution in self._held_back:
            self._waiting[execution] = self._waiting.pop(execution, 0)
            return
        told = self._told(execution)
        if told is not None:
            written = self._writing[execution] = asyncio.Event()
            try:
                await self._put(told)
            except StorageUnavailable as error:
                self._on_refused(execution, told, error)
                return
            finally:
                del self._writing[execution]
                written.set()
            self._unsaved = True
        self._waiting.pop(execution, None)

    def _told(self, execution: ExecutionId) -> ResultRecord | None:
        """None where there is no result any more, or it goes with its job."""
        record = self._model.execution(execution)
        entry = self._model.jobs.get(record.job_id) if record is not None else None
        if record is None or entry is None or (entry.job.removal is not None and entry.job.removal.results):
            return None
        spec = entry.specs.get(record.job_version)
        if spec is None:
            return None
        keeps, count = entry.kept_versions(record.job_version), entry.part_count(record.job_version)
        return result_record(entry.job, spec, keeps, record, count=count)

    async def _put(self, told: ResultRecord) -> None:
        bucket = await self._locations.bucket_of(told.location)
        await bucket.put(record_key(told.location.key), self._signer.envelope(_encoder.encode(told)))

    def _on_refused(self, execution: ExecutionId, told: ResultRecord, error: StorageUnavailable) -> None:
        """Raises the error unless it was tried often enough."""
        tries = self._waiting.pop(execution, 0) + 1
        current = self._locations.current
        is_elsewhere = current is None or current.location.at("") != told.location.at("")
        if is_elsewhere and tries >= TRIES_ELSEWHERE:
            _log.warning("The result of execution %s has no record in the bucket: %s", execution, error.message)
            return
        self._waiting[execution] = tries
        raise error

    async def _look_for_all(self) -> None:
        """Note what was verified since all was written last, as far as is known, and not noted."""
        if self._since is None:
            stored = await self._store.read(subjects.RESULTS_RECORDED)
            self._since = stored.until - OVERLAP_NS if isinstance(stored, ResultsRecorded) else 0
        self._left_out = False
        found: list[tuple[int, ExecutionId]] = []
        for jobs in self._model.jobs.changed_since(self._since):
            await asyncio.sleep(0)
            for job in jobs:
                entry = self._model.jobs.get(job)
                if entry is not None and entry.modified >= self._since:
                    found += self._verified_since(entry, self._since)
        found.sort()
        for at, execution in found:
            self.note(execution)
            if self._left_out:
                break
            self._since = at

    @staticmethod
    def _verified_since(entry: JobEntry, since: int) -> Iterator[tuple[int, ExecutionId]]:
        for each in entry.executions.values():
            if each.has_counting_result and each.modify_time >= since:
                yield each.modify_time, each.id

    async def _save(self) -> None:
        """That all is written up to now, where that is so."""
        if self._waiting or self._left_out:
            return
        record = ResultsRecorded(until=self._now())
        is_there = self._model.revision_of(record.key) > 0
        await (changes.update(self._store, record) if is_there else changes.create(self._store, record))
        self._unsaved = False

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("Records of %d results wait to be written: %s", len(self._waiting), problem)
        self._problem = problem

    def __repr__(self) -> str:
        return f"<ResultRecords, {len(self._waiting)} waiting>"
