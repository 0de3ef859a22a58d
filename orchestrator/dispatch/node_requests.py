"""Requests of nodes: to be registered, and for fresh URLs. The sender is who the subject says, not the body.

What a node asks beyond its budget is dropped before it comes here (orchestrator/admission/budgets.py). The rest waits
in a line of its own, so that a node for whose questions S3 takes long, or that asks a lot, holds up itself alone.
Budgets count requests; the URLs in them are counted where they are signed (dispatch/grants.py, inputs/grants.py).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

import msgspec

from orchestrator.admission.budgets import Traffic
from orchestrator.dispatch.assignments import Offers
from orchestrator.dispatch.grants import Grants
from orchestrator.dispatch.scheduler import Scheduler
from orchestrator.dispatch.turns import Turns
from orchestrator.inputs.grants import InputGrants
from orchestrator.nodes.node_changes import engines_away
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import BindingRecord, NodeRecord
from orchestrator.s3.locations import Locations
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable, RevisionConflict
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.messaging.transport import Connection, Received
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    PROTOCOL,
    BeginFiles,
    BeginUpload,
    BesideRequest,
    CompleteUpload,
    FilesRequest,
    GrantRequest,
    IndexGrantRequest,
    NodeRequestAnswer,
    PartsRequest,
    Reconciliation,
    Registration,
    RequestRefused,
    StoreRequest,
    StoreTold,
    UnknownMessage,
)
from shared.protocol.nodes.inputs import InputsRequest
from shared.runtime.aio import pipelined
from shared.runtime.automatic_labels import NAME
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

AT_ONCE = 256
OF_ONE_NODE = 64
WAITING_OF_ONE = 1024
WAITING_BYTES_OF_ONE = 8 << 20
MAX_INFO_BYTES = 64 * 1024
MOST_QUEUED = 65_536
"""How many executions may wait on one node, whatever it says."""
WRITES_AT_ONCE = 32


class NodeRequests:
    """The leader's answers to nodes. While `leads` is false another orchestrator answers, and this one is silent.

    `most` is of how much of one node use is made, whatever it says it has.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        model: Model,
        store: Store,
        nodes: Nodes,
        grants: Grants,
        inputs: InputGrants,
        offers: Offers,
        scheduler: Scheduler,
        locations: Locations,
        most: Capacity,
        leads: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._model = model
        self._store = store
        self._nodes = nodes
        self._grants = grants
        self._inputs = inputs
        self._offers = offers
        self._scheduler = scheduler
        self._locations = locations
        self._most = most
        self._budgets = nodes.budgets
        self._leads = leads

    async def run(self) -> None:
        """Answer until cancelled; first ask every known node to register with this orchestrator."""
        async with (
            self._connection.subscribe(subjects.ALL_NODE_REQUESTS) as received,
            asyncio.TaskGroup() as group,
        ):
            for node in list(self._model.nodes):
                self._offers.ask_to_register(node)
            turns = Turns(
                group,
                self._answer,
                at_once=AT_ONCE,
                of_one=OF_ONE_NODE,
                most_waiting=WAITING_OF_ONE,
                most_bytes=WAITING_BYTES_OF_ONE,
            )
            async for request in received:
                sender = subjects.sender(request.subject)
                if sender is not None and not turns.take(sender, request):
                    self._budgets.note(sender, Traffic.REQUESTS)

    async def _answer(self, sender: NodeId, received: Received) -> None:
        try:
            answer = await self._decide(sender, received.payload)
        except UnknownMessage as error:
            answer = RequestRefused(code=error.code, message=error.message)
        except (MessagingUnavailable, RevisionConflict) as error:
            answer = RequestRefused(code=error.code, message=error.message, retryable=True)
        except Exception:  # noqa: BLE001  # the per-message handler: one request must not end the service
            _log.exception("A request of node %s could not be answered.", sender, extra=about(node=sender))
            # Nothing is decided by that: the next try, or another orchestrator, may answer.
            message = "The orchestrator failed; its log tells how."
            answer = RequestRefused(code="InternalError", message=message, retryable=True)
        if self._leads():
            await received.respond(messages.encode(answer))

    async def _decide(self, sender: NodeId, payload: bytes) -> NodeRequestAnswer:
        if sender in self._model.rejected:
            return RequestRefused(code="NodeRejected", message=_told_to_rejected(sender, self._model.rejected[sender]))
        request = messages.decode_of_node(messages.node_requests, payload)
        match request:
            case Registration():
                if not self._budgets.admits_registration(sender):
                    return RequestRefused(
                        code="RegistersTooOften", message="This node registers too often.", retryable=True
                    )
                await self._know(request.held)
                return await self._register(sender, request)
            case (
                GrantRequest()
                | IndexGrantRequest()
                | BesideRequest()
                | BeginUpload()
                | PartsRequest()
                | CompleteUpload()
                | BeginFiles()
                | FilesRequest()
            ):
                await self._know((request.execution_id,))
                return await self._grants.answer(sender, request)
            case InputsRequest():
                await self._know((request.execution_id,))
                return await self._inputs.answer(sender, request)
            case StoreRequest():
                current = self._locations.current
                return StoreTold(url=current.upload_origin if current is not None else "")

    async def _know(self, executions: Iterable[ExecutionId]) -> None:
        """An execution that is unknown may be one that another leader stored last, and this one is yet to hear of."""
        if any(self._model.execution(each) is None for each in executions):
            await self._store.catch_up()

    async def _register(self, sender: NodeId, registration: Registration) -> NodeRequestAnswer:
        info = registration.info
        if not info.capacity.is_possible or info.queue_capacity < 0:
            return RequestRefused(code="NodeInfoInvalid", message="A node cannot have what this one says it has.")
        info = msgspec.structs.replace(
            info,
            node_id=sender,
            labels={**info.labels, **self._labels_of(sender), NAME: sender},
            capacity=info.capacity.at_most(self._most),
            queue_capacity=min(info.queue_capacity, MOST_QUEUED),
        )
        if len(msgspec.json.encode(info)) > MAX_INFO_BYTES:
            return RequestRefused(
                code="NodeInfoTooLarge", message=f"A node may say {MAX_INFO_BYTES:,} bytes of itself."
            )
        if not info.protocol_min <= PROTOCOL <= info.protocol_max:
            _log.warning("Node %s speaks another protocol and gets no work.", sender, extra=about(node=sender))
        known = self._model.nodes.get(sender)
        if known is None:
            record = NodeRecord(info=info)
            await self._store.create_again(record.key, record)
        elif known.info != info:
            after = msgspec.structs.replace(known, info=info, engines_away=engines_away(known, info, now_ns()))
            await self._store.update(after.key, after)
        missing = self._nodes.on_registration(sender, registration)
        if missing:
            told = "Node %s does not hold %d executions that were placed on it."
            _log.warning(told, sender, len(missing), extra=about(node=sender))
            await pipelined(missing, self._scheduler.fail_missing, at_once=WRITES_AT_ONCE)
        self._offers.offer_again(sender)
        return Reconciliation(settled=tuple(each for each in registration.held if self._is_settled(sender, each)))

    def _labels_of(self, sender: NodeId) -> dict[str, str]:
        """Those of the token with which it came, which hold whatever the node says."""
        binding = self._model.bindings.get(sender)
        return binding.labels if binding else {}

    def _is_settled(self, sender: NodeId, execution: ExecutionId) -> bool:
        """Whether the node may forget this execution: it has ended, or was never this node's."""
        record = self._model.execution(execution)
        return record is None or record.node_id != sender or record.is_over_there


def _told_to_rejected(node: NodeId, rejected: BindingRecord) -> str:
    why = f" ({rejected.message})" if rejected.message else ""
    return f"node {node} was rejected by an operator{why}. `tarpon node approve {node}` lets it in again."
