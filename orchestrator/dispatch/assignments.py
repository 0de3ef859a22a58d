"""Assignments: each execution is offered to its node until it is answered, with the right to publish inside.

The execution's record is stored before it is offered. A node is idempotent by execution id, so an offer whose answer
was lost is simply made again; to a node that is away it is made again when the node has registered.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from orchestrator.admission.task_secrets import NodeKeyUnknown, TaskSecrets
from orchestrator.audit.recorder import Audit, AuditUnwritable
from orchestrator.dispatch.grants import Grants
from orchestrator.dispatch.steps import Steps
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.attempts import NO_SUCH_ENGINE, NOT_BEGUN
from orchestrator.rules.life_events import NotOffered, OfferRefused, OfferTaken
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.traces import Traces
from shared.errors import MessagingUnavailable, StorageUnavailable, TarponError
from shared.ids import ExecutionId, NodeId
from shared.jobs.spec import Job
from shared.jobs.states import ExecutionState, FailureReason
from shared.messaging.transport import MAX_PAYLOAD_BYTES, Connection
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    SENDS_MANIFESTS,
    SIGNS_RESULTS,
    Accepted,
    Assignment,
    Assignments,
    CancelExecution,
    HandBack,
    Order,
    OrderAnswer,
    Register,
    Rejected,
)
from shared.protocol.objects import Beside, is_plain
from shared.protocol.results.provenance import specification_digest
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import begin, pipelined
from shared.runtime.backoff import Backoff
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
OFFERED_AT_ONCE = 64
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0


class _NotGiven(Exception):
    """The task cannot have a secret that it asks for, and why."""


class Offers:
    """Offers and cancels executions; its tasks live in `group`. `check` raises MessagingUnavailable unless we lead.

    Nodes sign how results were made where there `has_provenance` to be.
    """

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        connection: Connection,
        model: Model,
        nodes: Nodes,
        steps: Steps,
        grants: Grants,
        publish_seconds: float,
        check: Callable[[], None],
        traces: Traces,
        secrets: TaskSecrets,
        audit: Audit,
        has_provenance: bool = True,
    ) -> None:
        self._audit = audit
        self._has_provenance = has_provenance
        self._group = group
        self._connection = connection
        self._model = model
        self._nodes = nodes
        self._steps = steps
        self._grants = grants
        self._publish_seconds = publish_seconds
        self._check = check
        self._traces = traces
        self._secrets = secrets
        self._offering: set[ExecutionId] = set()
        self._asked_to_register: set[NodeId] = set()
        self._waiting: dict[NodeId, list[ExecutionRecord]] = {}

    def offer(self, record: ExecutionRecord) -> None:
        """Start to offer, unless that is under way."""
        if record.id in self._offering:
            return
        self._offering.add(record.id)
        waiting = self._waiting.get(record.node_id)
        if waiting is None:
            self._waiting[record.node_id] = [record]
            begin(self._group, self._deliver(record.node_id), name=f"offers {record.node_id}")
        else:
            waiting.append(record)

    def offer_again(self, node: NodeId) -> None:
        """Offer what this node, which has just registered, has not accepted yet."""
        for record in list(self._model.executions.live.get(node, {}).values()):
            if self._is_open(record):
                self.offer(record)

    def offer_open(self) -> None:
        """Offer whatever no node has accepted, such as what another leader stored and could not offer any more."""
        for node in self._model.executions.live:
            if self._nodes.is_registered(node):
                self.offer_again(node)

    def cancel(self, record: ExecutionRecord, reason: str) -> None:
        """Tell the node, once; one that is away learns it when it registers."""
        order = CancelExecution(execution_id=record.id, reason=reason)
        begin(self._group, self._tell(record.node_id, order), name=f"cancel {record.id}")

    def ask_back(self, node: NodeId, executions: Iterable[ExecutionId]) -> None:
        """Have the node report which of these it has not begun."""
        order = HandBack(execution_ids=tuple(executions))
        begin(self._group, self._tell(node, order), name=f"hand back {node}")

    def ask_to_register(self, node: NodeId) -> None:
        """Unless it is being asked: a node may show itself many times before it answers, or never answer."""
        if node not in self._asked_to_register:
            self._asked_to_register.add(node)
            begin(self._group, self._ask_to_register(node), name=f"register {node}")

    async def _ask_to_register(self, node: NodeId) -> None:
        try:
            await self._tell(node, Register())
        finally:
            self._asked_to_register.discard(node)

    async def _tell(self, node: NodeId, order: Order) -> None:
        try:
            await self._send(node, order)
        except (MessagingUnavailable, messages.UnknownMessage) as error:
            _log.debug("Node %s did not take %s: %s", node, type(order).__name__, error)

    async def _send(self, node: NodeId, order: Order) -> OrderAnswer:
        payload = messages.encode(order)
        self._check()
        answer = await self._connection.request(subjects.node_orders(node), payload, timeout=ANSWER_SECONDS)
        return messages.decode_of_node(messages.order_answers, answer)

    def _is_open(self, record: ExecutionRecord) -> bool:
        current = self._model.execution(record.id)
        return (
            current is not None
            and record.job_id in self._model.jobs
            and current.state is ExecutionState.NEW
            and self._model.may_hold(current)
            and not self._nodes.has_accepted(record.node_id, record.id)
        )

    async def _deliver(self, node: NodeId) -> None:
        """Offer what waits for this node, one message at a time, until nothing waits or the node is away."""
        pauses = Backoff(FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, spread=0.0)
        try:
            while waiting := self._still_open(node):
                if await self._offer(node, waiting):
                    pauses.reset()
                else:
                    await pauses.pause()
        finally:
            self._offering.difference_update(record.id for record in self._waiting.pop(node))

    def _still_open(self, node: NodeId) -> list[ExecutionRecord]:
        """What this node is to be offered now; the rest is not on offer any more."""
        is_here = self._nodes.is_registered(node)
        waiting = self._waiting[node]
        self._waiting[node] = [each for each in waiting if is_here and self._is_open(each)]
        self._offering.difference_update({each.id for each in waiting} - {each.id for each in self._waiting[node]})
        return self._waiting[node]

    async def _offer(self, node: NodeId, waiting: list[ExecutionRecord]) -> bool:
        """Offer the first of these in one message; False if that has to be tried again."""
        try:
            made = await self._made(node, waiting[:OFFERED_AT_ONCE])
            if not made:  # they were stopped meanwhile
                return True
            records, payload = _fitting(made)
            await self._told_of(made[: len(records)])
            self._check()
            answers = await self._answered(node, payload, len(records))
        except (
            MessagingUnavailable,
            StorageUnavailable,
            AuditUnwritable,
            NodeKeyUnknown,
            messages.UnknownMessage,
        ) as error:
            _log.info(
                "%d executions are not with node %s yet: %s", len(waiting), node, error.message, extra=about(node=node)
            )
            return False
        offered = {record.id for record in records}
        self._waiting[node] = [each for each in self._waiting[node] if each.id not in offered]
        self._offering -= offered
        await pipelined(
            zip(records, answers, strict=True), lambda each: self._on_answer(*each), at_once=OFFERED_AT_ONCE
        )
        return True

    async def _told_of(self, made: list[tuple[ExecutionRecord, Assignment]]) -> None:
        """Have the URLs in these written to the audit log before they leave. Raises AuditUnwritable."""
        grants = self._grants
        signed = [grants.signed_archive(record, each.archive) for record, each in made if each.archive is not None]
        for record, each in made:
            signed += [grants.signed_beside(record, Beside(what), url) for what, url in each.beside.items()]
        await self._audit.record(*signed)

    async def _answered(self, node: NodeId, payload: bytes, count: int) -> tuple[OrderAnswer, ...]:
        """An answer for each offer. Raises MessagingUnavailable, UnknownMessage."""
        is_answered = False
        try:
            answer = await self._connection.request(subjects.node_orders(node), payload, timeout=ANSWER_SECONDS)
            answers = messages.decode_of_node(messages.assignment_answers, answer).answers
            is_answered = len(answers) == count
        finally:
            self._nodes.on_offers(node, answered=is_answered)
        if not is_answered:
            raise messages.UnknownMessage(f"It answered {len(answers)} of {count} offers.")
        return answers

    async def _made(self, node: NodeId, records: list[ExecutionRecord]) -> list[tuple[ExecutionRecord, Assignment]]:
        """The assignments that can be made now; the others wait behind the rest, so that they hold nothing up.

        Raises StorageUnavailable or NodeKeyUnknown if that is why there is none.
        """
        made: list[tuple[ExecutionRecord, Assignment]] = []
        withheld: list[tuple[ExecutionRecord, str]] = []
        problem: StorageUnavailable | NodeKeyUnknown | None = None
        for record in records:
            try:
                if self._is_open(record):
                    made.append((record, await self._assignment(record)))
            except _NotGiven as error:
                withheld.append((record, str(error)))
            except (StorageUnavailable, NodeKeyUnknown) as error:
                problem = error
                self._waiting[node].remove(record)
                self._waiting[node].append(record)
        await pipelined(withheld, lambda each: self._withhold(*each), at_once=OFFERED_AT_ONCE)
        if problem is not None and not made:
            raise problem
        return made

    async def _assignment(self, record: ExecutionRecord) -> Assignment:
        entry = self._model.jobs[record.job_id]
        job = entry.specs[record.job_version]
        timeouts = job.task.timeouts
        return Assignment(
            execution_id=record.id,
            job_id=record.job_id,
            job_name=job.name,
            job_type=job.type,
            namespace=job.namespace,
            job_version=record.job_version,
            partition_index=record.partition,
            partition_count=entry.part_count(record.job_version),
            task=job.task,
            resources=record.resources,
            execution_timeout_seconds=timeouts.execution_timeout or timeouts.total_timeout,
            publish_timeout_seconds=self._publish_seconds,
            archive=await self._grants.archive(record.location) if record.location else None,
            traceparent=self._traces.traceparent(record),
            secrets=self._sealed(record, job),
            is_plain=record.location is not None and is_plain(record.location.key),
            beside=await self._beside(record),
            spec_digest=specification_digest(job) if self._is_signed(record) else "",
        )

    def _is_signed(self, record: ExecutionRecord) -> bool:
        return self._has_provenance and record.location is not None and self._can(record, SIGNS_RESULTS)

    def _can(self, record: ExecutionRecord, ability: str) -> bool:
        node = self._model.nodes.get(record.node_id)
        return node is not None and ability in node.info.abilities

    async def _beside(self, record: ExecutionRecord) -> dict[str, SignedUrl]:
        """What the node makes of what may lie beside this result."""
        if record.location is None:
            return {}
        wanted = [Beside.PROVENANCE] if self._is_signed(record) else []
        if not is_plain(record.location.key) and self._can(record, SENDS_MANIFESTS):
            wanted.append(Beside.MANIFEST)
        return {each: await self._grants.beside(record.location, each) for each in wanted}

    def _sealed(self, record: ExecutionRecord, job: Job) -> bytes:
        try:
            return self._secrets.sealed(job.namespace, job.task, record.id, record.node_id)
        except NodeKeyUnknown:
            raise
        except TarponError as error:
            raise _NotGiven(error.message) from error

    async def _withhold(self, record: ExecutionRecord, why: str) -> None:
        """Nobody but a person can put the secret where it is missing, so that no attempt would go better."""
        event = NotOffered(FailureReason.SECRET_UNAVAILABLE, why)
        taken = await self._steps.happen(record.id, lambda _: event)
        if taken is not None and taken.has_moved:
            _log.info("Execution %s is not offered: %s", record.id, why, extra=about_execution(record))

    async def _on_answer(self, record: ExecutionRecord, answer: OrderAnswer) -> None:
        match answer:
            case Accepted():
                self._nodes.on_accepted(record.node_id, record.id, answer)
                self._traces.on_accepted(record)
                current = self._model.execution(record.id)
                if current is None or transition(current, OfferTaken(), now=now_ns()).commands:
                    self.cancel(record, "Stopped while it was being offered")
            case Rejected():
                await self._on_rejected(record, answer)

    async def _on_rejected(self, record: ExecutionRecord, answer: Rejected) -> None:
        """Nothing is to be done then but to place it elsewhere, of which the scheduler hears by the record."""
        retryable = answer.retryable or answer.reason == NO_SUCH_ENGINE
        excused = answer.reason in NOT_BEGUN and self._nodes.gives_back_unasked(record.node_id)
        event = OfferRefused(reason=answer.reason, detail=answer.detail, retryable=retryable, excused=excused)
        try:
            taken = await self._steps.happen(record.id, lambda _: event)
        except MessagingUnavailable as error:  # it is offered again, and refused again
            told = "That node %s refuses execution %s is not stored: %s"
            _log.info(told, record.node_id, record.id, error.message, extra=about_execution(record))
            return
        if taken is not None and taken.has_moved:
            self._nodes.on_failure(taken.step.record)
            told = "Execution %s is refused by node %s: %s"
            _log.info(told, record.id, record.node_id, answer.reason[:100], extra=about_execution(record))

    def __repr__(self) -> str:
        return f"<Offers, {len(self._offering)} being offered>"


def _fitting(made: list[tuple[ExecutionRecord, Assignment]]) -> tuple[list[ExecutionRecord], bytes]:
    """As many, the first ones, as fit into one message, and the message."""
    count = len(made)
    payload = _encoded(made)
    while len(payload) > MAX_PAYLOAD_BYTES and count > 1:
        count //= 2
        payload = _encoded(made[:count])
    return [record for record, _ in made[:count]], payload


def _encoded(made: list[tuple[ExecutionRecord, Assignment]]) -> bytes:
    return messages.encode(Assignments(assignments=tuple(assignment for _, assignment in made)))
