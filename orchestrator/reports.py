"""What nodes tell about their executions: each report is verified, stored, and only then acknowledged.

A report stays in its stream until this is done, so that a crash at any point repeats it; a repeated or late report
changes nothing. The node that a report speaks for is the one that its subject names.
"""

import asyncio
import logging
from collections.abc import Callable

import nats.errors

from orchestrator.lifecycle import after_fact, failed, is_behind
from orchestrator.locations import Locations
from orchestrator.model import Model
from orchestrator.nodes import Nodes
from orchestrator.receipts import Receipts
from orchestrator.records import ExecutionRecord, PublishedResult
from orchestrator.s3_verification import Absent, Verdict, matches
from orchestrator.store import Store, restart_reports_consumer
from orchestrator.times import now_ns
from shared import messages, subjects
from shared.aio import heeding
from shared.errors import MessagingUnavailable, RevisionConflict, StorageUnavailable
from shared.ids import NodeId, execution_key
from shared.job_rules import NO_PUBLISHERS
from shared.messages import OutputPublished, Report, TaskEnded, UnknownMessage
from shared.states import ExecutionState, FailureReason
from shared.transport import Connection, Received

_log = logging.getLogger(__name__)

AT_ONCE = 128
SET_UP_SECONDS = 10.0
RETRY_SECONDS = 0.5
TRIES = 8
ABSENT_TRIES = 4
ABSENT_SECONDS = 0.5

ACKNOWLEDGE = b"+ACK"
LATER = b'-NAK {"delay": 3000000000}'
"""JetStream's answers to a delivery: it is dealt with, or it is to come again after three seconds."""


class Reports:
    """The leader's intake of reports."""

    def __init__(
        self,
        *,
        connection: Connection,
        model: Model,
        store: Store,
        nodes: Nodes,
        locations: Locations,
        receipts: Receipts,
        on_end: Callable[[ExecutionRecord], None],
    ) -> None:
        self.set_aside = 0
        self._connection = connection
        self._model = model
        self._store = store
        self._nodes = nodes
        self._locations = locations
        self._receipts = receipts
        self._on_end = on_end

    async def run(self) -> None:
        """Deal with reports until cancelled."""
        free = asyncio.Semaphore(AT_ONCE)
        async with (
            self._connection.subscribe(subjects.REPORTS_DELIVERY) as received,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._keep_consumer(), name="reports consumer")
            async for delivery in received:
                await free.acquire()
                task = group.create_task(self._handle(delivery), name="report")
                task.add_done_callback(lambda _: free.release())

    async def _keep_consumer(self) -> None:
        """On each connection, have everything that is not acknowledged given out again."""
        number = 0
        while True:
            new = await self._connection.next_connection(number)
            try:
                async with asyncio.timeout(SET_UP_SECONDS):
                    await heeding(restart_reports_consumer(self._connection.client.jetstream()))
                number = new
            except (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable) as error:
                _log.warning("Reports cannot be received at present: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _handle(self, delivery: Received) -> None:
        try:
            done = await self._take(delivery)
        except (MessagingUnavailable, StorageUnavailable) as error:
            _log.info("A report waits: %s", error.message)
            done = False
        except Exception:  # noqa: BLE001  # the per-message handler: one report must not end the intake
            _log.exception("A report on %s could not be dealt with and comes again.", delivery.subject)
            done = False
        await delivery.respond(ACKNOWLEDGE if done else LATER)

    async def _take(self, delivery: Received) -> bool:
        sender = subjects.sender(delivery.subject)
        try:
            report = messages.decode(messages.reports, delivery.payload)
        except UnknownMessage as error:
            return self._put_aside(sender, error.message)
        record = self._model.execution(report.execution_id)
        if sender is None or record is None or record.node_id != sender:
            return self._put_aside(sender, "it speaks of an execution that this node does not hold")
        for _ in range(TRIES):
            current = self._model.execution(report.execution_id)
            assert current is not None
            after = await self._after(current, report)
            if after is None:
                return False
            if after is current or await self._is_stored(current, after):
                self._learn(sender, after, report)
                return True
        _log.warning("Execution %s moves too often to take a report; it comes again.", report.execution_id)
        return False

    def _put_aside(self, sender: NodeId | None, why: str) -> bool:
        self.set_aside += 1
        if self.set_aside.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...: a flood of them does not flood the log
            _log.warning("A report of node %s is set aside (%d so far): %s.", sender, self.set_aside, why)
        return True

    async def _after(self, record: ExecutionRecord, report: Report) -> ExecutionRecord | None:
        """None if an earlier report of this execution has to come first: reports are dealt with many at once."""
        job = self._model.jobs[record.job_id].specs[record.job_version]
        has_publisher = job.task.publisher.type.lower() not in NO_PUBLISHERS
        for fact in report.facts:
            if is_behind(record, fact):
                continue
            result: PublishedResult | None = None
            if isinstance(fact, OutputPublished):
                if record.state is not ExecutionState.PUBLISHING:
                    return None
                result = await self._verified(record, fact)
                if result is None:
                    return failed(record, FailureReason.RESULT_NOT_VERIFIED, _not_verified(record), now=now_ns())
            record = after_fact(record, fact, has_publisher=has_publisher, result=result, now=now_ns())
        return record

    async def _verified(self, record: ExecutionRecord, fact: OutputPublished) -> PublishedResult | None:
        """The object as S3 shows it, if it is what the node reported. Raises StorageUnavailable."""
        if record.location is None:
            return None
        facts = await self._locations.head(record.location)
        for _ in range(ABSENT_TRIES):
            if not isinstance(facts, Absent):
                break
            await asyncio.sleep(ABSENT_SECONDS)
            facts = await self._locations.head(record.location)
        if isinstance(facts, Absent) and not await self._locations.is_usable(record.location):
            raise StorageUnavailable("Whether the result is in the bucket cannot be told: the bucket cannot be used.")
        if isinstance(facts, Absent) or matches(facts, fact.size_bytes, fact.md5) is Verdict.MISMATCH:
            return None
        return PublishedResult(
            etag=facts.etag,
            size_bytes=facts.size_bytes,
            sha256=fact.sha256[:64],
            entries=fact.entries,
            raw_bytes=fact.raw_bytes,
            warnings=tuple(warning[:300] for warning in fact.warnings[:20]),
            warnings_count=fact.warnings_count,
            publish_seconds=fact.publish_seconds,
            retries=fact.retries,
            renewals=fact.renewals,
            archive_seconds=fact.archive_seconds,
            parts=fact.parts,
            index_bytes=fact.index_bytes,
            index_sha256=fact.index_sha256[:64],
        )

    async def _is_stored(self, before: ExecutionRecord, after: ExecutionRecord) -> bool:
        key = execution_key(before.job_id, before.job_version, before.partition, before.attempt)
        try:
            await self._store.update(subjects.execution_record(key), after)
        except RevisionConflict:
            await self._store.read(subjects.execution_record(key))
            return False
        return True

    def _learn(self, sender: NodeId, record: ExecutionRecord, report: Report) -> None:
        for fact in report.facts:
            if isinstance(fact, TaskEnded):
                self._nodes.on_run(sender, fact.run_seconds)
        if record.state.is_terminal:
            self._on_end(record)
            self._receipts.send(sender, record.id)

    def __repr__(self) -> str:
        return f"<Reports, {self.set_aside} set aside>"


def _not_verified(record: ExecutionRecord) -> str:
    return (
        f"The object in the bucket is not what node {record.node_id} says it published: it is absent, not readable with"
        " the orchestrator's credentials, or of another size or digest"
    )
