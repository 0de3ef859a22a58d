"""Receipts: the end of an execution is stored, so its node may forget it and its result.

Receipts of one moment travel together. One that is lost is made good when the node registers the next time.
"""

import asyncio
import logging

from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, NodeId
from shared.messaging.transport import Connection
from shared.protocol import messages, subjects
from shared.protocol.messages import Receipt
from shared.runtime.aio import begin

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 5.0
GATHER_SECONDS = 0.1
"""Receipts of so long travel together: all that waits for one is what the node keeps of an execution."""
MOST_IN_ONE = 256


class Receipts:
    """Sends receipts; one message to a node is under way at a time. Its tasks live in `group`."""

    def __init__(self, group: asyncio.TaskGroup, connection: Connection) -> None:
        self._group = group
        self._connection = connection
        self._waiting: dict[NodeId, list[ExecutionId]] = {}

    def send(self, node: NodeId, execution: ExecutionId) -> None:
        waiting = self._waiting.get(node)
        if waiting is None:
            self._waiting[node] = [execution]
            begin(self._group, self._deliver(node), name=f"receipts {node}")
        else:
            waiting.append(execution)

    async def _deliver(self, node: NodeId) -> None:
        try:
            while self._waiting[node]:
                if len(self._waiting[node]) < MOST_IN_ONE:
                    await asyncio.sleep(GATHER_SECONDS)
                waiting = self._waiting[node]
                receipt = Receipt(execution_ids=tuple(waiting[:MOST_IN_ONE]))
                self._waiting[node] = waiting[MOST_IN_ONE:]
                await self._connection.request(
                    subjects.node_orders(node), messages.encode(receipt), timeout=ANSWER_SECONDS
                )
        except MessagingUnavailable as error:
            _log.debug("Node %s did not take its receipts: %s", node, error)
        finally:
            del self._waiting[node]

    def __repr__(self) -> str:
        return f"<Receipts, {len(self._waiting)} nodes being told>"
