"""How executions get to their nodes: each is offered until it is answered, with the right to publish its result inside.

The execution's record is stored before it is offered. A node is idempotent by execution id, so an offer whose answer
was lost is simply made again; to a node that is away it is made again when the node has registered.
"""

import asyncio
import logging
from collections.abc import Callable

from orchestrator.grants import Grants
from orchestrator.lifecycle import rejected
from orchestrator.model import Model
from orchestrator.nodes import Nodes
from orchestrator.records import ExecutionRecord, about_execution
from orchestrator.store import Store
from orchestrator.times import now_ns
from shared import messages, subjects
from shared.aio import begin
from shared.errors import MessagingUnavailable, RevisionConflict, StorageUnavailable
from shared.ids import NodeId, execution_key
from shared.messages import Accepted, Assignment, CancelExecution, Order, OrderAnswer, Register, Rejected
from shared.states import ExecutionState
from shared.transport import Connection

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0


class Assignments:
    """Offers and cancels executions; its tasks live in `group`. `check` raises MessagingUnavailable unless we lead."""

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        connection: Connection,
        model: Model,
        store: Store,
        nodes: Nodes,
        grants: Grants,
        publish_seconds: float,
        check: Callable[[], None],
    ) -> None:
        self._group = group
        self._connection = connection
        self._model = model
        self._store = store
        self._nodes = nodes
        self._grants = grants
        self._publish_seconds = publish_seconds
        self._check = check
        self._offering: set[str] = set()

    def offer(self, record: ExecutionRecord) -> None:
        """Start to offer, unless that is under way."""
        if record.id not in self._offering:
            self._offering.add(record.id)
            begin(self._group, self._offer(record), name=f"offer {record.id}")

    def offer_again(self, node: NodeId) -> None:
        """Offer what this node, which has just registered, has not accepted yet."""
        for record in list(self._model.live.get(node, {}).values()):
            if self._is_open(record):
                self.offer(record)

    def offer_open(self) -> None:
        """Offer whatever no node has accepted, such as what another leader stored and could not offer any more."""
        for node in self._model.live:
            if self._nodes.is_registered(node):
                self.offer_again(node)

    def cancel(self, record: ExecutionRecord, reason: str) -> None:
        """Tell the node, once; one that is away learns it when it registers."""
        order = CancelExecution(execution_id=record.id, reason=reason)
        begin(self._group, self._tell(record.node_id, order), name=f"cancel {record.id}")

    def ask_to_register(self, node: NodeId) -> None:
        begin(self._group, self._tell(node, Register()), name=f"register {node}")

    async def _tell(self, node: NodeId, order: Order) -> None:
        try:
            await self._send(node, order)
        except (MessagingUnavailable, messages.UnknownMessage) as error:
            _log.debug("Node %s did not take %s: %s", node, type(order).__name__, error)

    async def _send(self, node: NodeId, order: Order) -> OrderAnswer:
        payload = messages.encode(order)
        self._check()
        answer = await self._connection.request(subjects.node_orders(node), payload, timeout=ANSWER_SECONDS)
        return messages.decode(messages.order_answers, answer)

    def _is_open(self, record: ExecutionRecord) -> bool:
        current = self._model.execution(record.id)
        return (
            current is not None
            and record.job_id in self._model.jobs
            and current.state is ExecutionState.NEW
            and not self._nodes.has_accepted(record.node_id, record.id)
        )

    async def _offer(self, record: ExecutionRecord) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        try:
            while self._is_open(record) and self._nodes.is_registered(record.node_id):
                try:
                    answer = await self._send(record.node_id, await self._assignment(record))
                except (MessagingUnavailable, StorageUnavailable, messages.UnknownMessage) as error:
                    told = "Execution %s is not with node %s yet: %s"
                    _log.info(told, record.id, record.node_id, error.message, extra=about_execution(record))
                    await asyncio.sleep(retry_seconds)
                    retry_seconds = min(LAST_RETRY_SECONDS, retry_seconds * 2)
                else:
                    await self._on_answer(record, answer)
                    return
        finally:
            self._offering.discard(record.id)

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
            partition_count=job.count or 1,
            task=job.task,
            resources=record.resources,
            execution_timeout_seconds=timeouts.execution_timeout or timeouts.total_timeout,
            publish_timeout_seconds=self._publish_seconds,
            archive=await self._grants.archive(record.location) if record.location else None,
        )

    async def _on_answer(self, record: ExecutionRecord, answer: OrderAnswer) -> None:
        match answer:
            case Accepted():
                self._nodes.on_accepted(record.node_id, record.id, answer)
                current = self._model.execution(record.id)
                if current is None or current.state.is_terminal:  # it was stopped while it was being offered
                    self.cancel(record, "Stopped while it was being offered")
            case Rejected():
                await self._on_rejected(record, answer)

    async def _on_rejected(self, record: ExecutionRecord, answer: Rejected) -> None:
        current = self._model.execution(record.id)
        if current is None or current.state is not ExecutionState.NEW:
            return
        key = execution_key(record.job_id, record.job_version, record.partition, record.attempt)
        after = rejected(current, answer.reason, answer.detail, retryable=answer.retryable, now=now_ns())
        try:
            await self._store.update(subjects.execution_record(key), after)
        except RevisionConflict:
            told = "Execution %s changed while node %s refused it."
            _log.info(told, record.id, record.node_id, extra=about_execution(record))
        except MessagingUnavailable as error:  # it is offered again, and refused again
            told = "That node %s refuses execution %s is not stored: %s"
            _log.info(told, record.node_id, record.id, error.message, extra=about_execution(record))
        else:
            told = "Execution %s is refused by node %s: %s"
            _log.info(told, record.id, record.node_id, answer.reason[:100], extra=about_execution(record))

    def __repr__(self) -> str:
        return f"<Assignments, {len(self._offering)} being offered>"
