"""Reports of nodes about their executions: each is verified, stored, and only then acknowledged.

A report stays in its stream until this is done, so that a crash at any point repeats it; a repeated or late report
changes nothing. The node that a report speaks for is the one that its subject names. What a node tells beyond its
budget, or while much of what it told is in hand still, comes again later; what others tell does not wait for it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from weakref import WeakValueDictionary

import msgspec

from orchestrator.admission.budgets import LEAST_DELAY_SECONDS, Traffic
from orchestrator.dispatch import provenance
from orchestrator.dispatch.answers import ReplicaAnswers, why_not_comparable
from orchestrator.dispatch.commands import Commands
from orchestrator.dispatch.plain_results import PlainResults
from orchestrator.dispatch.second_opinion import asks_others
from orchestrator.dispatch.steps import Steps
from orchestrator.dispatch.turns import Turns
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.attempts import has_failed_by_exit_code
from orchestrator.rules.exit_codes import failure_of
from orchestrator.rules.life_events import (
    Command,
    ExecutionEvent,
    ExecutionStep,
    FactTold,
    ForgetExecution,
    NotComparable,
    NotVerified,
    Outcome,
)
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import ExecutionRecord, VerifiedResult, about_execution
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import Absent, ObjectFacts, Verdict, matches
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage.record_feed import delivered
from orchestrator.storage.store import Store
from orchestrator.storage.streams import has_reports_consumer, restart_reports_consumer
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from shared.errors import MessagingUnavailable, StorageUnavailable
from shared.ids import ExecutionId, NodeId
from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import Job
from shared.jobs.states import ExecutionState, FailureReason
from shared.messaging.problems import NO_ANSWER
from shared.messaging.transport import Connection, Received
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    ExecutionFailed,
    ExecutionProgressed,
    OutputPublished,
    Report,
    TaskEnded,
    UnknownMessage,
)
from shared.protocol.objects import content_manifest_key, is_plain
from shared.runtime.aio import pipelined, raising_cancellation
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

AT_ONCE = 256
OF_ONE_NODE = 96
WAITING_OF_ONE = 128
WAITING_BYTES_OF_ONE = 8 << 20
IN_ONE_MESSAGE = 96
SET_UP_SECONDS = 10.0
CHECK_SECONDS = 5.0
"""How often it is looked whether the consumer is there still: a leader that has been replaced may have removed it."""
RETRY_SECONDS = 0.5
ABSENT_TRIES = 4
ABSENT_SECONDS = 0.5

ACKNOWLEDGE = b"+ACK"
"""JetStream's answer to a delivery that has been dealt with."""
LATER_SECONDS = 3.0
LONGEST_SECONDS = 600.0
"""After how long at most a report comes again that could not be dealt with by a fault of ours, each time later."""


_COMES_AGAIN = frozenset({Outcome.EARLY, Outcome.CONTESTED})


class ReportIntake:
    """The leader's intake of reports. While `leads` is false they are another's, and are neither taken nor answered.

    `on_verified` is called once the result of an execution is verified, and that is stored.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        model: Model,
        store: Store,
        nodes: Nodes,
        steps: Steps,
        locations: Locations,
        answers: ReplicaAnswers,
        commands: Commands,
        measures: Measures,
        leads: Callable[[], bool],
        on_verified: Callable[[ExecutionId], None],
    ) -> None:
        self.set_aside = 0
        self._on_verified = on_verified
        self._connection = connection
        self._model = model
        self._store = store
        self._nodes = nodes
        self._steps = steps
        self._locations = locations
        self._answers = answers
        self._commands = commands
        self._plain = PlainResults()
        self._measures = measures
        self._budgets = nodes.budgets
        self._leads = leads
        # Reports of one execution are dealt with in the order in which they come, so that its history has it too. No
        # other one waits for it: S3 may take its time to show a result.
        self._ordered: WeakValueDictionary[ExecutionId, asyncio.Lock] = WeakValueDictionary()

    async def run(self) -> None:
        """Deal with reports until cancelled."""
        async with (
            self._connection.subscribe(subjects.REPORTS_DELIVERY) as received,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._keep_consumer(), name="reports consumer")
            turns = Turns(
                group,
                self._handle,
                at_once=AT_ONCE,
                of_one=OF_ONE_NODE,
                most_waiting=WAITING_OF_ONE,
                most_bytes=WAITING_BYTES_OF_ONE,
            )
            async for delivery in received:
                await self._receive(delivery, turns)

    async def _receive(self, delivery: Received, turns: Turns) -> None:
        sender = subjects.sender(delivery.subject)
        if sender is None:
            if delivery.is_control:
                await self._let_go_on(delivery)
            return
        if self._nodes.is_rejected(sender):  # what it was given is handed on
            self._put_aside(sender, "it comes from a node that was rejected")
            if self._leads():
                await delivery.respond(ACKNOWLEDGE)
            return
        shut_out = self._budgets.shut_out_seconds(sender)
        delay = shut_out or self._budgets.report_delay(sender, len(delivery.payload))
        if not delay and turns.take(sender, delivery):
            return
        if not shut_out:
            self._budgets.note(sender, Traffic.REPORTS)
        if self._leads():
            await delivery.respond(_later(delay or LEAST_DELAY_SECONDS))

    async def _let_go_on(self, control: Received) -> None:
        """The stream sends no more than we take."""
        if control.stalled:
            with contextlib.suppress(MessagingUnavailable):
                await self._connection.publish(control.stalled, b"")

    async def _keep_consumer(self) -> None:
        """On each connection, and where the consumer is gone, have what is not acknowledged given out again."""
        number = 0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS if number else None):
                    await self._connection.next_connection(number)
            new = self._connection.connections
            try:
                async with asyncio.timeout(SET_UP_SECONDS):
                    stream = self._connection.client.jetstream()
                    if new != number or not await raising_cancellation(has_reports_consumer(stream)):
                        self._store.check_may_write()
                        await raising_cancellation(restart_reports_consumer(stream))
                number = new
            except (*NO_ANSWER, MessagingUnavailable) as error:
                _log.warning("Reports cannot be received at present: %r", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _handle(self, sender: NodeId, delivery: Received) -> None:
        begun, again_seconds = time.monotonic(), LATER_SECONDS
        try:
            done = not self._is_shut_out(sender) and await self._take(sender, delivery.payload)
            done = done and not self._is_shut_out(sender)
        except (MessagingUnavailable, StorageUnavailable) as error:
            _log.info("A report waits: %s", error.message)
            done = False
        except Exception:  # noqa: BLE001  # the per-message handler: one report must not end the intake
            _log.exception("A report on %s could not be dealt with and comes again.", delivery.subject)
            done, again_seconds = False, min(LONGEST_SECONDS, LATER_SECONDS * delivered(delivery.reply) ** 2)
        if done:
            self._measures.report_seconds.add(time.monotonic() - begun)
        if self._leads():
            await delivery.respond(ACKNOWLEDGE if done else _later(again_seconds))

    def _is_shut_out(self, sender: NodeId) -> bool:
        """What is acknowledged makes room for more; what it told is removed at once when its connections have ended."""
        return self._budgets.shut_out_seconds(sender) > 0

    async def _take(self, sender: NodeId, payload: bytes) -> bool:
        """Whether all that is told has been dealt with."""
        reports = self._read(sender, payload)
        if any(self._model.execution(each.execution_id) is None for each in reports):
            await self._store.catch_up()  # it may be one that another leader stored last
        known = [(record, each) for each in reports if (record := self._held(sender, each)) is not None]
        if not known:
            self._budgets.on_useless(sender, len(payload))
        if len(known) == 1:
            return await self._take_one(*known[0])
        done: list[bool] = []

        async def take(told: tuple[ExecutionRecord, Report]) -> None:
            done.append(await self._take_one(*told))

        await pipelined(known, take, at_once=IN_ONE_MESSAGE)
        return all(done)

    def _read(self, sender: NodeId, payload: bytes) -> list[Report]:
        """What is understood of a message; the rest is put aside."""
        try:
            told = messages.decode_of_node(messages.reports, payload)
        except UnknownMessage as error:
            self._put_aside(sender, error.message)
            return []
        if isinstance(told, Report):
            return [told]
        reports: list[Report] = []
        for each in told.reports:
            try:
                reports.append(messages.decode_of_node(messages.report, each))
            except UnknownMessage as error:
                self._put_aside(sender, error.message)
        return reports

    def _held(self, sender: NodeId, report: Report) -> ExecutionRecord | None:
        record = self._model.execution(report.execution_id)
        if record is not None and record.node_id == sender:
            return record
        self._put_aside(sender, "it speaks of an execution that this node does not hold")
        return None

    async def _take_one(self, record: ExecutionRecord, report: Report) -> bool:
        async with self._ordered.setdefault(record.id, asyncio.Lock()):
            return await self._apply(report)

    async def _apply(self, report: Report) -> bool:
        """Whether it need not come again."""
        taken = await self._steps.take(report.execution_id, lambda record: self._after(record, report))
        if taken is None:
            return True
        before, step = taken
        if step.outcome in _COMES_AGAIN:
            return False
        self._learn(before, report)
        self._note(before, step.record)
        self._commands.carry_out(step.commands)
        return True

    def _note(self, before: ExecutionRecord, after: ExecutionRecord) -> None:
        has_failed = after.state is ExecutionState.FAILED and not has_failed_by_exit_code(after)
        if has_failed and before.state.holds_capacity:
            self._nodes.on_failure(after)
        if after.result is not None and before.result is None:
            plain = after.location is not None and is_plain(after.location.key)
            self._measures.published(after.result, is_plain=plain)
            if after.has_counting_result:
                self._on_verified(after.id)
        if after.state is not before.state:
            # One line for each that went well would be most of the log, and a cost to each job.
            is_bad = after.state.is_terminal and after.state is not ExecutionState.COMPLETED
            level = logging.INFO if is_bad else logging.DEBUG
            if _log.isEnabledFor(level):
                _log.log(level, "Execution %s is %s.", after.id, after.state, extra=about_execution(after))

    def _put_aside(self, sender: NodeId, why: str) -> None:
        self.set_aside += 1
        self._measures.reports_set_aside += 1
        self._budgets.charge_set_aside(sender, 1)
        if self.set_aside.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...: a flood of them does not flood the log
            told = "A report of node %s is set aside (%d so far): %s."
            _log.warning(told, sender, self.set_aside, why, extra=about(node=sender))

    async def _after(self, record: ExecutionRecord, report: Report) -> ExecutionStep:
        """EARLY if an earlier report of this execution has to come first: reports are dealt with many at once."""
        entry = self._model.jobs.get(record.job_id)
        if entry is None:  # it has ended and is being removed
            return ExecutionStep(
                record, Outcome.LATE, (ForgetExecution(record.node_id, record.id),) if record.state.is_terminal else ()
            )
        job = entry.specs[record.job_version]
        publishes = job.task.publisher.type.lower() not in NO_PUBLISHERS
        step, commands = ExecutionStep(record, Outcome.KNOWN), list[Command]()
        for fact in report.facts:
            excused = isinstance(fact, ExecutionFailed) and self._is_excused(step.record, fact, entry)
            failure = failure_of(job.task, fact.output.exit_code) if isinstance(fact, TaskEnded) else None
            told = FactTold(fact=fact, publishes=publishes, excused=excused, failure=failure)
            step = transition(step.record, told, now=now_ns())
            if step.outcome is Outcome.UNVERIFIED and isinstance(fact, OutputPublished):
                step = transition(step.record, await self._looked_at(step.record, fact, job), now=now_ns())
            if step.outcome is Outcome.EARLY:
                return ExecutionStep(record, Outcome.EARLY)  # of a report all is stored, or nothing
            commands += step.commands
        return ExecutionStep(step.record, step.outcome, tuple(commands))

    def _is_excused(self, record: ExecutionRecord, fact: ExecutionFailed, entry: JobEntry) -> bool:
        reason = FailureReason.parse(fact.reason)
        if record.state.is_terminal:
            return False
        if fact.not_begun or reason is FailureReason.HANDED_BACK:
            return record.state is ExecutionState.NEW and self._nodes.gives_back_unasked(record.node_id)
        return self._model.max_attempts > 1 and asks_others(record, reason, entry, self._nodes)

    async def _looked_at(self, record: ExecutionRecord, fact: OutputPublished, job: Job) -> ExecutionEvent:
        """Raises StorageUnavailable."""
        found = await self._verified(record, fact)
        if isinstance(found, NotVerified):
            return found
        if not job.verification:
            return FactTold(fact=fact, publishes=True, result=found)
        if why_not := why_not_comparable(fact):
            return NotComparable(why_not)
        answer = await self._answers.of(record, fact, job.verification.of)
        return FactTold(fact=fact, publishes=True, result=found, answer=answer)

    async def _verified(self, record: ExecutionRecord, fact: OutputPublished) -> VerifiedResult | NotVerified:
        """The object as S3 shows it, if it is what the node reported. Raises StorageUnavailable."""
        if record.location is None:
            return NotVerified()
        begun = time.monotonic()
        bucket, key = await self._locations.bucket_of(record.location), record.location.key
        facts = await self._seen(bucket, key)
        if isinstance(facts, Absent):
            return NotVerified()
        verdict = matches(facts, fact.size_bytes, fact.md5)
        if verdict is not Verdict.MISMATCH and is_plain(key):
            verdict = await self._plain.verdict(record, bucket, fact, has_digests=verdict is Verdict.VERIFIED)
        if verdict is Verdict.MISMATCH:
            is_left = bool(record.upload_id) and record.upload_id in record.left_uploads  # by the end of its parts
            return NotVerified(in_the_way=fact.was_there or is_left)
        if fact.manifest_bytes and not is_plain(key):
            manifest = await self._seen(bucket, content_manifest_key(key))
            if isinstance(manifest, Absent) or _is_other(manifest, fact):
                told = "The manifest of execution %s is not what its node reported."
                _log.warning(told, record.id, extra=about_execution(record))
                return NotVerified()
        kept = fact.told() | {"md5": ""}  # S3's own word, which has just been compared with it, is kept instead
        result = VerifiedResult(**kept, etag=facts.etag, verify_seconds=round(time.monotonic() - begun, 6))
        return msgspec.structs.replace(
            result, provenance=provenance.recorded(self._model, record, result, fact.provenance)
        )

    async def _seen(self, bucket: Bucket, key: str) -> ObjectFacts | Absent:
        """Raises StorageUnavailable."""
        facts = await bucket.head(key)
        for _ in range(ABSENT_TRIES):
            if not isinstance(facts, Absent):
                return facts
            await asyncio.sleep(ABSENT_SECONDS)
            facts = await bucket.head(key)
        if isinstance(facts, Absent):
            problem = await bucket.problem()
            if problem is not None:
                raise StorageUnavailable(f"Whether the result is in the bucket cannot be told: {problem.message}")
            facts = await bucket.head(key)  # with keys that have just proved right
        return facts

    def _learn(self, record: ExecutionRecord, report: Report) -> None:
        for fact in report.facts:
            if isinstance(fact, TaskEnded):
                self._nodes.on_run(record, fact.run_seconds)
            elif isinstance(fact, ExecutionProgressed):
                self._nodes.on_progress(record.node_id, record.id)

    def __repr__(self) -> str:
        return f"<ReportIntake, {self.set_aside} set aside>"


def _is_other(manifest: ObjectFacts, fact: OutputPublished) -> bool:
    return matches(manifest, fact.manifest_bytes, fact.manifest_md5) is Verdict.MISMATCH


def _later(seconds: float) -> bytes:
    """JetStream's answer to a delivery that is to come again after so many seconds."""
    return b'-NAK {"delay": %d}' % (seconds * 1e9)
